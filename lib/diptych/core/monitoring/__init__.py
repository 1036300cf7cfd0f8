"""Has something changed: drift of columns and texts, change points, windows."""
