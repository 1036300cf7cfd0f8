"""How requests find the local server: where it is now, started anew if it is gone.

They go to its socket files, which lie in a folder of this user's alone: whoever gets the port of a
server that was killed gets no request. A plain chat goes to llama.cpp itself, all else to the
gate beside it (`diptych.llmops.server.gate`).

Both do the same, one for the synchronous client and one for the asynchronous. They are given to an
ordinary `openai` client as its ``http_client``, which so works on after the server was killed or
has ended idle.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
from openai import APIConnectionError

from diptych.base.environment import process_start
from diptych.llmops.client.formats.connection import UNREACHED
from diptych.llmops.client.limits import LimitedClient, SyncClient
from diptych.llmops.server import abilities
from diptych.llmops.server.gate import inner
from diptych.llmops.server.llama import Server

try:  # openai's transport on aiohttp, which is faster and which it does not give a public name
    from openai._vendor.httpx_aiohttp.transport import AiohttpTransport as AioTransport
except ImportError:
    AioTransport = httpx2.AsyncHTTPTransport
# no proxy, and no certificates, which take longer to read than a call
TO_ONESELF = {"trust_env": False, "verify": False}
DIRECT = ("/chat/completions", "/completions")
ENDED = "the local model's server ended in the middle of an answer; ask again, it is started anew"


@dataclass(frozen=True)
class _Way:
    """A request as it goes to the server, and to which of its socket files."""

    request: httpx2.Request
    is_direct: bool  # to llama.cpp; else to the gate, which does or refuses what that would not


def _way(request: httpx2.Request, server: Server) -> _Way:
    """Return the way of a request; a plain chat goes directly, by the adapter that it names."""
    content, names = request.content, server.names()
    try:
        body = json.loads(content) if content else {}
    except ValueError:
        return _Way(request, False)
    is_plain = isinstance(body, dict) and abilities.is_plain(body) and names.has(body.get("model"))
    if not (is_plain and request.url.path.endswith(DIRECT)):
        return _Way(request, False)
    chosen = names.choose(body)
    if chosen == body:
        return _Way(request, True)
    headers = [(k, v) for k, v in request.headers.raw if k.lower() != b"content-length"]
    return _Way(httpx2.Request(
        request.method, request.url, headers=headers, content=json.dumps(chosen).encode(),
        extensions=request.extensions,
    ), True)  # fmt: skip


class _Stream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """An answer's bytes; if they end too early, one sentence says so."""

    def __init__(self, response: httpx2.Response):
        self.inner, self.request = response.stream, response.request

    def __iter__(self):
        try:
            yield from self.inner
        except httpx2.TransportError as error:
            raise APIConnectionError(message=ENDED, request=self.request) from error

    async def __aiter__(self):
        try:
            async for chunk in self.inner:
                yield chunk
        except httpx2.TimeoutException:
            raise
        except httpx2.TransportError as error:
            raise APIConnectionError(message=ENDED, request=self.request) from error

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()


class _ToSocket(httpx2.BaseTransport):
    """The way to the server's socket files, which are others after each start."""

    def __init__(self, server: Server):
        self.server = server
        self._direct, self._gate = (httpx2.HTTPTransport(uds=file) for file in _files(server))

    def aim(self, server: Server) -> None:
        self.close()
        self.__init__(server)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        _check_alive(self.server)
        way = _way(request, self.server)
        return (self._direct if way.is_direct else self._gate).handle_request(way.request)

    def close(self) -> None:
        self._direct.close()
        self._gate.close()


class _AsyncToSocket(httpx2.AsyncBaseTransport):
    """As `_ToSocket`, for an event loop."""

    def __init__(self, server: Server):
        self.server = server
        self._direct, self._gate = (AioTransport(uds=file) for file in _files(server))

    async def aim(self, server: Server) -> None:
        await self.aclose()
        self.__init__(server)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        _check_alive(self.server)
        way = _way(request, self.server)
        transport = self._direct if way.is_direct else self._gate
        return await transport.handle_async_request(way.request)

    async def aclose(self) -> None:
        await self._direct.aclose()
        await self._gate.aclose()


def _files(server: Server) -> tuple[str, str]:
    return server.socket, str(inner(server.socket))


def _check_alive(server: Server) -> None:
    """Raise what a connection to nobody raises; httpcore would leave its socket open."""
    if process_start(server.pid) != server.started:
        raise httpx2.ConnectError(f"the server, process {server.pid}, has ended")


class LocalClient(SyncClient):
    """An HTTP client of the local server, which it starts with `begin` where nobody answers."""

    def __init__(self, begin: Callable[[], Server], **options):
        self._begin, self._way = begin, _ToSocket(begin())
        super().__init__(**TO_ONESELF, transport=self._way, **options)

    def send(self, request: httpx2.Request, *, stream: bool = False, **options) -> httpx2.Response:
        """Send a request, once more where nobody answered."""
        try:
            response = super().send(request, stream=True, **options)
        except UNREACHED:
            self._way.aim(self._begin())
            response = super().send(request, stream=True, **options)
        if stream:
            response.stream = _Stream(response)
        else:
            response.read()
        return response


class AsyncLocalClient(LimitedClient):
    """As `LocalClient`, for an event loop."""

    def __init__(self, begin: Callable[[], Server], **options):
        self._begin, self._way = begin, _AsyncToSocket(begin())
        super().__init__(**TO_ONESELF, transport=self._way, **options)

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options
    ) -> httpx2.Response:
        """Send a request, once more where nobody answered."""
        try:
            response = await super().send(request, stream=True, **options)
        except UNREACHED:
            await self._way.aim(await asyncio.to_thread(self._begin))
            response = await super().send(request, stream=True, **options)
        if stream:
            response.stream = _Stream(response)
        else:
            await response.aread()
        return response
