"""OpenAI's Chat Completions: the answer as JSON, its time to the first token, errors in words."""

import json
import time
from collections.abc import AsyncIterator, Mapping

import httpx2
import openai

from diptych.llmops.client.formats import Reply, tolerant
from diptych.llmops.client.formats.base import Base

PATH = "/chat/completions"
NOT_STREAMED = "the endpoint's answer has no choices, or is no stream"
ENDED_EARLY = "the stream ended before the answer did: no finish_reason, and no [DONE]"


class _Events(openai.AsyncStream[str]):
    """The data of a stream's events as text, the last ``[DONE]`` too."""

    async def __stream__(self) -> AsyncIterator[str]:
        try:
            async for event in self._iter_events():
                yield event.data
                if event.data.startswith("[DONE]"):
                    return
        finally:
            await self.response.aclose()


class _Pieces:
    """Puts the pieces of a stream together."""

    def __init__(self):
        self.rest: dict = {}
        self.texts: list[str] = []
        self.refusals: list[str] = []
        self.thoughts: dict[str, list[str]] = {}  # by the name of their field
        self.logprobs: list[dict] = []
        self.calls: dict[object, dict] = {}
        self.first: float | None = None
        self.end = ""
        self.came = self.done = False

    def ended(self, data: str) -> bool:
        """Take the data of one event; say whether it was the last."""
        if data.startswith("[DONE]"):
            self.done = True
            return True
        piece = json.loads(data) if data.strip() else None
        if isinstance(piece, dict):
            read = tolerant.read(piece)
            tolerant.raise_for(read.error, "the endpoint broke off")
            self.rest |= {k: v for k, v in piece.items() if k not in ("choices", "object") and v}
            for choice in read.choices:
                self._take(choice)
        return False

    def _take(self, choice: tolerant.Choice) -> None:
        tolerant.raise_for((choice.model_extra or {}).get("error"), "the endpoint broke off")
        self.came = True
        delta = choice.delta if choice.delta.model_fields_set else choice.message
        if text := delta.content or choice.text:
            self.first = self.first or time.perf_counter()
            self.texts.append(text)
        self.refusals += [delta.refusal] if delta.refusal else []
        for name, thought in (delta.model_extra or {}).items():
            if name in tolerant.THOUGHT_FIELDS and isinstance(thought, str):
                self.thoughts.setdefault(name, []).append(thought)
        for call in delta.tool_calls:
            self._call(call)
        self.logprobs += choice.logprobs.content
        self.end = choice.finish_reason or self.end

    def _call(self, piece: dict) -> None:
        """Add a piece of a tool call: its arguments come letter by letter."""
        call = self.calls.setdefault(piece.get("index", 0), {})
        function, new = call.setdefault("function", {}), piece.get("function")
        call |= {k: v for k, v in piece.items() if k not in ("index", "function") and v}
        if isinstance(new, Mapping):
            parts = (tolerant.written(x.get("arguments")) for x in (function, new))
            function |= {k: v for k, v in new.items() if v} | {"arguments": "".join(parts)}

    def whole(self) -> dict:
        """Return the answer; ValueError where it is none, or its end did not come."""
        if not self.came:  # a proxy's page, for example
            raise ValueError(NOT_STREAMED)
        if not (self.end or self.done):
            raise ValueError(ENDED_EARLY)
        message: dict = {"role": "assistant", "content": "".join(self.texts)}
        message |= {name: "".join(parts) for name, parts in self.thoughts.items()}
        if self.refusals:
            message["refusal"] = "".join(self.refusals)
        if self.calls:
            message["tool_calls"] = list(self.calls.values())
        choice = {"index": 0, "message": message, "finish_reason": self.end or None}
        if self.logprobs:
            choice["logprobs"] = {"content": self.logprobs}
        whole = {**self.rest, "object": "chat.completion", "choices": [choice]}
        return tolerant.checked(whole)


def connection(client: openai.AsyncOpenAI) -> dict[str, str]:
    """Return the headers that keep a call off a connection which the last one left half closed.

    llama.cpp promises to keep a connection and ends it after a stream; a call on it fails, and is
    tried again half a second later. Under TLS a new connection is dear, and proxies keep theirs.
    """
    return {"Connection": "close"} if client.base_url.scheme == "http" else {}


def retries(request: httpx2.Request) -> int:
    """Return how often the client had tried before; it says so in a header of the request."""
    return int(request.headers.get("x-stainless-retry-count", 0))


class ChatCompletions(Base):
    """Requests and answers go as they are."""

    async def complete(self, client: openai.AsyncOpenAI, body: Mapping) -> Reply:
        """Ask for a whole answer.

        The client's retries, headers and base URL are kept; only the answer is read as plain JSON
        and not into its pydantic models, which takes most of a call's CPU.

        Raises
        ------
        openai.OpenAIError, ValueError
            See `errors.explain`.
        """
        answer = await client.post(PATH, cast_to=httpx2.Response, body=body)
        return Reply(tolerant.checked(json.loads(answer.content)), retries(answer.request))

    async def stream(self, client: openai.AsyncOpenAI, body: Mapping) -> Reply:
        """Ask for an answer in pieces and put them together, as `complete` would have answered."""
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        began = time.perf_counter()
        events = await client.post(
            PATH,
            cast_to=str,
            body=body,
            options={"headers": connection(client)},
            stream=True,
            stream_cls=_Events,
        )
        tried = retries(events.response.request)
        async with events:
            if "json" in events.response.headers.get("content-type", ""):  # it does not stream
                whole = json.loads(await events.response.aread())
                return Reply(tolerant.checked(whole), tried)
            pieces = _Pieces()
            async for data in events:
                if pieces.ended(data):
                    break
        first = pieces.first
        return Reply(pieces.whole(), tried, None if first is None else (first - began) * 1000)


FORMAT = ChatCompletions()
