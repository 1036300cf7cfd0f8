import os
import pty
import sys

import pytest

from diptych.run.progress import Bar, say


@pytest.fixture
def terminal(monkeypatch):
    """Make stderr a terminal; return a function that reads what it shows."""
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        yield lambda: os.read(reader, 65_536).decode()
    os.close(reader)


def work(show=True):
    with Bar("mlops/2_build", "cell", show) as bar:
        bar(0, 2, "Make")
        bar(1, 2, "Measure")
        say("a line above")


def test_a_terminal_shows_what_comes_next(terminal):
    work()
    shown = terminal()
    assert "mlops/2_build · Make |" in shown
    assert "mlops/2_build · Measure |" in shown
    assert "1/2 cell" in shown
    assert "a line above" in shown


def test_elsewhere_and_when_asked_only_lines_are_written(terminal, capsys, monkeypatch):
    work(show=False)
    assert terminal().strip() == "a line above"
    monkeypatch.undo()
    work()
    assert capsys.readouterr().err == "a line above\n"
