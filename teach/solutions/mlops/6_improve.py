# ruff: noqa: F821
"""Solutions to the exercises of notebooks/mlops/6_improve.ipynb: each takes its cell's place."""

# %% By how many points does the challenger lead?
answer = curve["value"].iloc[-1] - curve["value"].iloc[0]
lead = new.score.value - old.score.value
exercises.number(answer, lead)

# %% The sign test
attempt = lambda new, old: binomtest(new, new + old).pvalue  # noqa: E731
goal = binomtest(8, 10).pvalue
exercises.code(attempt, lambda p: np.isclose(p(8, 2), goal), hint=f"Of 8 and 2 it is {goal:.3f}.")
