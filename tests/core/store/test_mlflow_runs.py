"""The runs stand in MLflow's store: parameters, numbers, tags; none twice, drafts by name."""

import json

import pytest
from base.test_secret_shapes import KEYS

from diptych.core.store import mlflow_runs, registry
from diptych.mlops.registry import ModelRegistry


@pytest.fixture
def home(tmp_path, monkeypatch, mlflow_tables):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    mlflow_tables(tmp_path / "home")
    return tmp_path / "home"


def keep(home, run_id, value, draft=(), trials=2):
    folder = home / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "accuracy of x (1)": {"value": value, "low": 0.1, "high": 0.9},
        "note": {"value": "a"},
    }
    content = {
        "format": 2, "notebook": "mlops/2_build", "task": {"task": "reviews"}, "values": values,
        "complete": not draft, "draft": list(draft), "upstream": "before",
        "facts": {"parameters": {"task": "reviews", "trials": trials, "long": "x" * 9000}},
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(content))


def stored():
    client = registry.open_client()
    experiment = client.get_experiment_by_name("notebook mlops/2_build")
    runs = client.search_runs([experiment.experiment_id])
    return {run.data.tags["diptych.run"]: run for run in runs}


def test_runs_are_copied_once_and_a_status_follows(home):
    keep(home, "20260101-000000-a", 0.5)
    keep(home, "20260102-000000-b", 0.7, draft=["trials changed"], trials=5)
    assert mlflow_runs.update() == 2
    first = stored()["20260101-000000-a"]
    assert first.data.metrics == {"accuracy of x _1_": 0.5}
    assert first.data.params["trials"] == "2"
    assert len(first.data.params["long"]) == 6000
    assert first.data.tags["diptych.status"] == "ok"
    assert first.data.tags["diptych.task"] == "reviews"
    assert first.data.tags["diptych.upstream"] == "before"
    assert first.info.run_name == "20260101-000000-a"
    assert stored()["20260102-000000-b"].data.tags["diptych.status"] == "draft"
    keep(home, "20260102-000000-b", 0.7, trials=5)
    keep(home, "20260103-000000-c", 0.9)
    assert mlflow_runs.update() == 1
    assert stored()["20260102-000000-b"].data.tags["diptych.status"] == "ok"
    assert len(stored()) == 3


def test_the_command_opens_the_store_of_the_workspace(home):
    command = mlflow_runs.ui_command(5001)
    assert f"sqlite:///{home / 'mlflow.db'}" in command
    assert command[-1] == "5001"


def test_no_key_comes_into_the_store(home, tmp_path):
    """What an older run holds, and what a release would log, of every shape."""
    text = " ".join(KEYS.values())
    keep(home, "20260101-000000-a", 0.5, trials=text)
    mlflow_runs.update()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.txt").write_text("a")
    ModelRegistry("reviews").register(tmp_path / "model", {"note": text}, {}, "run")
    stored = (home / "mlflow.db").read_bytes()
    assert b"[redacted]" in stored
    assert [key for key in KEYS.values() if key.encode() in stored] == []
