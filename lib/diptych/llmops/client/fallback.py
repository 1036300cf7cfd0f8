"""A chain of endpoints: the next one answers where one fails or takes too long.

Each try is a row of the ledger with its ``step`` in the chain, so what happened can be told later
from there alone. A link that fails again and again is left out for a while (a circuit breaker:
Nygard, "Release It!", 2007). Callers may have an allowance of tokens a day.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pandas as pd

from diptych.core.store.calls import Calls
from diptych.core.store.prices import Price
from diptych.llmops.client.ask import Answer, as_row, ask_many
from diptych.llmops.client.budget import Budget, BudgetError
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.request import opened, prepare
from diptych.llmops.client.target import Target
from diptych.llmops.server import process


class AllowanceError(BudgetError):
    """A caller has used up what it may; the message says how much and until when."""


@dataclass
class _Purse(Budget):
    """A caller's tokens of a day, within what all callers together may spend."""

    caller: str = ""
    whole: Budget | None = None

    def cost(self, body: Mapping, price: Price) -> tuple[float, int]:
        return self.whole.cost(body, price) if self.whole else super().cost(body, price)

    def take(self, cost: tuple[float, int]) -> bool:
        if self.whole and not self.whole.take(cost):
            return False
        fits = False
        try:
            fits = super().take(cost)
        except BudgetError as error:
            raise AllowanceError(
                f"caller: {self.caller or 'nobody'} may use {self.max_tokens:,} tokens a day and "
                f"has used {self.tokens:,}, so the next request may not fit; ask for less, or "
                "again after 00:00 UTC"
            ) from error
        finally:
            if self.whole and not fits:
                self.whole.settle(cost, 0.0, 0)
        return fits

    def settle(
        self, cost: tuple[float, int], usd: float, tokens: int, *, answered: bool = True
    ) -> None:
        super().settle(cost, usd, tokens, answered=answered)
        if self.whole:
            self.whole.settle(cost, usd, tokens, answered=answered)


@dataclass(frozen=True)
class Link:
    """One endpoint of a chain.

    Attributes
    ----------
    target : Target
    deadline_s : float
        Its latency budget: seconds until the whole answer must be there.
    max_retries : int
        How often it is tried again before the next link is asked.
    """

    target: Target = Target()
    deadline_s: float = 10.0
    max_retries: int = 0


@dataclass(frozen=True)
class Reply:
    """An answer, and how it came.

    Attributes
    ----------
    answer : Answer
        The last link's failure where none answered.
    step : int or None
        The link that answered, None if none did.
    errors : tuple of (str, str)
        The endpoints that did not, each with the reason.
    """

    answer: Answer
    step: int | None
    errors: tuple[tuple[str, str], ...] = ()


class Chain:
    """Endpoints in the order in which they are asked.

    Parameters
    ----------
    links : sequence of Link
    options : CallOptions
        How all of them are asked; its budget is what all callers together may spend. `Link` has
        the deadline and the retries of each, `ask_many` the caller and the repeat.
    max_tokens : int, optional
        What each caller may use in a day (UTC), read and written.
    patience : int
        Failures in a row after which a link is left out.
    rest_s : float
        Seconds until it is tried again. The last link is never left out.

    Raises
    ------
    ValueError, EndpointError
        If there is no link, or one is unknown or lacks its key or its model's file.
    """

    def __init__(
        self,
        links: Sequence[Link],
        options: CallOptions = CallOptions(concurrency=16),
        *,
        max_tokens: int | None = None,
        patience: int = 3,
        rest_s: float = 30.0,
    ):
        if not links:
            raise ValueError("links: there are none; give at least one")
        for link in links:
            link.target.provider.key()
            if link.target.is_local:
                process.model_file(link.target.server.get("model"))
        self.links, self.options, self.max_tokens = tuple(links), options, max_tokens
        self.patience, self.rest_s = patience, rest_s
        self._failed = [0] * len(links)  # in a row
        self._until = [0.0] * len(links)  # when a link left out is tried again
        self._purses: dict[tuple[str, str], _Purse] = {}

    def ask(self, request, caller: str = "", repeat: int = 0) -> Reply:
        """Ask one question, see `ask_many`."""
        return self.ask_many([request], caller, repeat)[0]

    def ask_many(self, requests: Iterable, caller: str = "", repeat: int = 0) -> list[Reply]:
        """Ask many questions, in lots of the options' ``concurrency``.

        Parameters
        ----------
        requests : iterable
            As `ask_many` takes them; each must limit its answer where callers have an allowance.
        caller : str
            Who asks; "" has an allowance too.
        repeat : int
            See `CallOptions`.

        Raises
        ------
        AllowanceError, BudgetError
            If the caller's allowance, or the budget of all, does not hold another request. What
            was answered before is in the ledger.
        """
        requests, at_once = list(requests), self.options.concurrency
        replies: list[Reply] = []
        with opened(self.options.calls) as calls:
            budget = self._purse(caller, calls)
            options = replace(
                self.options, caller=caller, repeat=repeat, calls=calls, budget=budget
            )
            for start in range(0, len(requests), at_once):  # a breaker acts between two lots
                replies += self._answer(requests[start : start + at_once], options)
        return replies

    def _answer(self, requests: list, options: CallOptions) -> list[Reply]:
        """Ask each link what those before it did not answer."""
        replies: dict[int, Reply] = {}
        errors: list[tuple] = [()] * len(requests)
        for step, link in enumerate(self.links):
            todo = [i for i in range(len(requests)) if i not in replies]
            if not todo:
                break
            name, last = link.target.endpoint, step == len(self.links) - 1
            if not last and time.monotonic() < self._until[step]:
                for i in todo:
                    errors[i] += ((name, "left out after failures"),)
                continue
            answers = self._ask_link(step, [requests[i] for i in todo], options)
            self._note(step, answers)
            for i, answer in zip(todo, answers, strict=True):
                if answer.error:
                    errors[i] += ((name, answer.error),)
                if not answer.error or last:
                    replies[i] = Reply(answer, None if answer.error else step, errors[i])
        return [replies[i] for i in range(len(requests))]

    def _ask_link(self, step: int, requests: list, options: CallOptions) -> list[Answer]:
        """Ask one link; a server that cannot be started is a failure of each request."""
        link = self.links[step]
        options = replace(
            options, step=step, deadline_s=link.deadline_s, max_retries=link.max_retries
        )
        try:
            return ask_many(requests, link.target, options)
        except EndpointError as error:
            failed = Answer(None, str(error))
            facts = {"endpoint": link.target.endpoint, **options.facts()}
            bodies = prepare(requests, link.target).by_hash()
            options.calls.log(facts | as_row(name, body, failed) for name, body in bodies.items())
            return [failed] * len(requests)

    def _note(self, step: int, answers: Sequence[Answer]) -> None:
        """Count failures in a row, and leave a link out that has too many."""
        for answer in answers:
            self._failed[step] = self._failed[step] + 1 if answer.error else 0
        if self._failed[step] >= self.patience:
            self._until[step] = time.monotonic() + self.rest_s
            self._failed[step] = self.patience - 1  # one more failure after its rest is enough

    def _purse(self, caller: str, calls: Calls) -> Budget | None:
        """Return what a caller has left of today, by the ledger."""
        if self.max_tokens is None:
            return self.options.budget
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        if (caller, today) not in self._purses:
            spent = calls.spent(caller=caller, since=today)
            used = spent["prompt_tokens"] + spent["completion_tokens"]
            self._purses = {key: x for key, x in self._purses.items() if key[1] == today}
            self._purses[caller, today] = _Purse(
                max_tokens=self.max_tokens, tokens=used, caller=caller, whole=self.options.budget
            )
        return self._purses[caller, today]


def summary(replies: Sequence[Reply], links: Sequence[Link]) -> pd.DataFrame:
    """Return a line per link: how many it answered, how many it failed, and why most often."""
    lines = []
    for step, link in enumerate(links):
        answered = sum(reply.step == step for reply in replies)
        reasons = [reply.errors[step][1] for reply in replies if len(reply.errors) > step]
        common = pd.Series(reasons, dtype="str").mode()
        lines.append((step, link.target.endpoint, answered, len(reasons), common.get(0, "")))
    return pd.DataFrame(lines, columns=["step", "endpoint", "answered", "failed", "most often"])
