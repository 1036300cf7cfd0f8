"""Hallucination."""
