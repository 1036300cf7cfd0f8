"""A notebook's record: what is declared is checked when it is recorded and when it is read."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from diptych.core import contract
from diptych.core.contract import RecordError
from diptych.core.evaluation.stats import wilson
from diptych.core.store.records import Record, Recorder, load

STREAM = pd.DataFrame({"id": ["r1"], "window": ["2025-01"]})
SERVED = {
    "requests": 1, "failed": 0, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": np.float64(3.0),
    "service_p50_ms": 1.0, "service_p95_ms": 1.5, "service_p99_ms": 2.0, "queueing_p50_ms": 0.0,
    "requests_per_s": 400.0, "memory_mb": None, "cpu_ms_per_request": 1.0,
}  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of mlops/4_serve in progress."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    return Recorder(folder, "mlops/4_serve", {"task": "reviews"})


@pytest.fixture
def foreign(run):
    """A run of a notebook that has no contract."""
    return Recorder(run.folder, "mine/stage", {})


def complete(run):
    run.note(parameters={"concurrency": 16}, name="reviews", version=3, endpoint="r")
    run.save("stream", STREAM)
    run.save("load_curve", pd.DataFrame(columns=list(contract.LOAD_CURVE.columns)))
    return run.conclude(**SERVED)


def test_a_run_that_keeps_its_contract_is_read_back(run):
    table = complete(run)
    assert table.set_index("measured").loc["p50_ms", "unit"] == "ms"
    record = load("r")
    assert record.complete
    assert (record.value("p99_ms"), record.fact("version")) == (3.0, 3)
    assert record.parameter("concurrency") == 16
    pd.testing.assert_frame_equal(record.table("stream"), STREAM)


def test_nan_is_recorded_as_not_measured_and_refused_for_a_count(run):
    run.record("p50_ms", float("nan"))
    assert run.values["p50_ms"]["value"] is None
    assert "NaN" not in (run.folder / "result.json").read_text()
    with pytest.raises(RecordError, match="requests: nan is float"):
        run.record("requests", float("nan"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (lambda run: run.record("p50", 1.0), "p50: mlops/4_serve declares no such value. Did you"),
        (lambda run: run.conclude(**SERVED, p90_ms=1.0), "p90_ms: .* Did you mean p9"),
        (lambda run: run.note(versions=3), r"declares no such fact. Did you mean version\?"),
        (lambda run: run.save("streams", STREAM), r"no such table. Did you mean stream\?"),
        (lambda run: run.save("stream", STREAM[["id"]]), "mlops/4_serve lacks window; it has id"),
        (lambda run: run.note(version="3"), "version: '3' is str; mlops/4_serve declares"),
        (lambda run: run.record("failed", 0.5), "failed: 0.5 is float; it is declared as int"),
        (lambda run: run.record("p50_ms", wilson(1, 2)), "declared without an interval"),
        (lambda run: run.record("p50_ms", 1.0, unit="s"), "its unit is declared as 'ms', not 's'"),
        (lambda run: run.conclude(**SERVED), "endpoint, stream, load_curve: mlops/4_serve"),
    ],
)  # fmt: skip
def test_what_is_not_declared_is_not_recorded(run, record, message):
    with pytest.raises(RecordError, match=message):
        record(run)
    stored = run.folder / "result.json"
    assert not stored.exists() or not json.loads(stored.read_text())["complete"]
    assert not run.complete


def test_a_notebook_without_a_contract_records_freely(foreign):
    foreign.note(anything=[1])
    foreign.save("rows", STREAM)
    foreign.record("depth", wilson(1, 2), unit="m")
    foreign.conclude(word="yes")
    assert foreign.value("word") == "yes"
    assert foreign.values["depth"]["unit"] == "m"
    assert foreign.fact("anything") == [1]


@pytest.mark.parametrize(
    ("kind", "undeclared", "missing"),
    [("value", "p50", "p50_ms"), ("fact", "versions", "version"), ("table", "streams", "stream"),
     ("parameter", "windows", "concurrency")],
)  # fmt: skip
def test_what_is_not_there_is_not_read(run, kind, undeclared, missing):
    record = Record(run.folder, run.notebook, {}, facts={"parameters": {}})
    with pytest.raises(RecordError, match=f"{undeclared}: mlops/4_serve declares no such {kind}"):
        getattr(record, kind)(undeclared)
    with pytest.raises(RecordError, match=f"{missing}: run r recorded no such {kind}; it has"):
        getattr(record, kind)(missing)


def test_a_value_of_a_foreign_run_that_is_not_there_is_named(foreign):
    foreign.record("depth", 1.0)
    with pytest.raises(RecordError, match=re.escape("width: run r recorded no such value")):
        foreign.value("width")


def test_no_key_is_in_a_saved_table(foreign, capsys):
    """A compressed table would hide it from the reading of the run's files."""
    key = "ghp_" + "aB3dE6gH9" * 4
    texts = [f"number {i}: {key}" for i in range(100)]
    frame = pd.DataFrame({"text": texts, "number": range(100)})
    frame["kind"] = pd.Categorical([key, "b"] * 50)
    frame["probabilities"] = [{key: 0.5, "other": 0.5}] * 100
    foreign.save("rows", frame.assign(id=[f"SK{i:032x}" for i in range(100)]))
    assert "rows: what looks like a key in text, kind, probabilities" in capsys.readouterr().out
    saved = load("r").table("rows")
    assert saved["id"].nunique() == 100, "rows are paired by their ids"
    assert key not in saved.to_json()
    assert saved["text"].str.contains("redacted").all()
    assert saved["number"].tolist() == list(range(100))
    assert saved["kind"].tolist()[1::2] == ["b"] * 50
    assert frame["text"][0] == texts[0], "the notebook's own table stays"
