"""Rows: tasks, columns, sources, splits, validation, versions, perturbed rows."""
