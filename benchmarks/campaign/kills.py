"""Kills (SIGKILL) at any moment of a run, an endpoint and a registry: what is left is true."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
from figures import Figure
from nbformat.v4 import new_code_cell, new_notebook

from diptych.base import workspace
from diptych.base.http_load import drive
from diptych.core.store.predictions import Predictions
from diptych.execution import abandoned
from diptych.execution.runs import find_runs
from diptych.mlops.models import model as models
from diptych.mlops.registry import ModelRegistry
from diptych.mlops.serving.process import Endpoint

RUN = "import sys; from diptych.execution.runner import run_notebook; run_notebook(sys.argv[1])"
PROMOTE = """
import itertools, sys
from diptych.mlops.registry import ModelRegistry
registry = ModelRegistry("killed")
print("ready", flush=True)
for turn in itertools.count():
    registry.promote(registry.version(1 + turn % 2), f"turn {turn}", {"promoted": True})
"""
CELLS = ("import diptych", "import time; time.sleep(0.3)", "print('x' * 100_000)")
OK, FAILED = "ok", "failed"


def fitted(home: Path) -> Path:
    """Return the folder of a small model."""
    texts = [f"a {word} film" for word in ("good", "bad", "fine", "poor")] * 10
    model = models.fit(
        texts, ["yes", "no"] * 20, family="logistic", kind="text", features=["text"], parameters={}
    )
    return model.save(home / "model")


def runs(home: Path, rng: random.Random, kills: int) -> list[Figure]:
    """Kill runs; whatever looks like a run is one, whole."""
    notebook, half = home / "short.ipynb", 0
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in CELLS]), notebook)
    for _ in range(kills):
        command = [sys.executable, "-c", RUN, str(notebook)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.5, 4))
        process.kill()
        process.wait()
    for folder in workspace.runs().iterdir():
        if not folder.name.startswith("."):
            whole = {"manifest.json", "notebook.ipynb", "notebook.html"}
            half += not whole <= {path.name for path in folder.iterdir()}
    seen = {run.id for run in find_runs()}
    half += sum(name.startswith(".") for name in seen)
    abandoned.remove(workspace.runs())
    return [Figure("kills of runs", "half run folders", kills, half)]


def serving(home: Path, rng: random.Random, kills: int) -> list[Figure]:
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
            time.sleep(rng.uniform(0.3, 1.5))
            os.kill(server.pid, signal.SIGKILL)
            traffic.join()
        answered = {str(i) for i in np.flatnonzero(loads[0].status == 200)}
        with Predictions(ledger) as book:
            rows = book.table(name)["row_id"].tolist()
        acknowledged += len(answered)
        lost += len(answered - set(rows))
        twice += len(rows) - len(set(rows))
    return [
        Figure("kills of endpoints", f"acknowledged rows lost, of {acknowledged:,}", kills, lost),
        Figure("kills of endpoints", "rows recorded twice", kills, twice),
    ]


def registry(home: Path, rng: random.Random, kills: int) -> list[Figure]:
    """Kill promotions; the audit's last row is what the alias says, and rows follow each other."""
    book, lies = ModelRegistry("killed"), 0
    for _ in range(2):
        book.register(fitted(home), {}, {}, "run")
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", PROMOTE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.communicate()
        book = ModelRegistry("killed")
        history, champion = book.history(), book.champion()
        last = history["to_version"].iloc[-1] if len(history) else None
        lies += (champion and str(champion.number)) != last
        before, after = history["from_version"].tolist(), history["to_version"].tolist()
        lies += before[1:] != after[:-1]
    return [Figure("kills of promotions", "audits that lie", kills, lies)]


def run(home: Path, rng: random.Random, kills: int) -> list[Figure]:
    """Kill each a third of the times."""
    third = max(1, kills // 3)
    figures = [part(home, rng, third) for part in (runs, serving, registry)]
    return [figure for part in figures for figure in part]
