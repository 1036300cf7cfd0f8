"""Groups: rates by definition, and a gap whose interval is not fooled by many groups."""

import numpy as np
import pandas as pd
import pytest

from diptych.core.evaluation import fairness
from diptych.core.evaluation.metrics import METRICS
from diptych.core.evaluation.scored import ScoredRows


def drawn(n: int, groups: int, better: float, rng) -> tuple[ScoredRows, np.ndarray]:
    """Draw answers that are right for 0.8 of the rows, in the first group `better` more."""
    group = np.arange(n) % groups
    yes = rng.random(n) < 0.5
    right = rng.random(n) < 0.8 + better * (group == 0)
    said = np.where(right, yes, ~yes)
    names = {True: "yes", False: "no"}
    labels = [[names[bool(x)] for x in column] for column in (yes, said)]
    return ScoredRows.of_labels(*labels, classes=("no", "yes"), positive="yes"), group.astype(str)


def test_rates_of_a_worked_table():
    rows = ScoredRows.of_labels(
        ["yes", "yes", "no", "no", "yes", "no"], ["yes", "no", "yes", "no", "yes", "no"],
        positive="yes",
    )  # fmt: skip
    table = fairness.by_group(rows, ["a"] * 4 + ["b"] * 2, METRICS["accuracy"]).set_index("name")
    assert table.loc["a", "value"] == 0.5
    names = ["selection rate", "true positive rate", "false positive rate"]
    assert table.loc["a", names].tolist() == [0.5, 0.5, 0.5]
    assert table.loc["b", names].tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("name", ["accuracy", "f1"])
def test_equal_groups_seldom_show_a_gap_and_unequal_ones_do(name):
    rng = np.random.default_rng(0)
    equal = [fairness.largest_gap(*drawn(800, 8, 0.0, rng), METRICS[name]) for _ in range(150)]
    assert np.mean([gap.low > 0 for gap in equal]) <= 0.1
    # the naive gap is far from the truth, 0
    assert np.mean([gap.value for gap in equal]) > 0.08
    unequal = [fairness.largest_gap(*drawn(800, 2, 0.15, rng), METRICS[name]) for _ in range(60)]
    assert np.mean([gap.low > 0 for gap in unequal]) > 0.9


def test_the_interval_holds_the_true_gap():
    rng = np.random.default_rng(1)
    gaps = [fairness.largest_gap(*drawn(900, 3, 0.1, rng), METRICS["accuracy"]) for _ in range(150)]
    assert np.mean([gap.low <= 0.1 <= gap.high for gap in gaps]) > 0.92


def test_parity_is_the_gap_in_selection_rates():
    rows = ScoredRows.of_labels(["yes", "no"] * 40, ["yes"] * 40 + ["no"] * 40, positive="yes")
    groups = ["a"] * 40 + ["b"] * 40
    gap = fairness.parity_gap(rows, groups)
    assert gap.value == 1
    assert gap.low > 0.7


def test_one_group_has_no_gap_and_says_so():
    rows = ScoredRows.of_labels(["yes", "no"] * 10, ["yes", "no"] * 10)
    gap = fairness.largest_gap(rows, ["a"] * 17 + ["b"] * 3, METRICS["accuracy"])
    assert np.isnan(gap.value)
    assert "fewer than two groups have enough rows (1 have too few)" in gap.note


def test_gaps_are_those_of_scikit_learns_figures_by_group():
    from sklearn.metrics import accuracy_score, recall_score

    rng = np.random.default_rng(2)
    rows, groups = drawn(900, 3, 0.1, rng)
    frame = pd.DataFrame({"y": rows.truth, "p": rows.predicted, "g": groups})
    by = frame.groupby("g")
    accuracy = by.apply(lambda x: accuracy_score(x.y, x.p))
    selected = by.apply(lambda x: (x.p == "yes").mean())
    tpr = by.apply(lambda x: recall_score(x.y, x.p, pos_label="yes"))
    fpr = by.apply(lambda x: 1 - recall_score(x.y, x.p, pos_label="no"))
    table = fairness.gaps(rows, pd.DataFrame({"g": groups}), METRICS["accuracy"])
    expected = [np.ptp(accuracy), np.ptp(selected), max(np.ptp(tpr), np.ptp(fpr))]
    assert table["value"].tolist() == pytest.approx(expected)
    assert table["between"].iloc[0] == f"{accuracy.idxmax()} and {accuracy.idxmin()}"
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_equal_odds_seldom_show_a_gap():
    rng = np.random.default_rng(3)
    seen = [fairness.odds_gap(*drawn(800, 4, 0.0, rng)).low > 0 for _ in range(200)]
    assert np.mean(seen) <= 0.09


def test_groups_with_few_rows_are_counted_and_left_out():
    rows, _ = drawn(100, 2, 0.0, np.random.default_rng(4))
    groups = np.array(["a"] * 48 + ["b"] * 48 + ["c"] * 4)
    gap = fairness.largest_gap(rows, groups, METRICS["accuracy"])
    assert gap.left_out == 1
    assert "c" not in gap.between
