"""How requests find the local server: where it is now, started anew if it is gone.

They go to its socket file, which lies in a folder of this user's alone: whoever gets the port of a
server that was killed gets no request.

Both do the same, one for the synchronous client and one for the asynchronous. They are given to an
ordinary `openai` client as its ``http_client``, which so works on after the server was killed or
has ended idle.
"""

import asyncio
import json
from collections.abc import Callable

import httpx2
from openai import APIConnectionError

from diptych.base.environment import process_start
from diptych.llmops.client.formats.connection import UNREACHED
from diptych.llmops.client.limits import LimitedClient, SyncClient
from diptych.llmops.server.llama import Server

try:  # openai's transport on aiohttp, which is faster and which it does not give a public name
    from openai._vendor.httpx_aiohttp.transport import AiohttpTransport as AioTransport
except ImportError:
    AioTransport = httpx2.AsyncHTTPTransport
# no proxy, and no certificates, which take longer to read than a call
TO_ONESELF = {"trust_env": False, "verify": False}
ENDED = "the local model's server ended in the middle of an answer; ask again, it is started anew"


def _adapted(request: httpx2.Request, server: Server) -> httpx2.Request:
    """Return the request with the adapter that it asks for."""
    content = request.content
    if not (server.adapters and content):
        return request
    content = _with_adapter(content, server.adapters)
    headers = [(k, v) for k, v in request.headers.raw if k.lower() != b"content-length"]
    return httpx2.Request(
        request.method, request.url, headers=headers, content=content,
        extensions=request.extensions,
    )  # fmt: skip


def _with_adapter(content: bytes, adapters: list[str]) -> bytes:
    """Turn an adapter's name given as the model into llama.cpp's choice of adapter.

    From an adapter to none llama.cpp keeps what it has read of an equal prompt, so a request
    without one is read anew.
    """
    try:
        body = json.loads(content)
    except ValueError:
        return content
    if not isinstance(body, dict) or "lora" in body:
        return content
    if body.get("model") in adapters:
        body["lora"] = [{"id": adapters.index(body["model"]), "scale": 1.0}]
    else:
        body["cache_prompt"] = False
    return json.dumps(body).encode()


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
    """The way to the server's socket file, which is another after each start."""

    def __init__(self, server: Server):
        self.server, self._inner = server, httpx2.HTTPTransport(uds=server.socket)

    def aim(self, server: Server) -> None:
        self._inner.close()
        self.__init__(server)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        _check_alive(self.server)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class _AsyncToSocket(httpx2.AsyncBaseTransport):
    """As `_ToSocket`, for an event loop."""

    def __init__(self, server: Server):
        self.server, self._inner = server, AioTransport(uds=server.socket)

    async def aim(self, server: Server) -> None:
        await self._inner.aclose()
        self.__init__(server)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        _check_alive(self.server)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


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
        request = _adapted(request, self._way.server)
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
        request = _adapted(request, self._way.server)
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
