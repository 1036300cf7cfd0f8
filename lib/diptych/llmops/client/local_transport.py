"""How requests find the local server: where it is now, started anew if it is gone.

Both do the same, one for the synchronous client and one for the asynchronous. They are given to an
ordinary `openai` client as its ``http_client``, which so works on after the server was killed or
has ended idle.
"""

import asyncio
import json
from collections.abc import Callable

import httpx2
from openai import APIConnectionError

from diptych.llmops.client.formats.connection import UNREACHED
from diptych.llmops.client.limits import LimitedClient, SyncClient
from diptych.llmops.server.llama import Server

# no proxy, and no certificates, which take longer to read than a call
TO_ONESELF = {"trust_env": False, "verify": False}
ENDED = "the local model's server ended in the middle of an answer; ask again, it is started anew"


def _aimed(request: httpx2.Request, server: Server) -> httpx2.Request:
    """Return the request for where the server is now, with the adapter that it asks for."""
    here = httpx2.URL(server.url)
    url = request.url.copy_with(host=here.host, port=here.port)
    content = request.content
    if server.adapters and content:
        content = _with_adapter(content, server.adapters)
    headers = [
        (k, v) for k, v in request.headers.raw if k.lower() not in (b"host", b"content-length")
    ]
    return httpx2.Request(
        request.method, url, headers=headers, content=content, extensions=request.extensions
    )


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


class LocalClient(SyncClient):
    """An HTTP client of the local server, which it starts with `begin` where nobody answers."""

    def __init__(self, begin: Callable[[], Server], **options):
        super().__init__(**TO_ONESELF, **options)
        self._begin, self._server = begin, begin()

    def send(self, request: httpx2.Request, *, stream: bool = False, **options) -> httpx2.Response:
        """Send a request, once more where nobody answered."""
        try:
            response = super().send(_aimed(request, self._server), stream=True, **options)
        except UNREACHED:
            self._server = self._begin()
            response = super().send(_aimed(request, self._server), stream=True, **options)
        if stream:
            response.stream = _Stream(response)
        else:
            response.read()
        return response


class AsyncLocalClient(LimitedClient):
    """As `LocalClient`, for an event loop."""

    def __init__(self, begin: Callable[[], Server], **options):
        super().__init__(**TO_ONESELF, **options)
        self._begin, self._server = begin, begin()

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options
    ) -> httpx2.Response:
        """Send a request, once more where nobody answered."""
        try:
            response = await super().send(_aimed(request, self._server), stream=True, **options)
        except UNREACHED:
            self._server = await asyncio.to_thread(self._begin)
            response = await super().send(_aimed(request, self._server), stream=True, **options)
        if stream:
            response.stream = _Stream(response)
        else:
            await response.aread()
        return response
