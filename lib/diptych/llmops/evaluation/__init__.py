"""Grading answers: scorers, judge, structured output, behavioural checklist, prompt search."""
