"""A sweep on a real Dask cluster, started by its commands: one worker is killed, nothing is lost."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from diptych.run import cache
from diptych.run.errors import ParameterError
from diptych.run.runs import find_runs
from diptych.run.space import plan
from diptych.run.sweep import sweep

PATIENCE = 180  # seconds, for a process to come to a point; a machine may be busy


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return value


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers, in processes and folders of their own: address, workers."""
    environment = {name: value for name, value in os.environ.items() if name != "DIPTYCH_HOME"}
    environment["JUPYTER_RUNTIME_DIR"] = str(tmp_path / "jupyter")
    started = []

    def start(name, *arguments):
        folder = tmp_path / name
        folder.mkdir()
        log = open(folder / "log", "w")  # noqa: SIM115
        command = [sys.executable, "-m", "dask", *arguments]
        started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log,
                                        stderr=subprocess.STDOUT))  # fmt: skip
        log.close()
        return started[-1], folder / "log"

    try:
        _, log = start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0",
                       "--no-dashboard")  # fmt: skip
        found = until(lambda: re.search(r"Scheduler at:\s+(tcp://\S+)", log.read_text()),
                      "the scheduler")  # fmt: skip
        workers = [start(f"worker-{i}", "worker", found[1], "--nthreads", "1", "--no-nanny",
                         "--no-dashboard")[0] for i in range(2)]  # fmt: skip
        yield found[1], workers
    finally:
        for process in started:
            process.kill()
            process.wait()


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
