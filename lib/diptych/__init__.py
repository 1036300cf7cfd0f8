"""Diptych: the same task through MLOps and LLMOps, side by side, as parameterized notebooks."""

__version__ = "0.1.0"
