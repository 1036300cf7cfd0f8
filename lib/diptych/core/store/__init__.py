"""The databases: predictions, calls, records of runs, registry, prices; SQLite or PostgreSQL."""
