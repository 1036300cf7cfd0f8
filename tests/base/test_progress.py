import os
import re
import subprocess
import sys

import pytest

termios = pytest.importorskip("termios", reason="no terminals of the POSIX kind here")


def on_terminal(command):
    """Run a command whose stderr is a terminal; return what it showed there and its exit code."""
    reader, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=terminal
    )
    os.close(terminal)
    shown = b""
    with os.fdopen(reader, "rb", buffering=0) as stream:
        while True:
            try:
                piece = stream.read(4096)
            except OSError:  # the last writer has gone
                break
            if not piece:
                break
            shown += piece
    return shown.decode(), process.wait(30)


def diptych(*arguments):
    return [sys.executable, "-m", "diptych", *map(str, arguments)]


def test_a_terminal_sees_a_bar_a_cell_with_its_heading(notebooks):
    shown, code = on_terminal(diptych("run", notebooks / "good.ipynb"))
    assert code == 0
    assert re.search(r"good · \w+ \|.*\| *\d+/\d+ cell", shown), shown
    assert "good ok in" in shown


def test_a_pipe_sees_one_line_a_notebook(notebooks):
    done = subprocess.run(
        diptych("run", notebooks / "good.ipynb"), capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"good ok in [\d.]+ s: .*\n", done.stderr)
    assert done.stdout.strip() == done.stderr.split(": ")[1].strip()


def test_a_failure_is_shown_after_the_bars(notebooks):
    shown, code = on_terminal(diptych("run", notebooks / "fails.ipynb"))
    assert code == 1
    assert shown.index("fails failed after") < shown.index("ZeroDivisionError")
