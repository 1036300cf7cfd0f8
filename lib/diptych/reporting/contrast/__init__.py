"""The contrast: evidence, verdicts, questions; every way with frontier, cascade and label curve."""
