import os
import subprocess
import sys

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from processes import until

from diptych.execution.engine import WarmEngine
from diptych.execution.kernels import client

# for a process that runs notebooks
RUN = """
from pathlib import Path
from diptych.execution.engine import WarmEngine

def run(path, environment):
    path = Path(path)
    WarmEngine().execute(path, path.with_suffix(".out.ipynb"), {}, environment=environment,
                         cwd=path.parent, on_cell=lambda *_: None)
"""


def zygotes(folder):
    """Return the processes that fork, of those whose sockets lie in a folder."""
    found = psutil.process_iter(["cmdline", "ppid"])
    here = [p for p in found if f"'{folder}/" in " ".join(p.info["cmdline"] or ())]
    return [p for p in here if p.info["ppid"] not in {other.pid for other in here}]


class Kernels:
    """Runs cells as notebooks, in warm kernels."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    def write(self, *sources):
        """Write a notebook with these cells."""
        nb = new_notebook(cells=[new_code_cell(source) for source in sources])
        nb.metadata.kernelspec = {"name": "python3", "display_name": "", "language": "python"}
        self.count += 1
        path = self.folder / f"{self.count}.ipynb"
        nbformat.write(nb, path)
        return path

    def run(self, *sources, engine=None, **environment):
        """Run cells as a notebook and return the text that each of them showed."""
        path = self.write(*sources)
        output = path.with_suffix(".out.ipynb")
        (engine or WarmEngine()).execute(
            path,
            output,
            {},
            environment=environment,
            cwd=self.folder,
            on_cell=lambda *_: None,
        )
        return self.outputs(output)

    def launch(self, *sources, before="", **options):
        """Start a process that runs cells as a notebook."""
        code = f"{before}\n{RUN}\nrun({str(self.write(*sources))!r}, {{}})"
        return subprocess.Popen([sys.executable, "-c", code], cwd=self.folder, **options)

    def settle(self, folder):
        """Return the zygote when no successor is about to take its place."""

        def parent():
            pid, parent = self.run("import os; print(os.getpid(), os.getppid())")[0].split()
            until(lambda: not psutil.pid_exists(int(pid)))  # it has taught what it can
            return int(parent)

        def zygote():
            # The second run teaches nothing new; a successor may still import what the first did.
            _, last = parent(), parent()
            found = zygotes(folder)
            return found[0] if [process.pid for process in found] == [last] else None

        return until(zygote)

    def wait_for(self, library, folder=None):
        """Wait until a library is there before a notebook imports it.

        With the folder of a zygote of the test's own, also until nobody else forks kernels.
        """
        ahead = f"import sys; print({library!r} in sys.modules)"
        until(lambda: self.run(ahead) == ["True\n"])
        # for an instant the zygote and the successor that has imported it both take requests
        until(lambda: folder is None or len(zygotes(folder)) == 1)

    def outputs(self, path=None):
        """Return the text that each cell showed, of the last notebook if none is given."""
        nb = nbformat.read(path or self.folder / f"{self.count}.out.ipynb", as_version=4)
        return ["".join(o.get("text", "") for o in cell.outputs) for cell in nb.cells]


@pytest.fixture
def kernels(tmp_path):
    """Kernels in a folder of the test's own, forked from the zygote that all tests share."""
    return Kernels(tmp_path)


@pytest.fixture
def own_zygote(tmp_path, monkeypatch):
    """A folder for the zygotes of this test alone, which end with it."""
    folder = tmp_path / "z"
    monkeypatch.setenv("DIPTYCH_KERNELS", str(folder))
    yield folder
    client.stop()
    until(lambda: not zygotes(folder))
    until(lambda: not list(folder.glob("*.sock")))  # it is removed as the last of them ends


def pids(folder):
    """Return the processes whose working directory is in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.cwd().startswith(str(folder)):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found
