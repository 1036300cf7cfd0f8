"""Wire formats, one module each behind `Format`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from diptych.llmops.client.adaptation import Refusal

if TYPE_CHECKING:
    import openai


@dataclass(frozen=True, slots=True)
class Reply:
    """An endpoint's whole answer as JSON, and how it came."""

    response: dict
    retries: int = 0
    first_token_ms: float | None = None


@runtime_checkable
class Format(Protocol):
    """What a module of this wing offers as ``FORMAT``; `base.Base` has most of it.

    Requests and answers are those of Chat Completions within Diptych, whatever is on the wire: a
    module writes the one and reads the other, so that no other code knows which format it was.

    Attributes
    ----------
    PATH : str
        Where it asks, after the base URL.
    FAILURES : tuple of exception types
        What `complete` and `stream` raise where there is no answer.
    """

    PATH: str
    FAILURES: tuple[type[Exception], ...]

    def request(self, body: Mapping) -> dict:
        """Return a request as it goes over the wire."""

    def response_of(self, answer: Mapping) -> dict:
        """Return an answer as Chat Completions would have given it."""

    async def complete(self, client: "openai.AsyncOpenAI", body: Mapping) -> Reply:
        """Ask for a whole answer."""

    async def stream(self, client: "openai.AsyncOpenAI", body: Mapping) -> Reply:
        """Ask for an answer in pieces and put them together, as `complete` would have answered."""

    def headers(self, key: str) -> dict:
        """Return headers that every request needs besides a bearer's key."""

    def refused(self, body: Mapping, error: Exception) -> Refusal | None:
        """Return the field of a request that an error refuses, None if it is about another."""

    def text(self, response: Mapping) -> str:
        """Return the text of an answer, "" if it has none."""

    def outcome(self, response: Mapping) -> str:
        """Return how an answer ended, see `diptych.llmops.client.formats.outcomes`."""

    def tokens(self, response: Mapping) -> tuple[int | None, int | None]:
        """Return the tokens read and written, None where the endpoint does not tell."""

    def cached_tokens(self, response: Mapping) -> tuple[int, int]:
        """Return how many of the tokens read were read from, and written to, the cache."""

    def log_probabilities(self, response: Mapping) -> tuple[float, ...]:
        """Return those of the answer's tokens, () where the endpoint does not tell."""

    def token_probabilities(self, response: Mapping) -> list[dict]:
        """Return its tokens: ``token``, ``logprob`` and, where asked for, ``top_logprobs``."""

    def is_free(self, error: Exception) -> bool:
        """Say whether a failed call cannot have been paid."""

    def remedy(self, error: Exception) -> str:
        """Return what to do about a failure that every call will meet, "" where not every one."""

    def recurring(self, error: Exception) -> str:
        """Return what to do about a failure that others will meet if a few did, "" where none."""

    def is_filtered(self, error: Exception) -> bool:
        """Say whether a provider's filter refused this one request."""

    def explain(self, error: Exception) -> str:
        """Return why there is no answer, in one line."""
