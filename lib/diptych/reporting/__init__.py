"""Turn runs into pages to read."""
