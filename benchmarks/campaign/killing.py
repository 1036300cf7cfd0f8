"""Killing a process at some moment, and looking at the folders that it left."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

WHOLE = {"manifest.json", "notebook.ipynb", "notebook.html"}
IMPORTED = (
    "diptych.execution.runner", "diptych.llmops.client.ask", "diptych.mlops.registry",
    "mlflow.store.tracking.sqlalchemy_store", "openai",
)  # fmt: skip
PATIENCE_S = 120.0
ORPHANS_S = 60.0  # how long a worker may take to see that its parent is gone


Begun = Callable[[], bool]


def at_once() -> bool:
    """Return that a process has begun whatever it does."""
    return True


class Killer:
    """Kills processes at a moment of their work, the range of which follows what they take.

    Attributes
    ----------
    spread : float
        A process is killed within so many seconds. It shrinks when one ends before and grows when
        one is killed, so that kills fall on all of the work, however busy the machine is.
    growth : float
        With 1.15 a fourth of what is started ends before it is killed, with 1.03 a twelfth.
    """

    def __init__(self, rng: random.Random, spread: float, growth: float = 1.15):
        self.rng, self.spread, self.growth = rng, spread, growth

    def strike_command(self, command: list[str], begun: Begun = at_once, **options) -> bool:
        """Start a command, wait until it has begun and kill it; return whether it ended before.

        Raises
        ------
        RuntimeError
            If it failed.
        """
        with tempfile.TemporaryFile() as words:
            process = subprocess.Popen(command, stdout=words, stderr=words, **options)
            ended = self.strike(process, begun)
            if process.returncode and ended:
                words.seek(0)
                text = words.read().decode(errors="replace")[-2000:]
                raise RuntimeError(f"{command}: exit status {process.returncode}: {text}")
        return ended

    def strike(self, process, begun: Begun = at_once) -> bool:
        """Wait until a process has begun and kill it; return whether it ended before."""
        until = time.monotonic() + PATIENCE_S
        while not begun() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        try:
            process.wait(self.rng.uniform(0, self.spread))
        except subprocess.TimeoutExpired:
            kill(process)
            self.spread *= self.growth
            return False
        self.spread *= 0.7
        return True


class Forked:
    """A process of its own that runs a function, without the seconds that imports take.

    It is forked off a server that has imported what is used and has no thread and nothing open.
    """

    def __init__(self, work: Callable, *arguments):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(IMPORTED))
        home = os.environ["DIPTYCH_HOME"]  # the server's may be of an earlier part
        self._process = context.Process(target=_quietly, args=(home, work, arguments))
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        """Wait until it ends."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("forked", seconds)
        return self._process.exitcode


def _quietly(home: str, work: Callable, arguments: tuple) -> None:
    os.environ["DIPTYCH_HOME"] = home
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    work(*arguments)


def kill(process) -> None:
    """Kill a process, and wait for what it has started to end by itself."""
    children = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=ORPHANS_S)
    for child in alive:
        print(f"left alive by a kill: {child}")


def half_folders(root: Path) -> list[Path]:
    """Return the folders that look like a run and are none.

    The manifest is written last; a run that was interrupted before its kernel started has no page.
    """
    if not root.is_dir():
        return []
    runs = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [path for path in runs if not _is_run(path)]


def _is_run(folder: Path) -> bool:
    names = {file.name for file in folder.iterdir()}
    if "manifest.json" not in names:
        return False
    status = json.loads((folder / "manifest.json").read_text())["status"]
    return names >= WHOLE or (status == "failed" and not names & (WHOLE - {"manifest.json"}))
