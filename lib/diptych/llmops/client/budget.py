"""What calls may cost at most, held back before each call is made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from diptych.core.store.prices import Price

OVERHEAD = 16  # tokens a chat template puts around a message, at most
LIMITS = ("max_completion_tokens", "max_tokens")


class BudgetError(RuntimeError):
    """The next call could exceed the budget; the message says what was spent and what to do."""


def prompt_bytes(body: Mapping) -> int:
    """Return the bytes of a request's messages."""
    return len(json.dumps(body["messages"], ensure_ascii=False).encode("utf-8", "replace"))


def most_tokens(body: Mapping) -> tuple[int, int]:
    """Return the tokens that a call can read and write at most.

    No token is shorter than a byte, so the bytes of the prompt bound its tokens.

    Raises
    ------
    ValueError
        If the request does not limit its answer.
    """
    limit = next((body[name] for name in LIMITS if body.get(name)), None)
    if limit is None:
        raise ValueError("max_tokens: a budget needs it in every request, and one has none")
    read = prompt_bytes(body) + OVERHEAD * (len(body["messages"]) + 1)
    return read, int(limit) * int(body.get("n") or 1)


@dataclass
class Budget:
    """A hard limit on dollars, on tokens or on both; share one among the calls of a run.

    Attributes
    ----------
    max_usd, max_tokens : float, int, optional
    usd, tokens : float, int
        Spent so far.
    held_usd, held_tokens : float, int
        Held back for calls under way: what each can cost at most.
    """

    max_usd: float | None = None
    max_tokens: int | None = None
    usd: float = 0.0
    tokens: int = 0
    held_usd: float = field(default=0.0, repr=False)
    held_tokens: int = field(default=0, repr=False)

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
            raise ValueError(
                f"max_usd: no price is known for {body.get('model')!r}; give `prices` in "
                "params/endpoints.yaml, or limit max_tokens instead"
            )
        return usd or 0.0, read + written

    def take(self, cost: tuple[float, int]) -> bool:
        """Hold back a call's cost; False if it does not fit beside the calls under way.

        Raises
        ------
        BudgetError
            If it does not fit though none is under way.
        """
        usd, tokens = cost
        fits_usd = self.max_usd is None or self.usd + self.held_usd + usd <= self.max_usd
        fits = self.max_tokens is None or self.tokens + self.held_tokens + tokens <= self.max_tokens
        if fits_usd and fits:
            self.held_usd, self.held_tokens = self.held_usd + usd, self.held_tokens + tokens
            return True
        if self.held_tokens:
            return False
        name, limit, spent, next_ = (
            ("max_tokens", f"{self.max_tokens:,}", f"{self.tokens:,}", f"{tokens:,}")
            if fits_usd
            else ("max_usd", f"{self.max_usd:g}", f"{self.usd:.6f}", f"{usd:.6f}")
        )
        raise BudgetError(
            f"budget: {name} is {limit}, {spent} is spent and the next call may need {next_}; "
            f"raise {name} or ask for less. What was answered is in the ledger and not paid again"
        )

    def settle(self, cost: tuple[float, int], usd: float, tokens: int) -> None:
        """Release what was held for a call, and count what it did cost."""
        self.held_usd, self.held_tokens = self.held_usd - cost[0], self.held_tokens - cost[1]
        self.usd, self.tokens = self.usd + usd, self.tokens + tokens
        if not self.held_tokens:
            self.held_usd = 0.0  # what rounding leaves
