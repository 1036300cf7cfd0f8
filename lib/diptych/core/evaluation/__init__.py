"""Is one model better than another: graders, statistics, leaderboard, text metrics, gate."""
