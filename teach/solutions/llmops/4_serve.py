# ruff: noqa: D100, F821
# %% 1. Warm-up: what grows with more requests at once than there are places
answer = "the first token"
hints = {"throughput": "Compare the two lines of the load table."}
exercises.choice(answer, "first token", hints=hints)


# %% 2. Code: Little's law
def attempt(requests_per_s, latency_ms):
    """Return how many requests are under way."""
    return requests_per_s * latency_ms / 1000


exercises.code(attempt, lambda f: np.isclose(f(200.0, 40.0), 8.0), hint="Take the latency in s.")
