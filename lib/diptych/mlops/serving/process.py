"""Start the model's endpoint in a process of its own, and stop it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from diptych.base import serving

GRACE_S = 30  # from SIGTERM to SIGKILL


class EndpointError(RuntimeError):
    """The endpoint did not start; the message holds its output."""


class Endpoint:
    """A running endpoint on a free loopback port; a context manager that stops it.

    The listening socket is opened here and handed down, so the port cannot be taken in between.

    Parameters
    ----------
    folder : Path
        The saved model.
    ledger : Path
        Where every prediction is recorded.
    name : str
        The model's name in answers and records.
    endpoint : str
        Name of this serving run in the ledger.
    """

    def __init__(self, folder: Path, *, ledger: Path, name: str = "model", endpoint: str = ""):
        listener = socket.create_server(("127.0.0.1", 0))
        port, handle = listener.getsockname()[1], listener.fileno()
        self.url = f"http://127.0.0.1:{port}"
        serving.OWN_PORTS.add(port)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, closed with the endpoint
        command = [sys.executable, "-m", "diptych", "serve", "model", str(folder)]
        command += ["--ledger", str(ledger), "--name", name, "--endpoint", endpoint]
        handed: dict = {"pass_fds": [handle]}
        command += ["--handle", str(handle)]
        if os.name == "nt":  # there a socket cannot be handed down, and the port is taken anew
            handed, command = {}, [*command[:-2], "--port", str(port)]
            listener.close()
        with listener:  # closed here, so that nothing waits on it when the server is gone
            self._process = subprocess.Popen(
                command,
                **handed,
                stdin=subprocess.PIPE,  # its end of file tells the server that its starter is gone
                stdout=self._log,
                stderr=self._log,
            )

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    def wait(self, seconds: float = 30.0) -> "Endpoint":
        """Wait until the server answers.

        Raises
        ------
        EndpointError
            If it ended or did not answer in time.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/ping", timeout=seconds).close()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        self._end()
        self._log.seek(0)
        output = self._log.read().decode(errors="replace")[-2000:]
        self._log.close()
        raise EndpointError(f"endpoint: it did not start. Its output: {output}")

    def stop(self) -> None:
        """Let requests under way finish, then end the process."""
        self._end()
        self._log.close()

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process.stdin.close()

    def __enter__(self) -> "Endpoint":
        return self.wait()

    def __exit__(self, *exception) -> None:
        self.stop()
