"""A notebook as one HTML page, sanitized and self-contained."""
