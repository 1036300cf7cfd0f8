"""Call a language model: endpoints, requests, budgets, fallbacks, batches, load tests."""
