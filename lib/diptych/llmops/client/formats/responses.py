"""OpenAI's Responses: requests and answers of Chat Completions, in its form on the wire.

Written by https://platform.openai.com/docs/api-reference/responses and, for streams,
https://platform.openai.com/docs/api-reference/responses-streaming (2026-11-29).
"""

from collections.abc import Mapping

import openai

from diptych.llmops.client.formats import Reply, posting, tolerant
from diptych.llmops.client.formats.base import Base
from diptych.llmops.client.formats.chat_completions import ENDED_EARLY

PATH = "/responses"
LEAST = 16  # tokens of an answer that a request may ask for
LOGPROBS = "message.output_text.logprobs"
NAMES = {"max_output_tokens": "max_tokens", "text.format": "response_format", "include": "logprobs",
         "reasoning.effort": "reasoning_effort", "reasoning": "reasoning_effort"}  # fmt: skip


def request(body: Mapping) -> dict:
    """Return a request in this form; nothing is stored there unless ``store`` says so."""
    fields = {name: value for name, value in body.items() if value is not None}
    limit = fields.pop("max_completion_tokens", None) or fields.pop("max_tokens", None)
    sent = {"model": fields.pop("model"), "store": fields.pop("store", False)}
    sent["input"] = [item for m in fields.pop("messages") for item in _items(m)]
    if limit:
        sent["max_output_tokens"] = max(int(limit), LEAST)
    if effort := fields.pop("reasoning_effort", None):
        sent["reasoning"] = {"effort": effort}
    if fields.pop("logprobs", None):
        sent["include"] = [LOGPROBS]
    form = fields.pop("response_format", None)
    if form:
        inner = form.get("json_schema") or {}
        sent["text"] = {"format": {"type": form["type"], **inner}}
    if tools := fields.pop("tools", None):
        sent["tools"] = [{"type": "function", **t["function"]} if "function" in t else t
                         for t in tools]  # fmt: skip
    choice = fields.pop("tool_choice", None)
    if isinstance(choice, Mapping) and "function" in choice:
        choice = {"type": "function", "name": choice["function"]["name"]}
    return sent | ({"tool_choice": choice} if choice else {}) | fields


def _items(message: Mapping) -> list[dict]:
    """Return a message as items of the input: itself, calls of tools, or what a tool gave."""
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        called = message.get("tool_call_id")
        return [{"type": "function_call_output", "call_id": called, "output": content}]
    if isinstance(content, list):
        content = [_part(part, "output" if role == "assistant" else "input") for part in content]
    items = [{"role": role, "content": content}] if content else []
    for call in message.get("tool_calls") or ():
        items.append({"type": "function_call", "call_id": call["id"], **call["function"]})
    return items


def _part(part: Mapping, way: str) -> dict:
    if part.get("type") == "image_url":
        return {"type": "input_image", "image_url": part["image_url"]["url"]}
    if part.get("type") == "text":
        return {"type": f"{way}_text", "text": part["text"]}
    return dict(part)


def response_of(answer: Mapping) -> dict:
    """Return an answer as Chat Completions would have given it; the whole is kept as ``native``."""
    items = [item for item in answer.get("output") or () if isinstance(item, Mapping)]
    parts = [p for item in items if item.get("type") == "message" for p in item["content"]]
    written = [part for part in parts if part.get("type") == "output_text"]
    message = {"role": "assistant", "content": "".join(part["text"] for part in written)}
    if refusal := "".join(p["refusal"] for p in parts if p.get("type") == "refusal"):
        message["refusal"] = refusal
    calls = [
        {
            "id": item.get("call_id"),
            "type": "function",
            "function": {"name": item.get("name"), "arguments": item.get("arguments")},
        }
        for item in items
        if item.get("type") == "function_call"
    ]
    message |= {"tool_calls": calls} if calls else {}
    choice = {"index": 0, "message": message, "finish_reason": _ended(answer, bool(calls))}
    if known := [token for part in written for token in part.get("logprobs") or ()]:
        choice["logprobs"] = {"content": known}
    response = {
        "id": answer.get("id"),
        "object": "chat.completion",
        "model": answer.get("model"),
        "choices": [choice],
    }
    usage = answer.get("usage")
    if isinstance(usage, Mapping):
        response["usage"] = {
            "prompt_tokens": usage.get("input_tokens"),
            "completion_tokens": usage.get("output_tokens"),
            "prompt_tokens_details": usage.get("input_tokens_details") or {},
            "completion_tokens_details": usage.get("output_tokens_details") or {},
        }
    return response | {"native": dict(answer)}


def _ended(answer: Mapping, called: bool) -> str | None:
    """Return why an answer ended; None where it did not."""
    if answer.get("status") == "incomplete":
        reason = (answer.get("incomplete_details") or {}).get("reason")
        return "length" if reason == "max_output_tokens" else reason
    if answer.get("status") != "completed":
        return None
    return "tool_calls" if called else "stop"


class Responses(Base):
    """Nothing is stored there unless ``store`` says so."""

    PATH = PATH
    NAMES = NAMES
    request = staticmethod(request)
    response_of = staticmethod(response_of)

    async def complete(self, client: openai.AsyncOpenAI, body: Mapping) -> Reply:
        """Ask for a whole answer."""
        answer, retries = await posting.whole(client, PATH, request(body))
        if not isinstance(answer.get("output"), list):
            raise ValueError(f"{tolerant.NO_PART} output: {str(answer)[:200]}")
        with tolerant.reading():
            return Reply(tolerant.checked(response_of(answer)), retries)

    async def stream(self, client: openai.AsyncOpenAI, body: Mapping) -> Reply:
        """Ask for an answer in pieces and put them together, as `complete` would have answered."""
        events, answer = posting.Events(client, PATH, request(body)), None
        with tolerant.reading():
            async for event in events:
                kind = str(event.get("type"))
                if kind == "response.output_text.delta":
                    events.note_token()
                elif kind == "response.failed":
                    raise ValueError(f"the endpoint broke off: {event['response'].get('error')}")
                elif kind in ("response.created", "response.completed", "response.incomplete"):
                    answer = event["response"]
            if answer is not None and answer.get("status") == "in_progress":
                raise ValueError(ENDED_EARLY)
            return events.reply(answer and tolerant.checked(response_of(answer)))


FORMAT = Responses()
