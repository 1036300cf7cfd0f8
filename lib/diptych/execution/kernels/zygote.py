"""The zygote: forks a kernel from itself for each request, with the libraries imported once.

It listens on a Unix socket. A request is a line of JSON (``arguments``, ``environment``, ``cwd``)
with the kernel's stdin, stdout and stderr, and a pipe if it is to talk over one. The answer is
``{"pid": …}``, and ``{"returncode": …}`` when the kernel has ended, or ``{"refused": why}``. The
kernel ends with the connection. A zygote nobody needs for a while ends itself.
"""

import contextlib
import json
import math
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from diptych.execution.kernels import kernel, location, recorder, shell, wire
from diptych.execution.kernels.imports import Imports, Unfit, Watched
from diptych.execution.kernels.pages import Pages
from diptych.execution.kernels.preforked import DELAY, PreforkedKernel
from diptych.execution.kernels.successor import Successor

IDLE = "600"  # seconds; DIPTYCH_KERNEL_IDLE sets another time
PATIENCE = 5.0  # seconds, for a request to arrive whole


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
        self.idle = float(environment.get(location.IDLE, IDLE))
        self.imports = Imports(interpreter)
        self.kernels: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.used, self.pages = time.monotonic(), Pages()
        self.successor: Successor | None = None
        self.preforked: PreforkedKernel | None = None
        self.due = math.inf  # when to fork the next preforked kernel
        self.expected: tuple[list[str], bool] = ([], False)  # its arguments, and if with a pipe

    def prepare(self) -> None:
        """Make the shell, before any library can ask for it.

        Raises
        ------
        Unfit
            If there is another zygote where this one would be found.
        """
        self.listener.setblocking(False)  # a successor may be the one who accepts
        self.imports.recover(self._trying)
        for name, value in location.DEFAULTS.items():
            os.environ[name] = os.environ.get(name) or value
        sys.modules[recorder.NAME] = recorder  # so that no kernel compiles it again
        self.imports.shell, self.is_plain = shell.make_shell()
        self._move()

    def serve(self) -> None:
        """Answer requests until nobody needs this process."""
        self.wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.wake[1])
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.wake[0], selectors.EVENT_READ, self._reap)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self._plan_successor()
        while self.kernels or self.listener:
            until_due = max(0.0, self.due - time.monotonic())
            for key, _ in self.selector.select(min(PATIENCE, self.idle, until_due)):
                key.data(key.fileobj)
            idle = not self.kernels and time.monotonic() - self.used >= self.idle
            if self.listener and (idle or not (self.successor or self._is_found())):
                self.retire()
            elif self.listener and time.monotonic() >= self.due:
                self._fork_ahead()

    def retire(self) -> None:
        """Take no more requests, end any successor; this process ends with its last kernel."""
        if self.successor:
            self.selector.unregister(self.successor.end)
            self.successor.kill()
            self.successor = None
            self._trying.unlink(missing_ok=True)
        learnt = location.read_learnt(self.interpreter)
        for path in {self.path, location.socket(self.interpreter, self.environment, learnt)}:
            if self._is_mine(path):
                path.unlink(missing_ok=True)
        self._stop_listening()

    def _stop_listening(self) -> None:
        with contextlib.suppress(KeyError):  # it did not come to serve
            self.selector.unregister(self.listener)
        self.listener.close()
        self.listener = None
        self._drop_preforked()
        self.due = math.inf

    def _is_found(self) -> bool:
        """Say whether a caller would still come here: a package installed since makes it stale."""
        return self._fits(self.environment) and self._is_mine(self.path)

    def _fits(self, environment: dict) -> bool:
        return location.socket(self.interpreter, environment, self.imports.learnt) == self.path

    def _is_mine(self, path: Path) -> bool:
        with contextlib.suppress(OSError):
            return path.stat().st_ino == self.inode
        return False

    def _reap(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        if self.preforked and os.waitpid(self.preforked.pid, os.WNOHANG)[0]:
            self.preforked.close()
            self.preforked = None
        for pid in list(self.kernels):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._end(pid)
                connection = self.kernels.pop(pid)
                with contextlib.suppress(KeyError):  # its caller hung up
                    self.selector.unregister(connection)
                _answer(connection, returncode=os.waitstatus_to_exitcode(status))
                self.used = time.monotonic()
        if self.listener:
            self._plan_successor()

    def _plan_successor(self) -> None:
        """Fork a successor if something is to be imported and no successor is doing it."""
        if self.successor or not self.imports.wanted():
            return
        _flush()
        successor = Successor()
        if successor.fork():
            self._inherit(successor)
        self.successor = successor
        self.selector.register(successor.end, selectors.EVENT_READ, self._hear)

    def _hear(self, end: int) -> None:
        """Let the successor take this process's place, if it did not end instead."""
        if not self.successor:  # it was killed just now
            return
        self.selector.unregister(end)
        is_ready = self.successor.is_ready()
        self.successor.close()
        self.successor = None
        if is_ready:
            self._stop_listening()
            return
        refused = self.imports.learnt.refused
        self.imports.recover(self._trying)
        if location.read_learnt(self.interpreter).refused == refused:
            self.imports.give_up()
        self._plan_successor()

    def _inherit(self, successor: Successor) -> None:
        """Be the successor: import, then serve. It does not return."""
        try:
            self._let_go()
            self.kernels, self.preforked, self.pages = {}, None, Pages()
            self.selector = selectors.DefaultSelector()
            self.imports.learn(self._trying)
            self._move()
            successor.announce()
            self.due = time.monotonic() if self.expected[0] else math.inf
            self.serve()
        except Unfit as error:
            print(error, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            _flush()
            os._exit(0)

    def _move(self) -> None:
        """Move to where callers look who know what was learnt."""
        self.imports.settle()
        with location.lock():
            self.imports.note_variables()
            path = location.socket(self.interpreter, self.environment, self.imports.learnt)
            if not self._is_mine(self.path) or (path != self.path and path.exists()):
                raise Unfit("there is another zygote")
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
        try:
            connection, _ = listener.accept()
        except OSError:  # the successor accepted it
            return
        connection.settimeout(PATIENCE)
        files = []
        try:
            request, files = wire.receive_request(connection)
            if request.get("stop"):
                self.retire()
                _answer(connection, stopped=os.getpid())
            elif why := self.imports.refusal(Path(request["cwd"])):
                _answer(connection, refused=why)
            elif not self._fits(request["environment"]):
                connection.close()  # it came while something was learnt, and looks again
            elif self.imports.are_edited():
                self.retire()
                connection.close()  # the caller asks again, and starts another
            else:
                self._start(request, files, connection)
        except (OSError, EOFError, ValueError) as error:  # the caller is gone, or no caller of ours
            print(f"{self.path}: {error}", file=sys.stderr)
            connection.close()
        finally:
            for file in files:
                os.close(file)

    def _start(self, request: dict, files: list[int], connection: socket.socket) -> None:
        """Start a kernel: the preforked one if it suits the request, else one forked now."""
        self.used = time.monotonic()
        files = [*files, connection.fileno()]
        if self.preforked and self.preforked.give(request, files, self._differing(request)):
            pid = self.preforked.pid
            self.preforked.close()
            self.preforked = None
        else:
            pid = self._fork(request["arguments"], len(files) > 4, lambda: (request, files))
        self.kernels[pid] = connection
        self.selector.register(connection, selectors.EVENT_READ, lambda _: self._hang_up(pid))
        _answer(connection, pid=pid)
        self._plan_preforked(request["arguments"], len(files) > 4)

    def _plan_preforked(self, arguments: list[str], piped: bool) -> None:
        """Plan a preforked kernel for the next request, which is expected to be like the last."""
        if not self.is_plain or not PreforkedKernel.can_serve(arguments):
            return
        if self.preforked and self.preforked.piped != piped:
            self._drop_preforked()
        self.expected = arguments, piped
        if not self.preforked:
            self.due = min(self.due, time.monotonic() + DELAY)

    def _fork_ahead(self) -> None:
        self.due = math.inf
        self.preforked = PreforkedKernel(*self.expected)

        def receive() -> tuple[dict, list[int]]:
            self.pages.copy()
            return self.preforked.wait()

        self.preforked.born(self._fork(*self.expected, receive, ahead=True))

    def _drop_preforked(self) -> None:
        """End the preforked kernel: it is not what is wanted any more."""
        if self.preforked:
            self.preforked.end()
            os.waitpid(self.preforked.pid, 0)
            self.preforked = None
            self.due = time.monotonic() + DELAY

    def _fork(
        self, arguments: list[str], piped: bool, receive: Callable, *, ahead: bool = False
    ) -> int:
        """Fork a kernel, see `kernel.run`, and return its process's number."""
        _flush()
        pid = os.fork()
        if pid == 0:
            self.listener.close()
            self._let_go(but=self.preforked if ahead else None)
            Watched.read.clear()  # from now on: what this process looks at
            kernel.run(
                arguments, piped, lambda: self._complete(*receive()), self._report, ahead=ahead
            )
        return pid

    def _let_go(self, but: PreforkedKernel | None = None) -> None:
        """Close, in a process just forked, what is the zygote's alone; keep `but` open."""
        signal.set_wakeup_fd(-1)
        for descriptor in self.wake:
            os.close(descriptor)
        self.selector.close()
        for other in self.kernels.values():
            other.close()
        for other in {self.successor, self.preforked} - {None, but}:
            other.close()

    def _report(self, before: set[str]) -> None:
        """Note, in a kernel about to end, what helps those after it."""
        self.imports.report(before)
        self.pages.note()

    def _differing(self, request: dict) -> set[str]:
        """Return the variables in which a kernel's environment will differ from this one."""
        mine = Watched.current()
        return {name for name, _ in mine.items() ^ self._environment(request, mine).items()}

    def _environment(self, request: dict, mine: dict) -> dict:
        """Return a request's environment with the variables that libraries and the shell set."""
        was = self.environment
        changed = {name: value for name, value in mine.items() if was.get(name) != value}
        return request["environment"] | changed

    def _complete(self, request: dict, files: list[int]) -> tuple[dict, list[int]]:
        environment = self._environment(request, Watched.current())
        os.environ.__class__ = Watched.__base__
        return request | {"environment": environment}, files

    def _hang_up(self, pid: int) -> None:
        self.selector.unregister(self.kernels[pid])
        self._end(pid)


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
        zygote.serve()
    except Exception:
        traceback.print_exc()
        zygote.retire()
