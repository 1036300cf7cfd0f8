"""Run notebooks with checked parameters. Knows nothing of the lifecycle."""
