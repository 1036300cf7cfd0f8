"""MLOps: the lifecycle of a classical model, one module a stage."""
