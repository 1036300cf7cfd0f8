"""Foundations of every other wing: workspace, hashes, environment, errors, secrets, progress."""
