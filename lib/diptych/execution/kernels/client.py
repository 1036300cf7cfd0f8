"""Ask a zygote for a kernel, starting the zygote if there is none."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from diptych.base.progress import say
from diptych.execution.kernels import location, unavailable, wire

PATIENCE = 120.0  # seconds; a successor whose zygote was killed answers when its imports are done
ATTEMPTS = 20  # a zygote may move or retire between two steps of a caller
ROOT = str(Path(__file__).parents[3])
START = (
    "import os, sys; environment = dict(os.environ); "  # before an import can change it
    "sys.path[0] = {root!r}; from diptych.execution.kernels.zygote import main; "
    "del sys.path[0]; main({interpreter!r}, {descriptor}, {path!r}, environment)"
)


class Refused(Exception):  # noqa: N818 (reads as what happened)
    """No kernel can be forked; the message says why. One started afresh can do."""


class Foreign(Refused):
    """The kernel is none of this Python's."""


def notice_fallback(refused: Refused) -> None:
    """Say, once, why kernels are started afresh; not that another language's are."""
    if not isinstance(refused, Foreign):
        _say_once(f"kernels start cold: {refused}")


@cache
def _say_once(line: str) -> None:
    say(line)


class Forked:
    """A forked kernel: the part of `subprocess.Popen` that its callers use.

    It ends when this object goes, and with this process.

    Attributes
    ----------
    pid : int
        Also of its process group.
    returncode : int or None
        None while it runs; negative for the signal that ended it. If the zygote was gone by then,
        nobody knows, and it is -9.
    """

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int, read: bytes):
        self.pid, self.returncode = pid, None
        self._connection, self._read, self._process = connection, read, None
        with contextlib.suppress(ProcessLookupError):
            self._process = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended, and return the exit status, None if the time was not enough."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            if self._read.endswith(b"\n"):
                self._end(json.loads(self._read)["returncode"])
                break
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            # The zygote tells; where it was killed, the process itself does.
            waited = [self._connection] if self._connection else [self._process]
            if not select.select(waited, (), (), left)[0]:
                return None
            if self._connection is None:
                self._end(-signal.SIGKILL)
            elif content := self._connection.recv(1 << 12):
                self._read += content
            else:
                self._connection.close()
                self._connection = None
                if self._process is None:
                    self._end(-signal.SIGKILL)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def send_group(self, number: int) -> None:
        """Send a signal to the process and those it started."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kill the process."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def _end(self, returncode: int) -> None:
        self.returncode = returncode
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            os.close(self._process)
            self._process = None

    __del__ = _close


def launch(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: str | Path,
    files: Sequence[int],
) -> Forked:
    """Fork a kernel.

    Parameters
    ----------
    command : sequence of str
        What would start it afresh: a kernelspec's ``argv`` and more arguments.
    environment, cwd
        The kernel's own.
    files : sequence of int
        Descriptors for its stdin, stdout and stderr, and one end of a pipe if it is to use one.

    Raises
    ------
    Refused
        If there can be no zygote, or it must not serve this kernel.
    """
    interpreter, arguments = _parts(list(command))
    if why := unavailable():
        raise Refused(why)
    environment = {**environment, "JPY_PARENT_PID": str(os.getpid())}
    request = {"arguments": arguments, "environment": environment, "cwd": os.path.abspath(cwd)}
    try:
        for _ in range(ATTEMPTS):
            connection = _connect(interpreter, environment)
            answer, whole, rest = _ask(connection, request, files).partition(b"\n")
            if whole:
                break
            connection.close()
        else:
            raise Refused(f"the zygote does not start; see {location.folder() / 'log'}")
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refused(f"no zygote can be reached ({error})") from error
    answer = json.loads(answer)
    if "refused" in answer:
        connection.close()
        raise Refused(answer["refused"])
    return Forked(connection, answer["pid"], rest)


def warm_up() -> None:
    """Start the zygote of this environment, so that the first kernel need not wait for it."""
    if not unavailable():
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            _connect([sys.executable], os.environ).close()


def stop() -> int:
    """Let every zygote end with its last kernel, and return how many there were."""
    stopped = 0
    for path in location.folder().glob("*.sock"):
        try:
            with _at(path) as connection:
                stopped += bool(_ask(connection, {"stop": True}, ()))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # its zygote was killed
        except OSError:
            continue
    return stopped


def _parts(command: list[str]) -> tuple[list[str], list[str]]:
    """Return path and options of this Python, and the arguments of ipykernel.

    Raises
    ------
    Foreign
        If the command starts something else, or another Python: this one cannot fork that.
    """
    python, *rest = command
    start = rest.index("-m") if "-m" in rest else len(rest)
    bare = {"python", "python3", f"python3.{sys.version_info.minor}"}
    if rest[start + 1 : start + 2] != ["ipykernel_launcher"]:
        raise Foreign(f"{python} starts no IPython kernel")
    if python not in bare and os.path.abspath(python) != sys.executable:
        raise Foreign(f"{python} is another Python than {sys.executable}")
    return [sys.executable, *rest[:start]], rest[start + 2 :]


def _ask(connection: socket.socket, request: dict, files: Sequence[int]) -> bytes:
    """Return the answer to a request, or nothing if the zygote ended instead."""
    answer = b""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        wire.send_request(connection, request, files)
        while b"\n" not in answer and (part := connection.recv(1 << 12)):
            answer += part
    return answer


def _connect(interpreter: list[str], environment: Mapping[str, str]) -> socket.socket:
    def place_now() -> Path:
        return location.socket(interpreter, environment, location.read_learnt(interpreter))

    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        return _at(place_now())
    with location.lock():
        path = place_now()
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return _at(path)
        _start(interpreter, environment, path)
        return _at(path)


def _at(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _start(interpreter: list[str], environment: Mapping[str, str], path: Path) -> None:
    """Start a zygote; it takes its first request when it has made its shell."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, (path.parent / "log").open("wb") as log:
        listener.bind(str(path))
        listener.listen(128)
        code = START.format(
            root=ROOT, interpreter=interpreter, descriptor=listener.fileno(), path=str(path)
        )
        subprocess.run(
            [*interpreter, "-c", code],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            check=True,
        )
