"""Rows: tasks, what columns mean, sources, splits, validation, versions, perturbed rows."""
