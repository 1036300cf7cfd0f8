"""Serve a classical model over HTTP: request formats, micro-batches, server process."""
