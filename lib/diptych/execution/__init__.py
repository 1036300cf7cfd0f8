"""Run notebooks with checked parameters; this wing knows nothing of the lifecycle."""
