"""Kills (SIGKILL) amid paid calls: of a process that asks, of sweeps and of whole reports.

The endpoint counts on its side of the wire. After each kill the same command is started again, so
it goes on where the last one was killed, until it ends; then the next begins. The last start is
not killed, and has to bring all that the first was to bring.
"""

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
from counting_endpoint import Bill, CountingEndpoint
from figures import Figure
from killing import Forked, Killer, at_once, half_folders
from llmops.fakes import serving
from nbformat.v4 import new_code_cell, new_notebook

from diptych.base import workspace
from diptych.execution import abandoned
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target

COMMAND = [sys.executable, "-m", "diptych"]
AT_ONCE = 16
SWEEP = (
    "x = 0  # the point\nurl = ''  # who is asked\nledger = ''  # where it is recorded",
    "from diptych.core.store.records import Recorder\n"
    "from diptych.llmops.client.ask import ask_many\n"
    "from diptych.llmops.client.call_options import CallOptions\n"
    "from diptych.llmops.client.target import Target\n"
    "prompts = [f'a good film {x}-{i}' for i in range(30)]\n"
    "way = CallOptions(calls=ledger, concurrency=4, progress=False)\n"
    "answers = ask_many(prompts, Target(url, 'm'), way)",
    "import diptych as dt\ndt.record(answered=sum(answer.error == '' for answer in answers))",
)
POINTS = 12
STEPS = """\
title: Films
question: Are they good?
files: []
parameters: [task=films.csv, time_column=time]
notebooks:
  - llmops/1_data validation_rows=4 rows=12
  - llmops/2_build models=["counting/m"] prompts=["plain"] shots=[0] validation_rows=12 rows=60 perturbed_rows=12 repeat_rows=4 repeats=2
  - llmops/3_release rows=24 tests=4 floor=0.0
  - mlops/1_data
  - mlops/2_build family=logistic trials=1 perturbed_rows=12
"""  # noqa: E501 (a step is one line)


def asks(home: Path, rng: random.Random, kills: int) -> list[Figure]:
    """Kill a process that asks many questions; a ledger for every five kills or so."""
    lost = twice = done = lacking = 0
    killer = Killer(rng, 1)
    with serving(CountingEndpoint(0.1)) as endpoint:
        while done < kills:
            bill = Bill(endpoint, home / f"asked-{done}.db", AT_ONCE)
            prompts = [f"a good film {done}-{i}" for i in range(400)]
            way = CallOptions(calls=bill.ledger, concurrency=AT_ONCE, progress=False)
            work = (ask_many, prompts, Target(endpoint.url, "m"), way)
            ended = False
            while not ended and done < kills:
                ended = killer.strike(Forked(*work), _asking(endpoint))
                bill.after_kill()
                done += not ended
            if not ended:
                Forked(*work).wait()
            bill.after_kill()
            lacking += len(prompts) - len(bill.rows())
            lost, twice = lost + bill.lost, twice + bill.twice()
    part = "kills of asks"
    lack = Figure(part, "prompts without an answer after the last start", kills, lacking)
    return [lack, *_paid(part, kills, lost, twice, endpoint.paid)]


def _asking(endpoint: CountingEndpoint) -> Callable[[], bool]:
    """Return what says whether the endpoint was asked from now on."""
    before = endpoint.paid
    return lambda: endpoint.paid > before


def _some_moment(endpoint: CountingEndpoint, rng: random.Random) -> Callable[[], bool]:
    """Return a moment: the first call that is paid, or, half of the times, the very beginning."""
    return _asking(endpoint) if rng.random() < 0.5 else at_once


def _paid(part: str, kills: int, lost: int, twice: int, paid: int) -> list[Figure]:
    return [
        Figure(part, "answers lost that were not under way", kills, lost, among=paid),
        Figure(part, "calls paid twice", kills, twice),
    ]


def sweeps(home: Path, rng: random.Random, kills: int) -> list[Figure]:
    """Kill sweeps of two workers; what is resumed has all points, each once."""
    notebook = home / "asks.ipynb"
    cells = [new_code_cell(source) for source in SWEEP]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(new_notebook(cells=cells), notebook)
    lost = twice = done = half = wrong = 0
    killer = Killer(rng, 3, 1.06)
    with serving(CountingEndpoint(0.05)) as endpoint:
        while done < kills:
            bill = Bill(endpoint, home / f"swept-{done}.db", 8)
            values = [f"-purl={endpoint.url}", f"-pledger={bill.ledger}"]
            grid = f"--grid=x={done * 100}..{done * 100 + POINTS - 1}"
            command = [*COMMAND, "sweep", str(notebook), *values, grid, "--workers", "2"]
            ended = False
            while not ended and done < kills:
                ended = killer.strike_command(command, _some_moment(endpoint, rng))
                bill.after_kill()
                done += not ended
            if not ended:
                subprocess.run(command, check=True, capture_output=True)
            bill.after_kill()
            folders = sorted((workspace.home() / "sweeps").iterdir())
            half += sum(len(half_folders(folder / "runs")) for folder in folders)
            wrong += not _is_whole(folders[-1])
            lost, twice = lost + bill.lost, twice + bill.twice()
            shutil.rmtree(workspace.home() / "sweeps")
    part = "kills of sweeps"
    return [
        Figure(part, "half run folders", kills, half),
        Figure(part, "resumed sweeps that lack a point", kills, wrong),
        *_paid(part, kills, lost, twice, endpoint.paid),
    ]


def _is_whole(folder: Path) -> bool:
    table = pd.read_csv(folder / "results.csv")
    return len(table) == POINTS and table["answered"].eq(30).all()


def reports(home: Path, rng: random.Random, kills: int) -> list[Figure]:
    """Kill reports of both panels and the contrast; the site is the old one or the new one."""
    clone, killer = _clone(home), Killer(rng, 5, 1.06)
    lost = twice = done = half = broken = turn = 0
    with serving(CountingEndpoint(0.05)) as endpoint:
        lines = f"counting:\n  base_url: {endpoint.url}\n  prices: free\n"
        (clone / "params" / "endpoints.yaml").write_text(lines)
        bill = Bill(endpoint, workspace.ledger_path())
        while done < kills:
            command = [*COMMAND, "report", "params/scenarios/films.yaml", f"-pseed={turn}"]
            ended = killer.strike_command(command, _some_moment(endpoint, rng), cwd=clone)
            bill.after_kill()
            half += len(half_folders(workspace.runs()))
            broken += _is_broken(clone / "site")
            done, turn = done + (not ended), turn + ended
        if not ended:
            subprocess.run(command, check=True, capture_output=True, cwd=clone)
        bill.after_kill()
        half += len(half_folders(workspace.runs()))
        broken += _is_broken(clone / "site")
    lost, twice = bill.lost, bill.twice()
    abandoned.remove(workspace.runs())
    part = "kills of reports"
    return [
        Figure(part, "half run folders", kills, half),
        Figure(part, "sites with a link that leads nowhere", kills, broken),
        *_paid(part, kills, lost, twice, endpoint.paid),
    ]


def _clone(home: Path) -> Path:
    """Return a folder with the notebooks and a scenario of a table and an endpoint of its own."""
    clone = home / "clone"
    for name in ("notebooks", "params"):
        shutil.copytree(workspace.repo_root() / name, clone / name)
    (clone / "pyproject.toml").touch()
    words = [f"{kind} film number {i}" for i in range(160) for kind in ("bad", "fine")]
    frame = pd.DataFrame({"text": words, "label": ["negative", "positive"] * 160})
    frame["time"] = pd.date_range("2026-01-01", periods=320, freq="h")
    frame.to_csv(clone / "films.csv", index=False)
    (clone / "params" / "scenarios" / "films.yaml").write_text(STEPS)
    return clone


def _is_broken(site: Path) -> bool:
    """Return whether a link of the landing page leads nowhere; no site yet is none."""
    landing = site / "index.html"
    if not landing.exists():
        return site.exists() and any(site.iterdir())
    links = re.findall(r'href="([^"#:?]+\.html)', landing.read_text(errors="replace"))
    return not links or not all((site / link).exists() for link in links)
