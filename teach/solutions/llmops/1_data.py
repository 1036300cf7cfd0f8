# ruff: noqa: D100, F821
# %% 1. Warm-up: how many more tokens the longest prompt takes
answer = inventory["tokens"].max() - inventory["tokens"].min()
more = int(inventory["tokens"].max() - inventory["tokens"].min())
exercises.number(answer, more, tolerance=0, hint="Take the column of tokens, not that of bytes.")


# %% 2. Code: a chat as a list of messages
def attempt(text, examples):
    """Return examples as turns, and the text as the last one."""
    turns = [
        message
        for question, reply in examples
        for message in (
            {"role": "user", "content": question},
            {"role": "assistant", "content": reply},
        )
    ]
    return [*turns, {"role": "user", "content": text}]


right = pd.Series(["user", "assistant", "user"])
exercises.code(attempt, lambda f: [m["role"] for m in f("Is it?", [("A", "b")])] == right.tolist())
