"""A server whose answers are damaged or odd, one form each; the model's name chooses the form.

Each form has bytes for a whole answer and for a stream, and what must become of it: a text that is
read, an outcome, or words of the reason of a failed row.
"""

import asyncio
import json
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET

KEY_WORDS = "sk-Abcdefghij0123456789KLMN"  # looks like a key, and is none
MISSING = object()
TEXT, OUTCOME, REASON = "text", "outcome", "reason"


@dataclass(frozen=True)
class Form:
    """Bytes of both kinds of answer, and what becomes of each: a kind and a value."""

    whole: bytes
    streamed: bytes
    becomes: tuple[str, object]
    streamed_becomes: tuple[str, object] | None = None


def http(body: bytes | str, kind="application/json", status="200 OK", more="") -> bytes:
    body = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def sse(*events: str | dict | bytes, end="data: [DONE]\n\n") -> bytes:
    parts = [x if isinstance(x, str | bytes) else f"data: {json.dumps(x)}\n\n" for x in events]
    parts = [x if isinstance(x, bytes) else x.encode() for x in (*parts, end)]
    return http(b"".join(parts), "text/event-stream")


def without(mapping: dict) -> dict:
    return {name: value for name, value in mapping.items() if value is not MISSING}


def body(content="positive", finish="stop", usage=MISSING, **fields) -> dict:
    usage = {"prompt_tokens": 5, "completion_tokens": 2} if usage is MISSING else usage
    message = without({"role": "assistant", "content": content})
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return without({"id": "x", "choices": [choice], "usage": usage} | fields)


def chunk(content="positive", finish="stop", **fields) -> dict:
    delta = without({"content": content})
    return without({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | fields)


def _contents() -> dict[str, Form]:
    """What stands where the text of an answer should."""
    empty, text = (OUTCOME, "empty"), (TEXT, "positive")
    part = {"type": "text", "text": "positive"}
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "negative?"}]}
    values = {
        "plain": ("positive", text), "null": (None, empty), "number": (5, (TEXT, "5")),
        "fraction": (0.5, (TEXT, "0.5")), "true": (True, (TEXT, "true")), "no text": ("", empty),
        "missing": (MISSING, empty), "part": (part, text), "parts": ([part], text),
        "two parts": ([{"text": "posi"}, {"text": "tive"}], text), "texts": (["positive"], text),
        "null among parts": ([None, part, None], text), "thinking part": ([thinking, part], text),
        "only thinking": ([thinking], empty), "no parts": ([], empty),
        "value": ([{"type": "text", "text": {"value": "positive", "annotations": []}}], text),
        "output_text": ([{"type": "output_text", "text": "positive"}], text),
        "image part": ([{"type": "image_url", "image_url": {"url": "data:"}}, part], text),
        "object": ({"label": "positive"}, (TEXT, '{"label": "positive"}')),
        "NUL": ("posi\0tive", text), "surrogate": ("positive \ud83d", (TEXT, "positive ?")),
        "only space": (" \n", empty), "null text": ([{"type": "text", "text": None}], empty),
        "nested list": ([[part]], text), "empty object": ({}, (TEXT, "{}")),
        "letters": ("sch\u00f6n \u2028 \U0001f600", (TEXT, "sch\u00f6n \u2028 \U0001f600")),
    }  # fmt: skip
    return {
        f"content: {name}": Form(http(json.dumps(body(value))), sse(chunk(value)), becomes)
        for name, (value, becomes) in values.items()
    }


def _messages() -> dict[str, Form]:
    """What stands where a message or a delta should."""
    forms = {}
    for name, value in {"null": None, "list": [], "text": "x", "number": 1, "missing": MISSING,
                        "list of null": [None], "empty": {}}.items():  # fmt: skip
        choice = without({"index": 0, "message": value, "finish_reason": "stop"})
        odd = {"choices": [without({"index": 0, "delta": value, "finish_reason": None})]}
        forms[f"message: {name}"] = Form(
            http(json.dumps(body(choices=[choice]))),
            sse(odd, chunk()),
            (OUTCOME, "empty"),
            (TEXT, "positive"),
        )
    filtered = {"index": 0, "message": None, "finish_reason": "content_filter"}
    refused = {"role": "assistant", "content": None, "refusal": "I cannot."}
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calls = {"content": None, "tool_calls": [call]}
    odd_calls = {"content": "positive", "tool_calls": [None, 5]}
    reasons = {"content": "", "reasoning_content": "it is positive"}
    for name, message, finish, becomes in [
        ("refusal", refused, "stop", (OUTCOME, "refused")),
        ("tool call", calls, "tool_calls", (OUTCOME, "tool call")),
        ("tool call, stop", calls, "stop", (OUTCOME, "tool call")),
        ("odd tool calls", odd_calls, "stop", (TEXT, "positive")),
        ("only reasoning, cut", reasons, "length", (OUTCOME, "cut")),
        ("only reasoning", reasons, "stop", (OUTCOME, "empty")),
        ("message instead of delta", {"content": "positive"}, "stop", (TEXT, "positive")),
    ]:
        choice = {"index": 0, "message": message, "finish_reason": finish}
        part = "message" if "instead" in name else "delta"
        piece = {"choices": [{"index": 0, part: message, "finish_reason": finish}]}
        forms[f"message: {name}"] = Form(http(json.dumps(body(choices=[choice]))), sse(piece),
                                         becomes)  # fmt: skip
    forms["message: null and filtered"] = Form(
        http(json.dumps(body(choices=[filtered]))), sse(chunk(None, "content_filter")),
        (OUTCOME, "filtered"),
    )  # fmt: skip
    old = {"text": "positive", "finish_reason": "stop"}
    forms["message: text of old completions"] = Form(
        http(json.dumps(body(choices=[old]))), sse({"choices": [old]}), (TEXT, "positive")
    )
    return forms


def _ends() -> dict[str, Form]:
    ends = {
        "stop": "answered", "length": "cut", "max_tokens": "cut", "MAX_TOKENS": "cut",
        "content_filter": "filtered", "SAFETY": "filtered", "refusal": "refused",
        "tool_calls": "tool call", "end_turn": "answered", "eos": "answered", "": "answered",
    }  # fmt: skip
    odd = {"null": None, "number": 3, "list": ["stop"], "object": {"reason": "stop"}}
    return {
        f"finish_reason: {name}": Form(
            http(json.dumps(body(finish=finish))), sse(chunk(finish=finish)), (OUTCOME, outcome)
        )
        for name, finish, outcome in [
            *((name, name, outcome) for name, outcome in ends.items()),
            *((name, value, "answered") for name, value in odd.items()),
        ]
    }


def _usages() -> dict[str, Form]:
    counts = {
        "text": "5", "fraction": 5.5, "whole fraction": 5.0, "negative": -5, "null": None,
        "list": [5], "object": {"n": 5}, "true": True, "huge": 10**30, "words": "five", "empty": "",
        "digits": "9" * 40,
    }  # fmt: skip
    usages = {name: {"prompt_tokens": x, "completion_tokens": x} for name, x in counts.items()}
    usages |= {"null itself": None, "text itself": "12", "list itself": [1], "empty itself": {},
               "number itself": 7, "missing itself": MISSING}  # fmt: skip
    forms = {}
    for name, usage in usages.items():
        whole = without(body() | {"usage": usage})
        last = without({"choices": [], "usage": usage})
        forms[f"usage: {name}"] = Form(http(json.dumps(whole)), sse(chunk(), last),
                                       (TEXT, "positive"))  # fmt: skip
    for name in ("NaN", "Infinity", "-Infinity", "1e999"):
        usage = f'"usage": {{"prompt_tokens": {name}, "completion_tokens": {name}}}'
        whole = json.dumps(body(usage=None)).replace('"usage": null', usage)
        forms[f"usage: {name}"] = Form(
            http(whole), sse(chunk(), f'data: {{"choices": null, {usage}}}\n\n'), (TEXT, "positive")
        )
    return forms


def _logprobs() -> dict[str, Form]:
    values = {
        "null": None, "list": [], "text": "x", "content null": {"content": None},
        "content text": {"content": "x"}, "token null": {"content": [None]},
        "token list": {"content": [[]]}, "no value": {"content": [{"token": "a"}]},
        "value text": {"content": [{"token": "a", "logprob": "x"}]},
        "value NaN": {"content": [{"token": "a", "logprob": float("nan")}]},
        "value infinite": {"content": [{"token": "a", "logprob": float("-inf")}]},
        "value true": {"content": [{"token": "a", "logprob": True}]},
        "top null": {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": None}]},
        "top of null": {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": [None, 3]}]},
        "token a number": {"content": [{"token": 3, "logprob": -0.1, "top_logprobs": [{}]}]},
    }  # fmt: skip
    forms = {}
    for name, value in values.items():
        whole, piece = body(), chunk()
        whole["choices"][0]["logprobs"] = piece["choices"][0]["logprobs"] = value
        forms[f"logprobs: {name}"] = Form(http(json.dumps(whole)), sse(piece), (TEXT, "positive"))
    return forms


def _choices() -> dict[str, Form]:
    values = {"missing": MISSING, "null": None, "none": [], "of null": [None], "text": "x",
              "number": 5, "object": {}, "of list": [[]], "of text": ["positive"]}  # fmt: skip
    forms = {}
    for name, value in values.items():
        odd = without({"id": "x", "choices": value})
        forms[f"choices: {name}"] = Form(
            http(json.dumps(body(choices=value))), sse(odd), (REASON, "no choices")
        )
        forms[f"choices: {name}, once"] = Form(
            http(json.dumps(body())), sse(odd, chunk(), odd), (TEXT, "positive")
        )
    second = body()["choices"][0]
    forms["choices: the second"] = Form(
        http(json.dumps(body(choices=[None, second]))),
        sse({"choices": [None, chunk()["choices"][0]]}),
        (TEXT, "positive"),
    )
    return forms


def _errors() -> dict[str, Form]:
    """Errors with status 200, before an answer or in its middle."""
    errors = {
        "object": {"message": "the model is overloaded", "code": 529}, "text": "is overloaded",
        "list": [{"message": "is overloaded"}], "code": {"code": "overloaded"},
        "nested": {"error": {"message": "is overloaded"}}, "detail": {"detail": "is overloaded"},
        "null words": {"message": None, "type": "overloaded_error"},
        "number": 529, "key": {"message": f"is overloaded for {KEY_WORDS}"},
    }  # fmt: skip
    forms = {}
    for name, error in errors.items():
        words = (REASON, "529" if name == "number" else "overloaded")
        forms[f"error: {name}"] = Form(
            http(json.dumps({"error": error})), sse({"error": error}), words
        )
        in_choice = {"index": 0, "message": {"content": "posi"}, "error": error,
                     "finish_reason": "error"}  # fmt: skip
        forms[f"error: in a choice, {name}"] = Form(
            http(json.dumps(body(choices=[in_choice]))), sse(chunk("posi", None), {"error": error}),
            words,
        )  # fmt: skip
    forms["error: beside choices"] = Form(
        http(json.dumps(body(error={"message": "boom"}))),
        sse(chunk(error={"message": "boom"})),
        (REASON, "boom"),
    )
    forms["error: null beside choices"] = Form(
        http(json.dumps(body(error=None))), sse(chunk(error=None)), (TEXT, "positive")
    )
    return forms


def _statuses() -> dict[str, Form]:
    forms = {}
    for status in (400, 402, 405, 408, 409, 413, 415, 418, 422, 429, 451, 500, 501, 502, 503, 504,
                   520, 529):  # fmt: skip
        answer = http(json.dumps({"error": {"message": "words of it"}}), status=f"{status} X")
        forms[f"status {status}"] = Form(answer, answer, (REASON, f"HTTP {status}: words of it"))
    bodies = {
        "text": ('{"error": "context too big"}', "HTTP 400: context too big"),
        "list": ('[{"error": {"message": "key not valid"}}]', "HTTP 400: key not valid"),
        "message": ('{"message": "no such field"}', "HTTP 400: no such field"),
        "detail": ('{"detail": "no such field"}', "HTTP 400: no such field"),
        "details": ('{"detail": [{"loc": ["x"], "msg": "no such field"}]}', "no such field"),
        "page": ("<html><body><h1>Bad gateway</h1></body></html>", "HTTP 400: Bad gateway"),
        "words": ("go away", "HTTP 400: go away"), "empty": ("", "HTTP 400"),
        "null": ("null", "HTTP 400"), "number": ("5", "HTTP 400: 5"),
        "deep": ("[" * 5000, "HTTP 400"), "error null": ('{"error": null}', "HTTP 400"),
        "key": (f'{{"error": "wrong key {KEY_WORDS}"}}', "HTTP 400: wrong key [redacted"),
    }  # fmt: skip
    for name, (content, words) in bodies.items():
        answer = http(content, status="400 Bad Request")
        forms[f"status 400: {name}"] = Form(answer, answer, (REASON, words))
    for status in (301, 302, 303, 307, 308):
        answer = http("", status=f"{status} X", more="Location: http://127.0.0.1:9/v1/x\r\n")
        forms[f"status {status}"] = Form(answer, answer, (REASON, "redirects to 127.0.0.1"))
    filtered = {"error": {"message": "filtered by policy", "code": "content_filter"}}
    answer = http(json.dumps(filtered), status="400 Bad Request")
    forms["status 400: filtered"] = Form(answer, answer, (OUTCOME, "filtered"))
    return forms


def _bodies() -> dict[str, Form]:
    """Bodies that are no JSON, or no object."""
    good, piece = json.dumps(body()), json.dumps(chunk())
    page, reason, no_object = "<html>login</html>", (REASON, "not JSON"), (REASON, "no JSON object")
    deep, nothing = "[" * 100_000, (REASON, "no choices, or is no stream")
    latin = json.dumps(body("caf\u00e9"), ensure_ascii=False).encode("latin-1")
    forms = {}
    for name, content, becomes in [
        ("page", page, reason), ("empty", "", reason), ("null", "null", no_object),
        ("list", "[]", no_object), ("number", "5", no_object), ("text", '"positive"', no_object),
        ("true", "true", no_object), ("cut", good[:-9], reason), ("two", good + good, reason),
        ("comma", good[:-1] + ",}", reason), ("deep", deep, (REASON, "not JSON")),
        ("deep object", '{"a":' * 100_000, (REASON, "not JSON")), ("latin-1", latin,
        (REASON, "UTF-8")), ("BOM", b"\xef\xbb\xbf" + good.encode(), (TEXT, "positive")),
        ("utf-16", good.encode("utf-16"), (TEXT, "positive")),
        ("long number", good.replace("5", "5" * 6000), (REASON, "")),
        ("padded", "\n\n  " + good + "\n", (TEXT, "positive")),
    ]:  # fmt: skip
        answer = http(content)
        forms[f"body: {name}"] = Form(answer, answer, becomes)
    event = f"data: {piece}\n\n"
    for name, content, becomes in [
        ("page as a stream", page, nothing), ("nothing as a stream", "", nothing),
        ("only done", "data: [DONE]\n\n", nothing), ("no JSON", "data: {oops\n\n", reason),
        ("deep", f"data: {deep}\n\n", (REASON, "not JSON")),
        ("null", f"data: null\n\n{event}", (TEXT, "positive")),
        ("list", f"data: []\n\n{event}", (TEXT, "positive")),
        ("number", f"data: 5\n\n{event}", (TEXT, "positive")),
        ("empty data", f"data:\n\n{event}", (TEXT, "positive")),
        ("comment", f": ping\n\n{event}", (TEXT, "positive")),
        ("ping", f"event: ping\ndata: {{}}\n\n{event}", (TEXT, "positive")),
        ("id and retry", f"id: 7\nretry: 10\n{event}", (TEXT, "positive")),
        ("no space", f"data:{piece}\n\ndata:[DONE]\n\n", (TEXT, "positive")),
        ("CRLF", f"data: {piece}\r\n\r\ndata: [DONE]\r\n\r\n", (TEXT, "positive")),
        ("CR", f"data: {piece}\r\rdata: [DONE]\r\r", (TEXT, "positive")),
        ("two lines", event.replace('"choices": ', '"choices":\ndata: '), (TEXT, "positive")),
        ("no [DONE]", event, (TEXT, "positive")),
        ("no finish_reason", f"data: {json.dumps(chunk(finish=None))}\n\ndata: [DONE]\n\n",
         (TEXT, "positive")),
        ("neither", f"data: {json.dumps(chunk('posi', None))}\n\n", (REASON, "ended before")),
        ("latin-1", event.replace("positive", "caf\u00e9").encode("latin-1"), (REASON, "UTF-8")),
        ("after [DONE]", f"{event}data: [DONE]\n\ndata: {{oops\n\n", (TEXT, "positive")),
        ("unknown field", f"colour: red\n{event}", (TEXT, "positive")),
    ]:  # fmt: skip
        answer = http(content, "text/event-stream")
        forms[f"stream: {name}"] = Form(http(good), answer, (TEXT, "positive"), becomes)
    forms["stream: without a type"] = Form(
        http(good, ""), http(event, ""), (TEXT, "positive"), (TEXT, "positive")
    )
    return forms


def _connections() -> dict[str, Form]:
    """What is no HTTP, or not all of it."""
    good, event = http(json.dumps(body())), sse(chunk())
    cut = (REASON, "connection broke")
    forms = {}
    for name, answer in {
        "junk status line": b"HTTP/1.1 banana\r\n\r\n", "no HTTP": b"\x00\x01\x02 hello\r\n\r\n",
        "closed": b"", "half a header": b"HTTP/1.1 200 OK\r\nContent-Ty",
        "status 999999": b"HTTP/1.1 999999 X\r\n\r\n",
        "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
        "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n{}",
        "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}",
    }.items():  # fmt: skip
        forms[f"connection: {name}"] = Form(answer, answer, (REASON, ""))
    forms["connection: cut"] = Form(good[:-20], event[:-40], cut, (REASON, ""))
    forms["connection: bad gzip"] = Form(
        http(b"no gzip", more="Content-Encoding: gzip\r\n"),
        http(b"no gzip", "text/event-stream", more="Content-Encoding: gzip\r\n"), (REASON, ""),
    )  # fmt: skip
    empty = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    forms["connection: 204"] = Form(empty, empty, (REASON, ""))
    return forms


RESET = object()  # part of an answer: the connection is reset, as of a server that was killed

FORMS = {
    **_contents(), **_messages(), **_ends(), **_usages(), **_logprobs(), **_choices(), **_errors(),
    **_statuses(), **_bodies(), **_connections(),
}  # fmt: skip


@contextmanager
def serving(answer_to):
    """Serve on a free loopback port: the bytes that `answer_to` gives for a request's JSON."""
    loop, ready, address = asyncio.new_event_loop(), threading.Event(), []

    async def answer(reader, writer) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            request = json.loads(await reader.readexactly(length))
            result = answer_to(request)
            if isinstance(result, bytes):
                writer.write(result)
            else:
                async for part in result:
                    if part is RESET:
                        linger = struct.pack("ii", 1, 0)
                        socket = writer.get_extra_info("socket")
                        socket.setsockopt(SOL_SOCKET, SO_LINGER, linger)
                        writer.transport.abort()
                        return
                    writer.write(part)
                    await writer.drain()
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def begin():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        address.append(server.sockets[0].getsockname()[1])
        return server

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def work() -> None:
        server = loop.run_until_complete(begin())
        ready.set()
        loop.run_forever()
        server.close()
        loop.run_until_complete(end())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(20)
        yield f"http://127.0.0.1:{address[0]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
