"""Anthropic's Messages: requests and answers of Chat Completions, in its form on the wire.

Written by https://platform.claude.com/docs/en/api/messages and, for streams,
https://platform.claude.com/docs/en/build-with-claude/streaming (2026-11-29). By
https://platform.claude.com/docs/en/api/migration-2026-10-21 the later version refuses sampling
fields even where a model takes them, so the earlier one is asked, which stays as it is.
"""

import json
from collections.abc import Mapping

import openai

from diptych.llmops.client.formats import Reply, posting, tolerant
from diptych.llmops.client.formats.base import Base
from diptych.llmops.client.formats.chat_completions import ENDED_EARLY

PATH = "/messages"
VERSION = "2023-06-01"
NO_BEARER = {"Authorization": openai.Omit()}  # the key goes by its own header
LIMIT = 4096  # tokens of an answer, where a request names no limit: the field is required
ENDS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length",
        "model_context_window_exceeded": "length", "tool_use": "tool_calls"}  # fmt: skip
NAMES = {"stop_sequences": "stop", "output_config.format": "response_format",
         "output_format": "response_format", "output_config.effort": "reasoning_effort",
         "output_config": "reasoning_effort", "system": "messages"}  # fmt: skip


class _Pieces:
    """Puts the events of a stream together."""

    def __init__(self):
        self.whole: dict | None = None
        self.blocks: dict[int, dict] = {}

    def take(self, event: Mapping) -> bool:
        """Take one event; say whether it is a token of the answer itself."""
        kind = event.get("type")
        if kind == "message_start":
            self.whole = dict(event["message"])
        elif kind == "content_block_start":
            self.blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            return _append(self.blocks.setdefault(event["index"], {}), event["delta"])
        elif kind == "message_delta" and self.whole is not None:
            self.whole |= event.get("delta") or {}
            self.whole["usage"] = (self.whole.get("usage") or {}) | (event.get("usage") or {})
        return False

    def message(self) -> dict | None:
        """Return the message, None if none came; ValueError if its end did not come."""
        if self.whole is None:
            return None
        if not self.whole.get("stop_reason"):
            raise ValueError(ENDED_EARLY)
        content = [_closed(self.blocks[index]) for index in sorted(self.blocks)]
        return {**self.whole, "content": content}


def _append(block: dict, delta: Mapping) -> bool:
    """Add a piece to its block; says whether it is a token of the answer itself."""
    for name, into in (("text", "text"), ("thinking", "thinking"), ("signature", "signature"),
                       ("partial_json", "json")):  # fmt: skip
        if isinstance(delta.get(name), str):
            block[into] = block.get(into, "") + delta[name]
    return bool(delta.get("text") or delta.get("partial_json"))


def _closed(block: dict) -> dict:
    if "json" in block:
        written = block.pop("json")
        try:
            block["input"] = json.loads(written or "{}")
        except ValueError:  # cut off; what came is kept as it came
            block["input"] = written
    return block


def request(body: Mapping) -> dict:
    """Return a request in this form; fields that Chat Completions lacks stay as they are."""
    fields = {name: value for name, value in body.items() if value is not None}
    messages = fields.pop("messages")
    limit = fields.pop("max_tokens", None) or fields.pop("max_completion_tokens", None) or LIMIT
    sent = {"model": fields.pop("model"), "max_tokens": limit}
    roles = ("system", "developer")
    if system := [_words(m.get("content")) for m in messages if m.get("role") in roles]:
        sent["system"] = "\n\n".join(system)
    sent["messages"] = [_message(m) for m in messages if m.get("role") not in roles]
    if stop := fields.pop("stop", None):
        sent["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if user := fields.pop("user", None):
        sent["metadata"] = {"user_id": user}
    config = dict(fields.pop("output_config", {}))
    if effort := fields.pop("reasoning_effort", None):
        config["effort"] = effort
    if (form := fields.pop("response_format", {})).get("type") == "json_schema":
        config["format"] = {"type": "json_schema", "schema": form["json_schema"]["schema"]}
    sent |= {"output_config": config} if config else {}
    return sent | _tools(fields) | fields


def _tools(fields: dict) -> dict:
    """Take tools and their choice out of a request and return them in this form."""
    sent, kinds = {}, {"auto": "auto", "required": "any", "none": "none"}
    if tools := fields.pop("tools", None):
        sent["tools"] = [_tool(tool) for tool in tools]
    choice = fields.pop("tool_choice", None)
    if isinstance(choice, str):
        sent["tool_choice"] = {"type": kinds.get(choice, choice)}
    elif choice:
        named = (choice.get("function") or {}).get("name")
        sent["tool_choice"] = {"type": "tool", "name": named} if named else choice
    if fields.pop("parallel_tool_calls", None) is False:
        sent["tool_choice"] = sent.get("tool_choice", {"type": "auto"}) | {
            "disable_parallel_tool_use": True
        }
    return sent


def _tool(tool: Mapping) -> dict:
    if "function" not in tool:
        return dict(tool)
    function = tool["function"]
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    names = ("name", "description", "strict")
    return {name: function[name] for name in names if name in function} | {"input_schema": schema}


def _message(message: Mapping) -> dict:
    """Return a message of a user, an assistant or a tool."""
    if message.get("role") == "tool":
        result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id")}
        return {"role": "user", "content": [result | {"content": _words(message.get("content"))}]}
    calls = message.get("tool_calls") or ()
    content = message.get("content")
    if isinstance(content, str) and not calls:
        return {"role": message.get("role"), "content": content}
    parts = [{"type": "text", "text": content}] if isinstance(content, str) and content else []
    parts += [_part(part) for part in content] if isinstance(content, list) else []
    for call in calls:
        function = call["function"]
        called = {"type": "tool_use", "id": call["id"], "name": function["name"]}
        parts.append(called | {"input": json.loads(function.get("arguments") or "{}")})
    return {"role": message.get("role"), "content": parts}


def _part(part: Mapping) -> dict:
    """Return a part of a content: an image in this form, all else as it is."""
    if part.get("type") != "image_url":
        return dict(part)
    url = part["image_url"]["url"]
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, _, data = url.removeprefix("data:").partition(",")
    source = {"type": "base64", "media_type": kind.removesuffix(";base64"), "data": data}
    return {"type": "image", "source": source}


def _words(content) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def response_of(answer: Mapping) -> dict:
    """Return an answer as Chat Completions would have given it; the whole is kept as ``native``."""
    blocks = [block for block in answer.get("content") or () if isinstance(block, Mapping)]
    message = {"role": "assistant", "content": _joined(blocks, "text")}
    if thought := _joined(blocks, "thinking"):
        message["reasoning_content"] = thought
    calls = [
        {
            "id": block.get("id"),
            "type": "function",
            "function": {"name": block.get("name"), "arguments": json.dumps(block.get("input"))},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    message |= {"tool_calls": calls} if calls else {}
    ended = answer.get("stop_reason")
    choice = {"index": 0, "message": message, "finish_reason": ENDS.get(ended, ended)}
    response = {
        "id": answer.get("id"),
        "object": "chat.completion",
        "model": answer.get("model"),
        "choices": [choice],
    }
    usage = _usage(answer.get("usage"))
    return response | ({"usage": usage} if usage else {}) | {"native": dict(answer)}


def _joined(blocks: list, kind: str) -> str:
    return "".join(str(b.get(kind) or "") for b in blocks if b.get("type") == kind)


def _usage(usage) -> dict | None:
    """Return the tokens; those read from and written to the cache are read tokens too."""
    if not isinstance(usage, Mapping) or not isinstance(usage.get("input_tokens"), int):
        return None
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    read = usage["input_tokens"] + cached + written
    return {
        "prompt_tokens": read,
        "completion_tokens": usage.get("output_tokens"),
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
    }


class AnthropicMessages(Base):
    """Fields that Chat Completions lacks stay as they are."""

    PATH = PATH
    NAMES = NAMES
    request = staticmethod(request)
    response_of = staticmethod(response_of)

    def headers(self, key: str) -> dict:
        """Return the headers with its version and its key."""
        return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})

    async def complete(self, client: openai.AsyncOpenAI, body: Mapping) -> Reply:
        """Ask for a whole answer."""
        answer, retries = await posting.whole(client, PATH, request(body), NO_BEARER)
        if not isinstance(answer.get("content"), list):
            raise ValueError(f"{tolerant.NO_PART} content: {str(answer)[:200]}")
        with tolerant.reading():
            return Reply(tolerant.checked(response_of(answer)), retries)

    async def stream(self, client: openai.AsyncOpenAI, body: Mapping) -> Reply:
        """Ask for an answer in pieces and put them together, as `complete` would have answered."""
        events, pieces = posting.Events(client, PATH, request(body), NO_BEARER), _Pieces()
        with tolerant.reading():
            async for event in events:
                if pieces.take(event):
                    events.note_token()
            message = pieces.message()
            return events.reply(message and tolerant.checked(response_of(message)))


FORMAT = AnthropicMessages()
