"""LLMOps: the lifecycle of a language model, one module a stage."""
