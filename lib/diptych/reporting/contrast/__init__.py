"""The contrast: evidence, measures and amounts, verdicts, questions, ways, labels, break-even."""
