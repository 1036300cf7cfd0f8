# ruff: noqa: D100, F821
# %% 1. Warm-up: whether falls half as deep are detected more or less often
answer_1 = "fewer"
exercises.choice(answer_1, "fewer", hints={"more": "A smaller fall shows in fewer rows."})


# %% 2. Code: the test by hand as a function
def attempt(before, now):
    """Return the p-value of the two-sample test of Kolmogorov and Smirnov."""
    return ks_2samp(before, now).pvalue


exercises.code(attempt, lambda f: abs(f(before_words, now_words) - tested.pvalue) < 1e-6)
