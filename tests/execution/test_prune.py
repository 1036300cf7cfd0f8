import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from diptych.base import workspace
from diptych.execution import prune, stable_paths
from diptych.execution.runs import find_runs, load_run

DAY = 86400


@pytest.fixture
def make(home):
    """Return a function that makes a run of so many days ago and returns its id."""

    def make(days, name="weekly", status="ok", upstream=None, **parameters):
        started = datetime.now(UTC) - timedelta(days=days)
        folder = workspace.runs() / f"{started:%Y%m%d-%H%M%S}-{name}-{len(find_runs()):04x}"
        folder.mkdir()
        manifest = {"name": name, "status": status, "parameters": parameters}
        manifest["started"] = started.isoformat()
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / "result.json").write_text(json.dumps({"upstream": upstream}))
        return folder.name

    return make


def ids(pruning):
    return {run.id for run in pruning.runs}


def test_the_newest_of_each_notebook_and_parameters_stay(make):
    old, north, south = make(3, region="n"), make(2, region="n"), make(2, region="s")
    newest = make(1, region="n")
    assert ids(prune.plan(keep=1)) == {old, north}
    assert ids(prune.plan(keep=2)) == {old}
    assert ids(prune.plan(keep=1, notebook="other")) == set()
    assert {south, newest} <= {run.id for run in find_runs()}


def test_only_old_ones_where_an_age_is_given(make):
    old, _, _ = make(40), make(20), make(1)
    assert ids(prune.plan(older_than_s=30 * DAY)) == {old}
    assert ids(prune.plan(keep=1, older_than_s=10 * DAY)) == {run.id for run in find_runs()[1:]}


def test_the_only_good_one_stays_however_old(make):
    good, _ = make(90), make(1, status="failed")
    pruning = prune.plan(keep=1, older_than_s=DAY)
    assert ids(pruning) == set()
    assert pruning.protected == {good: "the newest good run of weekly"}


def test_what_another_run_builds_on_stays_through_all_steps(make):
    data = make(9, "data")
    build = make(8, "build", upstream=data)
    make(7, "data"), make(7, "build")
    make(1, "serve", upstream=build)
    pruning = prune.plan(keep=1)
    assert ids(pruning) == set()
    assert set(pruning.protected) == {data, build}


def test_what_a_sweep_builds_on_stays(make, home):
    data = make(9, "data")
    make(7, "data")
    point = home / "sweeps" / "a" / "runs" / "20260101-000000-build-0000"
    point.mkdir(parents=True)
    (point / "result.json").write_text(json.dumps({"upstream": data}))
    assert prune.plan(keep=1).protected == {data: "another run builds on it"}


def test_what_a_stable_path_leads_to_stays(make):
    named, other = make(9), make(8)
    make(1)
    stable_paths.publish(load_run(named), stable_paths.reports(), "w5/north")
    pruning = prune.plan(keep=1)
    assert ids(pruning) == {other}
    assert pruning.protected == {named: "a stable path leads to it"}


def test_removal_frees_what_was_said_and_takes_leftovers_of_killed_runs(make):
    old = make(9)
    make(1)
    left = workspace.runs() / ".20260101-000000-weekly-0000.partial"
    left.mkdir()
    (left / "notebook.ipynb").write_text("x" * 1000)
    assert prune.plan(keep=1).leftovers == [], "it may still run"
    os.utime(left, (time.time() - 2 * DAY,) * 2)
    pruning = prune.plan(keep=1)
    folder = workspace.runs() / old
    assert pruning.size == 1000 + sum(path.stat().st_size for path in folder.iterdir())
    prune.remove(pruning)
    assert not folder.exists()
    assert [path.name for path in workspace.runs().iterdir()] == [find_runs()[0].id]
