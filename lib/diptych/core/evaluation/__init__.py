"""Is one model better than another: statistics, leaderboard, text metrics, gate."""
