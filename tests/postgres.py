"""A PostgreSQL server of the tests' own, where one is installed."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, which Debian keeps off the path."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].parent if places else None


@contextlib.contextmanager
def server():
    """Start a server on a free loopback port and yield its URL."""
    with cluster() as made, made.running():
        yield made.url


@contextlib.contextmanager
def cluster():
    """Make an empty cluster of databases, and remove it."""
    account = {}
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        if account:
            os.chown(name, account["user"], account["group"])
        make = [programs() / "initdb", "-D", f"{name}/data", "-U", "ann", "-A", "trust", "-N"]
        subprocess.run(make, check=True, capture_output=True, cwd="/", **account)
        yield Cluster(Path(name), port, account)


class Cluster:
    """A folder of databases whose server can be started again."""

    def __init__(self, folder: Path, port: int, account: dict):
        self.folder, self.port, self.account = folder, port, account
        self.url = f"postgresql://ann@127.0.0.1:{port}/postgres"
        self.process: subprocess.Popen | None = None

    @contextlib.contextmanager
    def running(self):
        """Start the server, wait until it answers, and end it."""
        folder = self.folder
        run = [programs() / "postgres", "-D", folder / "data", "-p", str(self.port), "-k", folder]
        with (
            (folder / "log").open("ab") as log,
            subprocess.Popen(
                [*run, "-c", "listen_addresses=127.0.0.1"],
                stdout=log, stderr=log, cwd="/", **self.account,
            ) as self.process,
        ):  # fmt: skip
            try:
                ready = [programs() / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]
                until = time.monotonic() + 60
                while subprocess.run(ready, capture_output=True, check=False).returncode:
                    assert self.process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < until, "PostgreSQL did not start within 60 s"
                    time.sleep(0.1)
                yield self
            finally:
                self.process.terminate()

    def kill(self) -> None:
        """Kill the server and every process of it, at once."""
        everyone = [psutil.Process(self.process.pid)]
        everyone += everyone[0].children(recursive=True)
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everyone[1:], timeout=30)
        self.process.wait()
