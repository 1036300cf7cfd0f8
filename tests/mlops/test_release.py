"""Release: what the gate is told is measured, and a model that lost a slice is refused."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from mlops.samples import TASKS, fitted, sample
from sklearn.metrics import accuracy_score

from diptych.core.data import tasks
from diptych.core.evaluation.gate import Limits, decide
from diptych.core.monitoring.drift import compare_profiles
from diptych.mlops import build, monitor, release
from diptych.mlops.models import model as models

LOOSE = Limits(floor=0.5, max_calibration_error=0.5, max_latency_ms=None, max_size_mb=50)


@pytest.fixture(scope="module")
def test_rows():
    return build.part(sample("tumours"), "test")


@pytest.fixture(scope="module")
def champion(tmp_path_factory):
    model = fitted("table", "logistic")
    return model, model.save(tmp_path_factory.mktemp("champion"))


def spoilt(slice_: str):
    """Return a model that learnt one slice of the tumours with its labels turned round."""
    task = tasks.get("tumours")
    train = build.part(sample("tumours"), "train").copy()
    turned = {"benign": "malignant", "malignant": "benign"}
    here = train["slice"] == slice_
    train.loc[here, "label"] = train.loc[here, "label"].map(turned)
    return models.fit(
        build.task_rows(train, task),
        train["label"],
        family="xgboost",
        kind="table",
        features=task.features,
        parameters={"rounds": 30},
    )


def test_a_candidate_is_measured_on_the_rows(champion, test_rows):
    model, folder = champion
    found = release.measure("new", model, folder, test_rows, "label")
    scores = build.evaluate(model, test_rows, "label")
    assert found.name == "new"
    assert str(found.score) == str(scores.accuracy)
    assert found.calibration_error == scores.calibration_error
    assert found.size_mb == sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    assert set(found.slices) == {"small", "medium", "large"}
    assert sum(part.n for part in found.slices.values()) == len(test_rows)
    assert 0 < found.latency_p95_ms < np.inf


def test_rows_of_one_slice_have_no_slices(champion, test_rows):
    found = release.measure("new", *champion, test_rows.assign(slice="all"), "label")
    assert found.slices == {}


def test_a_model_may_follow_one_as_good_but_not_itself(champion, test_rows):
    measured = release.measure("new", *champion, test_rows, "label")
    decision = decide(measured, dataclasses.replace(measured, digest="of another"), LOOSE)
    assert decision.promoted, decision.reason
    assert "It is the champion" in decide(measured, measured, LOOSE).reason


def test_a_candidate_that_lost_a_slice_is_refused_and_the_slice_named(
    champion, test_rows, tmp_path
):
    model = spoilt("small")
    new = release.measure("new", model, model.save(tmp_path), test_rows, "label")
    old = release.measure("old", *champion, test_rows, "label")
    # the overall loss is waived, so that only the slice can speak
    limits = Limits(
        floor=None, max_calibration_error=None, max_latency_ms=None, max_size_mb=None, margin=1.0
    )
    decision = decide(new, old, limits)
    failed = decision.checks.loc[decision.checks["status"] == "fail", "rule"].tolist()
    assert failed == ["slice small"]
    assert not decision.promoted
    assert "On small, new minus old is -" in decision.reason


def test_a_candidate_below_the_floor_is_refused(test_rows, tmp_path):
    model = fitted("table", "baseline")
    measured = release.measure("new", model, model.save(tmp_path), test_rows, "label")
    limits = Limits(floor=0.85, max_calibration_error=1, max_latency_ms=None, max_size_mb=None)
    assert "misses 0.85" in decide(measured, None, limits).reason


def test_a_model_too_large_is_refused(champion, test_rows):
    measured = release.measure("new", *champion, test_rows, "label")
    limits = Limits(floor=None, max_calibration_error=None, max_latency_ms=None, max_size_mb=0.0001)
    assert decide(measured, None, limits).reason.startswith("new is refused. The size is")


@pytest.mark.parametrize("kind", models.FAMILIES)
def test_latency_is_of_any_kind_of_row(kind):
    model = fitted(kind, "logistic")
    rows = build.part(sample(TASKS[kind]), "test")
    assert 0 < release.latency_p95(model, rows, calls=5) < np.inf


@pytest.mark.parametrize("kind", ["text", "table"])
def test_the_reference_goes_with_the_model_and_rows_like_it_do_not_alarm(kind, tmp_path):
    model = fitted(kind, "logistic")
    folder = model.save(tmp_path)
    rows = build.part(sample(TASKS[kind]), "test")
    release.add_reference(model, folder, rows, seed=0)
    models.load(folder)  # the reference is no part of the model's own files
    described = monitor.describe(model, models.rows_of(rows, kind, model.features))
    table = compare_profiles(monitor.reference(folder), described)
    assert set(table["feature"]) == set(described.columns)
    assert not table["drifted"].any()
    assert (table["shift"] < 1e-9).all()
    json.loads((folder / "reference.json").read_text("utf-8"))


def test_the_card_says_what_a_reader_must_know(champion, test_rows):
    model, folder = champion
    decision = decide(release.measure("new", model, folder, test_rows, "label"), None, LOOSE)
    card = release.card(model, decision, {"data": "tumours, version 0"})
    for words in ("logistic", "benign, malignant", "tumours, version 0", decision.reason):
        assert words in card
    assert all(line.startswith("- **") for line in card.splitlines())


def test_the_card_has_the_threshold_and_the_metric_by_group(champion, test_rows):
    model, folder = champion
    model = dataclasses.replace(model, positive="malignant", threshold=0.25)
    group = np.where(np.arange(len(test_rows)) % 2, "odd", "even")
    groups = pd.DataFrame({"parity": group}, index=pd.Index(test_rows["id"], name="id"))
    measured = release.measure("new", model, folder, test_rows, "label", groups)
    card = release.card(model, decide(measured, None, LOOSE), {}, measured.by_group(groups))
    assert "malignant from the probability 0.250 on" in card
    odd = measured.rows.take(group == "odd")
    share = accuracy_score(odd.truth, odd.predicted)
    assert f"| parity odd | {share:.3f} (" in card
    assert "| slice " in card  # the task's slices
    gap = abs(share - accuracy_score(*both(measured.rows.take(group == "even"))))
    assert measured.gaps["parity"].value == pytest.approx(gap)


def both(rows):
    return rows.truth, rows.predicted
