"""Providers on real sockets with their documented refusals, headers and stream forms.

Each says from which page, and of which day, its ways are.
"""

import asyncio
import json
from dataclasses import dataclass, field

from aiohttp import web
from llmops.fakes import KEY, serving

__all__ = ["KEY", "Anthropic", "Gemini", "Ollama", "OpenAI", "serving"]

SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


@dataclass
class Provider:
    """What all have in common: they answer "positive" unless the prompt says "bad"."""

    name: str = ""
    url: str = ""
    delay: float = 0.0
    thinks: int = 0  # tokens that it thinks before it answers
    cached: int = 0  # tokens of a prompt that it has in its cache
    seen: list = field(default_factory=list)
    refusals: list = field(default_factory=list)  # messages of those that it refused
    headers: list = field(default_factory=list)

    def error(self, status: int, message: str, **more) -> web.Response:
        self.refusals.append(message)
        body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        return web.json_response({"error": body | more}, status=status)

    def key_of(self, request) -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    async def take(self, request) -> dict:
        body = await request.json()
        self.seen.append(body)
        self.headers.append(dict(request.headers))
        await asyncio.sleep(self.delay)
        return body

    def answer(
        self, prompt: str, limit: int | None, form: dict | None = None
    ) -> tuple[str, int, bool]:
        """Return the text, in JSON by a schema if there is one, its tokens and if it was cut."""
        text = "negative" if "bad" in prompt else "positive"
        if schema := (form or {}).get("schema"):
            text = json.dumps(dict.fromkeys(schema["properties"], text))
        if limit is not None and self.thinks + 1 > limit:
            return "", limit, True
        return text, self.thinks + 1, False


@dataclass
class OpenAI(Provider):
    """Chat Completions and Responses of a reasoning model, or of one that is none.

    platform.openai.com/docs/guides/reasoning and /docs/guides/latest-model (2026-11-29): reasoning
    models take neither sampling fields nor log-probabilities nor max_tokens; the texts of the
    refusals are those of issues such as github.com/decolua/9router/issues/560 (2026-04-11).
    """

    name: str = "openai"
    reasons: bool = True
    system: bool = True  # whether it takes a system message
    honours: frozenset = frozenset({"stop", "seed", "response_format", "tools"})

    def routes(self) -> list:
        return [
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/responses", self.responses),
        ]

    def unsupported(self, name: str, instead: str = "") -> web.Response:
        text = f"Unsupported parameter: '{name}' is not supported with this model."
        text += f" Use '{instead}' instead." if instead else ""
        return self.error(400, text, param=name, code="unsupported_parameter")

    def refusal(self, request, body) -> web.Response | None:
        if self.key_of(request) != KEY:
            return self.error(401, "Incorrect API key provided.", code="invalid_api_key")
        for name in ("stop", "seed", "response_format", "tools"):
            if body.get(name) is not None and name not in self.honours:
                return self.unsupported(name)
        if not self.reasons:
            return None
        if "max_tokens" in body:
            return self.unsupported("max_tokens", "max_completion_tokens")
        roles = [m.get("role") for m in body.get("messages") or body.get("input") or ()]
        if not self.system and "system" in roles:
            text = (
                "Unsupported value: 'messages[0].role' does not support 'system' with this model."
            )
            return self.error(400, text, param="messages[0].role", code="unsupported_value")
        for name in SAMPLING:
            if body.get(name, 1) not in (1, None):
                text = f"Unsupported value: '{name}' does not support {body[name]} with this model."
                text += " Only the default (1) value is supported."
                return self.error(400, text, param=name, code="unsupported_value")
        for name in ("logprobs", "top_logprobs"):
            if body.get(name):
                return self.unsupported(name)
        return None

    async def chat(self, request) -> web.StreamResponse:
        body = await self.take(request)
        if refused := self.refusal(request, body):
            return refused
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        form = (body.get("response_format") or {}).get("json_schema")
        prompt = json.dumps(body["messages"][-1]["content"])
        text, written, cut = self.answer(prompt, limit, form)
        message = {"role": "assistant", "content": text, "refusal": None}
        if self.name == "ollama" and self.thinks:
            message["reasoning"] = "Is it good?"
        if body.get("tools"):
            call = {"name": "label", "arguments": json.dumps({"label": text})}
            call = {"id": "call_1", "type": "function", "function": call}
            message |= {"content": None, "tool_calls": [call]}
        usage = {
            "prompt_tokens": 10,
            "completion_tokens": written,
            "total_tokens": 10 + written,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.thinks},
        }
        if getattr(self, "total_only", False):
            usage["completion_tokens"] = 1
        if self.name != "openai":
            del usage["completion_tokens_details"]
        ended = "length" if cut else "tool_calls" if body.get("tools") else "stop"
        base = {"id": "c", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": ended}
            whole = {"object": "chat.completion", "choices": [choice], "usage": usage}
            return web.json_response(base | whole)
        base |= {"object": "chat.completion.chunk"}
        pieces = [
            base | {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
            base | {"choices": [{"index": 0, "delta": {}, "finish_reason": ended}]},
            base | {"choices": [], "usage": usage},
        ]
        return await stream(request, [(None, piece) for piece in pieces], "[DONE]")

    def response(self, body: dict) -> dict:
        """Return the answer of Responses to a request."""
        text, written, cut = self.answer(
            json.dumps(body["input"][-1]["content"]),
            body.get("max_output_tokens"),
            (body.get("text") or {}).get("format"),
        )
        part = {"type": "output_text", "text": text, "annotations": []}
        output = [
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]},
        ]
        if body.get("tools"):
            call = {"name": "label", "arguments": json.dumps({"label": text}), "call_id": "call_1"}
            output[1] = {"type": "function_call", "id": "fc_1", **call}
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "model": body["model"],
            "output": output[:1] if cut else output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "usage": {
                "input_tokens": 10,
                "output_tokens": written,
                "total_tokens": 10 + written,
                "input_tokens_details": {"cached_tokens": self.cached},
                "output_tokens_details": {"reasoning_tokens": self.thinks},
            },
        }

    async def responses(self, request) -> web.StreamResponse:
        """platform.openai.com/docs/api-reference/responses and -streaming (2026-11-29)."""
        body = await self.take(request)
        if refused := self.refusal(request, body):
            return refused
        if body.get("max_output_tokens", 16) < 16:
            text = "Invalid 'max_output_tokens': integer below minimum value."
            return self.error(400, text, param="max_output_tokens")
        answer = self.response(body)
        if not body.get("stream"):
            return web.json_response(answer)
        events = self.events(answer)
        return await stream(request, [(piece["type"], piece) for piece in events])

    def events(self, answer: dict) -> list[dict]:
        """Return an answer of Responses as the events of a stream."""
        cut = answer["status"] == "incomplete"
        end = "response.incomplete" if cut else "response.completed"
        text = "" if cut else answer["output"][1].get("content", [{"text": ""}])[0]["text"]
        begun = answer | {"status": "in_progress", "output": [], "usage": None}
        pieces = [{"type": f"response.{kind}", "response": begun}
                  for kind in ("created", "in_progress")]  # fmt: skip
        for at, item in enumerate(answer["output"]):
            empty = item | ({"content": []} if "content" in item else {})
            pieces.append({"type": "response.output_item.added", "output_index": at, "item": empty})
            where = {"item_id": item["id"], "output_index": at, "content_index": 0}
            pieces += self.text_events(where, text) if text and "content" in item else []
            pieces.append({"type": "response.output_item.done", "output_index": at, "item": item})
        pieces.append({"type": end, "response": answer})
        return [piece | {"sequence_number": i} for i, piece in enumerate(pieces)]

    def text_events(self, where: dict, text: str) -> list[dict]:
        """Return the events of a message's text."""
        part = {"type": "output_text", "text": "", "annotations": []}
        delta = {"type": "response.output_text.delta", "logprobs": []} | where
        return [
            {"type": "response.content_part.added", "part": part} | where,
            *(delta | {"delta": half} for half in (text[:3], text[3:])),
            {"type": "response.output_text.done", "text": text, "logprobs": []} | where,
            {"type": "response.content_part.done", "part": part | {"text": text}} | where,
        ]


@dataclass
class Anthropic(Provider):
    """Messages, of a model that takes no sampling fields, or of an earlier one.

    platform.claude.com/docs/en/api/messages, /docs/en/build-with-claude/streaming,
    /docs/en/about-claude/models/migration-guide, /docs/en/api/versioning (in the later version no
    model takes sampling fields) and /docs/en/manage-claude/authentication (2026-11-29).
    """

    versions = ("2023-06-01", "2026-10-21")

    name: str = "anthropic"
    samples: bool = False
    fields: frozenset = frozenset(
        {"model", "max_tokens", "messages", "system", "stop_sequences", "stream", "metadata",
         "temperature", "top_p", "top_k", "thinking", "tools", "tool_choice", "output_config"}
    )  # fmt: skip

    def routes(self) -> list:
        return [web.post("/v1/messages", self.messages)]

    def error(self, status: int, message: str, **more) -> web.Response:
        self.refusals.append(message)
        kind = {401: "authentication_error"}.get(status, "invalid_request_error")
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
        return web.json_response(body, status=status)

    def refusal(self, request, body) -> web.Response | None:
        keys = [request.headers.get("x-api-key"), self.key_of(request) or None]
        if set(keys) != {KEY, None}:  # by one of them
            return self.error(401, "invalid x-api-key")
        if (version := request.headers.get("anthropic-version")) not in self.versions:
            return self.error(400, "anthropic-version: is not a valid version")
        if "max_tokens" not in body:
            return self.error(400, "max_tokens: Field required")
        for name in body.keys() - self.fields:
            return self.error(400, f"{name}: Extra inputs are not permitted")
        if any(m["role"] not in ("user", "assistant") for m in body["messages"]):
            text = "messages: Unexpected role. The Messages API accepts a top-level `system` "
            return self.error(400, text + 'parameter, not "system" as an input message role.')
        if not self.samples or version == self.versions[1]:
            for name in ("temperature", "top_p", "top_k"):
                if name in body:
                    return self.error(400, f"`{name}` is deprecated for this model.")
        if not self.samples and (body.get("thinking") or {}).get("type") == "enabled":
            text = '"thinking.type.enabled" is not supported for this model. '
            return self.error(400, text + 'Use "thinking.type.adaptive".')
        return None

    def whole(self, body: dict) -> dict:
        """Return the answer to a request."""
        prompt = json.dumps(body["messages"][-1]["content"])
        form = (body.get("output_config") or {}).get("format")
        text, written, cut = self.answer(prompt, body["max_tokens"], form)
        blocks = [{"type": "text", "text": text}] if text else []
        if self.thinks:
            thought = {"type": "thinking", "thinking": "Is it good?", "signature": "s"}
            blocks.insert(0, thought)
        if body.get("tools"):
            called = {"id": "toolu_1", "name": "label", "input": {"label": text}}
            blocks = [{"type": "tool_use", **called}]
        ended = "max_tokens" if cut else "tool_use" if body.get("tools") else "end_turn"
        usage = {
            "input_tokens": 10 - self.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": self.cached,
            "output_tokens": written,
        }
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
        end = {"stop_reason": ended, "stop_sequence": None}
        return message | {"content": blocks} | end | {"usage": usage}

    async def messages(self, request) -> web.StreamResponse:
        body = await self.take(request)
        if refused := self.refusal(request, body):
            return refused
        whole = self.whole(body)
        if not body.get("stream"):
            return web.json_response(whole)
        return await stream(request, [(piece["type"], piece) for piece in self.events(whole)])

    def events(self, whole: dict) -> list[dict]:
        """Return an answer as the events of a stream."""
        begun = {"content": [], "stop_reason": None, "usage": whole["usage"] | {"output_tokens": 1}}
        pieces = [{"type": "message_start", "message": whole | begun}, {"type": "ping"}]
        for i, block in enumerate(whole["content"]):
            pieces += [{"index": i} | piece for piece in self.block(block)]
        end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        usage = {"output_tokens": whole["usage"]["output_tokens"]}
        pieces += [
            {"type": "message_delta", "delta": end, "usage": usage},
            {"type": "message_stop"},
        ]
        return pieces

    def block(self, block: dict) -> list[dict]:
        """Return the events of a block: begun empty, in two pieces, ended."""
        kind = {"text": "text", "thinking": "thinking", "tool_use": "input"}[block["type"]]
        whole = json.dumps(block[kind]) if kind == "input" else block[kind]
        begun = {**block, kind: {} if kind == "input" else ""}
        delta, name = {
            "text": ("text_delta", "text"),
            "thinking": ("thinking_delta", "thinking"),
            "input": ("input_json_delta", "partial_json"),
        }[kind]
        begun.pop("signature", None)
        pieces = [
            {"type": "content_block_delta", "delta": {"type": delta, name: half}}
            for half in (whole[:4], whole[4:])
        ]
        if block.get("signature"):
            signed = {"type": "signature_delta", "signature": block["signature"]}
            pieces.append({"type": "content_block_delta", "delta": signed})
        return [
            {"type": "content_block_start", "content_block": begun},
            *pieces,
            {"type": "content_block_stop"},
        ]


@dataclass
class Gemini(OpenAI):
    """Gemini's OpenAI endpoint: errors are a list, and what it thinks is in the total only.

    ai.google.dev/gemini-api/docs/openai and /docs/thinking (2026-11-29).
    """

    name: str = "gemini"
    reasons: bool = False
    total_only: bool = False

    def error(self, status: int, message: str, **more) -> web.Response:
        self.refusals.append(message)
        body = {"code": status, "message": message, "status": "INVALID_ARGUMENT"}
        return web.json_response([{"error": body}], status=status)

    def refusal(self, request, body) -> web.Response | None:
        if self.key_of(request) != KEY:
            return self.error(400, "API key not valid. Please pass a valid API key.")
        for name in ("logprobs", "top_logprobs", "seed", "logit_bias"):
            if name in body:
                text = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
                return self.error(400, text)
        return None


@dataclass
class Ollama(OpenAI):
    """Ollama's OpenAI endpoint: no key, fields that it does not know are ignored.

    docs.ollama.com/api/openai-compatibility (2026-11-29).
    """

    name: str = "ollama"
    reasons: bool = False

    def refusal(self, request, body) -> web.Response | None:
        return None


async def stream(request, events: list, last: str = "") -> web.StreamResponse:
    """Send events, each with its name where it has one."""
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for name, piece in events:
        named = f"event: {name}\n" if name else ""
        await answer.write(f"{named}data: {json.dumps(piece)}\n\n".encode())
    if last:
        await answer.write(f"data: {last}\n\n".encode())
    return answer
