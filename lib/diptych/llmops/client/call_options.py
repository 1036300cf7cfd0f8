"""How requests are asked: how many at once, within which budget, recorded as whose."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from diptych.core.store.calls import Calls
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.formats.outcomes import OUTCOMES

if TYPE_CHECKING:
    from diptych.core.store.records import Recorder, ReplayedLatency

TIMEOUT_S = 120.0
RETRIES = 4  # with growing pauses and jitter, or after what Retry-After says


@dataclass(frozen=True)
class CallOptions:
    """How requests are asked.

    Attributes
    ----------
    run, prompt_version, caller : str
        Recorded with each call.
    step : int
        Recorded with each call: the endpoint's place in a fallback chain.
    repeat : int
        Answers are cached by request and this number: another number asks again.
    concurrency : int
        Calls under way at once.
    stream : bool
        Stream the answers, to measure the time to the first token.
    calls : Calls, str or Path, optional
        The ledger: open, or its path or URL; by default ``DIPTYCH_LEDGER`` or the workspace's.
    budget : Budget, optional
        Stops before the call that could exceed it.
    progress : bool or bar
        Show a bar, or move this one (`diptych.base.notebook_progress.bar`).
    timeout_s : float
        For one try of one call, until the last byte of its answer.
    max_bytes : int, optional
        Of one answer; by default `diptych.llmops.client.limits.MOST_BYTES`.
    max_retries : int
        After 408, 409, 429 and 5xx, a refused connection or a timeout.
    deadline_s : float, optional
        For one call with all its tries; by default none.
    give_up : bool
        Raise at the first failure that every call will meet: a wrong key, an unknown model, nobody
        there. By default it is an answer with an error as others are.
    patience : int
        With `give_up`, the run ends after so many failures in a row that are alike and will not
        pass (a field that the model does not take, an exhausted quota, a server out of order);
        0 never ends it.
    alike : list, optional
        The failures in a row that are alike, so that they count through several calls of
        `ask_many`; by default through one.
    ask_again : sequence of str
        Answers in the ledger with one of these outcomes are not taken, and the call is made anew;
        see `diptych.llmops.client.formats.outcomes`: a refusal, for example, or an empty answer.
    replayed : ReplayedLatency, optional
        Where the waiting is counted that answers from the ledger saved this run; see `of`.

    Raises
    ------
    ValueError
        If `concurrency` is below 1, or an outcome in `ask_again` is unknown.
    """

    run: str = ""
    prompt_version: str = ""
    caller: str = ""
    step: int = 0
    repeat: int = 0
    concurrency: int = 64
    stream: bool = False
    calls: Calls | str | Path | None = None
    budget: Budget | None = None
    progress: object = False
    timeout_s: float = TIMEOUT_S
    max_bytes: int | None = None
    max_retries: int = RETRIES
    deadline_s: float | None = None
    give_up: bool = False
    patience: int = 5
    alike: list | None = field(default=None, repr=False, compare=False)
    ask_again: Sequence[str] = ()
    replayed: "ReplayedLatency | None" = None

    def __post_init__(self):
        if self.concurrency < 1:
            raise ValueError(f"concurrency: {self.concurrency}; at least 1")
        if unknown := [name for name in self.ask_again if name not in OUTCOMES]:
            names = ", ".join(OUTCOMES)
            raise ValueError(f"ask_again: {unknown[0]!r} is no outcome; there are {names}")

    @classmethod
    def of(cls, run: "Recorder", max_usd: float | None = None, **fields) -> "CallOptions":
        """Return the options of a notebook's run: calls bear its id, and it has their latency.

        The budget is that of `Budget.of`, unless another is given.
        """
        budget = fields.pop("budget", None) or Budget.of(max_usd)
        return cls(run=run.id, replayed=run.replayed, budget=budget, **fields)

    def required_run(self) -> str:
        """Return the run, where something is named by it; ValueError if none is given."""
        if not self.run:
            raise ValueError("run: is not given; name it, as in CallOptions(run=...)")
        return self.run

    def facts(self) -> dict:
        """Return what is recorded with each call, by column of the ledger."""
        return {
            "run": self.run,
            "prompt_version": self.prompt_version,
            "caller": self.caller,
            "step": self.step,
            "repeat": self.repeat,
        }
