"""Power cuts at any moment: what was acknowledged is there, and nothing is half there.

No plug was pulled: strace notes what a process does to its workspace, and every state that POSIX
allows after a cut is built from that and opened.
"""

import os
import random
import sqlite3

import power_cut
import pytest

from diptych.core.store.predictions import Predictions
from diptych.execution.runs import find_runs

pytestmark = pytest.mark.skipif(not power_cut.can_trace(), reason="strace is not here, or refused")
ROWS = """
import sys
from pathlib import Path
from diptych.core.store.predictions import Predictions
from diptych.execution.runs import find_runs
with Predictions(Path(sys.argv[1]) / "ledger.db") as ledger:
    for i in range(30):
        row = {"endpoint": "e", "model": "m", "row_id": str(i), "input": {"text": "x" * 300}}
        ledger.log([row, {**row, "row_id": f"{i} too"}])
        print(i, flush=True)
"""


def cuts(trace, rng, states):
    """Return moments and what is kept of what is not synced: nothing, all, or any part of it."""
    for number in range(states):
        share = (0, 1, 0.5, rng.random())[number % 4]
        yield rng.randint(1, len(trace.events)), lambda share=share: rng.random() < share
    yield len(trace.events), lambda: False


@pytest.mark.parametrize("states", [60, pytest.param(2_000, marks=pytest.mark.long)])
def test_no_acknowledged_row_is_lost(tmp_path, states):
    (tmp_path / "home").mkdir()
    trace = power_cut.Trace.of(ROWS, tmp_path / "home", (tmp_path / "home",))
    assert sum(event.kind == "sync" for event in trace.events) > 30
    seen = 0
    for number, (count, keep) in enumerate(cuts(trace, random.Random(states), states)):
        state, words = trace.cut(count, keep)
        folder = tmp_path / str(number)
        folder.mkdir()
        state.write(folder)
        with Predictions(folder / "ledger.db") as ledger:
            rows = set(ledger.table()["row_id"])
        for i in words:
            assert {i, f"{i} too"} <= rows, (count, number)
        assert {f"{row.split()[0]} too" for row in rows} <= rows, "a batch is whole"
        with sqlite3.connect(folder / "ledger.db") as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        seen = max(seen, len(words))
    assert seen == 30


def test_rows_that_nobody_syncs_are_seen_to_be_lost(tmp_path):
    (tmp_path / "home").mkdir()
    script = ROWS.replace(
        "    for i", '    ledger._db._db.execute("PRAGMA synchronous = OFF")\n    for i'
    )
    trace = power_cut.Trace.of(script, tmp_path / "home", (tmp_path / "home",))
    state, words = trace.cut(len(trace.events), lambda: False)
    (tmp_path / "cut").mkdir()
    state.write(tmp_path / "cut")
    with Predictions(tmp_path / "cut" / "ledger.db") as ledger:
        assert len(ledger.table()) < 2 * len(words)


RUNS = """
import json, sys
from pathlib import Path
from diptych.execution.cache import inputs
from diptych.execution.runner import run_notebook

class Echo:
    name = ""
    def execute(self, notebook, output, parameters, *, environment, cwd, on_cell):
        output.write_text(notebook.read_text())
        folder = Path(environment["DIPTYCH_RUN"])
        (folder / inputs.NOTES).write_text('["end"]\\n')
        (folder / "tables").mkdir()
        (folder / "tables" / "a.csv").write_text("a\\n1\\n" * 500)
        (folder / "result.json").write_text(json.dumps({"complete": True}))

for x in range(4):
    run = run_notebook(sys.argv[1], (), {"depth": x + 1}, progress=False, engine=Echo())
    print(run.id, flush=True)
"""


@pytest.mark.parametrize("states", [60, pytest.param(1_000, marks=pytest.mark.long)])
def test_a_run_that_is_listed_is_whole(tmp_path, monkeypatch, request, states):
    notebook = request.config.rootpath / "tests" / "execution" / "notebooks" / "good.ipynb"
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"DIPTYCH_HOME": str(home)}
    trace = power_cut.Trace.of(RUNS, home, (notebook,), env=environment)
    whole = {path.name: content_of(path) for path in (home / "runs").iterdir() if path.is_dir()}
    assert len(whole) == 4
    for number, (count, keep) in enumerate(cuts(trace, random.Random(states), states)):
        state, words = trace.cut(count, keep)
        folder = tmp_path / str(number)
        folder.mkdir()
        state.write(folder)
        monkeypatch.setenv("DIPTYCH_HOME", str(folder))
        listed = {run.id for run in find_runs()}
        assert set(words) <= listed, (count, number)
        for run in listed:
            assert content_of(folder / "runs" / run) == whole[run], (count, number)


def content_of(folder):
    """Return the bytes of each file in a run's folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip
