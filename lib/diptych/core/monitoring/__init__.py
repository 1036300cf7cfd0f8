"""Whether something has changed: drift of columns and texts, change points, windows."""
