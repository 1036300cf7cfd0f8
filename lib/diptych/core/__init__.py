"""Shared by MLOps and LLMOps: data, evaluation, monitoring, store, plots."""
