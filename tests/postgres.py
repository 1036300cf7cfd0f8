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


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, which Debian keeps off the path."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].parent if places else None


@contextlib.contextmanager
def server():
    """Start a server on a free loopback port and yield its URL."""
    as_user = {}
    if os.geteuid() == 0:  # it refuses to run as root
        account = pwd.getpwnam("nobody")
        as_user = {"user": account.pw_uid, "group": account.pw_gid}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder = Path(name)
        if as_user:
            os.chown(folder, as_user["user"], as_user["group"])
        make = [programs() / "initdb", "-D", folder / "data", "-U", "ann", "-A", "trust", "-N"]
        subprocess.run(make, check=True, capture_output=True, cwd="/", **as_user)
        run = [programs() / "postgres", "-D", folder / "data", "-p", str(port), "-k", name]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [*run, "-c", "listen_addresses=127.0.0.1"],
                stdout=log, stderr=log, cwd="/", **as_user,
            ) as process,
        ):  # fmt: skip
            try:
                ready = [programs() / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
                until = time.monotonic() + 60
                while subprocess.run(ready, capture_output=True, check=False).returncode:
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < until, "PostgreSQL did not start within 60 s"
                    time.sleep(0.1)
                yield f"postgresql://ann@127.0.0.1:{port}/postgres"
            finally:
                process.terminate()
