"""What both panels' monitors share: drift and accuracy, window by window."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from diptych.core.evaluation import stats
from diptych.core.evaluation.metrics import parse
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.monitoring import windows
from diptych.core.monitoring.drift import Profile, compare_profiles, estimated_accuracy
from diptych.core.monitoring.windows import Quality


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


def quality(metric, truth, predicted, windows, confidence) -> windows.Quality:
    rows = ScoredRows.of_labels(truth, predicted, None, ("a", "b"), "b")
    sure = pd.Series([share for _, share in confidence], [name for name, _ in confidence], float)
    return Quality.of(parse(metric), rows, windows, sure)


def test_accuracy_is_estimated_at_once_and_true_from_the_labels_that_came():
    confidence = [("1", 0.9), ("1", 0.7), ("2", 0.8), ("2", 0.6)]
    table = quality("accuracy", list("aaa"), list("aba"), ["1", "1", "2"], confidence).table()
    assert table[["window", "kind"]].to_numpy().tolist() == [
        ["1", "estimated"], ["1", "true"], ["2", "estimated"], ["2", "true"],
    ]  # fmt: skip
    assert table["value"].tolist()[:3] == pytest.approx([0.8, 0.5, 0.7])
    assert table["n"].tolist() == [2, 2, 2, 1]
    assert table["low"][1] == stats.wilson(1, 2).low
    assert table["low"][2] == estimated_accuracy([0.8, 0.6]).low
    assert "needs at least 2 rows" in table["reason"][3]


@pytest.mark.parametrize("shares", [[0.9], [0.9, None], [None, None]])
def test_no_accuracy_is_estimated_from_one_row_or_with_a_probability_missing(shares):
    table = quality("accuracy", [], [], [], [("1", share) for share in shares]).table()
    assert table["value"].isna().tolist() == [True]
    assert table["reason"].tolist() == ["no label has come"]


def test_only_accuracy_is_estimated_and_a_window_of_one_class_says_so():
    confidence = [("1", 0.9), ("1", 0.9), ("2", 0.9), ("2", 0.9)]
    seen = quality("recall:b", list("abaa"), list("abaa"), list("1122"), confidence)
    table = seen.table()
    assert table["kind"].tolist() == ["true", "true"]
    assert table["value"][0] == 1.0
    assert np.isnan(table["value"][1])
    assert "no rows of 'b'" in table["reason"][1]
    assert "2: recall is not defined" in seen.findings(seen.falls(seen.live.scored["true"], 0), 0)


def test_before_and_since_are_the_metric_of_their_rows_not_a_mean_of_windows():
    truth, predicted = list("bbab" + "ab"), list("babb" + "aa")
    names = ["1"] * 3 + ["2"] * 1 + ["3"] * 2
    seen = quality("f1:b", truth, predicted, names, [])
    found = seen.before_and_since("3")
    assert found["true score before alarm"].value == pytest.approx(
        f1_score(truth[:4], predicted[:4], pos_label="b")
    )
    assert found["true score since alarm"].value == 0.0
    assert list(seen.before_and_since(None)) == ["true score before alarm"]


def test_marks_tell_both_alarms_and_the_first_counts():
    assert windows.marks(["2", "3"], ["1", "3"]) == {"1": "fell", "2": "drift", "3": "drift, fell"}
    assert windows.first_alarm(None, "2025-03", "2025-02") == "2025-02"
    assert windows.first_alarm(None, None) is None
