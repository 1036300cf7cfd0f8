"""What formats have in common: answers are read as Chat Completions, errors as openai's.

A format changes what differs: its path, how a request is written and an answer read, its names.
"""

from collections.abc import Mapping
from typing import ClassVar

from diptych.llmops.client.adaptation import Refusal
from diptych.llmops.client.formats import errors, tolerant


class Base:
    """All of `Format` but how it asks.

    Attributes
    ----------
    PATH : str
        Where it asks, after the base URL.
    NAMES : mapping
        What errors call fields, to their names in Chat Completions.
    """

    PATH: ClassVar[str] = "/chat/completions"
    NAMES: ClassVar[Mapping[str, str]] = {}
    FAILURES = errors.FAILURES

    is_free = staticmethod(errors.is_free)
    remedy = staticmethod(errors.remedy)
    recurring = staticmethod(errors.recurring)
    is_filtered = staticmethod(errors.is_filtered)
    explain = staticmethod(errors.explain)

    def headers(self, key: str) -> dict:
        """Return headers that every request needs besides a bearer's key: none."""
        return {}

    def request(self, body: Mapping) -> dict:
        """Return a request in this form."""
        return dict(body)

    def response_of(self, answer: Mapping) -> dict:
        """Return an answer as Chat Completions would have given it."""
        return dict(answer)

    def refused(self, body: Mapping, error: Exception) -> Refusal | None:
        """Return the field of a request that an error refuses, None if it is about another."""
        return errors.read_error(body, error, self.NAMES)

    def text(self, response: Mapping) -> str:
        """Return the text of an answer, "" if it has none (a tool call, for example)."""
        return tolerant.read(response).text

    def outcome(self, response: Mapping) -> str:
        """Return how an answer ended, one of `outcomes.OUTCOMES`."""
        return tolerant.read(response).outcome

    def tokens(self, response: Mapping) -> tuple[int | None, int | None]:
        """Return the tokens read and written, None where the endpoint does not tell."""
        usage = tolerant.read(response).usage
        return usage.prompt_tokens, usage.written

    def cached_tokens(self, response: Mapping) -> tuple[int, int]:
        """Return how many of the tokens read were read from, and written to, the cache."""
        usage = response.get("usage")
        details = usage.get("prompt_tokens_details") if isinstance(usage, Mapping) else None
        details = details if isinstance(details, Mapping) else {}
        counts = (details.get("cached_tokens"), details.get("cache_write_tokens"))
        read, written = (n if isinstance(n, int) and n > 0 else 0 for n in counts)
        return read, written

    def token_probabilities(self, response: Mapping) -> list[dict]:
        """Return the answer's tokens with their log-probabilities, [] where it has none."""
        return tolerant.read(response).first.logprobs.content

    def log_probabilities(self, response: Mapping) -> tuple[float, ...]:
        """Return those of the answer's tokens, () where the endpoint does not tell."""
        known = (token.get("logprob") for token in self.token_probabilities(response))
        return tuple(float(x) for x in known if tolerant.is_probability(x))
