"""Answers of Chat Completions and kin, read tolerantly: what servers send, not what they promise.

Every field may be missing, null or of another kind: then it counts as not there. What stands in no
model is left alone, for the whole answer is recorded as it came.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from diptych.llmops.client.formats import outcomes

MOST_TOKENS = 10**9  # a count above is none
THOUGHTS = ("thinking", "reasoning", "redacted_thinking")  # kinds of parts that are no answer
THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")  # of a message
ENDS = {
    "length": outcomes.CUT,
    "max_tokens": outcomes.CUT,
    "model_length": outcomes.CUT,
    "content_filter": outcomes.FILTERED,
    "safety": outcomes.FILTERED,
    "recitation": outcomes.FILTERED,
    "prohibited_content": outcomes.FILTERED,
    "blocklist": outcomes.FILTERED,
    "refusal": outcomes.REFUSED,
    "tool_calls": outcomes.TOOL_CALL,
    "function_call": outcomes.TOOL_CALL,
    "tool_use": outcomes.TOOL_CALL,
}
WORDS = ("message", "detail", "msg", "error", "error_description", "reason", "title")
NO_PART = "the endpoint's answer has no"  # choices, content, output


def written(content: object) -> str:
    """Return the text of a message's content: a text, a number, a part, or a list of parts.

    Half of a surrogate pair and NUL, which no database keeps, do not come through.
    """
    if isinstance(content, str):
        return content.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(content, list):
        return "".join(map(written, content))
    if isinstance(content, Mapping):
        if content.get("type") in THOUGHTS:
            return ""
        inner = content.get("text", content.get("content"))
        if inner is None and "value" in content:
            inner = content["value"]
        return written(inner) if inner is not None or "type" in content else _as_json(content)
    return "" if content is None else _as_json(content)


def words(error: object) -> str:
    """Return a provider's own words about an error, whatever form they have."""
    if isinstance(error, Mapping):
        parts = (words(error[name]) for name in WORDS if error.get(name))
        return next(filter(None, parts), "") or _as_json(error)
    if isinstance(error, list):
        return "; ".join(filter(None, map(words, error[:3])))
    return "" if error is None else written(error)


def _as_json(content: object) -> str:
    return json.dumps(content, ensure_ascii=True, default=str)


def _count(value: object) -> int | None:
    """Return a count of tokens, None where it is none: text, negative, NaN, a fraction."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value) if len(value) < 12 else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= MOST_TOKENS and value == int(value) else None


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping]:
    return [x for x in value if isinstance(x, Mapping)] if isinstance(value, list) else []


def _name(value: object) -> str:
    return value.lower() if isinstance(value, str) else ""


def is_probability(value: object) -> bool:
    """Say whether a value is the logarithm of a probability."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


Text = Annotated[str, BeforeValidator(written)]
Name = Annotated[str, BeforeValidator(_name)]
Count = Annotated[int | None, BeforeValidator(_count)]
Mappings = Annotated[list[dict[str, Any]], BeforeValidator(_mappings)]


class _Tolerant(BaseModel):
    model_config = ConfigDict(extra="allow")


class Message(_Tolerant):
    """What a model said, or a piece of it."""

    content: Text = ""
    refusal: Text = ""
    tool_calls: Mappings = []


class Logprobs(_Tolerant):
    """The tokens of an answer with their log-probabilities."""

    content: Mappings = []


class Choice(_Tolerant):
    """One answer, or a piece of it."""

    message: Annotated[Message, BeforeValidator(_mapping)] = Message()
    delta: Annotated[Message, BeforeValidator(_mapping)] = Message()
    text: Text = ""  # of the older completions
    finish_reason: Name = ""
    logprobs: Annotated[Logprobs, BeforeValidator(_mapping)] = Logprobs()


class Details(_Tolerant):
    """What the tokens written were."""

    reasoning_tokens: Count = None


class Usage(_Tolerant):
    """Tokens read and written, None where they are not told."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    completion_tokens_details: Annotated[Details, BeforeValidator(_mapping)] = Details()

    @property
    def written(self) -> int | None:
        """The tokens written, with those of a model's thoughts: Gemini has them in the total only.

        ai.google.dev/gemini-api/docs/openai and issues about its usage (2026-11-29).
        """
        known = (self.prompt_tokens, self.completion_tokens, self.total_tokens)
        if None in known:
            return self.completion_tokens
        return max(self.completion_tokens, self.total_tokens - self.prompt_tokens)


class Completion(_Tolerant):
    """A whole answer, or a piece of a stream."""

    choices: Annotated[list[Choice], BeforeValidator(_mappings)] = []
    usage: Annotated[Usage, BeforeValidator(_mapping)] = Usage()
    error: Any = None

    @property
    def first(self) -> Choice:
        """The answer; an empty one where there is none."""
        return self.choices[0] if self.choices else Choice()

    @property
    def text(self) -> str:
        """What the model said, "" if nothing; where it refused, how."""
        message = self.first.message
        return message.content or self.first.text or message.refusal

    @property
    def thoughts(self) -> int | None:
        """The tokens of thoughts before the answer; None where it has some and does not count them.

        Ollama, llama.cpp and vLLM have thoughts in the message, and Anthropic in blocks that become
        its ``reasoning_content``.
        """
        counted = self.usage.completion_tokens_details.reasoning_tokens
        if counted is not None:
            return counted
        extra = self.first.message.model_extra or {}
        if any(extra.get(name) for name in THOUGHT_FIELDS):
            return None
        return (self.usage.written or 0) - (self.usage.completion_tokens or 0)

    @property
    def outcome(self) -> str:
        """How the answer ended, one of `outcomes.OUTCOMES`."""
        choice = self.first
        end = ENDS.get(choice.finish_reason)
        if choice.message.refusal and not choice.message.content:
            return outcomes.REFUSED
        if end is None and choice.message.tool_calls and not self.text.strip():
            return outcomes.TOOL_CALL
        return end or (outcomes.ANSWERED if self.text.strip() else outcomes.EMPTY)


def read(response: object) -> Completion:
    """Read an answer, or a piece of a stream; no form of it is an error."""
    return Completion.model_validate(_mapping(response))


def checked(response: object) -> dict:
    """Return an answer that has one.

    Raises
    ------
    ValueError
        If it is an error, or has no choices; with the provider's words.
    """
    if not isinstance(response, dict):
        raise ValueError(f"the endpoint's answer is no JSON object: {_as_json(response)[:200]}")
    completion = read(response)
    raise_for(completion.error)
    if not completion.choices:
        raise ValueError(f"{NO_PART} choices: {_as_json(response)[:200]}")
    choice = completion.first
    raise_for((choice.model_extra or {}).get("error"))
    if choice.finish_reason == "error":
        raise ValueError("the endpoint's answer ended in an error that it does not name")
    return response


@contextmanager
def reading() -> Iterator[None]:
    """Turn what an answer of another form does to its reader into ValueError."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        reason = "the endpoint's answer cannot be read: a part is missing, or of another kind"
        raise ValueError(f"{reason} ({type(error).__name__}: {error})") from error


def raise_for(error: object, when: str = "the endpoint answered with an error") -> None:
    """Raise ValueError with a provider's words where there is an error."""
    if error:
        raise ValueError(f"{when}: {words(error)}")
