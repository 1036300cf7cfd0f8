"""Whether one is better: statistics, leaderboard, metrics of texts, gate."""
