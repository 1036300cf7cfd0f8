"""The Responses API on top of llama.cpp's Chat Completions.

llama.cpp has one of its own, which takes no notice of ``text.format``, calls a cut answer complete
and leaves numbers out of its events that the clients need.

Written by https://platform.openai.com/docs/api-reference/responses and
https://platform.openai.com/docs/api-reference/responses-streaming (2026-11-29).
"""

import copy
import json
import secrets
import time
from collections.abc import Iterable, Mapping

from diptych.llmops.server.refusals import RefusedError

PATHS = ("/responses", "/v1/responses")
LOGPROBS = "message.output_text.logprobs"
# fields of both APIs, and llama.cpp's own
SAME = {"model", "temperature", "top_p", "stream", "parallel_tool_calls", "seed", "stop", "top_k",
        "min_p", "presence_penalty", "frequency_penalty", "repeat_penalty", "logit_bias", "grammar",
        "json_schema", "lora", "cache_prompt", "chat_template_kwargs", "ignore_eos"}  # fmt: skip
# they change no answer
SILENT = {"store", "metadata", "user", "safety_identifier", "prompt_cache_key", "service_tier",
          "prompt_cache_retention", "stream_options"}  # fmt: skip
READ = {"input", "instructions", "max_output_tokens", "text", "tools", "tool_choice",
        "top_logprobs", "include"}  # fmt: skip
USUAL = {"truncation": "disabled", "background": False}  # all that they may say
TEXT, THOUGHT = "output_text", "reasoning_text"


def chat(body: Mapping) -> dict:
    """Return a request of Chat Completions that asks for the same.

    Raises
    ------
    RefusedError
        If a field is wrong, or asks for what is not done here: nothing is passed over in silence.
    """
    fields = {name: value for name, value in body.items() if value is not None}
    for name, value in fields.items():
        usual = name in USUAL and value == USUAL[name]
        if name not in SAME | SILENT | READ and not usual:
            raise RefusedError(400, f"{name[:60]}: is not taken here; leave it out", name[:60])
    request = {name: fields[name] for name in SAME & fields.keys()}
    request["messages"] = _messages(fields)
    if "max_output_tokens" in fields:
        request["max_tokens"] = fields["max_output_tokens"]
    request |= _form(fields.get("text", {})) | _tools(fields) | _logprobs(fields)
    if fields.get("stream"):
        request["stream_options"] = {"include_usage": True}
    return request


def _messages(fields: Mapping) -> list[dict]:
    content, messages = fields.get("input"), []
    if fields.get("instructions"):
        messages.append({"role": "system", "content": str(fields["instructions"])})
    if isinstance(content, str):
        return [*messages, {"role": "user", "content": content}]
    if not isinstance(content, list) or not content:
        raise RefusedError(400, "input: send a text or a list of messages", "input")
    return messages + [message for item in content for message in _message(item)]


def _message(item) -> list[dict]:
    """Return an item of the input as a message; what was thought before is left out, as there."""
    if not isinstance(item, Mapping):
        raise RefusedError(400, "input: holds what is no message; each is an object", "input")
    kind = item.get("type", "message")
    if kind == "reasoning":
        return []
    if kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        return [{"role": "assistant", "content": None, "tool_calls": [call]}]
    if kind == "function_call_output":
        output = _content(item.get("output"))
        return [{"role": "tool", "tool_call_id": item.get("call_id"), "content": output}]
    if kind != "message" or not isinstance(item.get("role"), str):
        raise RefusedError(400, f"input: {str(kind)[:40]!r} is not taken; send messages", "input")
    role = "system" if item["role"] == "developer" else item["role"]
    return [{"role": role, "content": _content(item.get("content"))}]


def _content(content) -> str:
    parts = [{"text": content}] if isinstance(content, str) else content
    texts = [part.get("text") for part in parts] if _are_objects(parts) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise RefusedError(400, "input: this model reads texts; send parts of type input_text",
                           "input")  # fmt: skip
    return "\n".join(texts)


def _are_objects(parts) -> bool:
    return isinstance(parts, list) and all(isinstance(part, Mapping) for part in parts)


def _form(text) -> dict:
    """Return ``response_format`` of a ``text.format``."""
    if not isinstance(text, Mapping) or text.keys() - {"format", "verbosity"}:
        raise RefusedError(400, "text: takes format", "text")
    if text.get("verbosity") not in (None, "medium"):
        raise RefusedError(400, "text.verbosity: is not taken here; leave it out", "text.verbosity")
    form = text.get("format") or {"type": "text"}
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"response_format": {"type": kind}}
    if kind == "json_schema" and isinstance(form.get("schema"), Mapping):
        inner = {name: value for name, value in form.items() if name != "type"}
        return {"response_format": {"type": kind, "json_schema": inner}}
    there = "type text, json_object or json_schema with a schema"
    raise RefusedError(400, f"text.format: takes {there}", "text.format")


def _tools(fields: Mapping) -> dict:
    tools, choice = fields.get("tools") or [], fields.get("tool_choice")
    if not _are_objects(tools):
        raise RefusedError(400, "tools: send a list of functions", "tools")
    if other := [tool.get("type") for tool in tools if tool.get("type") != "function"]:
        reason = f"tools: {str(other[0])[:40]!r} is not here; there are functions alone"
        raise RefusedError(400, reason, "tools")
    inner = [{name: value for name, value in tool.items() if name != "type"} for tool in tools]
    functions = [{"type": "function", "function": function} for function in inner]
    chosen = {} if choice is None else {"tool_choice": choice}
    return {"tools": functions, **chosen} if functions else {}


def _logprobs(fields: Mapping) -> dict:
    include = fields.get("include", [])
    if not isinstance(include, list) or any(name != LOGPROBS for name in include):
        raise RefusedError(400, f"include: there is {LOGPROBS} alone", "include")
    wanted = fields.get("top_logprobs")
    if not include and not wanted:
        return {}
    return {"logprobs": True, "top_logprobs": 0 if wanted is None else wanted}


class Answer:
    """A response as it is written: of the pieces of a chat come the events of its stream.

    Attributes
    ----------
    response : dict
        The response so far.
    """

    def __init__(self, body: Mapping):
        text = body.get("text") or {}
        self.response = {
            "id": _id("resp"), "object": "response", "created_at": int(time.time()),
            "status": "in_progress", "background": False, "error": None,
            "incomplete_details": None, "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"), "max_tool_calls": None,
            "model": body.get("model") or "", "output": [],
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "previous_response_id": None, "reasoning": {"effort": None, "summary": None},
            "service_tier": "default", "store": False, "temperature": body.get("temperature"),
            "text": {"format": text.get("format") or {"type": "text"}},
            "tool_choice": body.get("tool_choice") or "auto", "tools": body.get("tools") or [],
            "top_logprobs": body.get("top_logprobs") or 0, "top_p": body.get("top_p"),
            "truncation": "disabled", "usage": None, "user": body.get("user"),
            "metadata": body.get("metadata") or {},
        }  # fmt: skip
        self._tells = LOGPROBS in (body.get("include") or ()) or bool(body.get("top_logprobs"))
        self._item: dict | None = None  # the one that is being written
        self._call: object = None  # its index, where it is a function's call
        self._finish: str | None = None
        self._events = 0

    def begin(self) -> list[dict]:
        """Return the events before the first piece."""
        return [self._event("response.created"), self._event("response.in_progress")]

    def take(self, piece: Mapping) -> list[dict]:
        """Take a piece of a streamed chat, or a whole answer; return what comes of it."""
        events: list[dict] = []
        self.response["model"] = piece.get("model") or self.response["model"]
        if usage := piece.get("usage"):
            self.response["usage"] = _usage(usage)
        for choice in (piece.get("choices") or ())[:1]:
            delta = choice.get("delta") or choice.get("message") or {}
            tokens = (choice.get("logprobs") or {}).get("content") or []
            events += self._write(THOUGHT, delta.get("reasoning_content"), [])
            events += self._write(TEXT, delta.get("content"), tokens if self._tells else [])
            for call in delta.get("tool_calls") or ():
                events += self._called(call)
            self._finish = choice.get("finish_reason") or self._finish
        return events

    def end(self) -> list[dict]:
        """Return the last events; a chat that ended without its end has failed."""
        cut = self._finish == "length"
        events = self._close("incomplete" if cut else "completed")
        if self._finish is None:
            return [*events, *self.fail("the model's server broke off")]
        self.response["status"] = "incomplete" if cut else "completed"
        if not cut:
            self.response["completed_at"] = int(time.time())
        else:
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        return [*events, self._event(f"response.{self.response['status']}")]

    def fail(self, reason: str) -> list[dict]:
        """Return the events of a failure."""
        self.response |= {"status": "failed", "error": {"code": "server_error", "message": reason}}
        return [self._event("response.failed")]

    def _event(self, kind: str, **fields) -> dict:
        """Return an event; without fields it holds the response as it is now."""
        fields = fields or {"response": copy.deepcopy(self.response)}
        self._events += 1
        return {"type": kind, "sequence_number": self._events - 1, **copy.deepcopy(fields)}

    @property
    def _where(self) -> dict:
        assert self._item is not None
        return {"item_id": self._item["id"], "output_index": len(self.response["output"])}

    def _open(self, item: dict) -> list[dict]:
        events, self._item = self._close("completed"), item
        at = len(self.response["output"])
        return [*events, self._event("response.output_item.added", output_index=at, item=item)]

    def _write(self, kind: str, text, tokens: list) -> list[dict]:
        """Add to a message or to a thought."""
        if not text:
            return []
        events = []
        if self._item is None or self._item["type"] != _item_of(kind)["type"]:
            events += self._open(_item_of(kind))
            part = _part(kind)
            self._item["content"] = [part]
            events.append(self._event("response.content_part.added", **self._where, content_index=0,
                                     part=part))  # fmt: skip
        part, tokens = self._item["content"][0], [_token(token) for token in tokens]
        part["text"] += text
        known = {"logprobs": tokens} if kind == TEXT else {}
        part.get("logprobs", []).extend(tokens)
        return [*events, self._event(f"response.{kind}.delta", **self._where, content_index=0,
                                    delta=text, **known)]  # fmt: skip

    def _called(self, call: Mapping) -> list[dict]:
        """Add to a call of a function."""
        function, events = call.get("function") or {}, []
        is_other = self._item is None or self._item["type"] != "function_call"
        if is_other or call.get("index", 0) != self._call:
            self._call = call.get("index", 0)
            events += self._open({
                "id": _id("fc"), "type": "function_call", "status": "in_progress",
                "call_id": call.get("id") or _id("call"), "name": function.get("name"),
                "arguments": "",
            })  # fmt: skip
        if more := function.get("arguments"):
            self._item["arguments"] += more
            kind = "response.function_call_arguments.delta"
            events.append(self._event(kind, **self._where, delta=more))
        return events

    def _close(self, status: str) -> list[dict]:
        """End the item that is being written."""
        if self._item is None:
            return []
        item, events = self._item, []
        if item["type"] == "function_call":
            whole = {name: item[name] for name in ("name", "arguments")}
            kind = "response.function_call_arguments.done"
            events.append(self._event(kind, **self._where, **whole))
        else:
            part = item["content"][0]
            at = {**self._where, "content_index": 0}
            known = {"logprobs": part["logprobs"]} if "logprobs" in part else {}
            kind = part["type"]
            events += [
                self._event(f"response.{kind}.done", **at, text=part["text"], **known),
                self._event("response.content_part.done", **at, part=part),
            ]
        item["status"] = status
        at = len(self.response["output"])
        events.append(self._event("response.output_item.done", output_index=at, item=item))
        self.response["output"].append(item)
        self._item = None
        return events


def whole(body: Mapping, answer: Mapping) -> dict:
    """Return the response to a request, of the answer of a chat."""
    written = Answer(body)
    written.take(answer)
    written.end()
    return written.response


def lines(events: Iterable[Mapping]) -> bytes:
    """Return events as they go over the wire."""
    text = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return "".join(text).encode()


def _item_of(kind: str) -> dict:
    if kind == THOUGHT:
        return {"id": _id("rs"), "type": "reasoning", "status": "in_progress", "summary": []}
    return {"id": _id("msg"), "type": "message", "status": "in_progress", "role": "assistant",
            "content": []}  # fmt: skip


def _part(kind: str) -> dict:
    return {"type": kind, "text": ""} | (
        {"annotations": [], "logprobs": []} if kind == TEXT else {}
    )


def _token(token: Mapping) -> dict:
    names = ("token", "bytes", "logprob")
    likely = [{name: one.get(name) for name in names} for one in token.get("top_logprobs") or ()]
    return {name: token.get(name) for name in names} | {"top_logprobs": likely}


def _usage(usage: Mapping) -> dict:
    read, written = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    known = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return {
        "input_tokens": read, "input_tokens_details": {"cached_tokens": known},
        "output_tokens": written, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }  # fmt: skip


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(16)}"
