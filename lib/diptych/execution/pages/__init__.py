"""A notebook as a page of HTML, sanitized and self-contained."""
