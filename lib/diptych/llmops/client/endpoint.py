"""Talk to a target by an ordinary `openai` client; the local server is started for it."""

import functools
import importlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diptych.llmops.client import recordings
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.target import Target
from diptych.llmops.server import process

if TYPE_CHECKING:  # imported in 0.5 s, so only where a client is made
    import ssl
    from collections.abc import Callable

    import openai

    from diptych.llmops.server.llama import Server

__all__ = ["EndpointError", "async_client", "client"]


def client(target: Target | str = "local", **settings) -> "openai.OpenAI":
    """Return an ordinary client of a target.

    Parameters
    ----------
    target : Target or str
        A text is read by `Target.parse`: ``"local"``, ``"recorded/NAME"``, a name in
        ``params/endpoints.yaml``, or ``http(s)://…``. A client asks with the model that each
        request names.
    **settings
        Of `openai.OpenAI`, such as ``timeout`` and ``max_retries``.

    Raises
    ------
    EndpointError
        If the endpoint is unknown, its key is not set, or the local server cannot be started.

    Examples
    --------
    >>> hello = [{"role": "user", "content": "Say hello."}]
    >>> answer = dt.client("local").chat.completions.create(model="diptych", messages=hello)
    >>> answer.choices[0].message.role
    'assistant'
    """
    connection = _connection(target)
    import openai

    if connection.begin is not None:
        from diptych.llmops.client.local_transport import LocalClient

        settings["http_client"] = LocalClient(connection.begin)
    elif connection.recording:
        from diptych.llmops.client import recorded_transport

        recording = recordings.load(connection.recording)
        settings["http_client"] = recorded_transport.client(recording)
    elif "http_client" not in settings:
        from diptych.llmops.client.limits import SyncClient

        settings["http_client"] = SyncClient()
    settings["default_headers"] = connection.headers | settings.get("default_headers", {})
    return openai.OpenAI(base_url=connection.base_url, api_key=connection.api_key, **settings)


def async_client(
    target: Target | str = "local",
    *,
    max_bytes: int | None = None,
    on_headers: "Callable | None" = None,
    **settings,
) -> "openai.AsyncOpenAI":
    """Return the asynchronous client of a target; as `client`, but on aiohttp, which is faster.

    It belongs to the event loop that first uses it. Its timeout counts for a whole answer, which
    has at most `max_bytes` (`diptych.llmops.client.limits`). `on_headers` is called with the
    headers of each answer of an endpoint elsewhere, such as its rate limits.
    """
    connection = _connection(target)
    import openai

    from diptych.llmops.client.limits import MOST_BYTES, LimitedClient

    most = max_bytes or MOST_BYTES

    if connection.begin is not None:
        from diptych.llmops.client.local_transport import AsyncLocalClient

        settings["http_client"] = AsyncLocalClient(connection.begin, most_bytes=most)
    elif connection.recording and "http_client" not in settings:
        from diptych.llmops.client import recorded_transport

        recording = recordings.load(connection.recording)
        settings["http_client"] = recorded_transport.async_client(recording)
    elif "http_client" not in settings:
        hooks = {"response": [_reading(on_headers)]} if on_headers else {}
        settings["http_client"] = LimitedClient(most, verify=_certificates(), event_hooks=hooks)
    settings["default_headers"] = connection.headers | settings.get("default_headers", {})
    return openai.AsyncOpenAI(base_url=connection.base_url, api_key=connection.api_key, **settings)


def _reading(on_headers: "Callable") -> "Callable":
    async def read(response) -> None:
        on_headers(response.headers)

    return read


@functools.cache
def _certificates() -> "ssl.SSLContext":
    """Return what servers are verified with; to read it takes longer than a call."""
    import httpx2

    return httpx2.create_ssl_context()


@dataclass(frozen=True)
class _Connection:
    """Where a client connects; `begin` starts the local server, None for any other endpoint.

    `recording` names the one that answers instead of an endpoint.
    """

    base_url: str
    api_key: str
    begin: "Callable[[], Server] | None" = None
    headers: dict = field(default_factory=dict)
    recording: str = ""


def _connection(target: Target | str) -> _Connection:
    if isinstance(target, str):
        target = Target.parse(target)
    if target.is_recorded:
        return _Connection("http://recorded/v1", "none", recording=target.model)
    if not target.is_local:
        provider = target.provider
        key = provider.key()
        return _Connection(provider.base_url, key or "none", headers=provider.wire.headers(key))
    # the file once: to find it may need the network
    server = {**target.server, "model": process.model_file(target.server.get("model"))}

    def begin() -> "Server":
        return process.start(**server)

    # half a second of imports, while the server starts
    threading.Thread(target=importlib.import_module, args=["openai"]).start()
    return _Connection(f"{begin().url}/v1", "none", begin)
