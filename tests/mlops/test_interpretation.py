"""Sentences about outputs are true of other rows, of no rows, and of every kind of task."""
