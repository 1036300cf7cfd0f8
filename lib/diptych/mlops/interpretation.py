"""What the outputs of the MLOps notebooks show, in sentences computed from their values."""
