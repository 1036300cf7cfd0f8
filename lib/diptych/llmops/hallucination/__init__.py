"""Is an answer supported by its source: the detector, its training, uncertainty."""
