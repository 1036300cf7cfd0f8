"""The language model's server: llama.cpp's own, with continuous batching, in its own process.

It speaks the OpenAI API, shows a chat page, and ends when nobody has asked for a while. While it
serves a model on loopback it holds a lock in the workspace and keeps a small file beside it, by
which `diptych.llmops.server.process` finds it; so one model has one server, however
many ask for it.

llama.cpp listens on a socket file in a folder that only its user may enter: what is asked there
reaches this process and no other, whoever has its port later. The address that people use is that
of `diptych.llmops.server.gate`.
"""

import argparse
import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from diptych.base import environment as machine
from diptych.base import groups, process_environment, workspace
from diptych.base.serving import ServeError, listen, read_token
from diptych.llmops.server import native, store
from diptych.llmops.server.gate import open_gate
from diptych.llmops.server.gguf import context_length
from diptych.llmops.server.model_names import ModelNames
from diptych.llmops.server.sizing import Sizing, fit

SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "model" / "diptych.gguf"
PAGE = Path(__file__).resolve().parent / "chat"
GRACE_S = 10.0  # for answers under way at SIGTERM


@dataclass(frozen=True)
class Served:
    """What is served, and so by whom it can be shared.

    Attributes
    ----------
    model : Path
        A GGUF file.
    adapters : mapping of str to Path
        LoRA adapters (GGUF) by the name that requests give as ``model``.
    slots : int
        Conversations answered at once; more wait their turn. 0 takes what suits the model.
    context : int
        Tokens of each, at most those the model was trained for; likewise.
    """

    model: Path = SHIPPED
    adapters: Mapping[str, Path] = field(default_factory=dict)
    slots: int = 0
    context: int = 0

    def sizing(self) -> Sizing:
        """Return what it is served with."""
        return fit(self.model, self.slots, self.context)

    def names(self) -> ModelNames:
        """Return what requests may call it and its adapters."""
        return ModelNames(self.model, tuple(self.adapters))

    def key(self) -> str:
        """Return a name of these files as they are now and these settings."""
        files = [self.model, *self.adapters.values()]
        stats = [(str(file.resolve()), (s := file.stat()).st_size, s.st_mtime_ns) for file in files]
        sizing = self.sizing()
        facts = [stats, list(self.adapters), sizing.slots, sizing.context]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Server:
    """A running server, as its file in the workspace tells it.

    Attributes
    ----------
    pid, started : int, str
        Its process, and when that started: a number may come back, not both.
    url : str
        Where people and other programs ask: the gate.
    socket : str
        Where `diptych` asks: a file in a folder of this user's alone.
    """

    pid: int
    started: str
    url: str
    socket: str
    model: str
    digest: str
    adapters: list[str]

    def names(self) -> ModelNames:
        """Return what requests may call its model and its adapters."""
        return ModelNames(Path(self.model), tuple(self.adapters))


def unavailable() -> str:
    """Return why no local server can run here, "" if it can: it needs socket files and locks."""
    if hasattr(socket, "AF_UNIX") and importlib.util.find_spec("fcntl"):
        return groups.missing("xllamacpp")
    return (
        f"the local server needs socket files, which Python on {sys.platform} has not; ask another "
        'server of this machine, such as Ollama: models=["ollama/qwen3"]'
    )


def folder() -> Path:
    """Return the workspace's folder of servers: for each a lock, a file and a log."""
    place = workspace.home() / "llm"
    place.mkdir(exist_ok=True)
    return place


def open_lock(key: str) -> int | None:
    """Take the lock of a server; None if another holds it. It is held while the handle is open."""
    import fcntl  # `unavailable` says where there is none

    handle = os.open(folder() / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return None
    return handle


def serve(
    served: Served,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str = "",
    idle_s: float = 0.0,
    lock: int | None = None,
    ready=lambda server: None,
) -> None:
    """Serve until SIGTERM, Ctrl-C or `idle_s` seconds without a request.

    Parameters
    ----------
    served : Served
    host : str
        Anything but loopback needs a token.
    port : int
        0 takes any free one.
    token : str
        If set, requests need it in ``Authorization: Bearer``.
    idle_s : float
        0 never ends by itself.
    lock : int, optional
        The held lock's handle; without one, the server is not found by others.
    ready : callable
        Called with the `Server` once it answers.

    Raises
    ------
    ServeError
        If a file is missing or wrong, the port is taken, or there is no token where one is needed.
    """
    listener = listen(host, port, token)  # first: nobody waits for a model to be told of a port
    private = Path(tempfile.mkdtemp(prefix="diptych-llm-"))  # only this user may enter it
    file = folder() / f"{served.key()}.json" if lock is not None else None
    try:
        engine = _engine(served, private / "llama.sock")
        stopped = _signals()
        facts = Server(
            os.getpid(), machine.process_start(os.getpid()),
            open_gate(listener, str(private / "llama.sock"), served.names(), token),
            str(private / "llama.sock"), str(served.model), store.digest(served.model),
            list(served.adapters),
        )  # fmt: skip
        if file:
            workspace.write_atomic(file, json.dumps(asdict(facts)))
        ready(facts)
        _watch(engine, stopped, idle_s)
    finally:
        if file:
            file.unlink(missing_ok=True)  # before the end, so that nobody still finds it
        shutil.rmtree(private, ignore_errors=True)  # open connections live on
    _finish(engine)


def _engine(served: Served, place: Path):
    """Return llama.cpp's server, which listens on a socket file."""
    native.activate()  # this and the next before the import, which reads them
    process_environment.set_defaults(served.sizing().environment())
    import xllamacpp

    try:
        return xllamacpp.Server(_parameters(xllamacpp, served, place))
    except RuntimeError as error:
        raise ServeError(
            f"model: {served.model} could not be loaded by llama.cpp, whose lines above say why; "
            "it may be damaged, too large for the memory, or need a newer xllamacpp"
        ) from error


def _finish(engine) -> None:
    """Let answers under way come to their end, then end the process."""
    until = time.monotonic() + GRACE_S
    while activity(engine)["busy"] and time.monotonic() < until:
        time.sleep(0.05)
    sys.stdout.flush()
    os._exit(0)  # llama.cpp's threads may still be sending to a client that does not read


def serve_or_find(
    model: Path,
    adapters: Mapping[str, Path],
    *,
    slots: int = 0,
    context: int = 0,
    host: str = "127.0.0.1",
    port: int = 0,
    token_env: str = "",
    idle_s: float = 0.0,
    lock: int | None = None,
    ready=lambda server: None,
) -> None:
    """Serve, and be found by others; if others serve the same already, tell where and return.

    A given port, host or token makes a server of one's own, which is not found by others.

    Parameters
    ----------
    token_env : str
        Environment variable with the token.
    lock : int, optional
        The server's lock, from the process that started this one.

    Raises
    ------
    ServeError
        See `serve`.
    """
    if reason := unavailable():
        raise ServeError(reason)
    context_length(model)  # the usual mistakes first: they need no llama.cpp
    served, token = Served(model, dict(adapters), slots, context), read_token(token_env)
    if missing := [path for path in served.adapters.values() if not path.is_file()]:
        raise ServeError(f"lora: {missing[0]} is not there; give a GGUF file")
    shared = not (port or token_env or host != "127.0.0.1")
    if lock is None and shared and (lock := open_lock(served.key())) is None:
        with contextlib.suppress(OSError, ValueError):
            ready(Server(**json.loads((folder() / f"{served.key()}.json").read_text())))
            return
        raise ServeError("another process is starting this model; try again in a moment")
    serve(served, host=host, port=port, token=token, idle_s=idle_s, lock=lock, ready=ready)


def _parameters(xllamacpp, served: Served, place: Path):
    sizing = served.sizing()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(served.model)
    parameters.model_alias = {served.model.stem}
    parameters.hostnames = [str(place)]
    parameters.n_parallel, parameters.n_ctx = sizing.slots, sizing.context * sizing.slots
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = sizing.threads
    parameters.endpoint_metrics, parameters.verbosity = True, 1
    parameters.public_path = str(PAGE)
    # No states of earlier prompts, but of the last one of each slot: with them a row that is asked
    # again takes a fraction of the time, and they do not know under which adapter they were made.
    parameters.cache_ram_mib = 0
    parameters.lora_adapters = [_adapter(xllamacpp, path) for path in served.adapters.values()]
    if served.adapters:
        parameters.lora_init_without_apply = True
    return parameters


def _adapter(xllamacpp, path: Path):
    if not path.is_file():
        raise ServeError(f"lora: {path} is not there; give a GGUF file")
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = str(path), 0.0  # a request names the adapter it wants
    return adapter


def _signals() -> list:
    """Return a list that a SIGTERM or SIGINT makes longer."""
    stopped = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append(True))
    return stopped


def _watch(engine, stopped: list, idle_s: float) -> None:
    """Return when a signal has come, or when nothing was asked for `idle_s` seconds."""
    seen, since = None, time.monotonic()
    pause = min(0.5, idle_s / 4) if idle_s else 0.5
    while not stopped:
        time.sleep(pause)
        if not idle_s:
            continue
        now = activity(engine)
        if now != seen or now["busy"]:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since >= idle_s:
            return


def activity(engine) -> dict:
    """Return how many requests are under way, and the tokens read and written so far."""
    metrics = {}
    for line in engine.handle_metrics().splitlines():
        name, _, value = line.partition(" ")
        if name.startswith("llamacpp:"):
            metrics[name.removeprefix("llamacpp:")] = float(value)
    busy = metrics["requests_processing"] + metrics["requests_deferred"]
    tokens = [value for name, value in metrics.items() if "tokens" in name and "total" in name]
    return {"busy": busy, "tokens": tokens}


def main(arguments: list[str] | None = None) -> int:
    """Serve as the arguments say; 2 and one sentence if that cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m diptych.llmops.server.llama", description=__doc__
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, metavar="FILE")
    parser.add_argument("--lora", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--context", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token-env", default="", metavar="NAME")
    parser.add_argument("--idle", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--lock", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    adapters = {name: Path(path) for name, _, path in (x.partition("=") for x in options.lora)}
    try:
        serve_or_find(
            options.model, adapters, slots=options.slots, context=options.context,
            host=options.host, port=options.port, token_env=options.token_env,
            idle_s=options.idle, lock=options.lock,
            ready=lambda server: print(f"Serving on {server.url}", flush=True),
        )  # fmt: skip
    except (ServeError, workspace.WorkspaceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
