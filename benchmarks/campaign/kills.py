"""Kills (SIGKILL) at any moment of a run, an endpoint and a registry: what is left is true."""

import itertools
import os
import random
import signal
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
from figures import Figure
from killing import PATIENCE_S, Forked, Killer, half_folders, kill
from nbformat.v4 import new_code_cell, new_notebook
from small_model import fitted

from diptych.base import workspace
from diptych.base.http_load import drive
from diptych.core.store.predictions import Predictions
from diptych.execution import abandoned
from diptych.execution.runner import run_notebook
from diptych.execution.runs import find_runs
from diptych.mlops.registry import ModelRegistry
from diptych.mlops.serving.process import Endpoint

CELLS = ("turn = 0", "import diptych", "import time; time.sleep(0.3)", "print('x' * 100_000)")


def runs(home: Path, rng: random.Random, kills: int) -> list[Figure]:
    """Kill runs; whatever looks like a run is one, whole."""
    notebook = home / "short.ipynb"
    cells = [new_code_cell(cell) for cell in CELLS]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(new_notebook(cells=cells), notebook)
    ended = killed = 0
    killer = Killer(rng, 3)
    while killed < kills:
        run = Forked(run_notebook, str(notebook), (), {"turn": ended})
        if killer.strike(run):
            if run.poll():
                raise RuntimeError(f"{notebook}: a run ended with exit status {run.poll()}")
            ended += 1
        else:
            killed += 1
    half = len(half_folders(workspace.runs()))
    half += sum(run.id.startswith(".") for run in find_runs())
    abandoned.remove(workspace.runs())
    return [Figure("kills of runs", "half run folders", kills, half, among=ended + kills)]


def endpoints(home: Path, rng: random.Random, kills: int) -> list[Figure]:
    """Kill endpoints amid traffic; each acknowledged prediction is in the ledger, once."""
    folder, ledger = fitted(home), home / "served.db"
    acknowledged = lost = twice = 0
    for number in range(kills):
        name = f"killed-{number}"
        bodies = [{"inputs": ["a good film"], "ids": [i]} for i in range(3_000)]
        with Endpoint(folder, ledger=ledger, endpoint=name) as server:
            loads = []
            traffic = threading.Thread(
                target=lambda url=server.url, loads=loads, bodies=bodies: loads.append(
                    drive(f"{url}/invocations", bodies)
                )
            )
            traffic.start()
            time.sleep(rng.uniform(0.1, 1.0))
            os.kill(server.pid, signal.SIGKILL)
            traffic.join()
        answered = {str(i) for i in np.flatnonzero(loads[0].status == 200)}
        with Predictions(ledger) as book:
            rows = book.table(name)["row_id"].tolist()
        acknowledged += len(answered)
        lost += len(answered - set(rows))
        twice += len(rows) - len(set(rows))
    return [
        Figure("kills of endpoints", "acknowledged rows lost", kills, lost, among=acknowledged),
        Figure("kills of endpoints", "rows recorded twice", kills, twice),
    ]


def promote_on(ready: Path) -> None:
    """Promote one of two versions after the other, until the process is killed."""
    book = ModelRegistry("killed")
    ready.touch()
    for turn in itertools.count():
        book.promote(book.version(1 + turn % 2), f"turn {turn}", {"promoted": True})


def promotions(home: Path, rng: random.Random, kills: int) -> list[Figure]:
    """Kill promotions; the audit's last row is what the alias says, and rows follow each other."""
    book, lies = ModelRegistry("killed"), 0
    for _ in range(2):
        book.register(fitted(home), {}, {}, "run")
    for number in range(kills):
        ready = home / f"ready-{number}"
        process, until = Forked(promote_on, ready), time.monotonic() + PATIENCE_S
        while not ready.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.5))
        if process.poll() is not None:
            raise RuntimeError(f"promotions ended with exit status {process.poll()}")
        kill(process)
        book = ModelRegistry("killed")
        history, champion = book.history(), book.champion()
        last = history["to_version"].iloc[-1] if len(history) else None
        lies += (champion and str(champion.number)) != last
        before, after = history["from_version"].tolist(), history["to_version"].tolist()
        lies += before[1:] != after[:-1]
    return [Figure("kills of promotions", "audits that lie", kills, lies)]
