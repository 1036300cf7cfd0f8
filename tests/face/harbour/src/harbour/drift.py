"""A drift statistic that an entry point names."""


def chebyshev(reference, current):
    """Return the largest difference of a bin's share."""
    return abs(reference - current).max()
