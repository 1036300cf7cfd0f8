"""A sweep on a real Dask cluster: one worker is killed, and nothing is lost."""

import json
import os
import signal
import threading
from types import SimpleNamespace

import pytest
from dask_cluster import PATIENCE, dask_cluster, until

from diptych.base.errors import ParameterError
from diptych.execution.engine import PapermillEngine
from diptych.execution.runs import find_runs
from diptych.execution.sweeps import dask
from diptych.execution.sweeps.search_space import plan_sweep
from diptych.execution.sweeps.sweep import sweep


@pytest.fixture
def cluster(tmp_path):
    with dask_cluster(tmp_path) as found:
        yield found


@pytest.mark.long
def test_a_killed_workers_points_are_run_by_another(cluster, notebooks, home, tmp_path):
    address, workers = cluster
    gate = tmp_path / "gate"
    gate.mkdir()
    options = {"metric": "depth", "minimize": True}
    found = plan_sweep(
        notebooks / "bowl.ipynb", (), [f"gate={gate}", "bad=5"], ["x=1..5"], **options
    )
    done = []
    thread = threading.Thread(
        target=lambda: done.append(
            sweep(found, dask=address, engine=PapermillEngine(), progress=False)
        )
    )
    thread.start()

    # each worker runs one point at a time
    until(lambda: len(list(gate.glob("*-*"))) == 2, "both workers to run a point")
    os.kill(workers[0].pid, signal.SIGKILL)
    (gate / "open").write_text("")
    thread.join(PATIENCE)
    (result,) = done
    assert {t.point["x"]: t.status for t in result.trials} == {
        1: "ok", 2: "ok", 3: "ok", 4: "ok", 5: "failed",
    }  # fmt: skip
    assert result.ranked[0].point == {"x": 3}
    assert result.failed[0].error == "ValueError: x = 5 is bad"
    runs = find_runs(root=result.folder / "runs")
    assert len(runs) == 5
    for run in runs:
        assert run.notebook == "bowl"
        assert run.manifest["notebook"] == "tests/execution/notebooks/bowl.ipynb"
        assert (run.folder / "notebook.html").exists()
        if run.status == "ok":
            assert run.result["values"]["engine"]["value"] == "papermill"
    plain = plan_sweep(notebooks / "bowl.ipynb", (), (), ["x=1"], **options)
    ended = [sweep(plain, dask=address, progress=False).trials[0] for _ in range(2)]
    assert [trial.status for trial in ended] == ["ok", "linked"], ended


def test_no_scheduler_and_a_run_of_this_machine_are_refused(notebooks, home):
    found = plan_sweep(
        notebooks / "good.ipynb", (), ["upstream=20260101-000000-a-1"], ["depth=1,2"]
    )
    with pytest.raises(ParameterError, match=r"upstream = 2026.*on this machine only"):
        sweep(found, dask="tcp://127.0.0.1:9", progress=False)
    found = plan_sweep(notebooks / "good.ipynb", (), (), ["depth=1,2"])
    with pytest.raises(ParameterError, match=r"--dask nobody: no scheduler answers"):
        sweep(found, dask="nobody", progress=False)


@pytest.mark.parametrize(
    ("run", "name"),
    [("r", "../../evil"), ("r", "/etc/evil"), ("r", "a/../../evil"), ("../r", "a"),
     ("r", "a\\..\\b"), ("a/b", "c"), ("r", "C:/evil"), ("", "a"), ("r", "")],
)  # fmt: skip
def test_a_worker_names_no_file_outside_of_its_run(run, name):
    with pytest.raises(ValueError, match=r"a worker sent a (file|run) named"):
        dask._check_names(dask.Parcel(run, {name: b""}, ""))


def test_the_names_of_a_runs_own_files_are_taken():
    files = {"tables/a b.parquet": b"", "notebook.html": b"", "..odd": b""}
    dask._check_names(dask.Parcel("20261129-run", files, ""))


MANIFEST = {
    "id": "r", "name": "bowl", "parameters": {"x": 1}, "status": "ok",
    "cache": {"key": "k", "parts": {}},
}  # fmt: skip
POINT = SimpleNamespace(name="bowl", values={"x": 1})


def parcel(manifest, *files):
    """Return a run as a worker sends it."""
    content = {"manifest.json": json.dumps(manifest).encode()}
    return dask.Parcel("r", content | dict.fromkeys(files, b""), "")


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"parameters": {"x": 2}}, "not asked: parameters .'x': 2"),
        ({"id": "another"}, "not asked: id 'another'"),
        ({"name": "other"}, "not asked: name 'other'"),
        ({"cache": None}, "r without a whole manifest"),
        ({"status": None, "parameters": None}, "not asked: parameters None"),
    ],
)
def test_a_worker_that_lies_about_its_run_is_not_believed(lie, words):
    pages = ("notebook.ipynb", "notebook.html")
    dask._check_run(parcel(MANIFEST, *pages), POINT)
    with pytest.raises(ValueError, match=words):
        dask._check_run(parcel(MANIFEST | lie, *pages), POINT)


def test_a_run_of_a_worker_has_its_page_unless_it_failed():
    with pytest.raises(ValueError, match="without its page"):
        dask._check_run(parcel(MANIFEST, "notebook.ipynb"), POINT)
    dask._check_run(parcel(MANIFEST | {"status": "failed"}), POINT)
    for content in (b"", b"[]", b"{", b"{}"):
        with pytest.raises(ValueError, match="without a whole manifest"):
            dask._check_run(dask.Parcel("r", {"manifest.json": content}, ""), POINT)
    with pytest.raises(ValueError, match="without a whole manifest"):
        dask._check_run(dask.Parcel("r", {}, ""), POINT)
