"""What both panels' monitors share: drift and accuracy, window by window."""

import numpy as np
import pandas as pd
import pytest

from diptych.core.evaluation import stats
from diptych.core.monitoring import windows
from diptych.core.monitoring.drift import Profile, compare_profiles, estimated_accuracy


def frame(rng, rows, shift=0.0):
    return pd.DataFrame({"x": rng.normal(shift, 1, rows), "y": rng.normal(0, 1, rows)})


def test_each_window_is_compared_by_itself_in_the_order_of_its_name():
    rng = np.random.default_rng(0)
    profile = Profile.fit(frame(rng, 2_000))
    moved, still = frame(rng, 300, shift=1), frame(rng, 200)
    rows = pd.concat([moved, still]).sample(frac=1, random_state=0)
    named = np.where(rows.index.isin(moved.index) & (rows["x"].isin(moved["x"])), "b", "a")
    seen = windows.watch_inputs(profile, rows.reset_index(drop=True), named)
    assert seen.drift["window"].tolist() == ["a", "b"]
    assert seen.drift["n"].tolist() == [200, 300]
    assert (seen.alarmed, seen.first_alarm) == (["b"], "b")
    table = compare_profiles(profile, moved).set_index("feature")
    expected = (table["shift"] / table["threshold"]).to_dict()
    assert seen.scores["b"].to_dict() == pytest.approx(expected)


def test_accuracy_is_estimated_at_once_and_true_from_the_labels_that_came():
    probability = pd.Series([0.9, 0.7, 0.8, 0.6], index=list("wxyz"))
    right = pd.Series([1.0, 0.0, 1.0, np.nan], index=list("wxyz"))
    table = windows.accuracy_by_window(["1", "1", "2", "2"], probability, right)
    assert table[["window", "kind"]].to_numpy().tolist() == [
        ["1", "estimated"], ["1", "true"], ["2", "estimated"], ["2", "true"],
    ]  # fmt: skip
    assert table["value"].tolist() == pytest.approx([0.8, 0.5, 0.7, 1.0])
    assert table["n"].tolist() == [2, 2, 2, 1]
    assert table["low"][1] == stats.wilson(1, 2).low
    assert table["low"][2] == estimated_accuracy([0.8, 0.6]).low


@pytest.mark.parametrize("probability", [[0.9], [0.9, None], [None, None]])
def test_no_accuracy_is_estimated_from_one_row_or_with_a_probability_missing(probability):
    shares = pd.Series(probability, dtype=float)
    table = windows.accuracy_by_window(["1"] * len(shares), shares, shares * np.nan)
    assert table.empty
    assert list(table) == ["window", "kind", "value", "low", "high", "n"]
