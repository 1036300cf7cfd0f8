"""What a zygote imports ahead: the libraries that the notebooks it served have imported.

Installed packages and this one, never the user's own modules. A package is left to the kernels if
it opens files, starts threads, sets up the shell or writes text when it is imported, if it imports
this one (a plugin adds its names there, and each kernel has its own), or if a successor of the
zygote did not survive it. Of this package single modules are left, not the whole.
"""

import contextlib
import gc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from diptych.execution.kernels import location, shell

THIS = "diptych"
LOOK = 1.0  # seconds between looks at the files of what was imported; at this package's always
HANG = 100  # seconds an import may take; less than a caller waits


class Unfit(RuntimeError):  # noqa: N818 (reads as what happened)
    """The process cannot be a zygote; the message says why."""


class Watched(type(os.environ)):
    """The environment, noting which variables are read."""

    read: set[str] = set()  # noqa: RUF012

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    @staticmethod
    def current() -> dict[str, str]:
        """Return all variables, which is not to read them."""
        return {os.fsdecode(k): os.fsdecode(v) for k, v in os.environ._data.items()}


class Imports:
    """The modules imported ahead.

    Parameters
    ----------
    interpreter : list of str
        Path and options of this interpreter, under which is kept what was learnt.

    Attributes
    ----------
    learnt : place.Learnt
    packages : set of str
        Names of those that were to be imported.
    """

    def __init__(self, interpreter):
        self.interpreter, self.shell = interpreter, None
        self.learnt, self.packages = location.Learnt(), set()
        self._tried: set[str] = set()
        self._stamps: dict[str, int | None] = {}
        self._looked = time.monotonic()

    def recover(self, trying: Path) -> None:
        """Leave out the package that a successor did not survive, if any."""
        with contextlib.suppress(FileNotFoundError):
            location.learn(self.interpreter, refused=[trying.read_text()])
            trying.unlink()

    def wanted(self) -> list[str]:
        """Return what the notebooks served so far have imported, and this process has not tried."""
        self.learnt = location.read_learnt(self.interpreter)
        refused = set(self.learnt.refused)
        new = [name for name in self.learnt.modules if name not in self._tried]
        # this package last: what it imports was then tried by its own name
        return sorted((n for n in new if _unit(n) not in refused), key=_is_of_this_one)

    def give_up(self) -> None:
        """Want none of what is wanted now any more."""
        self._tried.update(self.wanted())

    def learn(self, trying: Path) -> None:
        """Import what is wanted.

        Parameters
        ----------
        trying : Path
            Holds the package's name while it is imported.

        Raises
        ------
        Unfit
            If packages turned out not to bear it; they will not be wanted again.
        """
        new = self.wanted()
        self._tried.update(new)
        self.packages = {name.partition(".")[0] for name in self._tried} - {THIS}
        with self.shell.builtin_trap:
            unfit = [name for name in new if not self._import(name, trying)]
        if unfit:
            raise Unfit(f"not imported ahead from now on: {', '.join(map(_unit, unfit))}")

    def settle(self) -> None:
        """Make what was imported ready to be shared, and note how it can become stale."""
        self._stamps = {file: _changed(file) for file in _files()}
        gc.collect()
        gc.freeze()  # the collector must not touch, and so copy, what kernels share

    def note_variables(self) -> None:
        """Write down, where the lock is held, which variables were looked at."""
        self.learnt = location.learn_locked(self.interpreter, variables=sorted(Watched.read))

    def are_edited(self) -> bool:
        """Say whether a file of what was imported has changed since, in place."""
        stamps = self._stamps
        if time.monotonic() - self._looked < LOOK:
            stamps = {file: stamps[file] for file in stamps if file.startswith(location.PACKAGE)}
        else:
            self._looked = time.monotonic()
        return any(_changed(file) != stamp for file, stamp in stamps.items())

    def refusal(self, folder: Path) -> str:
        """Return why a kernel forked for a folder would differ from one started afresh, or "".

        A file of the user's may hide a library, or set it up where it is imported.
        """
        if (folder / "matplotlibrc").exists():
            return "a matplotlibrc lies in its folder"
        for entry in os.listdir(folder):
            name = entry.removesuffix(".py")
            if name not in self.packages:
                continue
            if name != entry or (folder / name / "__init__.py").exists():
                return f"a module {name} of your own lies in its folder"
        return ""

    def report(self, before: set[str]) -> None:
        """Write down, in a kernel about to end, which libraries its notebook imported."""
        loaded = [name for name in sys.modules if name not in before]
        names = [name for name in loaded if _is_public(name) and _comes_from_library(name)]
        new = [name for name in names if _unit(name) not in self.learnt.refused]
        if new:
            location.learn(self.interpreter, modules=new)

    def _import(self, name: str, trying: Path) -> bool:
        """Import a module if there is need, and say whether its package bears it."""
        unit = _unit(name)
        if name in sys.modules or unit in self.learnt.refused or not _is_library(name):
            return True
        loaded, before = set(sys.modules), self._traces()
        trying.write_text(unit)
        signal.alarm(HANG)
        hiding = contextlib.nullcontext([]) if _is_of_this_one(name) else _without_this_one()
        with contextlib.suppress(Exception, SystemExit), hiding as is_plugin:
            importlib.import_module(name)
        signal.alarm(0)
        trying.unlink()
        if not is_plugin and self._traces() == before and not _threads_of_its_own():
            return True
        self.learnt = location.learn(self.interpreter, refused=[unit])
        _forget(loaded)
        return False

    def _traces(self) -> tuple:
        """Return what importing a library must leave alone: it would be shared, or out of place.

        Files it opened, handlers in the shell, text it wrote while nobody could see it.
        """
        hooks = {name: len(callbacks) for name, callbacks in self.shell.events.callbacks.items()}
        formatters = self.shell.display_formatter.formatters
        printers = {name: len(one.type_printers) for name, one in formatters.items()}
        return _open_files(), hooks, printers, shell.EarlyStream.written


def _unit(name: str) -> str:
    """Return what is refused if a module is unfit: its package, of this one the module."""
    return name if _is_of_this_one(name) else name.partition(".")[0]


def _is_of_this_one(name: str) -> bool:
    return name.partition(".")[0] == THIS


def _is_library(name: str) -> bool:
    """Say whether a module's package would be found among those installed, or is this one."""
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError, AttributeError):
        return False
    where = spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), ""))
    return bool(where) and where.startswith(_shared())


def _shared() -> tuple[str, ...]:
    """Return the folders whose modules may be imported ahead."""
    return (*location.libraries(), location.PACKAGE)


@contextlib.contextmanager
def _without_this_one() -> Iterator[list[str]]:
    """Hide this package's modules, and yield a list of those that are imported meanwhile."""
    imported: list[str] = []
    hidden = {name: sys.modules.pop(name) for name in filter(_is_of_this_one, list(sys.modules))}
    try:
        yield imported
    finally:
        imported += filter(_is_of_this_one, sys.modules)
        for name in imported:
            del sys.modules[name]
        sys.modules |= hidden


def _forget(before: set[str]) -> None:
    """Forget modules loaded since, so that whatever needs the unfit among them shows the same.

    Those of packages with compiled parts stay: they may not bear to be loaded twice.
    """
    new = [name for name in sys.modules if name not in before]
    files = {name: getattr(sys.modules[name], "__file__", None) or "" for name in new}
    with_compiled_parts = {
        name.partition(".")[0] for name in new if not files[name].endswith(".py")
    }
    for name in new:
        if name.partition(".")[0] not in with_compiled_parts:
            del sys.modules[name]


def _is_public(name: str) -> bool:
    """Say whether a module's package is public: a private one comes with those that need it."""
    return not name.startswith("_")


def _comes_from_library(name: str) -> bool:
    where = getattr(sys.modules[name], "__file__", None)
    return isinstance(where, str) and where.startswith(_shared())


def _files() -> list[str]:
    """Return the files of what was imported ahead."""
    return [sys.modules[name].__file__ for name in list(sys.modules) if _comes_from_library(name)]


def _changed(file: str) -> int | None:
    """Return when a file was changed."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return None


def _open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def _threads_of_its_own() -> bool:
    """Say whether threads run that a fork would lose.

    OpenBLAS ends its threads before a fork and starts them when they are needed; jemalloc's looks
    after itself. Others are looked for after a trial fork, so that the former are gone.
    """
    if not _threads():
        return False
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return bool(_threads())


def _threads() -> list[str]:
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            names.append((task / "comm").read_text().strip())
    names.remove(Path("/proc/self/comm").read_text().strip())  # the main thread
    return [name for name in names if name != "jemalloc_bg_thd"]
