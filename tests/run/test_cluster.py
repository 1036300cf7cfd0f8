"""A sweep on a real Dask cluster, started by its commands: one worker is killed, nothing is lost."""

import os
import signal
import threading

import pytest
from dask_cluster import PATIENCE, dask_cluster, until

from diptych.run import cache
from diptych.run.errors import ParameterError
from diptych.run.runs import find_runs
from diptych.run.space import plan
from diptych.run.sweep import sweep


@pytest.fixture
def cluster(tmp_path):
    with dask_cluster(tmp_path) as found:
        yield found


def test_a_killed_workers_points_are_run_by_another(cluster, notebooks, home, tmp_path):
    address, workers = cluster
    gate = tmp_path / "gate"
    gate.mkdir()
    options = {"metric": "depth", "minimize": True}
    found = plan(notebooks / "bowl.ipynb", (), [f"gate={gate}", "bad=5"], ["x=1..5"], **options)
    done = []
    thread = threading.Thread(
        target=lambda: done.append(sweep(found, dask=address, progress=False))
    )
    thread.start()

    def under_way():
        return {int(path.name.split("-")[1]) for path in gate.glob("*-*-*")}

    pids = {worker.pid for worker in workers}
    until(lambda: under_way() == pids, "both workers to run a point")
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
        assert run.manifest["notebook"] == "tests/run/notebooks/bowl.ipynb"
        assert (run.folder / "notebook.html").exists()
    one = next(run for run in runs if run.manifest["parameters"]["x"] == 1)
    linked = cache.find(found.job({"x": 1}), result.folder / "runs")
    assert linked.run == one, linked.why


def test_no_scheduler_and_a_run_of_this_machine_are_refused(notebooks, home):
    found = plan(notebooks / "good.ipynb", (), ["upstream=20260101-000000-a-1"], ["depth=1,2"])
    with pytest.raises(ParameterError, match="upstream = 2026.*on this machine only"):
        sweep(found, dask="tcp://127.0.0.1:9", progress=False)
    found = plan(notebooks / "good.ipynb", (), (), ["depth=1,2"])
    with pytest.raises(ParameterError, match=r"--dask nobody: no scheduler answers"):
        sweep(found, dask="nobody", progress=False)
