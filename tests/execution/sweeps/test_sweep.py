"""Sweeps: real points where processes matter, an engine without a kernel where only order does."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest
from base.test_secret_shapes import IN_CONTEXT, KEYS
from disk import Disk
from execution.conftest import note_nothing

from diptych.base import workspace
from diptych.base.errors import NotebookFailed, ParameterError
from diptych.execution.runs import find_runs
from diptych.execution.sweeps import reports
from diptych.execution.sweeps.search_space import plan_sweep
from diptych.execution.sweeps.sweep import _as_text, sweep

PATIENCE = 180  # seconds, for a process to come to a point; a machine may be busy


class Bowl:
    """An engine that records how deep a bowl is at x, and fails where told to."""

    name = ""

    def __init__(self, bad=()):
        self.bad, self.seen = bad, []

    def execute(self, notebook, output, parameters, *, environment, cwd, on_cell):
        given = {"x": 0, "y": 0.0, "effort": 1, **parameters}
        self.seen.append((given["x"], given["effort"]))
        output.write_text(notebook.read_text())
        note_nothing(Path(environment["DIPTYCH_RUN"]))
        if given["x"] in self.bad:
            raise NotebookFailed(3, "ValueError", f"x = {given['x']} is bad", "")
        depth = (given["x"] - 3) ** 2 + abs(given["y"]) + 1 / given["effort"]
        value = {"value": depth, "low": depth - 1, "high": depth + 1, "unit": ""}
        content = {"complete": True, "values": {"depth": value}}
        with open(os.path.join(environment["DIPTYCH_RUN"], "result.json"), "w") as file:
            json.dump(content, file)


@pytest.fixture
def bowl(notebooks):
    """Return a function that sweeps the bowl."""

    def bowl(grid=("x=0..4",), engine=None, workers=1, given=(), **options):
        options = {"metric": "depth", "minimize": True} | options
        found = plan_sweep(notebooks / "bowl.ipynb", (), given, grid, **options)
        return sweep(found, engine=engine, workers=workers, progress=False)

    return bowl


def table(result):
    with open(result.folder / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_point_is_run_and_ranked(bowl):
    result = bowl(["x=0..4", "y=0.0,0.5"], Bowl())
    assert len(result.trials) == 10
    assert result.ranked[0].point == {"x": 3, "y": 0.0}
    assert [t.value for t in result.ranked] == sorted(t.value for t in result.trials)
    rows = table(result)
    assert [int(row["number"]) for row in rows] == list(range(10))
    assert rows[7] == {
        "number": "7", "x": "3", "y": "0.5", "status": "ok", "depth": "1.5",
        "depth_low": "0.5", "depth_high": "2.5", "seconds": rows[7]["seconds"],
        "run": rows[7]["run"], "error": "",
    }  # fmt: skip
    stored = pyarrow.parquet.read_table(result.folder / "results.parquet").to_pylist()
    assert [row["depth"] for row in stored] == [float(row["depth"]) for row in rows]
    facts = json.loads((result.folder / "sweep.json").read_text())
    assert facts["best"]["x"] == 3
    assert facts["grid"] == {"x": [0, 1, 2, 3, 4], "y": [0.0, 0.5]}
    assert find_runs() == [], "a later stage would take a point for the latest run"
    assert len(find_runs(root=result.folder / "runs")) == 10


def test_the_greatest_is_best_unless_told_otherwise(bowl):
    result = bowl(engine=Bowl(), minimize=False)
    assert result.ranked[0].point == {"x": 0}


def test_failures_are_listed_and_stop_nothing(bowl):
    result = bowl(engine=Bowl(bad=(1, 3)))
    assert [t.point["x"] for t in result.failed] == [1, 3]
    assert result.failed[0].error == "ValueError: x = 1 is bad"
    assert [t.point["x"] for t in result.ranked] == [2, 4, 0]
    assert (result.folder / "runs" / result.failed[0].run / "notebook.ipynb").exists()


def test_a_metric_that_is_not_recorded_fails_the_points_and_names_the_nearest(bowl):
    result = bowl(engine=Bowl(), metric="dept")
    assert len(result.failed) == 5
    assert "Did you mean depth?" in result.failed[0].error
    assert not bowl(engine=Bowl(), metric="").failed


def test_a_sweep_that_was_stopped_goes_on(bowl):
    class Stopped(Bowl):
        def execute(self, *args, **kwargs):
            if len(self.seen) == 3:
                raise KeyboardInterrupt
            super().execute(*args, **kwargs)

    with pytest.raises(KeyboardInterrupt):
        bowl(engine=Stopped())
    (folder,) = (workspace.home() / "sweeps").iterdir()
    with open(folder / "results.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3, "what was done is not kept"
    engine = Bowl()
    result = bowl(["x=0..6"], engine)
    assert [x for x, _ in engine.seen] == [3, 4, 5, 6]
    assert [t.status for t in result.trials] == ["linked"] * 3 + ["ok"] * 4
    assert len(find_runs(root=result.folder / "runs")) == 7, "linked points are not in the folder"


def test_halving_gives_effort_to_the_best(bowl):
    engine = Bowl(bad=(2,))
    result = bowl(["x=-4..4"], engine, halving="effort=1,3,9")
    rungs = [sorted(x for x, effort in engine.seen if effort == level) for level in (1, 3, 9)]
    assert rungs == [list(range(-4, 5)), [1, 3, 4], [3]], "a third, and a third of these"
    assert result.ranked[0].point == {"x": 3, "effort": 9}
    assert len(result.ranked) == 1, "points of different effort are compared"


def test_halving_with_nothing_left_ends(bowl):
    result = bowl(["x=1,2"], Bowl(bad=(1, 2)), halving="effort=1,3")
    assert len(result.trials) == len(result.failed) == 2


def test_workers_share_the_cores_and_one_that_dies_is_replaced(notebooks, home, tmp_path):
    """Real kernels: one worker is killed in the middle of a point, and nothing is lost."""
    command = [sys.executable, "-m", "diptych", "sweep", str(notebooks / "bowl.ipynb"),
               "--grid", "x=2,3,4", "-p", f"gate={tmp_path}", "-p", "bad=4", "--workers", "2",
               "--metric", "depth", "--minimize", "--engine", "papermill"]  # fmt: skip
    environment = {**os.environ, "DIPTYCH_HOME": str(home)}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.pop(name, None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment)  # fmt: skip
    running(tmp_path, process, points=2)
    workers = [child for child in psutil.Process(process.pid).children()
               if "spawn_main" in " ".join(child.cmdline())]  # fmt: skip
    os.kill(workers[0].pid, signal.SIGKILL)
    (tmp_path / "open").write_text("")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert "failed: x=4: ValueError: x = 4 is bad" in err
    assert "best: depth 1 at x=3" in err
    (folder,) = (home / "sweeps").iterdir()
    assert out.strip() == str(folder / "index.html")
    runs = {run.manifest["parameters"]["x"]: run for run in find_runs(root=folder / "runs")}
    assert {x: run.status for x, run in runs.items()} == {2: "ok", 3: "ok", 4: "failed"}
    share = max(1, len(os.sched_getaffinity(0)) // min(2, len(os.sched_getaffinity(0))))
    assert runs[2].result["values"]["threads"]["value"] == str(share)
    assert runs[2].result["values"]["engine"]["value"] == "papermill"
    page = (folder / "index.html").read_text()
    assert "x = 4 is bad" in page
    assert f"runs/{runs[3].id}/notebook.html" in page


def running(gate, process, points):
    """Wait until so many points are under way."""
    deadline = time.monotonic() + PATIENCE
    while len(list(gate.glob("*-*"))) < points:
        if time.monotonic() > deadline or process.poll() is not None:
            (gate / "open").write_text("")
            process.kill()
            raise AssertionError(f"the points never ran: {process.communicate()[1]}")
        time.sleep(0.05)


def test_each_point_gets_a_stable_path_and_the_index_lists_them(bowl, tmp_path):
    result = bowl(["x=1,2"], Bowl())
    template = "bowl/{x}"
    reports.check(result.plan, template)
    index = reports.publish(result, template, tmp_path / "reports")
    for trial in result.trials:
        place = tmp_path / "reports" / "bowl" / str(trial.point["x"]) / "latest"
        assert place.resolve().name == trial.run
        assert f"bowl/{trial.point['x']}/latest/notebook.html" in index.read_text()


def test_a_name_that_does_not_tell_points_apart_is_refused(bowl):
    plan = bowl(["x=1,2"], Bowl()).plan
    with pytest.raises(ParameterError, match="are both fixed"):
        reports.check(plan, "fixed")


def test_a_spreadsheet_computes_nothing_of_a_sweeps_table():
    evil = ["=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1"]
    assert [_as_text(text) for text in evil] == [f"'{text}" for text in evil]
    plain = ["-1.5", "+3", "north", "a=b", -1.5, None, True, "-inf"]
    assert [_as_text(value) for value in plain] == plain


class Leak(Bowl):
    """An engine that records what it must not, and fails with it."""

    def execute(self, notebook, output, parameters, *, environment, cwd, on_cell):
        output.write_text(notebook.read_text())
        note_nothing(Path(environment["DIPTYCH_RUN"]))
        texts = [*KEYS.values(), *(text.format(key) for text, key in IN_CONTEXT.values())]
        values = {f"text {i}": {"value": text} for i, text in enumerate(texts)}
        content = {"complete": True, "values": values, "seconds": 0.1874659123}
        with open(os.path.join(environment["DIPTYCH_RUN"], "result.json"), "w") as file:
            json.dump(content, file)
        raise NotebookFailed(3, "ValueError", " ".join(texts), "")


def test_no_key_comes_into_the_tables_of_a_sweep(bowl, monkeypatch):
    """Every shape of a key, recorded and in an error, in CSV, Parquet and JSON."""
    monkeypatch.setenv("THE_PASSWORD", "74659123")  # stands in a number, too
    result = bowl(("x=0,1",), Leak())
    assert len(result.failed) == 2
    assert len(find_runs(root=result.folder / "runs")) == 2
    written = [
        (result.folder / "results.csv").read_text(),
        (result.folder / "sweep.json").read_text(),
        str(pyarrow.parquet.read_table(result.folder / "results.parquet").to_pylist()),
        *(path.read_text() for path in (result.folder / "runs").rglob("*.json")),
    ]
    keys = [*KEYS.values(), *(key for _, key in IN_CONTEXT.values())]
    for text in written:
        assert [key for key in keys if key in text or json.dumps(key)[1:-1] in text] == []
        assert len(text) > 100
    for path in result.folder.rglob("*.json"):
        json.loads(path.read_text())


@pytest.mark.parametrize("text", ["{key}", "x={key},'", "x=http://me:hunter22@host/a", "y={key}"])
def test_a_key_in_a_grid_is_refused_and_not_repeated(notebooks, text):
    text = text.format(key=KEYS["OpenAI"])
    with pytest.raises(ParameterError) as error:
        plan_sweep(notebooks / "bowl.ipynb", (), (), [text])
    assert KEYS["OpenAI"] not in str(error.value)
    assert "hunter22" not in str(error.value)


def test_a_run_survives_a_power_cut(bowl, monkeypatch):
    disk = Disk(monkeypatch)
    result = bowl(("x=3",), Bowl())
    (run,) = find_runs(root=result.folder / "runs")
    assert disk.keeps(run.folder)
    staged = run.folder.with_name(f".{run.id}.partial")
    assert len(list(run.folder.iterdir())) > 3
    for path in run.folder.iterdir():
        assert disk.synced(staged / path.name, before=disk.named(run.folder)), path.name
