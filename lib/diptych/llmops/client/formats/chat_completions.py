"""OpenAI's Chat Completions: the answer as JSON, its time to the first token, errors in words."""

import json
import time
from collections.abc import Mapping

import httpx2
import openai

from diptych.llmops.client.formats import Reply

PATH = "/chat/completions"
UNREACHED = (httpx2.ConnectError, httpx2.ConnectTimeout)  # aiohttp's refusal is the second
OVERLOADED = (503, 529)  # it has not begun
NOT_STREAMED = "the endpoint's answer has no choices, or is no stream"
FAILURES = (openai.OpenAIError, httpx2.HTTPError, ValueError)


async def complete(client: openai.AsyncOpenAI, body: Mapping) -> Reply:
    """Ask for a whole answer.

    The client's retries, headers and base URL are kept; only the answer is read as plain JSON and
    not into pydantic models, which takes most of a call's CPU.

    Raises
    ------
    openai.OpenAIError, ValueError
        See `explain`.
    """
    answer = await client.post(PATH, cast_to=httpx2.Response, body=body)
    response = json.loads(answer.content)
    if not isinstance(response, dict) or not response.get("choices"):
        raise ValueError(f"the endpoint's answer has no choices: {str(response)[:200]}")
    return Reply(response, _retries(answer.request))


async def stream(client: openai.AsyncOpenAI, body: Mapping) -> Reply:
    """Ask for an answer in pieces and put them together, as `complete` would have answered."""
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    began, first, whole, texts, logprobs = time.perf_counter(), None, {}, [], []
    came = False
    pieces = await client.post(
        PATH,
        cast_to=object,
        body=body,
        options={"headers": _connection(client)},
        stream=True,
        stream_cls=openai.AsyncStream[dict],
    )
    async with pieces:
        async for piece in pieces:
            if piece.get("error"):
                raise ValueError(f"the endpoint broke off: {piece['error']}")
            whole |= {k: v for k, v in piece.items() if k not in ("choices", "object") and v}
            for choice in piece.get("choices", ()):
                came = True
                text = choice.get("delta", {}).get("content")
                if text:
                    first = first or time.perf_counter()
                    texts.append(text)
                logprobs += (choice.get("logprobs") or {}).get("content") or ()
                whole["finish_reason"] = choice.get("finish_reason") or whole.get("finish_reason")
    if not came:  # a proxy's page, for example
        raise ValueError(NOT_STREAMED)
    retries = _retries(pieces.response.request)
    message = {"role": "assistant", "content": "".join(texts)}
    choice = {"index": 0, "message": message, "finish_reason": whole.pop("finish_reason", None)}
    if logprobs:
        choice["logprobs"] = {"content": logprobs}
    response = {**whole, "object": "chat.completion", "choices": [choice]}
    return Reply(response, retries, None if first is None else (first - began) * 1000)


def _connection(client: openai.AsyncOpenAI) -> dict[str, str]:
    """Return the headers that keep a call off a connection which the last one left half closed.

    llama.cpp promises to keep a connection and ends it after a stream; a call on it fails, and is
    tried again half a second later. Under TLS a new connection is dear, and proxies keep theirs.
    """
    return {"Connection": "close"} if client.base_url.scheme == "http" else {}


def _retries(request: httpx2.Request) -> int:
    """Return how often the client had tried before; it says so in a header of the request."""
    return int(request.headers.get("x-stainless-retry-count", 0))


def text(response: Mapping) -> str:
    """Return the text of an answer, "" if it has none (a tool call, for example)."""
    return response["choices"][0].get("message", {}).get("content") or ""


def tokens(response: Mapping) -> tuple[int | None, int | None]:
    """Return the tokens read and written, None where the endpoint does not tell."""
    usage = response.get("usage") or {}
    return usage.get("prompt_tokens"), usage.get("completion_tokens")


def log_probabilities(response: Mapping) -> tuple[float, ...]:
    """Return those of the answer's tokens, () where the endpoint does not tell."""
    tokens = (response["choices"][0].get("logprobs") or {}).get("content") or ()
    return tuple(token["logprob"] for token in tokens if token.get("logprob") is not None)


def is_free(error: Exception) -> bool:
    """Say whether a failed call cannot have been paid: nobody was there, or it was refused.

    An endpoint that breaks down (500, 502, 504) or is too slow (408) may have answered, and bills.
    """
    if isinstance(error, openai.APIStatusError):
        refused = 400 <= error.status_code < 500 and error.status_code != 408
        return refused or error.status_code in OVERLOADED
    return isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, UNREACHED)


def remedy(error: Exception) -> str:
    """Return what to do about a failure that every call will meet, "" where the next may not."""
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return "give a key that it takes"
    if isinstance(error, openai.NotFoundError):
        return "give a model that it has, and its whole base URL"
    if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, UNREACHED):
        return "start it, or give another endpoint"
    return ""


def explain(error: Exception) -> str:
    """Return why there is no answer, in one line."""
    if isinstance(error, openai.APIStatusError):
        message = error.body.get("message") if isinstance(error.body, dict) else None
        return f"HTTP {error.status_code}: {_line(message or error.message)}"
    if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, UNREACHED):
        return f"no connection: {_line(error.__cause__)}"
    if isinstance(error, openai.APITimeoutError):
        return "no answer in time"
    if type(error) is openai.APIConnectionError and error.__cause__:
        return f"the connection broke: {_line(error.__cause__)}"
    if isinstance(error, json.JSONDecodeError):
        return "the endpoint's answer is not JSON"
    return _line(error)


def _line(text: object) -> str:
    return " ".join(str(text).split())[:500] or type(text).__name__
