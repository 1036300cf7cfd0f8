"""The door of the language model's server: what may be asked of llama.cpp, by whom, how long.

llama.cpp itself listens on a socket file in a folder of its user's alone; `diptych` asks there.
Everyone else asks this gate, an HTTP server beside it: it refuses foreign hosts and origins
(`diptych.base.guard`), asks for the token, has limits for heads, bodies and fields, and passes on
only what `POST` and `READ` name, so that nobody loads an adapter, a model or a state by it. What
llama.cpp would pass over in silence is refused or done here: unknown models, tools, pictures
(`model_names`, `abilities`), and the Responses API (`responses`).

`diptych` asks a second socket file of the gate for all that is no plain chat.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from diptych.base import guard
from diptych.llmops.server import abilities, embeddings, responses
from diptych.llmops.server.model_names import ModelNames
from diptych.llmops.server.refusals import RefusedError, refuse, send_json

READ = {"/", "/index.html", "/health", "/v1/health"}  # also without the token
MODELS = ("/models", "/v1/models")  # and of each what is known of it, after a slash
READ_WITH_TOKEN = {*MODELS, "/props", "/metrics"}
POST = {
    "/completion", "/completions", "/v1/completions", "/chat/completions", "/v1/chat/completions",
    *responses.PATHS, "/v1/messages", "/v1/messages/count_tokens", "/infill",
    *embeddings.PATHS, "/rerank", "/v1/rerank", "/tokenize", "/detokenize", "/apply-template",
}  # fmt: skip
TEXTS = ("messages", "prompt", "input", "content", "system", "documents", "tokens", "query")
BODY_BYTES = 16 * 2**20  # pictures stand in messages
FIELD_BYTES = 32 * 2**10  # of any other field: a schema of more takes llama.cpp gigabytes
FIELD_ITEMS = 256  # in a list or mapping there: llama.cpp looks at each for each token
BODY_S = 20.0
START_S = 30.0
CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
PASSED_ON = (b"content-type", b"accept")
UNREADABLE = (
    "Failed to parse",
    "json.exception",
    "is required",
    "range_check",
    "Unknown ",
)  # in llama.cpp's errors: it is the request
ANSWERED = ("content-type", "cache-control", "retry-after")


class Gate:
    """The gate of one server as an ASGI app.

    Parameters
    ----------
    path : str
        llama.cpp's socket file.
    names : ModelNames
        What requests may call its model.
    token : str
        What requests need in ``Authorization: Bearer``; "" for nothing.
    """

    def __init__(self, path: str, names: ModelNames, token: str = ""):
        self._path, self._names, self._token = path, names, token
        self._session, self._facts = None, None

    async def __call__(self, scope, receive, send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            return
        try:
            check_route(scope)
            self._check_token(scope)
            body = await _read(scope, receive)
            if scope["method"] == "POST":
                await self._post(scope, receive, send, body)
            elif scope["path"].startswith(MODELS):
                await send_json(send, await self._models(scope["path"]))
            else:
                await self._pass_on(receive, self._forward(scope, body, send))
        except RefusedError as error:
            await refuse(send, scope["path"], error)
        except ConnectionError:
            pass

    async def _post(self, scope, receive, send, body: bytes) -> None:
        """Answer a request that has a body."""
        content, path = check_body(scope, body), scope["path"]
        if path in embeddings.PATHS:
            await embeddings.respond(body, send)
            return
        self._names.check(content.get("model"))
        request = responses.chat(content) if path in responses.PATHS else content
        if not abilities.is_plain(request):
            request = abilities.adapted(request, await self._props())
        request = self._names.choose(request)
        if path in responses.PATHS:
            await self._pass_on(receive, self._respond(content, request, send))
        else:
            body = body if request == content else json.dumps(request).encode()
            await self._pass_on(receive, self._forward(scope, body, send))

    async def _respond(self, content: Mapping, request: Mapping, send) -> None:
        """Answer a request of the Responses API by a chat."""
        async with self._ask("POST", CHAT, json.dumps(request).encode(), JSON) as answer:
            if answer.status != 200:
                await _answer(answer, send)
            elif content.get("stream"):
                await _stream(answer, responses.Answer(content), send)
            else:
                await send_json(send, responses.whole(content, await answer.json()))

    async def _props(self) -> Mapping:
        """Return what llama.cpp says of its model."""
        if self._facts is None:
            async with self._ask("GET", "/props", b"", {}) as answer:
                self._facts = await answer.json()
        return self._facts

    async def _models(self, path: str) -> dict:
        """Return the served models, adapters too, or the one that the path names."""
        async with self._ask("GET", "/v1/models", b"", {}) as answer:
            listed = await answer.json()
        first = listed["data"][0]
        others = [name for name in self._names.known if name != first["id"]]
        listed["data"] += [{**first, "id": name, "aliases": [name]} for name in others]
        name = path.partition("models")[2].removeprefix("/")
        if not name:
            return listed
        self._names.check(name)
        return next((model for model in listed["data"] if model["id"] == name), first)

    async def _pass_on(self, receive, answering) -> None:
        """Answer a request unless its client leaves before."""
        forward = asyncio.ensure_future(answering)
        gone = asyncio.ensure_future(_gone(receive))
        await asyncio.wait({forward, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, forward):  # llama.cpp stops when nobody listens any more
            task.cancel()
        for task in (gone, forward):
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _check_token(self, scope) -> None:
        if not self._token or (scope["method"] in ("GET", "HEAD") and scope["path"] in READ):
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        if "x-api-key" in headers:  # of clients of Anthropic's API
            headers.setdefault("authorization", f"Bearer {headers['x-api-key']}")
        if not guard.holds_token(headers, self._token, "authorization"):
            reason = "Authorization: send 'Bearer' and the server's token"
            raise RefusedError(401, reason, code="invalid_api_key")

    async def _forward(self, scope, body: bytes, send) -> None:
        """Pass a request on, and its answer back as it comes."""
        headers = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in PASSED_ON
        }
        async with self._ask(scope["method"], scope["raw_path"].decode(), body, headers) as answer:
            await _answer(answer, send)

    @contextlib.asynccontextmanager
    async def _ask(self, method: str, path: str, body: bytes, headers: Mapping):
        """Ask llama.cpp; RefusedError where it has ended before it answers."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                # llama.cpp ends a connection after its hundredth request, also as the next is sent
                connector=aiohttp.UnixConnector(self._path, limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        try:
            answer = await self._session.request(
                method, f"http://llama{path}", data=body or None, headers=headers
            )
        except aiohttp.ClientError as error:
            raise RefusedError(503, "the model's server has ended; ask again") from error
        try:
            async with answer:
                yield answer
        except aiohttp.ClientError as error:  # in the middle: the connection is closed
            raise ConnectionError from error


async def _answer(answer, send) -> None:
    """Send llama.cpp's answer as it comes.

    Raises
    ------
    RefusedError
        If it failed by what the request holds, which llama.cpp takes for a failure of its own.
    """
    if answer.status >= 500:
        _refuse_request(answer.status, failure := await answer.read())
    head = [
        (name.encode(), answer.headers[name].encode("latin-1"))
        for name in ANSWERED
        if name in answer.headers
    ]
    if "content-length" in answer.headers:
        head.append((b"content-length", answer.headers["content-length"].encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": head})
    if answer.status >= 500:
        await _piece(send, failure)
    async for chunk in answer.content.iter_any():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _refuse_request(status: int, failure: bytes) -> None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        reason = str(json.loads(failure)["error"]["message"])
        if status == 501 or any(words in reason for words in UNREADABLE):
            raise RefusedError(400, reason)


async def _stream(answer, written: responses.Answer, send) -> None:
    """Write a streamed chat as the events of a response."""
    head = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await _piece(send, responses.lines(written.begin()))
    try:
        async for line in answer.content:
            data = line.removeprefix(b"data:").strip()
            if not line.startswith(b"data:") or data == b"[DONE]":
                continue
            piece = json.loads(data)
            if error := piece.get("error"):
                await _piece(send, responses.lines(written.fail(str(error.get("message", error)))))
                break
            await _piece(send, responses.lines(written.take(piece)))
        else:
            await _piece(send, responses.lines(written.end()))
    except (OSError, ValueError) as error:
        await _piece(send, responses.lines(written.fail(f"the model's server broke off: {error}")))
    await send({"type": "http.response.body", "body": b""})


async def _piece(send, body: bytes) -> None:
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})


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
    one = method != "POST" and path.startswith(tuple(f"{place}/" for place in MODELS))
    if method not in ("GET", "HEAD", "POST"):
        raise RefusedError(405, f"{method}: is not served; there are GET and POST")
    if path not in there and not one:
        raise RefusedError(404, f"{method} {path[:80]}: is not served; the API begins with /v1")


def check_body(scope, body: bytes) -> dict:
    """Return a request's JSON; refuse what is no object, or would stall or swell the server."""
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
    return content


def _check_field(name: str, value) -> None:
    text = json.dumps(value)
    if len(text) > FIELD_BYTES:
        kib = FIELD_BYTES // 1024
        raise RefusedError(413, f"{name[:60]}: is over {kib} KiB of JSON; send a smaller one")
    if isinstance(value, list | dict) and len(value) > FIELD_ITEMS:
        raise RefusedError(413, f"{name[:60]}: has {len(value):,} items; send up to {FIELD_ITEMS}")


def open_gate(listener: socket.socket, path: str, names: ModelNames, token: str = "") -> str:
    """Serve the gate on a listening socket, in a thread; return its address once it answers.

    It listens on `inner` of the path, too, for this machine's own user.
    """
    import uvicorn

    from diptych.base.guarded_http import GuardedProtocol

    host, port = listener.getsockname()[:2]
    # made anew so that asyncio sees that it is TCP, and lets no small answer wait for 40 ms
    listener = socket.socket(fileno=listener.detach())
    private = socket.socket(socket.AF_UNIX)
    private.bind(str(inner(path)))
    private.listen(128)
    app = guard.Guard(Gate(path, names, token), guard.host_names(host, token))
    config = uvicorn.Config(
        app, http=GuardedProtocol, ws="none", lifespan="off", log_level="error", access_log=False
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener, private],), daemon=True).start()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def inner(path: str) -> Path:
    """Return the gate's socket file beside llama.cpp's."""
    return Path(path).with_name("gate.sock")
