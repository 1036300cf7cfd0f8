"""What the outputs of a stage show, and what to do about it: sentences computed from the run."""
