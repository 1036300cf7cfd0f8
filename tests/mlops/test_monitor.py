"""Monitoring: windows, drift, accuracy before and after the labels, and the alarm."""

import functools

import numpy as np
import pandas as pd
import pytest
from mlops.samples import fitted, sample

from diptych.base import workspace
from diptych.core.data import splits
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.metrics import parse
from diptych.core.store.predictions import Predictions
from diptych.mlops import build, monitor, release, serve
from diptych.mlops.models import model as models

SHIFT = "2025-07"  # the month the datasheet of `reviews` names


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def stream():
    return splits.stream(build.part(sample("reviews"), "live"), count=6, most=250, seed=0)


@pytest.fixture(scope="module")
def windows(stream):
    return stream.set_index("id")["window"]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A model with its reference, as the release stage leaves it."""
    model = fitted("text", "logistic")
    folder = model.save(tmp_path_factory.mktemp("released"))
    release.add_reference(model, folder, build.part(sample("reviews"), "test"), seed=0)
    return model, monitor.reference(folder)


@functools.cache  # most tests ask the same
def predicted(texts: tuple) -> np.ndarray:
    return fitted("text", "logistic").predict_proba(list(texts))


def answer(model, rows: pd.DataFrame, endpoint: str) -> None:
    """Write to the ledger what the endpoint writes when these rows reach it."""
    inputs = models.rows_of(rows, model.kind, model.features)
    asked_often = model is fitted("text", "logistic")
    probabilities = predicted(tuple(inputs)) if asked_often else model.predict_proba(inputs)
    inputs = inputs if model.kind == "text" else inputs.tolist()
    with Predictions(workspace.ledger_path()) as ledger:
        ledger.log(
            {
                "endpoint": endpoint,
                "model": "reviews/1",
                "row_id": row_id,
                "input": given,
                "prediction": model.classes[shares.argmax()],
                "probability": shares.max(),
                "probabilities": shares.tolist(),
                "latency_ms": 1.0,
            }
            for row_id, given, shares in zip(rows["id"], inputs, probabilities, strict=True)
        )


def served(released, stream, windows, delay: int = 0) -> pd.DataFrame:
    answer(released[0], stream, "serve")
    monitor.add_labels("serve", sample("reviews"), windows, delay, "label")
    return serve.log("serve")


def test_a_window_is_a_month_in_the_order_of_time(stream):
    assert stream["window"].tolist() == stream["time"].dt.strftime("%Y-%m").tolist()
    assert stream["time"].is_monotonic_increasing
    assert stream["window"].nunique() == 12
    assert stream["window"].value_counts().max() == 250
    assert stream["id"].is_unique


def test_rows_without_time_come_in_equal_batches():
    live = build.part(sample("tumours"), "live")
    found = splits.stream(live, count=5, most=10_000, seed=0)
    assert sorted(found["id"]) == sorted(live["id"])
    sizes = found.groupby("window").size()
    assert list(sizes.index) == [f"batch {i:02d}" for i in range(1, 6)]
    assert sizes.max() - sizes.min() <= 1
    assert found["window"].is_monotonic_increasing
    # by chance, not in the order of the ids
    assert not found["id"].is_monotonic_increasing


def test_the_stream_is_seeded():
    live = build.part(sample("tumours"), "live")
    one, same, other = (splits.stream(live, 3, 10, seed)["id"].tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_no_live_rows_are_said():
    with pytest.raises(ValueError, match="no live rows"):
        splits.stream(sample("tumours").head(0), 3, 10, 0)


def test_texts_are_described_by_how_they_are_written():
    found = monitor.describe_texts(["Good food!", "", "XYZ zq"], {"good", "food", "!"})
    assert found["words"].tolist() == [2, 0, 2]
    assert found["unknown words"].tolist() == [0, 0, 1]
    assert found["exclamations"].tolist() == [1, 0, 0]
    np.testing.assert_allclose(found["capitals"], [1 / 10, 0, 3 / 6])


def test_no_column_of_a_table_is_hidden_by_what_is_added():
    model = fitted("table", "logistic")
    own = models.Model(
        **{**vars(model), "features": ["confidence", "prediction", *model.features[2:]]}
    )
    rows = models.rows_of(build.part(sample("tumours"), "test"), "table", model.features)
    found = monitor.describe(own, rows)
    assert found.shape[1] == len(own.features) + 2
    np.testing.assert_array_equal(found["confidence"], rows[:, 0])
    assert set(found["model prediction"]) <= set(model.classes)


def test_the_alarm_rings_in_the_shifted_months_and_not_before(released, stream, windows):
    log = served(released, stream, windows)
    seen = monitor.watch(*released, log, windows, "label")
    months = sorted(set(windows))
    assert seen.drift["window"].tolist() == months
    assert seen.alarmed == [month for month in months if month >= SHIFT]
    assert seen.first_alarm == SHIFT
    assert list(seen.scores.columns) == months
    # above 1 is an alarm, feature by feature
    assert ((seen.scores > 1).any() == seen.drift.set_index("window")["alarm"]).all()
    assert "unknown words" in seen.scores.index[seen.scores[SHIFT] > 1]


def test_true_accuracy_is_that_of_the_labels(released, stream, windows):
    log = served(released, stream, windows)
    accuracy = monitor.watch(*released, log, windows, "label").quality.table()
    for month in ("2025-02", "2025-09"):
        rows = stream[stream["window"] == month]
        own = accuracy[accuracy["window"] == month].set_index("kind")
        scores = build.evaluate(released[0], rows, "label")
        true = scores.accuracy
        assert own.loc["true", ["value", "low", "high", "n"]].tolist() == [
            true.value, true.low, true.high, true.n,
        ]  # fmt: skip
        assert own.loc["estimated", "value"] == pytest.approx(scores.confidence.mean())


def test_the_estimate_holds_before_the_shift_and_misleads_after(released, stream, windows):
    log = served(released, stream, windows)
    found = monitor.watch(*released, log, windows, "label").quality.before_and_since(SHIFT)
    for when, holds in (("before alarm", True), ("since alarm", False)):
        estimated, true = found[f"estimated score {when}"], found[f"true score {when}"]
        assert (true.low <= estimated.value <= true.high) == holds, found
    assert estimated.value > true.high


def test_late_labels_leave_the_last_windows_without_truth(released, stream, windows):
    log = served(released, stream, windows, delay=3)
    accuracy = monitor.watch(*released, log, windows, "label").quality.table()
    months = sorted(set(windows))
    by_kind = accuracy.groupby("kind")["window"].agg(list)
    assert by_kind["estimated"] == months
    assert by_kind["true"] == months[:-3]
    falls = monitor.watch(*released, log, windows, "label").quality.falls(held_out(), 0.02)
    assert monitor.alarmed(falls)[0] in months[:-3]


@pytest.mark.parametrize("delay", [12, 20])
def test_a_delay_as_long_as_the_stream_leaves_no_truth(released, stream, windows, delay):
    log = served(released, stream, windows, delay)
    assert log["label"].isna().all()
    seen = monitor.watch(*released, log, windows, "label")
    assert set(seen.quality.table()["kind"]) == {"estimated"}
    assert seen.first_alarm == SHIFT


def test_labels_that_come_later_are_joined(released, stream, windows):
    log = served(released, stream, windows, delay=3)
    before = log["label"].notna().sum()
    monitor.add_labels("serve", sample("reviews"), windows, 0, "label")
    after = serve.log("serve")["label"]
    assert before < after.notna().sum() == len(stream)


def test_a_row_without_a_label_gets_none(stream, windows):
    data = sample("reviews")
    missing = stream["id"].iloc[0]
    answer(fitted("text", "baseline"), stream.head(3), "serve")
    monitor.add_labels("serve", data[data["id"] != missing], windows, 0, "label")
    log = serve.log("serve").set_index("row_id")
    assert log["label"].isna().tolist() == [row == missing for row in log.index]


def test_strangers_and_failures_in_the_log_are_left_out(released, stream, windows):
    answer(released[0], stream, "serve")
    answer(released[0], stream.head(5).assign(id=[f"stranger-{i}" for i in range(5)]), "serve")
    failed = {"row_id": stream["id"].iloc[0], "input": "x", "status": "failed"}
    with Predictions(workspace.ledger_path()) as ledger:
        ledger.log([{"endpoint": "serve", "model": "reviews/1", **failed}])
    log = serve.log("serve")
    assert len(log) == len(stream) + 6
    seen = monitor.watch(*released, log, windows, "label")
    assert seen.drift["n"].sum() == len(stream)


def held_out():
    """Return the test rows as the released model answers them."""
    rows = build.part(sample("reviews"), "test")
    return build.evaluate(fitted("text", "logistic"), rows, "label").rows


def test_a_fall_of_the_metric_is_an_alarm_of_its_own(released, stream, windows):
    log = served(released, stream, windows)
    for metric in ("accuracy", "f1:positive", "average_precision:positive", "brier"):
        scoring = Scoring(metric=parse(metric))
        quality = monitor.watch(*released, log, windows, scoring).quality
        rows = build.evaluate(released[0], build.part(sample("reviews"), "test"), scoring).rows
        falls = quality.falls(rows, 0.02)
        fell = monitor.alarmed(falls)
        assert SHIFT <= fell[0] <= "2025-08", metric
        assert f"{quality.metric.title} fell" in quality.findings(falls, 0.02)
        assert set(quality.table()["kind"]) == {"true", *["estimated"] * (metric == "accuracy")}


def test_an_empty_log_is_said(released, windows):
    with pytest.raises(ValueError, match="run mlops/4_serve"):
        monitor.watch(*released, serve.log("nobody"), windows, "label")


def test_a_window_of_one_row_is_watched(released, stream, windows):
    few = pd.concat([stream.head(30), stream.tail(1)])
    log = served(released, few, windows)
    accuracy = monitor.watch(*released, log, windows, "label").quality.table()
    last = accuracy[accuracy["window"] == few["window"].iloc[-1]]
    assert last["kind"].tolist() == ["true"]
    assert last["n"].tolist() == [1]


def test_tables_are_watched_by_their_own_columns(tmp_path):
    model = fitted("table", "logistic")
    folder = model.save(tmp_path / "model")
    data = sample("tumours")
    release.add_reference(model, folder, build.part(data, "test"), seed=0)
    stream = splits.stream(build.part(data, "live"), 2, 1_000, 0)
    moved = stream["window"] == "batch 02"
    stream.loc[moved, "mean_texture"] += 40
    answer(model, stream, "serve")
    windows = stream.set_index("id")["window"]
    seen = monitor.watch(model, monitor.reference(folder), serve.log("serve"), windows, "label")
    assert seen.alarmed == ["batch 02"]
    assert seen.drift.set_index("window").loc["batch 02", "worst"] == "mean_texture"


def test_new_words_are_those_whose_share_grew():
    before = pd.DataFrame({"text": ["the food was good"] * 50})
    log = pd.DataFrame({"input": ["the boss fight was good"] * 20 + ["a typo"] * 2})
    found = monitor.new_words(log, before)
    assert set(found["word"].head(2)) == {"boss", "fight"}
    assert found.set_index("word").loc["boss"].tolist() == [20, 0]
    # nine times is too few to say anything
    assert "typo" not in set(found["word"])


def test_a_common_word_that_grew_a_little_comes_after_a_rare_one_that_grew_much():
    before = pd.DataFrame(
        {"text": ["on and on"] * 900 + ["loot of food"] * 2 + ["a b c d e"] * 900}
    )
    log = pd.DataFrame({"input": ["on and on"] * 600 + ["loot of food"] * 20 + ["a b c d e"] * 300})
    found = monitor.new_words(log, before)["word"].tolist()
    assert found.index("loot") < found.index("on")


def test_tables_and_quiet_times_have_no_new_words():
    texts = pd.DataFrame({"text": ["a b"]})
    nothing = pd.DataFrame({"input": pd.Series([], dtype=object)})
    assert monitor.new_words(nothing, texts).empty
    assert monitor.new_words(pd.DataFrame({"input": [[1.0]]}), pd.DataFrame({"x": [1.0]})).empty
    assert monitor.new_words(pd.DataFrame({"input": ["", "?"]}), texts).empty
