"""The zygote: imports libraries once, and forks a kernel from itself for each request.

It listens on a Unix socket. A request is a line of JSON (``arguments``, ``environment``, ``cwd``)
with the kernel's stdin, stdout and stderr, and a pipe if it is to talk over one. The answer is
``{"pid": …}``, and ``{"returncode": …}`` when the kernel has ended, or ``{"refused": why}``. The
kernel ends with the connection. A zygote nobody needs for a while ends itself.
"""

import contextlib
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
from diptych.run.warm.imports import Imports, Unfit, Watched

IDLE = "600"  # seconds; DIPTYCH_KERNEL_IDLE sets another time
PATIENCE = 5.0  # seconds, for a request to arrive whole
MATPLOTLIB = "module://matplotlib_inline.backend_inline"  # as ipykernel sets it for a kernel


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
        self.imports = Imports(interpreter)
        self.kernels: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.used = time.monotonic()

    def prepare(self) -> None:
        """Make the shell, before any library can ask for it, and import what was learnt."""
        self.imports.recover(self._trying)
        os.environ.setdefault("MPLBACKEND", MATPLOTLIB)
        self.imports.shell = kernel.make_shell()
        self._learn_or_retire()

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
        return self._fits(self.environment) and self._is_mine(self.path)

    def _fits(self, environment: dict) -> bool:
        return place.socket(self.interpreter, environment, self.imports.learnt) == self.path

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
            if self.imports.learn(self._trying):
                self._move()
        except Unfit as error:
            print(f"{error}: not imported ahead from now on", file=sys.stderr)
            self.retire()

    def _move(self) -> None:
        """Move to where callers look who know what was learnt."""
        path = place.socket(self.interpreter, self.environment, self.imports.learnt)
        if path != self.path:
            with place.lock():
                if path.exists() or not self._is_mine(self.path):
                    raise Unfit("this zygote")  # there is another
                os.replace(self.path, path)
            self.path = path

    @property
    def _trying(self) -> Path:
        return self.path.with_suffix(".trying")

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
            elif not self._fits(request["environment"]):
                connection.close()  # it came while something was learnt, and looks again
            elif self.imports.are_edited():
                self.retire()
                connection.close()  # the caller asks again, and starts another
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
        for entry in os.listdir(folder):
            name = entry.removesuffix(".py")
            if name not in self.imports.packages:
                continue
            if name != entry or (folder / name / "__init__.py").exists():
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
            kernel.run(self._complete(request), files, connection, self.imports.report)
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


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        stream.flush()


def main(interpreter: list[str], descriptor: int, path: str, environment: dict) -> None:
    """Run a zygote detached from its caller, on a listening socket it was handed."""
    if os.fork():
        os._exit(0)
    os.setsid()
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
