"""The door of the language model's server: what may be asked of llama.cpp, by whom, how long.

llama.cpp itself listens on a socket file in a folder of its user's alone; `diptych` asks there.
Everyone else asks this gate, an HTTP server beside it: it refuses foreign hosts and origins
(`diptych.base.guard`), asks for the token, has limits for heads, bodies and fields, and passes on
only what `POST` and `READ` name, so that nobody loads an adapter, a model or a state by it.
"""

import asyncio
import contextlib
import json
import socket
import threading

from diptych.base import guard
from diptych.llmops.server import embeddings

READ = {"/", "/index.html", "/health", "/v1/health"}  # also without the token
READ_WITH_TOKEN = {"/models", "/v1/models", "/props", "/metrics"}
POST = {
    "/completion", "/completions", "/v1/completions", "/chat/completions", "/v1/chat/completions",
    "/responses", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "/infill",
    *embeddings.PATHS, "/rerank", "/v1/rerank", "/tokenize", "/detokenize", "/apply-template",
}  # fmt: skip
TEXTS = ("messages", "prompt", "input", "content", "system", "documents", "tokens", "query")
BODY_BYTES = 16 * 2**20  # pictures stand in messages
FIELD_BYTES = 32 * 2**10  # of any other field: a schema of more takes llama.cpp gigabytes
FIELD_ITEMS = 256  # in a list or mapping there: llama.cpp looks at each for each token
BODY_S = 20.0
START_S = 30.0
PASSED_ON = (b"content-type", b"accept")
ANSWERED = ("content-type", "cache-control", "retry-after")


class RefusedError(Exception):
    """A request that is not passed on, with the status of its answer."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


class Gate:
    """The gate of one server as an ASGI app.

    Parameters
    ----------
    path : str
        llama.cpp's socket file.
    token : str
        What requests need in ``Authorization: Bearer``; "" for nothing.
    """

    def __init__(self, path: str, token: str = ""):
        self._path, self._token, self._session = path, token, None

    async def __call__(self, scope, receive, send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            return
        try:
            check_route(scope)
            self._check_token(scope)
            body = await _read(scope, receive)
            if scope["method"] == "POST":
                check_body(scope, body)
        except RefusedError as error:
            await guard.refuse(send, error.status, str(error))
        except ConnectionError:
            pass
        else:
            if scope["path"] in embeddings.PATHS:
                await embeddings.respond(body, send)
                return
            await self._pass_on(scope, receive, send, body)

    async def _pass_on(self, scope, receive, send, body: bytes) -> None:
        """Pass a request on until it is answered or its client has left."""
        forward = asyncio.ensure_future(self._forward(scope, body, send))
        gone = asyncio.ensure_future(_gone(receive))
        await asyncio.wait({forward, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (forward, gone):  # llama.cpp stops when nobody listens any more
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _check_token(self, scope) -> None:
        if not self._token or (scope["method"] in ("GET", "HEAD") and scope["path"] in READ):
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        if not guard.holds_token(headers, self._token, "authorization", "x-api-key"):
            raise RefusedError(401, "Authorization: send 'Bearer' and the server's token")

    async def _forward(self, scope, body: bytes, send) -> None:
        """Pass a request on, and its answer back as it comes."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(self._path, limit=0),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        url = "http://llama" + scope["raw_path"].decode("ascii")
        headers = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in PASSED_ON
        }
        try:
            async with self._session.request(
                scope["method"], url, data=body or None, headers=headers
            ) as answer:
                await _answer(answer, send)
        except aiohttp.ClientError:
            await guard.refuse(send, 503, "the model's server has ended; ask again")


async def _answer(answer, send) -> None:
    head = [
        (name.encode(), answer.headers[name].encode("latin-1"))
        for name in ANSWERED
        if name in answer.headers
    ]
    if "content-length" in answer.headers:
        head.append((b"content-length", answer.headers["content-length"].encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": head})
    async for chunk in answer.content.iter_any():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(scope, receive) -> bytes:
    """Read a request's body within the limits.

    Raises
    ------
    RefusedError
        If it is too long or too slow.
    ConnectionError
        If the client left.
    """
    too_long = RefusedError(413, f"body: is over {BODY_BYTES // 2**20} MiB; send less at once")
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionError
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > BODY_BYTES:
                    raise too_long
    except TimeoutError as error:
        raise RefusedError(408, f"body: did not arrive within {BODY_S:g} s") from error
    return bytes(body)


def check_route(scope) -> None:
    """Refuse what is not served: above all what would change the server for others."""
    method, path = scope["method"], scope["path"]
    there = POST if method == "POST" else READ | READ_WITH_TOKEN
    if method not in ("GET", "HEAD", "POST"):
        raise RefusedError(405, f"{method}: is not served; there are GET and POST")
    if path not in there:
        raise RefusedError(404, f"{method} {path[:80]}: is not served; the API begins with /v1")


def check_body(scope, body: bytes) -> None:
    """Refuse a request that is no JSON object, or that would stall or swell the server."""
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    if not kinds or kinds[0].split(b";")[0].strip().lower() != b"application/json":
        raise RefusedError(415, "Content-Type: send application/json")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "body: is not JSON; check it with a JSON tool") from error
    if not isinstance(content, dict):
        raise RefusedError(400, "body: is no object; send one as of the OpenAI API")
    for name, value in content.items():
        if isinstance(value, list | dict | str) and name not in TEXTS:
            _check_field(name, value)


def _check_field(name: str, value) -> None:
    text = json.dumps(value)
    if len(text) > FIELD_BYTES:
        kib = FIELD_BYTES // 1024
        raise RefusedError(413, f"{name[:60]}: is over {kib} KiB of JSON; send a smaller one")
    if isinstance(value, list | dict) and len(value) > FIELD_ITEMS:
        raise RefusedError(413, f"{name[:60]}: has {len(value):,} items; send up to {FIELD_ITEMS}")


def open_gate(listener: socket.socket, path: str, token: str = "") -> str:
    """Serve the gate on a listening socket, in a thread; return its address once it answers."""
    import uvicorn

    from diptych.base.guarded_http import GuardedProtocol

    host, port = listener.getsockname()[:2]
    # made anew so that asyncio sees that it is TCP, and lets no small answer wait for 40 ms
    listener = socket.socket(fileno=listener.detach())
    app = guard.Guard(Gate(path, token), guard.host_names(host, token))
    config = uvicorn.Config(
        app, http=GuardedProtocol, ws="none", lifespan="off", log_level="error", access_log=False
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
