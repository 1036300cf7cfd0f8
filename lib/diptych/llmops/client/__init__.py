"""Asking a model: endpoints, requests within a budget, fallbacks, batches, load tests."""
