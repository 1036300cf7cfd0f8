"""What calls may cost at most, held back before each attempt is sent."""

import json
import math
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from diptych.base.errors import Plain
from diptych.core.store.prices import Price

USUAL_USD = 1.0  # of a notebook whose limit nobody set
OVERHEAD = 16  # tokens a chat template puts around a message, at most
# what a request holds beside its messages and the model reads as part of its prompt
READ = ("messages", "tools", "functions", "response_format", "tool_choice")
LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
# tokens of an image, by its pixels and not by its bytes: OpenAI's pages on vision (2026) count
# 1,445 at most, 48,169 of the small models that count each tile as more; Anthropic's 4,784
PICTURE = re.compile(r'(?<="url": ")data:image/[^"]*')
IMAGE, IMAGE_OF_SMALL, SMALL = 5_000, 48_169, "gpt-4o-mini"


class BudgetError(Plain, RuntimeError):
    """The next call could exceed the budget; the message says what was spent and what to do."""


def prompt_bytes(body: Mapping) -> int:
    """Return the bytes of what a model reads of a request: messages, tools and schemas.

    Pictures that stand in it are left out: they are not read as text.
    """
    prompt = [body[name] for name in READ if body.get(name)]
    prompt = prompt[0] if len(prompt) == 1 else prompt
    text = json.dumps(prompt, ensure_ascii=False)
    if "data:image/" in text:
        text = PICTURE.sub("", text)
    return len(text.encode("utf-8", "replace"))


def most_tokens(body: Mapping) -> tuple[int, int]:
    """Return the tokens that a call can read and write at most.

    No token of a text is shorter than a byte, so the bytes of the prompt bound its tokens; an
    image counts as what providers ask for the largest.

    Raises
    ------
    ValueError
        If the request does not limit its answer.
    """
    limit = next((body[name] for name in LIMITS if body.get(name)), None)
    if limit is None:
        raise ValueError("max_tokens: a budget needs it in every request, and one has none")
    image = IMAGE_OF_SMALL if SMALL in str(body.get("model")) else IMAGE
    read = prompt_bytes(body) + OVERHEAD * (len(body["messages"]) + 1) + image * _images(body)
    return read, int(limit) * int(body.get("n") or 1)


def _images(body: Mapping) -> int:
    """Return how many images the messages hold."""
    return sum(
        isinstance(part, Mapping) and "image" in str(part.get("type"))
        for message in body["messages"]
        for part in _parts(message.get("content"))
    )


def _parts(content: object) -> Iterator:
    return iter(content) if isinstance(content, list | tuple) else iter(())


def whole(value: object) -> int | None:
    """Return a count of tokens as an endpoint tells it, None where it is none.

    A count that is negative, a text, NaN or no whole number would corrupt what is added up.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if math.isfinite(value) and value >= 0 and value == int(value) else None


def used(prompt_tokens: object, completion_tokens: object) -> tuple[int, int] | None:
    """Return the tokens of an answered call, None where they cannot be: no prompt has none."""
    read, written = whole(prompt_tokens), whole(completion_tokens)
    return None if not read or written is None else (read, written)


@dataclass
class Budget:
    """A hard limit on dollars, on tokens or on both; share one among the calls of a run.

    Each attempt of a call is held back before it is sent, and counts as what it can cost at most
    where the endpoint does not tell: a connection that breaks may have been paid all the same.

    Attributes
    ----------
    max_usd, max_tokens : float, int, optional
    usd, tokens : float, int
        Spent so far.
    unanswered_usd, unanswered_tokens : float, int
        The part of it that was counted for attempts without an answer, which may have been paid.
    strict : bool
        A model without a known price is refused where dollars are limited; otherwise it is asked,
        after a warning.
    held_usd, held_tokens : float, int
        Held back for calls under way: what each can cost at most.
    """

    max_usd: float | None = None
    max_tokens: int | None = None
    usd: float = 0.0
    tokens: int = 0
    held_usd: float = field(default=0.0, repr=False)
    held_tokens: int = field(default=0, repr=False)
    unanswered_usd: float = field(default=0.0, repr=False)
    unanswered_tokens: int = field(default=0, repr=False)
    under_way: int = field(default=0, repr=False)
    strict: bool = field(default=True, repr=False)
    unpriced: set = field(default_factory=set, repr=False)
    # calls of several threads may share it
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def __post_init__(self):
        for name in ("max_usd", "max_tokens"):
            limit = getattr(self, name)
            if limit is not None and not limit >= 0:  # NaN too
                raise ValueError(f"{name}: {limit}; it must be 0 or more, or left out")

    @classmethod
    def of(cls, max_usd: float | None) -> "Budget":
        """Return the limit of a notebook; None is `USUAL_USD`, where a price is known."""
        return cls(USUAL_USD, strict=False) if max_usd is None else cls(max_usd)

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_usd is not None or self.max_tokens is not None

    def cost(self, body: Mapping, price: Price) -> tuple[float, int]:
        """Return dollars and tokens that a call can cost at most.

        Raises
        ------
        ValueError
            If that cannot be told.
        """
        read, written = most_tokens(body)
        usd = price.usd(read, written)
        if usd is None and self.max_usd is not None:
            self._without_price(str(body.get("model")))
        return usd or 0.0, read + written

    def _without_price(self, model: str) -> None:
        remedy = "give `prices` in params/endpoints.yaml, or limit max_tokens instead"
        if self.strict:
            raise ValueError(f"max_usd: no price is known for {model!r}; {remedy}")
        if model not in self.unpriced:
            self.unpriced.add(model)
            print(
                f"Warning: no price is known for {model!r}, so the limit of {self.max_usd:g} USD "
                f"cannot be kept; {remedy}. With max_usd or --max-usd the run stops here instead"
            )

    def take(self, cost: tuple[float, int]) -> bool:
        """Hold back a call's cost; False if it does not fit beside the calls under way.

        Raises
        ------
        BudgetError
            If it does not fit though none is under way.
        """
        with self._lock:
            usd, tokens = cost
            fits_usd = self.max_usd is None or self.usd + self.held_usd + usd <= self.max_usd
            fits = (
                self.max_tokens is None
                or self.tokens + self.held_tokens + tokens <= self.max_tokens
            )
            if fits_usd and fits:
                self.held_usd, self.held_tokens = self.held_usd + usd, self.held_tokens + tokens
                self.under_way += 1
                return True
            if self.under_way:
                return False
            raise BudgetError(self._exhausted(cost, "max_tokens" if fits_usd else "max_usd"))

    def _exhausted(self, cost: tuple[float, int], name: str) -> str:
        """Return the sentence that says what was spent, and what to do."""
        limit, spent, next_, lost = (
            (f"{self.max_tokens:,}", f"{self.tokens:,}", f"{cost[1]:,}", self.unanswered_tokens)
            if name == "max_tokens"
            else (f"{self.max_usd:g}", f"{self.usd:.6f}", f"{cost[0]:.6f}", self.unanswered_usd)
        )
        counted = f"{lost:,}" if name == "max_tokens" else f"{lost:.6f}"
        unanswered = f" ({counted} of it for attempts without an answer)" if lost else ""
        return (
            f"budget: {name} is {limit}, {spent} is spent{unanswered} and the next call may need "
            f"{next_}; raise {name} or ask for less. What was answered is in the ledger and not "
            "paid again"
        )

    def charge(self, usd: float, tokens: int) -> None:
        """Count what may have been paid though no answer came, and is not held."""
        with self._lock:
            self.usd, self.tokens = self.usd + usd, self.tokens + tokens
            self.unanswered_usd += usd
            self.unanswered_tokens += tokens

    def settle(
        self, cost: tuple[float, int], usd: float, tokens: int, *, answered: bool = True
    ) -> None:
        """Release what was held for an attempt, and count what it did cost.

        An amount that is none (negative, NaN) counts as what was held.
        """
        usd = usd if isinstance(usd, int | float) and 0 <= usd < math.inf else cost[0]
        count = whole(tokens)
        tokens = cost[1] if count is None else count
        with self._lock:
            self.held_usd -= cost[0]
            self.held_tokens -= cost[1]
            self.under_way -= 1
            self.usd, self.tokens = self.usd + usd, self.tokens + tokens
            if not answered:
                self.unanswered_usd += usd
                self.unanswered_tokens += tokens
            if not self.under_way:
                self.held_usd = 0.0  # what rounding leaves
