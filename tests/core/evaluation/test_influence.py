"""Influences of any function, from parts of many rows, agree with those of the metric itself."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from diptych.core.evaluation import added_metrics, influence, own_metrics
from diptych.core.evaluation.metrics import METRICS
from diptych.core.evaluation.scored import ScoredRows

ROWS = 20_000


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    monkeypatch.setattr(influence, "MANY", ROWS - 1)


def answers(seed: int, right: float = 0.85) -> ScoredRows:
    truth = np.where(np.random.default_rng(0).random(ROWS) < 0.3, "yes", "no")
    kept = np.random.default_rng(seed).random(ROWS) < right
    said = np.where(kept, truth, np.where(truth == "yes", "no", "yes"))
    return ScoredRows.of_labels(truth, said, None, ("no", "yes"), "yes")


def width(estimate) -> float:
    return estimate.high - estimate.low


def test_a_plugins_function_has_the_interval_of_the_metric():
    added, metric = added_metrics.of_function("m", matthews_corrcoef, low=-1.0), METRICS["mcc"]
    new, old = answers(1, 0.87), answers(2)
    assert added.estimate(new).value == pytest.approx(metric.estimate(new).value)
    # a standard deviation from a hundred parts is known to 7 %
    assert width(added.estimate(new)) == pytest.approx(width(metric.estimate(new)), rel=0.2)
    gap, exact = added.improvement(new, old), metric.improvement(new, old)
    assert gap.value == pytest.approx(exact.value)
    assert width(gap) == pytest.approx(width(exact), rel=0.2)


def test_a_function_of_a_notebook_has_it_too(monkeypatch):
    rows = answers(3)
    arrays = [rows.truth.astype(str), rows.predicted.astype(str)]

    def f1(truth, said) -> float:
        return f1_score(truth, said, pos_label="yes")

    by_parts = own_metrics.measure("f1", f1, arrays, 0)
    exact = METRICS["f1"].estimate(rows)
    assert by_parts.value == pytest.approx(exact.value)
    assert width(by_parts) == pytest.approx(width(exact), rel=0.2)


def test_where_a_part_has_no_value_there_is_no_interval():
    values = np.append(np.ones(3), np.zeros(ROWS - 3))

    def share(array) -> float:
        return array.sum() / array.sum() if array.any() else float("nan")

    assert influence.of_parts(ROWS, lambda part: share(values[part])) is None
    assert np.isnan(own_metrics.measure("share", share, [values], 0).low)
