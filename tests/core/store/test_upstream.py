"""Which run a stage builds on: the best complete one on the same rows, and it says which."""

import json

import pytest

from diptych.base import workspace
from diptych.core.contract import RecordError
from diptych.core.store import records
from diptych.core.store.upstream import _missing, built_on
from diptych.execution import runs
from diptych.execution.cache import dependencies

TASK = {"task": "reviews", "seed": 0}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))


def add(number, notebook, upstream=None, complete=True, draft=(), facts=(), **values):
    """Write a run as a notebook records it; later numbers are newer."""
    name = f"20260101-0000{number:02d}-{notebook.replace('/', '-')}"
    folder = workspace.runs() / name
    folder.mkdir(parents=True)
    entries = {
        key: {"value": v, "low": None, "high": None, "unit": ""} for key, v in values.items()
    }
    content = {
        "format": runs.FORMAT, "notebook": notebook, "task": TASK, "upstream": upstream,
        "complete": complete, "draft": list(draft), "values": entries, "facts": dict(facts),
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(content))
    return name


@pytest.fixture
def data():
    return add(1, "mlops/1_data", facts={"data_version": 0})


def best():
    return records.find("mlops/2_build", TASK, best="validation")


def test_the_best_of_the_complete_runs_is_taken_and_a_newer_worse_one_is_named(data):
    logistic = add(2, "mlops/2_build", data, validation=0.952, facts={"family": "logistic"})
    baseline = add(3, "mlops/2_build", data, validation=0.5, facts={"family": "baseline"})
    add(4, "mlops/2_build", data, complete=False, draft=["why"], validation=0.99)
    record = best()
    assert record.id == logistic
    line = built_on(record, TASK, "", "validation")
    assert line.startswith(f"Builds on mlops/2_build, run {logistic}, validation 0.952, ")
    assert 'upstream="run id"' in line
    assert f"the best of 2 by validation; the newer run {baseline} had validation 0.5." in line
    assert records.find("mlops/2_build", TASK).id == baseline, "other stages take the latest"


@pytest.mark.parametrize(("metric", "expected"), [("log_loss", 2), ("cost:a>b=5", 2), ("f1", 3)])
def test_of_an_error_or_a_cost_the_lowest_is_the_best(metric, expected):
    data = add(1, "mlops/1_data", facts={"data_version": 0, "metric": metric})
    both = {n: add(n, "mlops/2_build", data, validation=n / 10) for n in (2, 3)}
    assert best().id == both[expected]


def test_figures_are_written_as_people_do(data):
    assert "rows 24,440," in built_on(
        records.load(add(2, "mlops/2_build", data, rows=24440)), TASK, "", ""
    )


def test_why_a_run_is_missing_is_told(data):
    assert _missing("mlops/1_data", TASK) == "No run of mlops/1_data on reviews yet"
    folder = workspace.runs() / data
    content = json.loads((folder / "result.json").read_text())
    content["task"] = TASK | {"source": "before"}
    (folder / "result.json").write_text(json.dumps(content))
    assert _missing("mlops/1_data", TASK | {"source": "now"}).startswith(
        f"reviews has changed since {data};"
    )


def test_a_run_on_other_rows_is_no_candidate(data):
    add(2, "mlops/2_build", data, validation=0.99)
    newer = add(3, "mlops/1_data", facts={"data_version": 1})
    here = add(4, "mlops/2_build", newer, validation=0.7)
    assert best().id == here


def test_a_run_without_the_figure_comes_last(data):
    measured = add(2, "mlops/2_build", data, validation=0.1)
    older = add(3, "mlops/2_build", data)
    assert best().id == measured
    assert f"the newer run {older} recorded no validation." in built_on(
        best(), TASK, "", "validation"
    )


def test_a_better_run_makes_a_linked_one_stale(data):
    add(2, "mlops/2_build", data, validation=0.8)
    use = {"kind": "best", "notebook": "mlops/2_build", "task": TASK, "figure": "validation",
           "data": "mlops/1_data"}  # fmt: skip
    use["found"] = dependencies.look(use)
    assert not dependencies.changed(use)
    add(3, "mlops/2_build", data, validation=0.7)
    assert not dependencies.changed(use)
    add(4, "mlops/2_build", data, validation=0.9)
    assert dependencies.changed(use) == "the best run of mlops/2_build is another one"


def test_a_run_whose_files_were_changed_is_never_built_upon(data):
    run = add(2, "mlops/2_build", data, validation=0.9)
    folder = workspace.runs() / run
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_text("good")
    files = runs.files_digest(folder)
    (folder / "manifest.json").write_text(json.dumps({"cache": {"files": files}}))
    assert records.find("mlops/2_build", TASK, run).id == run
    for name in ("model/weights", "model/more", "result.json"):
        before = (folder / name).read_text() if (folder / name).exists() else None
        (folder / name).write_text(f"{before or ''} ")
        for chosen, figure in (("", ""), ("", "validation"), (run, "")):
            with pytest.raises(RecordError, match=f"files of run {run} were changed after it was"):
                records.find("mlops/2_build", TASK, chosen, figure)
        if before is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(before)
    assert records.find("mlops/2_build", TASK).id == run


def test_a_draft_is_never_built_upon(data):
    draft = add(2, "mlops/2_build", data, complete=False, draft=["`x` ran again"], validation=1.0)
    assert runs.load_run(draft).status == "draft"
    assert runs.best("mlops/2_build", TASK, "validation", "mlops/1_data") is None
    with pytest.raises(RecordError, match=r"is a draft \(`x` ran again\)"):
        records.find("mlops/2_build", TASK, draft)


def test_what_failed_upstream_comes_first():
    with pytest.raises(RecordError) as caught:
        records.find("mlops/1_data", {"task": "tumours", "data_version": 99, "seed": 0})
    first, *rest = str(caught.value).splitlines()
    assert first.startswith("upstream: mlops/1_data failed in cell ")
    assert not [line for line in rest if "--traceback" in line], "a notebook has no options"
    assert "there is no version 99 of tumours" in first
    assert any(line.startswith("The partial notebook is kept: ") for line in rest)
