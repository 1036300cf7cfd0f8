"""Prompts as files, their variants, the bundle that is released, candidates of a search."""
