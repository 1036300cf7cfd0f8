"""Thresholds: the best on the rows, in the middle of what is equally good."""

import numpy as np
import pytest

from diptych.core.evaluation import metrics, thresholds
from diptych.core.evaluation.metrics import METRICS, MetricError
from diptych.core.evaluation.scored import ScoredRows


def rows(share=0.1, n=2_000, seed=0) -> ScoredRows:
    rng = np.random.default_rng(seed)
    yes = rng.random(n) < share
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + 2 * yes - 3)))
    return ScoredRows.of_labels(
        np.where(yes, "yes", "no"), np.where(score > 0.5, "yes", "no"),
        np.column_stack([1 - score, score]), ("no", "yes"), "yes",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["f1", "balanced_accuracy", "accuracy", "mcc", "macro_f1"])
def test_no_other_threshold_is_better(name):
    drawn = rows()
    chosen = thresholds.choose(drawn, METRICS[name])
    reached = METRICS[name].figure(thresholds.applied(drawn, chosen.value))
    assert reached == pytest.approx(chosen.curve["value"].max())
    for other in np.linspace(0.01, 0.99, 99):
        figure = METRICS[name].figure(thresholds.applied(drawn, other))
        assert figure <= reached + 0.01
    assert reached > METRICS[name].figure(drawn) or name == "accuracy"


def test_costs_move_the_threshold_to_their_ratio():
    """A calibrated model answers yes from cost / (cost + cost) on (Elkan 2001)."""
    rng = np.random.default_rng(1)
    score = rng.random(40_000)
    yes = rng.random(40_000) < score
    drawn = ScoredRows.of_labels(
        np.where(yes, "yes", "no"), np.where(yes, "yes", "no"), np.column_stack([1 - score, score]),
        ("no", "yes"), "yes",
    )  # fmt: skip
    metric = metrics.cost({"yes": {"no": 9.0}, "no": {"yes": 1.0}})
    assert thresholds.choose(drawn, metric).value == pytest.approx(0.1, abs=0.03)


def test_a_metric_of_probabilities_takes_its_twin_at_a_threshold():
    chosen = thresholds.choose(rows(), METRICS["average_precision"])
    assert chosen.metric is METRICS["f1"]


def test_the_middle_of_equally_good_thresholds_is_taken():
    drawn = ScoredRows.of_labels(
        ["no", "no", "yes", "yes"], ["no"] * 4,
        [[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]],
    )  # fmt: skip
    assert thresholds.choose(drawn, METRICS["accuracy"]).value == pytest.approx(0.5)


def test_more_than_two_classes_are_refused():
    drawn = ScoredRows.of_labels(["a", "b", "c"], ["a", "b", "c"], np.eye(3))
    with pytest.raises(MetricError, match="one class of two"):
        thresholds.choose(drawn, METRICS["f1"])


def test_what_a_threshold_catches_is_stated_with_scikit_learns_figures():
    from sklearn.metrics import precision_score, recall_score

    truth = np.array(["yes"] * 20 + ["no"] * 180)
    predicted = np.array(["yes"] * 15 + ["no"] * 5 + ["yes"] * 30 + ["no"] * 150)
    sentence = thresholds.described(ScoredRows.of_labels(truth, predicted), 0.25)
    recall = recall_score(truth, predicted, pos_label="yes")
    precision = precision_score(truth, predicted, pos_label="yes")
    assert f"recall {recall:.3f} (0.531 to 0.888) over 20 true rows" in sentence  # Wilson
    assert f"precision {precision:.3f} (" in sentence
    assert "0.250" in sentence
    never = ScoredRows.of_labels(truth, np.full(200, "no"))
    assert "precision undefined" in thresholds.described(never)
