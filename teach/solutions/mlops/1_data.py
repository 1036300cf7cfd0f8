# ruff: noqa: D103, F821
"""Solutions to the exercises of notebooks/mlops/1_data.ipynb: each takes the place of its cell."""

# %% How many rows would a model read twice?
duplicates = data.duplicated(subset=subject.features).sum()
counted = stage.duplicates(data, subject.features)
exercises.number(duplicates, counted, tolerance=0.5)


# %% The share of the most frequent class
def share(frame):
    train = frame[frame["split"] == "train"]
    return train["label"].value_counts(normalize=True).iloc[0]


attempt = share
example = pd.DataFrame({"split": ["train"] * 4 + ["test"], "label": ["a", "a", "a", "b", "b"]})
exercises.code(attempt, lambda share: abs(share(example) - 0.75) < 0.01, hint="Here it is 0.75.")
