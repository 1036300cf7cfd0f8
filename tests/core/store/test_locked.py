"""A ledger that another process holds: a row waits, and is refused in a sentence."""

import sqlite3
import subprocess
import sys
from contextlib import contextmanager

import pytest

from diptych.core.store import sqlite
from diptych.core.store.calls import Calls, LedgerError
from diptych.core.store.predictions import Predictions

HOLD = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as db:
    db.execute("BEGIN EXCLUSIVE")
    print("held", flush=True)
    sys.stdin.read()
    db.execute("COMMIT")
"""
CALL = {"endpoint": "e", "model": "m", "request": "r", "input": {}}


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A ledger for which nobody waits half a minute."""
    monkeypatch.setattr(sqlite, "BUSY_S", 0.3)
    Predictions(tmp_path / "ledger.db").close()
    return tmp_path / "ledger.db"


@contextmanager
def held(path):
    """Hold the file in another process; yield what lets it go."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process.stdin.close


def test_a_row_that_cannot_be_written_is_refused_and_written_later(path):
    with Predictions(path) as book, Calls(path) as calls:
        with held(path):
            with pytest.raises(LedgerError, match=r"ledger\.db was locked by another process"):
                book.log([{"endpoint": "e", "model": "m", "input": {}, "prediction": "a"}])
            with pytest.raises(LedgerError, match="end that one and try again"):
                calls.log([CALL, CALL])
            assert book.table().empty, "what is there can be read all the while"
        calls.log([CALL])
        assert len(calls.table()) == 1


def test_a_ledger_that_is_held_cannot_be_opened_and_can_later(path):
    with held(path), pytest.raises(LedgerError, match="was locked by another process"):
        Predictions(path)
    Predictions(path).close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
