"""Find, start and stop the language model's server, and talk to it or to any other by `openai`.

`client("local")` starts the server if it does not run. It is a process of its own that outlives
its starter, is shared by all notebooks of a workspace, ends when idle and is started anew by the
next request.
"""

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diptych.llmops.client.providers import EndpointError, Provider, provider
from diptych.llmops.server.llama import CONTEXT, SHIPPED, Served, Server, folder, open_lock

if TYPE_CHECKING:  # imported in 0.5 s, so only where a client is made
    import ssl

    import openai

__all__ = ["EndpointError", "async_client", "client", "find", "model_file", "start", "stop"]

_STARTED: list[subprocess.Popen] = []  # kept, to take note of their end; they outlive this process
START_S = 120.0  # a large model takes a while to read from disk
IDLE_S = 900.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy to oneself


def client(name: str | Provider = "local", **options) -> "openai.OpenAI":
    """Return an ordinary client of a named endpoint, or of a base URL.

    Parameters
    ----------
    name : str or Provider
        ``"local"``, a name in ``params/endpoints.yaml``, or ``http(s)://…``.
    **options
        For ``"local"``: `model` and what else `start` takes. For a URL: `key_env`, the name of
        the environment variable with the key. Anything else goes to `openai.OpenAI`.

    Raises
    ------
    EndpointError
        If the endpoint is unknown, its key is not set, or the local server cannot be started.
    """
    where, given, begin = _connection(name, options)
    import openai

    if begin is not None:
        from diptych.llmops.client.transport import LocalClient

        given["http_client"] = LocalClient(begin)
    return openai.OpenAI(**where, **given)


def async_client(name: str | Provider = "local", **options) -> "openai.AsyncOpenAI":
    """Return the asynchronous client of an endpoint; as `client`, but on aiohttp, which is faster.

    It belongs to the event loop that first uses it.
    """
    where, given, begin = _connection(name, options)
    import openai

    if begin is not None:
        from diptych.llmops.client.transport import AsyncLocalClient

        given["http_client"] = AsyncLocalClient(begin)
    elif "http_client" not in given:
        given["http_client"] = openai.DefaultAioHttpClient(verify=_certificates())
    return openai.AsyncOpenAI(**where, **given)


@functools.cache
def _certificates() -> "ssl.SSLContext":
    """Return what servers are verified with; to read it takes longer than a call."""
    import httpx2

    return httpx2.create_ssl_context()


SERVER_OPTIONS = ("model", "adapters", "slots", "context", "idle_s")


def _connection(name: str | Provider, options: dict):
    """Return base URL and key, what is left of the options, and for "local" how to start it."""
    if name == "local":
        wanted = {k: options.pop(k) for k in SERVER_OPTIONS if k in options}
        wanted["model"] = model_file(wanted.get("model"))  # once: it may need the network

        def begin() -> Server:
            return start(**wanted)

        # half a second of imports, while the server starts
        threading.Thread(target=importlib.import_module, args=["openai"]).start()
        return {"base_url": f"{begin().url}/v1", "api_key": "none"}, options, begin
    key_env = options.pop("key_env", "")
    at = name if isinstance(name, Provider) else provider(name, key_env)
    return {"base_url": at.base_url, "api_key": at.key() or "none"}, options, None


def model_file(model: str | Path | None = None) -> Path:
    """Return the path of a model: the shipped one, a file, or ``hf:OWNER/REPO/FILE``, downloaded.

    Raises
    ------
    EndpointError
        If there is no such file, or it cannot be had from the hub.
    """
    text = str(model or SHIPPED)
    if text.startswith("hf:"):
        return _download(text)
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        remedy = "run `make model`" if path == SHIPPED else "give a GGUF file or hf:OWNER/REPO/FILE"
        raise EndpointError(f"model: {path} is not there; {remedy}")
    return path


def _download(text: str) -> Path:
    owner, _, rest = text.removeprefix("hf:").partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file):
        raise EndpointError(f"model: {text!r} is not of the form hf:OWNER/REPO/FILE")
    from huggingface_hub import constants, errors, hf_hub_download, try_to_load_from_cache

    kept = try_to_load_from_cache(f"{owner}/{repository}", file, constants.HF_HUB_CACHE)
    if isinstance(kept, str):  # else it is not known, or known not to exist
        return Path(kept)  # as it was: a model must not change between two runs
    try:
        return Path(
            hf_hub_download(
                f"{owner}/{repository}", file,
                # read now: the library reads it when it is imported
                endpoint=os.environ.get("HF_ENDPOINT") or constants.ENDPOINT,
            )
        )  # fmt: skip
    except errors.RepositoryNotFoundError as error:
        told = f"there is no {owner}/{repository}, or it needs a token in HF_TOKEN"
        raise EndpointError(f"model: {text}: {told}") from error
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            told = "the hub cannot be reached and the file was not downloaded before"
            remedy = "connect to the network, or give a GGUF file"
            raise EndpointError(f"model: {text}: {told}; {remedy}") from error
        told = f"{owner}/{repository} has no file {file}"
        raise EndpointError(f"model: {text}: {told}") from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EndpointError(f"model: {text} could not be downloaded ({reason})") from error


def start(
    model: str | Path | None = None,
    *,
    adapters: Mapping[str, str | Path] | None = None,
    slots: int = 8,
    context: int = CONTEXT,
    idle_s: float = IDLE_S,
    wait_s: float = START_S,
) -> Server:
    """Return the server of a model, started if none runs; however many ask, there is one.

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


def find(model: str | Path | None = None, **settings) -> Server | None:
    """Return the running server of a model, or None; takes what `start` takes."""
    settings = {k: v for k, v in settings.items() if k in ("adapters", "slots", "context")}
    return _answering(_served(model, **settings).key())


def stop(model: str | Path | None = None, wait_s: float = 15.0, **settings) -> bool:
    """End a model's server once its answers are out; False if there was none."""
    server = find(model, **settings)
    if server is None:
        return False
    os.kill(server.pid, signal.SIGTERM)
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        # its lock is free only when the process is gone, whoever's child it is
        if (lock := open_lock(_served(model, **settings).key())) is not None:
            os.close(lock)
            return True
        time.sleep(0.02)
    os.kill(server.pid, signal.SIGKILL)
    return True


def _served(model, adapters=None, slots=8, context=CONTEXT) -> Served:
    files = {name: Path(path).absolute() for name, path in (adapters or {}).items()}
    for name, path in files.items():
        if not path.is_file():
            raise EndpointError(f"adapters: {name}: {path} is not there; give a GGUF file")
    return Served(model_file(model), files, slots, context)


def _answering(key: str) -> Server | None:
    """Return the server whose file lies in the workspace, if it answers."""
    try:
        facts = json.loads((folder() / f"{key}.json").read_text())
        with DIRECT.open(f"{facts['url']}/health", timeout=5):
            return Server(**facts)
    except (OSError, ValueError):
        return None


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
    said = log.read_text(errors="replace").strip().splitlines()
    last = said[-1].removeprefix("error: ") if said else "it said nothing"
    raise EndpointError(f"endpoint: the model's server did not start: {last}")
