"""What is installed, what is missing, what to do: the facts behind ``diptych doctor``."""

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diptych.base import environment, groups, plugins, workspace
from diptych.base.errors import WorkspaceError
from diptych.execution import abandoned

OLDEST_PYTHON = (3, 11)
FREE_GIB = 2
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    ok : bool or None
        False for something required that is missing; None for something worth knowing.
    what : str
    remedy : str
        What to do, "" if nothing.
    """

    ok: bool | None
    what: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Yield everything worth telling about this installation, its machine and its workspace."""
    yield _python()
    yield from _dependencies()
    yield _kernel()
    yield _warm()
    yield from _machine()
    yield from _workspace()
    yield _browser()


def fix_workspace() -> str:
    """Remove what killed runs left, and say what was done."""
    removed = abandoned.remove(workspace.runs())
    return f"removed {removed} folder{'' if removed == 1 else 's'} of killed runs"


def _python() -> Finding:
    version = sys.version.split()[0]
    what = f"Python {version} ({sys.executable})"
    wanted = ".".join(map(str, OLDEST_PYTHON))
    if sys.version_info >= OLDEST_PYTHON:
        return Finding(True, what)
    return Finding(False, what, f"Python {wanted} or later is needed: run `make setup` with it")


def _dependencies() -> Iterator[Finding]:
    needed = environment.requirements()
    if not needed:
        yield Finding(False, "diptych is not installed", "run `make setup` in the repository")
    good = []
    for requirement in needed:
        name = environment.name_of(requirement)
        version = environment.version_of(name)
        if version is None:
            yield Finding(False, f"{name} is missing", "run `make setup`")
        elif not _satisfies(requirement, version):
            yield Finding(False, f"{name} {version}, needed {requirement}", "run `make setup`")
        else:
            good.append(f"{name} {version}")
    if good:
        yield Finding(True, f"{len(good)} of {len(needed)} packages: {', '.join(good)}")
    for group, names in groups.absent().items():
        what = f"not installed: {', '.join(names)} ({groups.PARTS[group]})"
        yield Finding(None, what, f"if you need it: pip install 'diptych[{group}]'")
    for failure in plugins.load():
        yield Finding(False, str(failure), "correct the plugin, or take it out")


def _satisfies(requirement: str, version: str) -> bool:
    try:
        from packaging.requirements import Requirement
    except ImportError:  # nothing to compare with; the missing packages are listed anyway
        return True
    return Requirement(requirement).specifier.contains(version, prereleases=True)


def _kernel() -> Finding:
    remedy = "run `make setup`, or `python -m ipykernel install --sys-prefix`"
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

        spec = KernelSpecManager().get_kernel_spec("python3")
    except ImportError:
        return Finding(False, "Jupyter is missing: no notebook can run", "run `make setup`")
    except NoSuchKernel:
        return Finding(False, "no kernel `python3`", remedy)
    interpreter = spec.argv[0]
    if shutil.which(interpreter) is None:
        return Finding(False, f"kernel python3 points to {interpreter}, which is gone", remedy)
    return Finding(True, f"kernel python3 ({spec.resource_dir})")


def _warm() -> Finding:
    from diptych.execution.kernels import unavailable

    if why := unavailable():
        return Finding(None, f"notebooks start cold: {why}")
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

        spec = KernelSpecManager().get_kernel_spec("diptych")
    except (ImportError, NoSuchKernel):
        remedy = (
            "for JupyterLab and nbval run `make setup`, or `python -m diptych.execution.kernels`"
        )
        return Finding(None, "no kernel `diptych`; runs start warm without it", remedy)
    return Finding(True, f"kernel diptych, warm ({spec.resource_dir})")


def _machine() -> Iterator[Finding]:
    facts = environment.machine()
    memory = f", {facts['memory_gib']} GiB memory" if facts["memory_gib"] else ""
    yield Finding(True, f"{facts['cores']} cores{memory}, {facts['os']} {facts['machine']}")


def _workspace() -> Iterator[Finding]:
    try:
        home, runs, tables = workspace.home(), workspace.runs(), workspace.tables()
    except WorkspaceError as error:
        yield Finding(False, str(error), "")
        return
    size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    yield Finding(True, f"workspace {home}: {_size(size)}", "`make clean` removes it")
    names = [folder.name for folder in runs.iterdir() if folder.is_dir()]
    partial, left = sum(name.startswith(".") for name in names), len(abandoned.folders(runs))
    failed = sum(name.endswith("-failed") for name in names)
    count = len(names) - partial
    yield Finding(True, f"runs: {count}, {failed} failed; tables: {_tables(tables)}")
    if left:
        what = f"{left} run folders of killed runs in {runs}"
        yield Finding(None, what, "`diptych doctor --fix` removes them")
    if partial > left:
        yield Finding(None, f"{partial - left} unfinished run folders in {runs}", "still running")
    for path in (workspace.mlflow_path(), workspace.ledger_path()):
        yield _database(path)
    free = shutil.disk_usage(home).free
    low = free < FREE_GIB * 2**30
    remedy = "a report may not fit: free some space" if low else ""
    yield Finding(None if low else True, f"{_size(free)} free on the workspace's disk", remedy)


def _tables(folder: Path) -> int:
    return sum(child.is_dir() for child in folder.iterdir())


def _database(path: Path) -> Finding:
    if not path.exists():
        return Finding(None, f"{path.name}: not there yet", "the first report makes it")
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("select count(*) from sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Finding(False, f"{path.name}: {error}", f"move {path} away; a new one is made")
    return Finding(True, f"{path.name}: {_size(path.stat().st_size)}")


def _browser() -> Finding:
    for name in BROWSERS:
        if path := shutil.which(name):
            return Finding(True, f"browser {path}")
    return Finding(None, "no Chromium found", "only the tests that look at the report use it")


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
