# ruff: noqa: D103, F821
"""Solutions to the exercises of notebooks/mlops/5_monitor.ipynb: each takes its cell's place."""

# %% Was the estimated accuracy too high or too low?
mean = scores.groupby("kind")["value"].mean().reindex(["estimated", "true"])
right = "too high" if mean.diff().iloc[-1] < 0 else "too low"
answer = right.title()
exercises.choice(answer, right)


# %% The Kolmogorov-Smirnov distance
def gap(first, second):
    values = np.union1d(first, second)
    shares = [np.searchsorted(np.sort(x), values, side="right") / len(x) for x in (first, second)]
    return np.abs(shares[0] - shares[1]).max()


attempt = gap
pair = ([1, 2, 3, 4], [3, 4, 5, 6])
distance = ks_2samp(*pair).statistic
exercises.code(attempt, lambda gap: np.isclose(gap(*pair), distance), hint="Here it is a half.")
