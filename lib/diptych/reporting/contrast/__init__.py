"""The contrast: evidence from runs, measures, dimensions, verdicts, labels, break-even."""
