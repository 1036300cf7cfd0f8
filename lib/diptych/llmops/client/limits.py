"""What one answer may take at the wire: seconds until its last byte, and bytes; no redirects.

An `httpx2` client counts its timeout between two bytes, so a server that sends one now and then
holds a call for hours; and it follows a redirect with whatever key the headers hold.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import httpx2
from openai import DefaultAioHttpClient, DefaultHttpxClient, OpenAIError

MOST_BYTES = 8_000_000  # of one answer, unpacked
# a connection that is gone in mid-answer: aiohttp says one of the first two, openai's transport the
# third, which is a timeout by its class
BROKEN = (aiohttp.ClientError, RuntimeError, httpx2.ConnectTimeout)
PACKED = ("content-encoding", "content-length")  # headers that are untrue of an unpacked answer


class LimitError(OpenAIError, ValueError):
    """An answer took too long or is too large; no other attempt is made after it."""


class SyncClient(DefaultHttpxClient):
    """An HTTP client that follows no redirect: for files and jobs, which have no other limit."""

    def __init__(self, **options):
        super().__init__(**{**options, "follow_redirects": False})

    def __del__(self):  # as openai's own: a client is rarely closed in a notebook
        with contextlib.suppress(Exception):
            self.close()


class LimitedClient(DefaultAioHttpClient):
    """An asynchronous HTTP client whose answers keep to limits, and that follows no redirect.

    Parameters
    ----------
    most_bytes : int
        Of one answer.
    **options
        Of `httpx2.AsyncClient`. A request's ``read`` timeout counts for all of its answer.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, **options):
        super().__init__(**{**options, "follow_redirects": False})
        self._most_bytes = most_bytes

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options
    ) -> httpx2.Response:
        """Send a request.

        Raises
        ------
        LimitError
            If the answer has begun and does not end in time, or is too large.
        httpx2.ReadTimeout
            If it does not begin in time.
        """
        seconds = request.extensions.get("timeout", {}).get("read")
        now = asyncio.get_running_loop().time()
        until = None if seconds is None else now + seconds
        try:
            async with asyncio.timeout_at(until):
                response = await super().send(request, stream=True, **options)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("no answer in time", request=request) from error
        except aiohttp.ClientError as error:  # what the transport does not translate
            raise httpx2.RemoteProtocolError(str(error), request=request) from error
        body = _Body(response, until, seconds, self._most_bytes)
        headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() not in PACKED]
        limited = httpx2.Response(
            response.status_code, headers=headers, stream=body, request=request,
            extensions=response.extensions,
        )  # fmt: skip
        if not stream:
            await limited.aread()
        return limited


class _Body(httpx2.AsyncByteStream):
    """The bytes of an answer, unpacked, within the limits."""

    def __init__(
        self,
        response: httpx2.Response,
        until: float | None,
        seconds: float | None,
        most_bytes: int,
    ):
        self.response, self.until, self.seconds = response, until, seconds
        self.most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, chunks = 0, self.response.aiter_bytes()
        while (chunk := await self._next(chunks)) is not None:
            size += len(chunk)
            if size > self.most_bytes:
                await self.aclose()
                raise LimitError(
                    f"the answer is larger than {self.most_bytes:,} bytes; limit its tokens, or "
                    "raise max_bytes"
                )
            yield chunk

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout_at(self.until):
                return await anext(chunks, None)
        except BROKEN as error:
            request = self.response.request
            raise httpx2.RemoteProtocolError(str(error), request=request) from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            await self.aclose()
            raise LimitError(
                f"the answer began and did not end within {self.seconds:g} s; raise timeout_s, or "
                "limit its tokens"
            ) from error

    async def aclose(self) -> None:
        await self.response.aclose()
