"""Turn runs into pages: scenarios, site, contrast."""
