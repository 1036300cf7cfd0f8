"""Nothing needs Linux to be imported, and notebooks run where kernels cannot be forked.

What Windows lacks is taken out of this Python in a process of its own. That is no Windows: the
matrix in ``.github/workflows/test.yml`` runs there.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat

import diptych

LIB = Path(diptych.__file__).parents[1]
# what is imported by then keeps this system's modules: only ours meet what is missing (socket files
# stay, because asyncio of this system has no other pipe)
WITHOUT = """
import asyncio, multiprocessing.util, os, pkgutil, signal, socket, subprocess, sys, tempfile, types
import IPython, ipykernel.kernelapp, jupyter_client, nbclient, papermill, psutil, ssl
import filelock, tornado.ioloop, zmq
originals = {}
for module in (os, signal, socket):
    originals[module] = types.ModuleType(module.__name__)
    vars(originals[module]).update(vars(module))
for loaded in list(sys.modules.values()):
    if getattr(loaded, "__name__", "").startswith(("diptych", "__main__")):
        continue
    for name in ("os", "signal", "socket", "_socket"):
        if (module := getattr(loaded, name, None)) in originals:
            setattr(loaded, name, originals[module])
for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty", "syslog", "posix_ipc"):
    sys.modules[name] = None
for module, names in {
    os: "fork forkpty killpg getpgid setpgid setsid pidfd_open memfd_create getuid geteuid getgid "
        "sched_getaffinity sched_setaffinity sysconf mkfifo wait4 WNOHANG "
        "nice chown fchmod pread pwrite posix_fadvise statvfs uname",
    signal: "SIGKILL SIGCHLD SIGALRM SIGHUP SIGUSR1 SIGUSR2 SIGQUIT alarm setitimer "
        "pthread_sigmask pthread_kill sigwait",
    socket: "SO_PEERCRED SCM_RIGHTS send_fds recv_fds",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
"""
IMPORTS = """
import diptych, threading
failed = {}

class Watched(type(os.environ)):
    def __getitem__(self, name):
        if name.startswith("DIPTYCH_"):
            failed[name] = "read by an import: a warm kernel would have the value of another caller"
        return super().__getitem__(name)

os.environ.__class__ = Watched
for found in pkgutil.walk_packages(diptych.__path__, "diptych."):
    if found.name.endswith("__main__"):
        continue
    try:
        __import__(found.name)
    except Exception as error:
        failed[found.name] = f"{type(error).__name__}: {error}"
failed |= {thread.name: "runs, and a fork would lose it" for thread in threading.enumerate()[1:]}
print("\\n".join(f"{name}: {why}" for name, why in failed.items()))
"""
RUN = """
import diptych as dt
print(dt.run("small.ipynb", count=3).status)
"""


def without(code: str, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(LIB), "DIPTYCH_HOME": str(folder / "home")}
    environment.pop("DIPTYCH_ENGINE", None)
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code], env=environment, cwd=folder, capture_output=True,
        text=True,
    )  # fmt: skip


def test_every_module_is_imported_without_what_windows_lacks(tmp_path):
    """And without reading settings or starting threads: zygotes import them for many callers."""
    done = without(IMPORTS, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == ""


def test_a_notebook_runs_in_a_cold_kernel_and_one_line_says_so(tmp_path):
    cell = nbformat.v4.new_code_cell("count: int = 1", metadata={"tags": ["parameters"]})
    cells = [cell, nbformat.v4.new_code_cell("import diptych\ndiptych.record(doubled=count * 2)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "small.ipynb")
    done = without(RUN, tmp_path)
    assert done.stdout.strip() == "ok", done.stderr[-2000:]
    assert done.stderr.count("kernels start cold") == 1, done.stderr
    [result] = (tmp_path / "home" / "runs").glob("*/result.json")
    assert json.loads(result.read_text())["values"]["doubled"]["value"] == 6
