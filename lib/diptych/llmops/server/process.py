"""The local model's server as a process: find it, start it, stop it.

It is a process of its own that outlives its starter, is shared by all notebooks of a workspace,
ends when idle and is started anew by the next request (`diptych.llmops.client.local_transport`).
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from diptych.base import serving
from diptych.base.environment import process_start
from diptych.base.serving import ServeError
from diptych.llmops.server import store
from diptych.llmops.server.catalogue import NAMES, CatalogueError
from diptych.llmops.server.llama import (
    SHIPPED,
    Served,
    Server,
    folder,
    open_lock,
    unavailable,
)

__all__ = ["SETTINGS", "EndpointError", "find", "model_file", "request", "start", "stop"]

_STARTED: list[subprocess.Popen] = []  # kept, to take note of their end; they outlive this process
START_S = 120.0  # a large model takes a while to read from disk
IDLE_S = 900.0
SETTINGS = ("model", "adapters", "slots", "context", "idle_s", "wait_s")  # what `start` takes
NAME = re.compile(NAMES)
LOCAL_NAME = "diptych"  # of the shipped model


class EndpointError(RuntimeError):
    """An endpoint cannot be used; the message says what to do."""


def model_file(model: str | Path | None = None) -> Path:
    """Return the path of a model: the shipped one, a file, one of the catalogue, or the hub's.

    Parameters
    ----------
    model : str or Path, optional
        The path of a GGUF file, a name of `diptych model list`, or ``hf:OWNER/REPO/FILE``, which is
        downloaded. Without one, or "diptych", it is the shipped model.

    Raises
    ------
    EndpointError
        If there is no such file, or it cannot be had from the hub.
    """
    text = str(model or SHIPPED)
    if text.startswith("hf:"):
        return _download(text)
    path = Path(text).expanduser().absolute()
    if is_known(text):
        try:
            return SHIPPED if text == LOCAL_NAME else store.located(text)
        except CatalogueError as error:
            raise EndpointError(str(error)) from error
    if not path.is_file():
        remedy = "give a GGUF file, a name of `diptych model list` or hf:OWNER/REPO/FILE"
        remedy = "run `make model`" if path == SHIPPED else remedy
        raise EndpointError(f"model: {path} is not there; {remedy}")
    return path


def is_known(model: str | Path) -> bool:
    """Say whether a model is given by its name in the catalogue, and not as a file."""
    text = str(model)
    return bool(NAME.fullmatch(text)) and not text.endswith(".gguf") and not Path(text).is_file()


def _download(text: str) -> Path:
    owner, _, rest = text.removeprefix("hf:").partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file):
        raise EndpointError(f"model: {text!r} is not of the form hf:OWNER/REPO/FILE")
    from huggingface_hub import constants, errors, hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(f"{owner}/{repository}", file, constants.HF_HUB_CACHE)
    if isinstance(cached, str):  # else it is not known, or known not to exist
        return Path(cached)  # as it was: a model must not change between two runs
    try:
        return Path(
            hf_hub_download(
                f"{owner}/{repository}", file,
                # read now: the library reads it when it is imported
                endpoint=os.environ.get("HF_ENDPOINT") or constants.ENDPOINT,
            )
        )  # fmt: skip
    except errors.RepositoryNotFoundError as error:
        reason = f"there is no {owner}/{repository}, or it needs a token in HF_TOKEN"
        raise EndpointError(f"model: {text}: {reason}") from error
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            reason = "the hub cannot be reached and the file was not downloaded before"
            remedy = "connect to the network, or give a GGUF file"
            raise EndpointError(f"model: {text}: {reason}; {remedy}") from error
        reason = f"{owner}/{repository} has no file {file}"
        raise EndpointError(f"model: {text}: {reason}") from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EndpointError(f"model: {text} could not be downloaded ({reason})") from error


def start(
    model: str | Path | None = None,
    *,
    adapters: Mapping[str, str | Path] | None = None,
    slots: int = 0,
    context: int = 0,
    idle_s: float = IDLE_S,
    wait_s: float = START_S,
) -> Server:
    """Return the server of a model, started if none runs; however many processes ask.

    Parameters
    ----------
    model : str or Path, optional
        See `model_file`.
    adapters : mapping, optional
        LoRA adapters (GGUF files) by name; a request chooses one by giving it as ``model``.
    slots, context : int
        See `Served`.
    idle_s : float
        Seconds without a request after which the server ends; only a server started here takes it.
    wait_s : float
        Seconds it may take.

    Raises
    ------
    EndpointError
        If it cannot be started; the message holds what it said.
    """
    if reason := unavailable():
        raise EndpointError(f"local: {reason}")
    served = _served(model, adapters, slots, context)
    key, until = served.key(), time.monotonic() + wait_s
    while True:
        if server := _answering(key):
            return server
        lock = open_lock(key)
        if lock is not None:
            try:
                return _launch(served, key, idle_s, lock, until)
            finally:
                os.close(lock)
        if time.monotonic() > until:
            raise EndpointError(
                f"endpoint: another process has been starting {served.model.name} for {wait_s:g} s "
                f"and it does not answer; see {folder() / f'{key}.log'}"
            )
        time.sleep(0.02)


def find(
    model: str | Path | None = None,
    *,
    adapters: Mapping[str, str | Path] | None = None,
    slots: int = 0,
    context: int = 0,
) -> Server | None:
    """Return the running server of a model with these settings, or None; see `start`."""
    return _answering(_served(model, adapters, slots, context).key())


def stop(
    model: str | Path | None = None,
    *,
    adapters: Mapping[str, str | Path] | None = None,
    slots: int = 0,
    context: int = 0,
    wait_s: float = 15.0,
) -> bool:
    """End a model's server once its answers are out; False if there was none."""
    key = _served(model, adapters, slots, context).key()
    server = _answering(key)
    if server is None:
        return False
    _signal(server, signal.SIGTERM)
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        # its lock is free only when the process is gone, whoever's child it is
        if (lock := open_lock(key)) is not None:
            os.close(lock)
            return True
        time.sleep(0.02)
    _signal(server, signal.SIGKILL)
    return True


def _signal(server: Server, number: int) -> None:
    """Send a signal to a server, and never to a process that has its number now."""
    if process_start(server.pid) == server.started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, number)


def _served(model, adapters, slots: int, context: int) -> Served:
    files = {name: Path(path).absolute() for name, path in (adapters or {}).items()}
    for name, path in files.items():
        if not path.is_file():
            raise EndpointError(f"adapters: {name}: {path} is not there; give a GGUF file")
    served = Served(model_file(model), files, slots, context)
    try:
        served.sizing()
    except ServeError as error:
        raise EndpointError(str(error)) from error
    return served


def _answering(key: str) -> Server | None:
    """Return the server whose file lies in the workspace, if it is that one and answers.

    The file of a killed server names a process and a port that may be somebody else's by now.
    So the process must have started when the file says, and the answer must come from the socket
    file in the folder that only this user may enter.
    """
    try:
        server = Server(**json.loads((folder() / f"{key}.json").read_text()))
        place = Path(server.socket).parent.stat()
    except (OSError, ValueError, TypeError, AttributeError):  # TypeError: of an earlier version
        return None
    is_private = place.st_uid == os.geteuid() and not place.st_mode & 0o077
    if not is_private or process_start(server.pid) != server.started:
        return None
    if not _is_healthy(server):
        return None
    if port := urlsplit(server.url).port:
        serving.OWN_PORTS.add(port)
    return server


def _is_healthy(server: Server) -> bool:
    """Say whether a server says that it is ready."""
    try:
        return request(server, "GET", "/health", seconds=5)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def request(
    server: Server, method: str, path: str, body: bytes | None = None, seconds: float = 60.0
) -> tuple[int, bytes]:
    """Ask a server of this workspace, also what its gate keeps from others.

    Returns
    -------
    status : int
    answer : bytes
    """
    with contextlib.closing(http.client.HTTPConnection("localhost", timeout=seconds)) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(seconds)
        connection.sock.connect(server.socket)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def _launch(served: Served, key: str, idle_s: float, lock: int, until: float) -> Server:
    """Start the server, which takes over the lock, and wait until it answers."""
    command = [sys.executable, "-m", "diptych.llmops.server.llama", "--model", str(served.model)]
    command += ["--slots", str(served.slots), "--context", str(served.context)]
    command += [f"--lora={name}={path}" for name, path in served.adapters.items()]
    command += ["--idle", str(idle_s), "--lock", str(lock)]
    (folder() / f"{key}.json").unlink(missing_ok=True)  # of a server that was killed
    log = folder() / f"{key}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, pass_fds=[lock], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # it must outlive a notebook's kernel and its signals
        )  # fmt: skip
    _STARTED[:] = [*(p for p in _STARTED if p.poll() is None), process]
    while process.poll() is None and time.monotonic() < until:
        if server := _answering(key):
            return server
        time.sleep(0.02)
    process.kill()
    process.wait()
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    # llama.cpp writes its own lines from a thread, so they may come after the error
    raise EndpointError(f"endpoint: the model's server did not start: {(errors or lines)[-1]}")
