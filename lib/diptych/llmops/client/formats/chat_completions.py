"""OpenAI's Chat Completions: the answer as JSON, its time to the first token, errors in words."""

import json
import re
import time
from collections.abc import AsyncIterator, Mapping

import httpx2
import openai

from diptych.base.secrets import Redactor
from diptych.llmops.client.adaptation import Refusal, read_refusal
from diptych.llmops.client.formats import Reply, tolerant
from diptych.llmops.client.formats.connection import UNREACHED, is_unreached

PATH = "/chat/completions"
OVERLOADED = (503, 529)  # it has not begun
NOT_STREAMED = "the endpoint's answer has no choices, or is no stream"
ENDED_EARLY = "the stream ended before the answer did: no finish_reason, and no [DONE]"
FAILURES = (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, ValueError, RecursionError)
# errors of one request and not of all: they end no run
OF_A_ROW = ("context_length", "context_window", "content_filter", "content_policy", "too long")
REMEDIES = {
    400: "change what the request asks for, or take another model",
    402: "pay at the provider, or take another endpoint",
    404: "give a model that it has, and its whole base URL",
    422: "change what the request asks for, or take another model",
    429: "raise the quota at the provider, or take another endpoint",
}
BROKEN = "the endpoint is out of order: ask again later, or take another one"


async def complete(client: openai.AsyncOpenAI, body: Mapping) -> Reply:
    """Ask for a whole answer.

    The client's retries, headers and base URL are kept; only the answer is read as plain JSON and
    not into its pydantic models, which takes most of a call's CPU.

    Raises
    ------
    openai.OpenAIError, ValueError
        See `explain`.
    """
    answer = await client.post(PATH, cast_to=httpx2.Response, body=body)
    return Reply(tolerant.checked(json.loads(answer.content)), retries(answer.request))


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


async def stream(client: openai.AsyncOpenAI, body: Mapping) -> Reply:
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


def text(response: Mapping) -> str:
    """Return the text of an answer, "" if it has none (a tool call, for example)."""
    return tolerant.read(response).text


def outcome(response: Mapping) -> str:
    """Return how an answer ended, one of `outcomes.OUTCOMES`."""
    return tolerant.read(response).outcome


def tokens(response: Mapping) -> tuple[int | None, int | None]:
    """Return the tokens read and written, None where the endpoint does not tell."""
    usage = tolerant.read(response).usage
    return usage.prompt_tokens, usage.written


def token_probabilities(response: Mapping) -> list[dict]:
    """Return the answer's tokens with their log-probabilities, [] where it has none."""
    return tolerant.read(response).first.logprobs.content


def cached_tokens(response: Mapping) -> tuple[int, int]:
    """Return how many of the tokens read were read from, and written to, the cache."""
    usage = response.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, Mapping) else None
    details = details if isinstance(details, Mapping) else {}
    counts = (details.get("cached_tokens"), details.get("cache_write_tokens"))
    read, written = (n if isinstance(n, int) and n > 0 else 0 for n in counts)
    return read, written


def log_probabilities(response: Mapping) -> tuple[float, ...]:
    """Return those of the answer's tokens, () where the endpoint does not tell."""
    known = (token.get("logprob") for token in token_probabilities(response))
    return tuple(float(x) for x in known if tolerant.is_probability(x))


def headers(key: str) -> dict:
    """Return headers that every request needs besides a bearer's key: none."""
    return {}


def refused(body: Mapping, error: Exception) -> Refusal | None:
    """Return the field of a request that an error refuses, None if it is about another."""
    return read_error(body, error, {})


def read_error(body: Mapping, error: Exception, names: Mapping[str, str]) -> Refusal | None:
    """As `refused`, for a format that calls fields by other names: to those of Chat Completions."""
    if not isinstance(error, openai.APIStatusError) or error.status_code not in (400, 422):
        return None
    content = error.body
    named = content.get("param") if isinstance(content, Mapping) else ""
    text = content.get("message") if isinstance(content, Mapping) else None
    text = text if isinstance(text, str) else json.dumps(content, default=str)
    named = named if isinstance(named, str) else ""
    for name, ours in names.items():
        named, text = named.replace(name, ours), text.replace(name, ours)
    return read_refusal(body, text, named)


def is_free(error: Exception) -> bool:
    """Say whether a failed call cannot have been paid: nobody was there, or it was refused.

    An endpoint that breaks down (500, 502, 504) or is too slow (408) may have answered, and bills.
    """
    if isinstance(error, openai.APIStatusError):
        refused = 400 <= error.status_code < 500 and error.status_code != 408
        return refused or error.status_code in OVERLOADED
    return isinstance(error, openai.APIConnectionError) and is_unreached(error)


def remedy(error: Exception) -> str:
    """Return what to do about a failure that every call will meet, "" where the next may not."""
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return "give a key that it takes"
    if isinstance(error, openai.NotFoundError):
        return "give a model that it has, and its whole base URL"
    if isinstance(error, openai.APIConnectionError) and is_unreached(error):
        return "start it, or give another endpoint"
    return ""


def recurring(error: Exception) -> str:
    """Return what to do about a failure that other calls will meet if a few did, "" where none."""
    if not isinstance(error, openai.APIStatusError):
        return ""
    about = f"{error.code} {_words(error)}".lower()
    if any(name in about for name in OF_A_ROW):
        return ""
    status = error.status_code
    if status == 429 and "quota" not in about:
        return ""
    if status in (400, 422) and error.param:
        return f"change {error.param} in the prompt or the parameters, or take another model"
    return remedy(error) or REMEDIES.get(status, BROKEN if status >= 500 else "")


def is_filtered(error: Exception) -> bool:
    """Say whether a provider's filter refused this one request."""
    if not isinstance(error, openai.APIStatusError):
        return False
    return error.status_code == 400 and any(x in str(error.code) for x in OF_A_ROW[2:4])


def explain(error: Exception) -> str:
    """Return why there is no answer, in one line, without secrets."""
    return _line(Redactor().text(_reason(error)), error)


def _reason(error: Exception) -> str:
    if isinstance(error, openai.APIStatusError):
        return f"HTTP {error.status_code}: {_words(error)}"
    if isinstance(error, openai.APIConnectionError) and is_unreached(error):
        return f"no connection: {error.__cause__}"
    if isinstance(error.__cause__, UNREACHED):  # somebody was there, and hung up
        return f"the connection broke: {error.__cause__}"
    if isinstance(error, openai.APITimeoutError):
        return "no answer in time"
    if type(error) is openai.APIConnectionError and error.__cause__:
        return f"the connection broke: {_line(error.__cause__)}"
    if isinstance(error, UnicodeDecodeError):
        return "the endpoint's answer is no UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return "the endpoint's answer is not JSON"
    if isinstance(error, RecursionError):
        return "the endpoint's answer is not JSON that can be read: it is nested too deep"
    return str(error)


def _words(error: openai.APIStatusError) -> str:
    """Return the provider's words about a refused request, without the tags of a page."""
    if 300 <= error.status_code < 400:
        where = httpx2.URL(error.response.headers.get("location", "")).host or "another path"
        return f"it redirects to {where}, which is not followed; give the address where it is"
    body = error.body
    if isinstance(body, str) and body.lstrip().startswith("<"):
        body = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", body, flags=re.DOTALL)
    return _line(tolerant.words(body) or error.message)


def _line(text: object, otherwise: object = "") -> str:
    return " ".join(str(text).split())[:500] or type(otherwise or text).__name__
