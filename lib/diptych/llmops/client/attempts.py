"""The one place where a call is tried again: each attempt is held back, sent and settled.

An attempt that the endpoint refused cost nothing. One that broke off, or whose answer does not say
what it took, counts as what it can have cost at most, for an endpoint bills what it has read and
written whether the answer arrives or not. So a budget holds whatever the endpoint does.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from diptych.llmops.client.budget import Budget, BudgetError, prompt_bytes, used
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.formats import Reply
from diptych.llmops.client.rate_limits import RateLimits, pause_s
from diptych.llmops.client.request import PreparedRequests, limit_of

FIRST_S, LONGEST_S = 0.5, 8.0  # pauses between tries, where the endpoint asks for none
PATIENCE_S = 120.0  # it asks for a longer one: the call fails, with the reason
PAID_RETRIES = 2  # of attempts that may have been paid though no answer came
AGAIN = (408, 409, 429)  # and 5xx: another try may be answered
NEVER = (501, 505)
POLL_S = 0.2  # calls of other threads may free a budget


@dataclass
class Trail:
    """What became of a call's attempts."""

    retries: int = 0
    maybe_paid: int = 0  # attempts without an answer that may have been paid


class StoppedError(Exception):
    """The run has ended, and this call has not been sent."""


class Attempts:
    """Sends calls within a budget and an endpoint's limits, and tries again where that may help."""

    def __init__(self, prepared: PreparedRequests, options: CallOptions, limits: RateLimits):
        self.prepared, self.options, self.limits = prepared, options, limits
        self.wire = prepared.provider.wire
        self.send = self.wire.stream if options.stream else self.wire.complete
        self.budget = options.budget or Budget()
        self.settled = asyncio.Event()
        self.stopped = False  # what is under way ends, and nothing more is sent

    def cost(self, body: Mapping) -> tuple[float, int]:
        """Return dollars and tokens that an attempt can cost at most; ValueError: not known."""
        if not self.budget.limited:
            return 0.0, 0
        return self.budget.cost(body, self.prepared.price(body))

    async def make(self, client, body: dict, trail: Trail) -> Reply:
        """Make a call; BudgetError before its first attempt where the budget does not hold it.

        A request whose model refuses a field goes again without it at once, see
        `diptych.llmops.client.adaptation`; this is no retry.

        Raises
        ------
        TimeoutError
            If the deadline is over.
        StoppedError
            If the run has ended meanwhile.
        BudgetError, and the failures of the wire format
        """
        learned = self.prepared.learned(body)
        sent = learned.apply(body)
        await self._afford(cost := self.cost(sent))
        began = time.monotonic()
        async with asyncio.timeout(self.options.deadline_s):
            while True:
                try:
                    return await self._attempt(client, sent, cost, trail)
                except self.wire.FAILURES as problem:
                    if learned.learn(body, sent, self.wire.refused(sent, problem)):
                        sent = learned.apply(body)
                        await self._afford(cost := self.cost(sent))
                        continue
                    pause = self._pause(problem, trail, time.monotonic() - began)
                    if pause is None:
                        raise
                    await asyncio.sleep(pause)
                    cost = self.cost(sent)
                    if not await self._is_affordable(cost):
                        raise  # the call has failed; the next one says that the budget has
                    trail.retries += 1

    async def _is_affordable(self, cost: tuple[float, int]) -> bool:
        try:
            await self._afford(cost)
        except (BudgetError, StoppedError):
            return False
        return True

    async def _afford(self, cost: tuple[float, int]) -> None:
        """Wait until the budget has room for an attempt beside those under way."""
        while self.stopped or not self.budget.take(cost):
            if self.stopped:
                raise StoppedError
            self.settled.clear()
            try:
                await asyncio.wait_for(self.settled.wait(), POLL_S)
            except TimeoutError:
                continue

    async def _attempt(self, client, body: dict, cost: tuple, trail: Trail) -> Reply:
        """Send it once, and settle what was held for it whatever comes of it."""
        spent, answered, sent = (0.0, 0), False, False
        try:
            await self.limits.turn(prompt_bytes(body) // 4 + limit_of(body))
            spent, sent = cost, True  # from here on it may be paid
            reply = await self.send(client, body)
            spent, answered = self._paid(body, reply, cost), True
            return reply
        except self.wire.FAILURES as problem:
            if self.wire.is_free(problem):
                spent = 0.0, 0
            else:
                trail.maybe_paid += 1
            raise
        except asyncio.CancelledError:
            trail.maybe_paid += sent
            raise
        finally:
            if sent:
                self.limits.done()
            self.budget.settle(cost, *spent, answered=answered)
            self.settled.set()

    def _paid(self, body: Mapping, reply: Reply, cost: tuple[float, int]) -> tuple[float, int]:
        """Return what an answer cost, at most where it does not tell."""
        counted = used(*self.wire.tokens(reply.response))
        if counted is None:
            return cost
        cached = self.wire.cached_tokens(reply.response)
        usd = self.prepared.price(body).usd(*counted, *cached)
        return cost[0] if usd is None else usd, sum(counted)

    def _pause(self, problem: Exception, trail: Trail, elapsed: float) -> float | None:
        """Return the seconds until the next try, None where none may help."""
        tried = trail.retries >= self.options.max_retries or trail.maybe_paid > PAID_RETRIES
        if tried or self.stopped:
            return None
        response = getattr(problem, "response", None)
        headers = {} if response is None else response.headers
        if not _may_help(problem, headers):
            return None
        pause = pause_s(headers)
        if pause is None:
            longest = min(LONGEST_S, FIRST_S * 2**trail.retries)
            pause = longest * random.uniform(0.75, 1.0)
        elif pause <= PATIENCE_S:
            self.limits.rest(pause)  # the others would be refused too
        deadline = self.options.deadline_s
        too_late = deadline is not None and elapsed + pause > deadline
        return None if pause > PATIENCE_S or too_late else pause


def _may_help(problem: Exception, headers: Mapping[str, str]) -> bool:
    """Say whether another try may be answered."""
    status = getattr(problem, "status_code", None)
    if status is None:
        return not isinstance(problem, ValueError | RecursionError)
    if (should := headers.get("x-should-retry")) in ("true", "false"):
        return should == "true"
    if status == 429 and _is_quota(problem):
        return False
    return status in AGAIN or (status >= 500 and status not in NEVER)


def _is_quota(problem: Exception) -> bool:
    """Say whether an account's money is used up, which no waiting mends."""
    return "insufficient_quota" in (getattr(problem, "code", ""), getattr(problem, "type", ""))
