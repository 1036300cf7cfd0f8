"""A run that is killed leaves no secret behind, and a folder that the doctor removes."""

import os
import signal
import subprocess
import sys
import time

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from diptych.base import workspace
from diptych.execution import abandoned
from diptych.execution.runner import run_notebook

LEAK = """
import os, pathlib, time
from diptych.base import process_environment
folder = pathlib.Path(process_environment.run_folder())
(folder / "notes.bin").write_bytes(os.environ["LEAKED_KEY"].encode("utf-16"))
(folder / f"of {os.environ['LEAKED_KEY']}.dat").write_text(os.environ["LEAKED_KEY"])
print(os.environ["LEAKED_KEY"])
"""
SECRET = "correct horse battery"
RUN = "import sys; from diptych.execution.runner import run_notebook; run_notebook(sys.argv[1])"


def notebook(folder, name, source):
    path = folder / name
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    return path


def leaks(folder) -> list[str]:
    """Return the files in which the secret stands, in their names or in any coding."""
    spelled = [SECRET.encode(coding) for coding in ("utf-8", "utf-16-le", "utf-16-be")]
    return [
        str(path)
        for path in folder.rglob("*")
        if SECRET in path.name
        or (path.is_file() and any(one in path.read_bytes() for one in spelled))
    ]


def test_no_secret_stays_in_a_run_or_in_what_a_killed_run_left(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEAKED_KEY", SECRET)
    runs = workspace.runs()
    killed = notebook(tmp_path, "killed.ipynb", f"{LEAK}\ntime.sleep(600)")
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(killed)], stderr=subprocess.DEVNULL
    ) as run:
        until = time.monotonic() + 60
        while not list(runs.glob(".*.partial/of *")):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert abandoned.folders(runs) == []  # its process lives
        os.kill(run.pid, signal.SIGKILL)
    assert leaks(tmp_path / "home")
    run_notebook(str(notebook(tmp_path, "whole.ipynb", LEAK)))
    assert leaks(tmp_path / "home") == []
    assert len(abandoned.folders(runs)) == 1
    assert abandoned.remove(runs) == 1
    assert abandoned.folders(runs) == []
    assert not list(runs.rglob(abandoned.OWNER))
