"""The left panel end to end: real kernels, a real server, a real registry, and the contrast."""

import shutil

import pytest
from processes import end_servers

from diptych.base import workspace
from diptych.core.store.records import load
from diptych.execution.cache import entries
from diptych.execution.notebooks import find_notebook
from diptych.execution.runner import prepare, run_notebook
from diptych.execution.runs import find_runs
from diptych.mlops.registry import ModelRegistry
from diptych.reporting.scenario import report


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    yield
    end_servers(tmp_path / "home")


LEFT = """
title: Tumours
question: Benign or malignant?
files: [tasks/tumours]
parameters: [trials=1, load_rounds=2, "levels=[1, 8]"]
notebooks: [mlops/1_data, mlops/2_build, mlops/3_release, mlops/4_serve, mlops/5_monitor,
            mlops/6_improve, llmops/1_data]
"""


@pytest.mark.long  # each of its notebooks is run and compared on its own, see `conftest.py`
def test_the_left_panel_runs_from_data_to_retraining(tmp_path):
    (tmp_path / "structured.yaml").write_text(LEFT)
    page = report([str(tmp_path / "structured.yaml")], site=tmp_path / "site", progress=False)
    assert page.exists()
    runs = {run.notebook: run for run in find_runs()}
    assert len(runs) == 8
    assert all(run.status == "ok" for run in runs.values())
    built = runs["mlops/2_build"].result["values"]
    best = max(v["value"] for name, v in built.items() if name.startswith("accuracy of"))
    assert best >= 0.95
    assert runs["mlops/4_serve"].result["values"]["failed"]["value"] == 0
    assert runs["mlops/5_monitor"].result["upstream"] == runs["mlops/4_serve"].id
    contrast = runs["contrast"].result["values"]
    assert contrast["structured, MLOps"]["value"] == 0  # the other panel was not run
    assert contrast["structured, not measured"]["value"] > 0
    assert runs["mlops/4_serve"].id in runs["contrast"].manifest["parameters"]["runs"][3]
    assert {"contrast.html", "contrast-run.html"} <= {p.name for p in page.parent.iterdir()}
    history = ModelRegistry("tumours").history()
    assert len(history) == 0 or (history["who"] != "").all()
    _an_unchanged_report_runs_and_writes_nothing(page, tmp_path)
    _a_stage_whose_state_is_gone_is_not_linked(runs)


def _an_unchanged_report_runs_and_writes_nothing(page, tmp_path):
    before, written = [run.id for run in find_runs()], page.stat().st_mtime_ns
    own = str(tmp_path / "structured.yaml")
    assert report([own], site=tmp_path / "site", progress=False) == page
    assert [run.id for run in find_runs()] == before
    assert page.stat().st_mtime_ns == written


def _a_stage_whose_state_is_gone_is_not_linked(runs):
    def why(name):
        run = runs[f"mlops/{name}"]
        given = run.manifest["parameters"]
        found = entries.find(prepare(run.notebook, (), given), workspace.runs())
        assert (found.run is None) == bool(found.why)
        return found.why

    stages = ("1_data", "2_build", "3_release", "4_serve", "5_monitor", "6_improve")
    assert not any(map(why, stages))
    workspace.ledger_path().rename(workspace.home() / "away.db")
    for suffix in ("-wal", "-shm"):
        workspace.ledger_path().with_name(f"ledger.db{suffix}").unlink(missing_ok=True)
    gone = "ledger.db no longer holds"
    assert [gone in why(name) for name in ("2_build", "4_serve", "5_monitor")] == [
        False,
        True,
        True,
    ]
    shutil.rmtree(workspace.home() / "mlartifacts")
    assert "mlartifacts" in why("3_release")
    shutil.rmtree(workspace.tables())
    assert why("1_data") == "the data table tumours is not what it was"


def test_an_unchanged_report_of_two_stages_runs_and_writes_nothing(tmp_path):
    """As of the whole panel above."""
    stages = "title: Tumours\nquestion: Benign?\nfiles: [tasks/tumours]\nparameters: [trials=1]\n"
    (tmp_path / "structured.yaml").write_text(f"{stages}notebooks: [mlops/2_build]\n")
    page = report([str(tmp_path / "structured.yaml")], site=tmp_path / "site", progress=False)
    runs = {run.notebook: run.status for run in find_runs()}
    assert runs == dict.fromkeys(["mlops/1_data", "mlops/2_build", "contrast"], "ok")
    _an_unchanged_report_runs_and_writes_nothing(page, tmp_path)


def test_bare_papermill_runs_a_notebook_and_it_makes_the_runs_it_lacks(tmp_path):
    from papermill import execute_notebook

    execute_notebook(
        str(find_notebook("mlops/2_build")),
        str(tmp_path / "out.ipynb"),
        {"task": "tumours", "family": "logistic", "trials": 1},
        progress_bar=False,
    )
    runs = {run.notebook: run.result for run in find_runs()}
    assert set(runs) == {"mlops/1_data", "mlops/2_build"}
    assert runs["mlops/2_build"]["complete"]
    made = load(runs["mlops/2_build"]["upstream"])
    assert made.notebook == "mlops/1_data"
    assert made.task["task"] == "tumours"


@pytest.mark.long
def test_summaries_go_through_both_panels_over_the_same_rows():
    few = {"task": "summaries", "rows": 16, "validation_rows": 4, "shots": [0], "repeats": 1}
    run_notebook("mlops/1_data", (), {"task": "summaries"}, progress=False)
    run_notebook("mlops/2_build", (), {"task": "summaries", "trials": 1}, progress=False)
    run = run_notebook("llmops/2_build", (), few, progress=False)
    values = run.result["values"]
    ranked = values["accuracy of ranker (MLOps)"]["value"]
    assert ranked > values["accuracy of lead (MLOps)"]["value"]
    assert values["faithful, ranker (MLOps)"]["value"] == 1
    assert 0 < values["accuracy of one_line"]["value"] < 1
    assert "accuracy drop under typos, ranker (MLOps)" in values
