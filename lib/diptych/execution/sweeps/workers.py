"""Where a sweep's points run: in this process, or in worker processes beside each other."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

from diptych.base import environment, process_environment
from diptych.base.errors import NotebookFailed
from diptych.execution.engine import Engine
from diptych.execution.runner import PreparedRun, run_prepared
from diptych.execution.runs import Run

TRIES = 2  # of a point whose worker died under it
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """How one point ended: its run, and what went wrong if it has failed."""

    run: Run | None = None
    error: str = ""


class Place(Protocol):
    """Where the points of a sweep run."""

    def map(self, numbered: Iterable[tuple[int, PreparedRun]]) -> Iterator[tuple[int, Outcome]]:
        """Run each point and yield its number and its outcome as soon as it has ended."""

    def close(self) -> None:
        """End every process that was started for the sweep."""


def attempt(prepared: PreparedRun, root: Path, engine: Engine | None = None) -> Outcome:
    """Run one point; a failure is an outcome."""
    try:
        return Outcome(run_prepared(prepared, progress=False, engine=engine, outputs_root=root))
    except NotebookFailed as error:
        reason = f"{error.ename}: {error.evalue}" if error.evalue else error.ename
        return Outcome(error.run, reason)
    except Exception as error:  # a full disk, a broken installation: of this point, as far as known
        return Outcome(None, f"{type(error).__name__}: {error}")


class Here:
    """One point after the other, in this process."""

    def __init__(self, root: Path, engine: Engine | None = None):
        self.root, self.engine = root, engine

    def map(self, numbered: Iterable[tuple[int, PreparedRun]]) -> Iterator[tuple[int, Outcome]]:
        """Run each point and yield its outcome."""
        for number, prepared in numbered:
            yield number, attempt(prepared, self.root, self.engine)

    def close(self) -> None:
        """Do nothing: no process was started."""


class Workers:
    """Several points at once, each in a process that is replaced if it dies.

    Parameters
    ----------
    root : Path
        Where the run folders go.
    count : int
        How many; a kernel's libraries get their share of the cores.
    engine : Engine, optional
        Sent to each process.
    """

    def __init__(self, root: Path, count: int, engine: Engine | None = None):
        self.root, self.engine = root, engine
        self.threads = max(1, environment.cores() // count)
        self._free = [self._start() for _ in range(count)]
        self._busy: list[_Worker] = []

    def map(self, numbered: Iterable[tuple[int, PreparedRun]]) -> Iterator[tuple[int, Outcome]]:
        """Run each point and yield its outcome."""
        todo, tries = deque(numbered), {}
        while todo or self._busy:
            while todo and self._free:
                self._free[-1].give(*todo.popleft())
                self._busy.append(self._free.pop())
            ready = wait([x for worker in self._busy for x in (worker.pipe, worker.ended)])
            for worker in [w for w in self._busy if w.pipe in ready or w.ended in ready]:
                self._busy.remove(worker)
                number, prepared, outcome = worker.number, worker.prepared, worker.take()
                if outcome is not None:
                    self._free.append(worker)
                    yield number, outcome
                    continue
                self._free.append(self._start())
                tries[number] = tries.get(number, 0) + 1
                if tries[number] < TRIES:
                    todo.append((number, prepared))
                else:
                    yield number, Outcome(None, f"its worker died {TRIES} times ({worker.end})")

    def close(self) -> None:
        """End the workers; a run in progress ends as after Ctrl-C."""
        everyone = [*self._free, *self._busy]
        for worker in everyone:
            worker.stop()
        for worker in everyone:
            worker.process.join(PATIENCE_S)
            worker.process.kill()
            worker.process.join()
        self._free, self._busy = [], []

    def _start(self) -> "_Worker":
        return _Worker(self.root, self.threads, self.engine)


class _Worker:
    """One process and the point it runs."""

    def __init__(self, root: Path, threads: int, engine: Engine | None):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, root, threads, engine)
        self.process = context.Process(target=_work, args=arguments, daemon=False)
        self.process.start()
        theirs.close()
        self.ended = self.process.sentinel
        self.number, self.prepared = -1, None

    @property
    def end(self) -> str:
        """How the process ended, in words."""
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        return f"{signal.Signals(-code).name}: killed, or out of memory"

    def give(self, number: int, prepared: PreparedRun) -> None:
        self.number, self.prepared = number, prepared
        with contextlib.suppress(OSError):  # it died; `take` will say so
            self.pipe.send(prepared)

    def take(self) -> Outcome | None:
        """Return the outcome, None if the process died over it."""
        self.prepared = None
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return None

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.close()
        if self.process.is_alive() and self.prepared is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGINT)


def _work(pipe, root: Path, threads: int, engine: Engine | None) -> None:
    """Run points until the pipe closes, in a process of its own."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # a terminal's Ctrl-C reaches the parent, which tells each worker once
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    process_environment.limit_threads(threads)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pipe.send(attempt(pipe.recv(), root, engine))


def _end_with_parent() -> None:
    """Interrupt this process when the one that started it is gone, even killed."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGINT)
