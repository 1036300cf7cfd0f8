"""Sentences about outputs are true of other rows, of no rows, and of every kind of task."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlops.samples import fitted, sample

from diptych.core.data import tasks
from diptych.core.evaluation.metrics import METRICS
from diptych.mlops import build, importances
from diptych.mlops import interpretation as meaning

ACCURACY, RMSE = METRICS["accuracy"], METRICS["rmse"]
NONE = pd.DataFrame(columns=["name", "value", "low", "high", "n"])


def lines(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["name", "value", "low", "high", "n"])


def text_of(sentences: list[str]) -> str:
    """Return the text, which has sentences and no placeholder of a missing number."""
    assert 1 <= len(sentences) <= 5
    text = " ".join(sentences)
    assert "nan" not in text.lower().split()
    assert "None" not in text
    assert all(sentence.rstrip().endswith((".", ":")) for sentence in sentences), sentences
    return text


def test_a_figure_is_written_with_its_interval_or_as_not_measured():
    assert meaning.figure(0.5, 0.4, 0.6) == "0.500 (0.400 to 0.600)"
    assert meaning.figure(1234.5) == "1,234"
    assert meaning.figure(math.nan) == meaning.figure(None) == "not measured"
    assert meaning.figure(0.5, math.nan, 1) == "0.500"
    assert meaning.listed([]) == ""
    assert meaning.listed(range(7)) == "0, 1, 2, 3, 4 and 2 more"


def test_a_fall_on_hand_written_rows_is_told_and_so_is_its_absence():
    drops = lines(("typos, a", 0.1, 0.02, 0.2, 9), ("negation, a", 0.9, 0.7, 0.95, 9))
    text = text_of(
        meaning.of_robustness(0.95, lines(("a", 0.57, 0.5, 0.6, 9)), drops, "a", ACCURACY)
    )
    assert "a falls from 0.950 on test rows to 0.570" in text
    assert "negation costs most: 0.900" in text
    text = text_of(meaning.of_robustness(0.9, lines(("a", 0.92, 0.9, 1, 9)), drops, "a", ACCURACY))
    assert "a holds on hand-written rows" in text
    text = text_of(meaning.of_robustness(5.0, lines(("a", 9.0, 8, 10, 9)), NONE, "a", RMSE))
    assert "a falls from 5.000" in text
    assert "No perturbation was tried" in text


def test_of_no_rows_something_true_is_said():
    empty = pd.DataFrame(columns=["label"], dtype=object)
    assert "Nothing can be measured" in text_of(meaning.of_rows(empty, empty, "no class"))
    assert "no model" in text_of(meaning.of_leaderboard(NONE, ACCURACY, 0.01))
    assert "does not show" in text_of(meaning.of_importances(NONE, "a"))
    assert "No slice" in text_of(meaning.of_slices(NONE, 0.9, ACCURACY))
    assert "fewer than two" in text_of(meaning.of_learning_curve(NONE.assign(rows=0), ACCURACY))
    assert "No label has come" in text_of(
        meaning.of_quality(SimpleNamespace(value=0.9), NONE.assign(kind=""), [], ACCURACY)
    )
    assert "no alarm to explain" in text_of(meaning.of_words(NONE, NONE, True))
    curve = NONE.assign(requests_per_s=1.0)
    assert "Fewer than two levels" in text_of(meaning.of_load(curve))


def test_small_slices_are_inconclusive_and_counted():
    by_slice = pd.DataFrame({"mean": [0.1, 0.2], "size": [15, 300]}, index=["rare", "usual"])
    text = text_of(meaning.of_small_slices(by_slice))
    assert "1 of 2 slices hold under 30 rows (rare)" in text
    assert "inconclusive" in text
    assert meaning.of_small_slices(by_slice[1:]) == []


def test_a_weak_slice_is_named_only_beyond_chance():
    weak = lines(("a", 0.5, 0.4, 0.6, 90), ("b", 0.8, 0.6, 0.95, 12))
    text = text_of(meaning.of_slices(weak, 0.9, ACCURACY))
    assert "a is weak beyond chance" in text
    assert "b holds under 30 rows" in text
    assert "No slice is" in text_of(meaning.of_slices(weak[1:], 0.9, ACCURACY))
    worse = lines(("a", 9, 8, 10, 90))
    assert "a is weak beyond chance" in text_of(meaning.of_slices(worse, 5, RMSE))


@pytest.mark.parametrize("gain", [0.2, 0.0])
def test_a_gain_is_shown_only_where_its_interval_is_above_0(gain):
    frame = lines(("gain", gain, gain - 0.1, gain + 0.1, 9))
    assert ("can pass" in text_of(meaning.of_gain(frame, False))) == (gain > 0.1)


def test_retraining_gains_by_the_metrics_own_sign():
    curve = pd.DataFrame({"labels": [0, 9], "value": [5.0, 4.0]})
    assert "worth its price" in text_of(meaning.of_retraining(curve, RMSE))
    assert "gain nothing" in text_of(meaning.of_retraining(curve, ACCURACY))


@pytest.mark.parametrize("family", ["logistic", "xgboost"])
@pytest.mark.parametrize("kind", ["table", "text"])
def test_importances_are_those_of_the_model(kind, family):
    task = tasks.get({"text": "reviews", "table": "tumours"}[kind])
    model, test = fitted(kind, family), build.part(sample(task.name), "test").head(60)
    table = importances.importances(model, test, task, 0)
    assert list(table.columns) == importances.COLUMNS
    assert (table["low"] <= table["value"] + 1e-9).all()
    assert table["value"].is_monotonic_decreasing
    assert len(table) == 12
    if kind == "table":
        assert set(table["name"]) <= set(task.features)
    text_of(meaning.of_importances(table, family))


def test_a_column_that_matters_is_seen_in_a_model_of_ones_own():
    from sklearn.neighbors import KNeighborsClassifier

    task = tasks.get("tumours")
    data = sample("tumours")
    train, test = build.part(data, "train"), build.part(data, "test")
    only = train[task.features].assign(**dict.fromkeys(task.features[1:], 0.0))
    knn = KNeighborsClassifier().fit(only, train["label"])
    model = build.own_model("mine", knn, train, task)
    zeros = test.assign(**dict.fromkeys(task.features[1:], np.float32(0)))
    table = importances.importances(model, zeros, task, 0)
    assert list(table["name"]) == task.features[:1]


def test_a_log_and_a_column_say_what_they_show():
    frozen = dataclasses.make_dataclass("Plan", ["reason", "learn", "decide"])
    plan = frozen("no alarm", ["a"], ["b"])
    assert "29 labelled rows of a" in text_of(meaning.of_plan(plan, 29))
    text = text_of(meaning.of_column("age", 0.4, 1e-9, 0.5, 400))
    assert "moved much" in text
    assert "more than chance" in text
    assert "that is chance" in text_of(meaning.of_column("age", 0.1, 0.5, 0.4, 14))
    known = pd.DataFrame({"window": ["a", "b"], "rows": [9, 9], "labels": [9, 0]})
    assert "b still waits for labels" in text_of(meaning.of_labels(known))
