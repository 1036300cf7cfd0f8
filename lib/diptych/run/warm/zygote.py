"""The zygote: imports libraries once, and forks a kernel from itself for each request.

It listens on a Unix socket. A request is a line of JSON (``arguments``, ``environment``, ``cwd``)
with the kernel's stdin, stdout and stderr, and a pipe if it is to talk over one. The answer is
``{"pid": …}``, and ``{"returncode": …}`` when the kernel has ended, or ``{"refused": why}``. The
kernel ends with the connection. A zygote nobody needs for a while ends itself.
"""

import contextlib
import gc
import importlib.util
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from diptych.run.warm import kernel, place

IDLE = "600"  # seconds; DIPTYCH_KERNEL_IDLE sets another time
PATIENCE = 5.0  # seconds, for a request to arrive whole
MATPLOTLIB = "module://matplotlib_inline.backend_inline"  # as ipykernel sets it for a kernel


class Unfit(RuntimeError):
    """A package that cannot be imported ahead."""


class Watched(type(os.environ)):
    """The environment, noting which variables are read."""

    read: set[str] = set()  # noqa: RUF012

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)


class Zygote:
    """The state of the process that forks.

    Parameters
    ----------
    interpreter : list of str
        Path and options of this interpreter, under which callers look for it.
    listener : socket.socket
    path : Path
        Where the listener is bound.
    environment : dict
        The variables this process was started with.
    """

    def __init__(self, interpreter, listener, path, environment):
        self.interpreter, self.environment = interpreter, environment
        self.listener, self.path = listener, Path(path)
        self.inode = self.path.stat().st_ino
        self.idle = float(environment.get("DIPTYCH_KERNEL_IDLE", IDLE))
        self.learnt = place.Learnt()
        self.tried: dict[str, None] = {}
        self.kernels: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.used = time.monotonic()

    def prepare(self) -> None:
        """Make the shell, before any library can ask for it, and import what was learnt."""
        os.environ.setdefault("MPLBACKEND", MATPLOTLIB)
        self.shell = kernel.make_shell()
        self._learn_or_retire()

    def learn(self) -> None:
        """Import what the notebooks served so far have imported, and move to where that is found.

        Raises
        ------
        Unfit
            If a package turned out not to bear it; it will not be tried again.
        """
        self.learnt = place.read(self.interpreter)
        new = [name for name in self.learnt.modules if name not in self.tried]
        if self.tried and not new:
            return
        self.tried.update(dict.fromkeys(new))
        with self.shell.builtin_trap:
            for name in new:
                self._import(name)
        gc.collect()
        gc.freeze()  # the collector must not touch, and so copy, what kernels share
        if Watched.read - set(self.learnt.variables):
            self.learnt = place.learn(self.interpreter, variables=sorted(Watched.read))
        path = place.socket(self.interpreter, self.environment, self.learnt)
        if path != self.path:
            with place.lock():
                if path.exists() or not self._is_mine(self.path):
                    raise Unfit("this zygote")  # there is another
                os.replace(self.path, path)
            self.path = path

    def _import(self, name: str) -> None:
        package = name.partition(".")[0]
        if name in sys.modules or package in self.learnt.refused or not _is_library(package):
            return
        before = self._traces()
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(name)
        if self._traces() != before or _threads_of_its_own():
            place.learn(self.interpreter, refused=[package])
            raise Unfit(package)

    def _traces(self) -> tuple:
        """Return what importing a library must leave alone: it would be shared, or out of place.

        Files it opened, handlers in the shell, text it wrote while nobody could see it.
        """
        hooks = {name: len(found) for name, found in self.shell.events.callbacks.items()}
        formatters = self.shell.display_formatter.formatters
        printers = {name: len(found.type_printers) for name, found in formatters.items()}
        return _open_files(), hooks, printers, kernel.EarlyStream.written

    def serve(self) -> None:
        """Answer requests until nobody needs this process."""
        wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(wake, selectors.EVENT_READ, self._reap)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        while self.kernels or self.listener:
            for key, _ in self.selector.select(min(PATIENCE, self.idle)):
                key.data(key.fileobj)
            idle = not self.kernels and time.monotonic() - self.used >= self.idle
            if self.listener and (idle or not self._is_found()):
                self.retire()

    def retire(self) -> None:
        """Take no more requests; the process ends with its last kernel."""
        if self._is_mine(self.path):
            self.path.unlink(missing_ok=True)
        if self.selector.get_map():
            self.selector.unregister(self.listener)
        self.listener.close()
        self.listener = None

    def _is_found(self) -> bool:
        """Say whether a caller would still come here: a package installed since makes it stale."""
        expected = place.socket(self.interpreter, self.environment, self.learnt)
        return expected == self.path and self._is_mine(self.path)

    def _is_mine(self, path: Path) -> bool:
        with contextlib.suppress(OSError):
            return path.stat().st_ino == self.inode
        return False

    def _reap(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        for pid in list(self.kernels):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._end(pid)
                connection = self.kernels.pop(pid)
                if connection in (key.fileobj for key in self.selector.get_map().values()):
                    self.selector.unregister(connection)
                _answer(connection, returncode=os.waitstatus_to_exitcode(status))
                self.used = time.monotonic()
        if self.listener:
            self._learn_or_retire()

    def _learn_or_retire(self) -> None:
        try:
            self.learn()
        except Unfit as error:
            print(f"{error}: not imported ahead from now on", file=sys.stderr)
            self.retire()

    def _end(self, pid: int) -> None:
        """End a kernel and the processes it started."""
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.settimeout(PATIENCE)
        files = []
        try:
            request, files = _request(connection)
            if request.get("stop"):
                self.retire()
                _answer(connection, stopped=os.getpid())
            elif why := self._refusal(request):
                _answer(connection, refused=why)
            else:
                self._fork(request, files, connection)
        except (OSError, ValueError) as error:  # the caller is gone, or no caller of ours
            print(f"{self.path}: {error}", file=sys.stderr)
            connection.close()
        finally:
            for file in files:
                os.close(file)

    def _refusal(self, request: dict) -> str:
        """Return why a kernel forked here would differ from one started afresh, "" if it would not.

        A file of the user's may hide a library, or set it up where it is imported.
        """
        folder = Path(request["cwd"])
        if (folder / "matplotlibrc").exists():
            return "a matplotlibrc lies in its folder"
        for name in {name.partition(".")[0] for name in self.tried}:
            if (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists():
                return f"a module {name} of your own lies in its folder"
        return ""

    def _fork(self, request: dict, files: list[int], connection: socket.socket) -> None:
        self.used = time.monotonic()
        _flush()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self.selector.close()
            self.listener.close()
            for other in self.kernels.values():
                other.close()
            kernel.run(self._complete(request), files, connection, self._report)
        self.kernels[pid] = connection
        self.selector.register(connection, selectors.EVENT_READ, lambda _: self._hang_up(pid))
        _answer(connection, pid=pid)

    def _complete(self, request: dict) -> dict:
        """Return a request with the variables that libraries and the shell set here."""
        os.environ.__class__ = Watched.__base__
        was, now = self.environment, dict(os.environ)
        changed = {name: value for name, value in now.items() if was.get(name) != value}
        return request | {"environment": request["environment"] | changed}

    def _hang_up(self, pid: int) -> None:
        self.selector.unregister(self.kernels[pid])
        self._end(pid)

    def _report(self, before: set[str]) -> None:
        """Write down, in a kernel about to end, which libraries its notebook imported."""
        names = [name for name in sys.modules if name not in before and _comes_from_library(name)]
        new = [n for n in names if n.partition(".")[0] not in self.learnt.refused]
        if new:
            place.learn(self.interpreter, modules=new)


def _request(connection: socket.socket) -> tuple[dict, list[int]]:
    content, files, *_ = socket.recv_fds(connection, 1 << 16, 4)
    while content and not content.endswith(b"\n"):
        content += connection.recv(1 << 16)
    if not content:
        raise ValueError("no request")
    return json.loads(content), files


def _answer(connection: socket.socket, **content) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(content).encode() + b"\n")
    if "pid" not in content:
        connection.close()


def _is_library(package: str) -> bool:
    """Say whether a package would be found among those installed."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return False
    where = spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), ""))
    return bool(where) and where.startswith(place.libraries())


def _comes_from_library(name: str) -> bool:
    where = getattr(sys.modules[name], "__file__", None)
    return isinstance(where, str) and where.startswith(place.libraries())


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


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        stream.flush()


def main(interpreter: list[str], descriptor: int, path: str) -> None:
    """Run a zygote detached from its caller, on a listening socket it was handed."""
    if os.fork():
        os._exit(0)
    os.setsid()
    environment = dict(os.environ)
    os.environ.__class__ = Watched
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    zygote = Zygote(interpreter, socket.socket(fileno=descriptor), path, environment)
    try:
        zygote.prepare()
        if zygote.listener:
            zygote.serve()
    except Exception:
        traceback.print_exc()
        zygote.retire()
