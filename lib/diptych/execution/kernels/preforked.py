"""A kernel forked ahead of its request: it does what needs no request, then waits for one.

It serves one request and ends with the zygote. What it does ahead, it does in the zygote's
environment: it tells which variables it looked at, and serves no caller who differs in one.
"""

import contextlib
import json
import os
import signal
import socket

from diptych.execution.kernels import wire
from diptych.execution.kernels.imports import Watched

DELAY = 0.05  # seconds after a request, so that the kernel just forked gets going first
PATIENCE = 1.0  # seconds for a waiting kernel to take its request
KNOWN = {"--HistoryManager.hist_file=:memory:"}  # nbclient gives it


class PreforkedKernel:
    """A kernel forked ahead, made before the fork.

    `born` and `give` are for the zygote, `wait` is for the preforked kernel.

    Parameters
    ----------
    arguments : list of str
        Of ``ipykernel_launcher``: those of the request before.
    piped : bool
        Whether that request came with a pipe.
    """

    def __init__(self, arguments: list[str], piped: bool):
        self.arguments, self.piped, self.pid = arguments, piped, 0
        self._end, self._far_end = socket.socketpair()
        self._read: set[str] | None = None

    @staticmethod
    def can_serve(arguments: list[str]) -> bool:
        """Say whether arguments name a connection file, and do nothing that depends on a folder."""
        return arguments[:1] == ["-f"] and KNOWN.issuperset(arguments[2:])

    def born(self, pid: int) -> None:
        """Note that the preforked kernel was forked."""
        self.pid = pid
        self._far_end.close()

    def give(self, request: dict, files: list[int], differing: set[str]) -> bool:
        """Hand a request on, and say whether the preforked kernel took it.

        Parameters
        ----------
        request : dict
        files : list of int
            Stdin, stdout, stderr, the pipe if there is one, and the connection to the caller.
        differing : set of str
            Variables in which the request differs from the zygote's environment.
        """
        _, _, *mine = self.arguments
        if request["arguments"][2:] != mine or (len(files) > 4) != self.piped:
            return False
        if not self._is_ready() or self._read & differing:
            return False
        try:
            self._end.settimeout(PATIENCE)
            wire.send_request(self._end, request, files)
        except OSError:  # it was killed
            self.end()  # whatever came of the request
            return False
        return True

    def _is_ready(self) -> bool:
        if self._read is None:
            self._end.setblocking(False)
            with contextlib.suppress(OSError, ValueError):
                self._read = set(json.loads(self._end.recv(1 << 16)))
        return self._read is not None

    def close(self) -> None:
        """Let go of it: it ends, if it has no request."""
        self._end.close()

    def end(self) -> None:
        """End it at once."""
        self.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> tuple[dict, list[int]]:
        """Return the request when it comes, with its files; if the zygote goes instead, end."""
        self._end.close()
        self._far_end.sendall(json.dumps(sorted(Watched.read)).encode())
        try:
            with self._far_end:
                return wire.receive_request(self._far_end)
        except (OSError, EOFError):
            os._exit(0)
