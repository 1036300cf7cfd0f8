"""A real Dask cluster of this machine, started by Dask's own commands."""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager

PATIENCE = 180  # seconds, for a process to come to a point; a machine may be busy


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return value


@contextmanager
def dask_cluster(tmp_path):
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
                         "--no-dashboard") for i in range(2)]  # fmt: skip
        until(lambda: all("Registered to" in log.read_text() for _, log in workers), "the workers")
        yield found[1], [worker for worker, _ in workers]
    finally:
        for process in started:
            process.kill()
            process.wait()
