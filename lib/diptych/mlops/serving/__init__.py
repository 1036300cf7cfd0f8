"""Serving a classical model over HTTP: input formats, micro-batches, the process."""
