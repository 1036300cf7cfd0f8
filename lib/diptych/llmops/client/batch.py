"""Ask many questions in a batch: later, and cheaper where the endpoint has a price for it.

For a remote endpoint this is OpenAI's Batch API or Anthropic's Message Batches; for the local model
the same requests are worked through by `ask_many`. A batch is noted in the workspace before it is
made, so a run that is cut off while it waits takes it up again and does not pay twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pandas as pd
from filelock import FileLock

from diptych.core.store.prices import Price
from diptych.llmops.client.ask import Answer, as_row, from_ledger
from diptych.llmops.client.batch_job import (
    BatchError,
    BatchJob,
    Here,
    Remote,
    Side,
    parts,
)
from diptych.llmops.client.budget import Budget, BudgetError, used
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.formats import tolerant
from diptych.llmops.client.request import PreparedRequests, opened, prepare
from diptych.llmops.client.target import Target

__all__ = ["BatchError", "ask_batch", "cancel", "costs"]

POLL_S = 10.0


def ask_batch(
    requests: Iterable,
    target: Target = Target(),
    options: CallOptions = CallOptions(),
    *,
    poll_s: float = POLL_S,
    wait_s: float | None = None,
) -> list[Answer]:
    """Ask in a batch; takes and returns what `ask_many` does, and the ledger is the cache.

    Parameters
    ----------
    requests, target
        See `diptych.llmops.client.ask.ask_many`.
    options : CallOptions
        How many calls are under way, their timeout and their retries are a remote endpoint's own
        affair; the local model is asked with them.
    poll_s : float
        Seconds between two looks at a batch.
    wait_s : float, optional
        Seconds to wait at most; by default until it has ended, which may take a day.

    Raises
    ------
    BatchError
        If the endpoint has no batches or refuses this one, or `wait_s` is over; called again, the
        same requests are not sent again.
    ValueError, EndpointError, BudgetError, LedgerError
        See `ask_many`.
    """
    prepared = prepare(requests, target)
    if target.is_recorded:
        raise BatchError(f"{target.name}: a recording has no batches; ask it one by one")
    wire, repeat = prepared.provider.wire, options.repeat
    with opened(options.calls) as calls:
        rows = calls.answered(prepared.hashes, repeat, options.ask_again)
        answers = {name: from_ledger(row, wire) for name, row in rows.items()}
        todo = {name: body for name, body in prepared.by_hash().items() if name not in answers}
        if not todo:
            return [answers[name] for name in prepared.hashes]
        facts = {"endpoint": prepared.provider.name, **options.facts()}
        # the local calls are within what this batch holds back of the budget
        here = replace(options, calls=calls, budget=None)
        side = Here(prepared, here) if target.is_local else _remote(prepared)
        account = _Account(prepared, options.budget or Budget())
        try:
            for job in _jobs(side, todo, repeat, account):
                _await(side, job, account, poll_s, wait_s, options.progress)
                results = _collect(side, job)
                account.collected(job, results)
                # another process may have taken up the same batch
                known = calls.answered(list(results), repeat) if side.records else results
                new = results.keys() - known
                calls.log([facts | _row(prepared, name, job, results[name]) for name in new])
                job.close()
                answers |= results
        finally:
            account.settle()
    return [answers[name] for name in prepared.hashes]


def cancel(target: Target) -> int:
    """Cancel this workspace's batches at a remote endpoint, and return how many.

    What they had done is paid; asking the same again reads it and asks for the rest.
    """
    if target.is_local:
        raise ValueError("endpoint: a batch of the local model ends with the process that asks")
    side = _remote(prepare([], target))
    jobs = [job for job in side.noted() if job.id]
    with side.explained():
        for job in jobs:
            side.cancel(job)
    return len(jobs)


def costs(prompt_tokens: int, completion_tokens: int, models: Iterable[str]) -> pd.DataFrame:
    """Return what the same tokens cost in real time and in a batch, by genai-prices.

    Parameters
    ----------
    prompt_tokens, completion_tokens : int
        In all; another model's tokenizer counts otherwise, so this is a forecast.
    models : iterable of str
        ``provider/model`` in genai-prices.

    Returns
    -------
    DataFrame
        ``model``, ``real time`` and ``batch`` in US dollars (NaN: no price is known), ``saved``
        as a share, ``source``.
    """
    lines = []
    for name in models:
        at, _, model = name.partition("/")
        now, later = (
            Price(at, model, batch).usd(prompt_tokens, completion_tokens) for batch in (False, True)
        )
        saved = 1 - later / now if now else None
        lines.append((name, now, later, saved, Price(at, model).facts()["source"]))
    frame = pd.DataFrame(lines, columns=["model", "real time", "batch", "saved", "source"])
    return frame.astype(dict.fromkeys(["real time", "batch", "saved"], "float64"))


def _remote(prepared: PreparedRequests) -> Remote:
    """Return the batches that an endpoint has, by its wire format."""
    if prepared.provider.format == "anthropic_messages":
        from diptych.llmops.client.anthropic_batches import AnthropicBatches

        return AnthropicBatches(prepared)
    from diptych.llmops.client.openai_batches import OpenAIBatches

    return OpenAIBatches(prepared)


class _Account:
    """What batches hold back of a budget, and what they cost.

    A batch cannot be stopped halfway, so all of it is held back before it is made. One that is not
    collected is paid all the same: it counts as what it can cost at most.
    """

    def __init__(self, prepared: PreparedRequests, budget: Budget):
        self.prepared, self.budget = prepared, budget
        self.held: tuple[float, int] | None = None
        self.spent = (0.0, 0)
        self.open: dict[str, tuple[float, int]] = {}  # made and not collected, by mark

    def most(self, bodies: Iterable[Mapping]) -> tuple[float, int]:
        """Return dollars and tokens that requests can cost at most."""
        costs = [
            self.budget.cost(body, self.prepared.price(body, batch=True))
            for body in (bodies if self.budget.limited else ())
        ]
        return sum(usd for usd, _ in costs), sum(tokens for _, tokens in costs)

    def hold(self, todo: Mapping[str, dict]) -> None:
        """Hold back what is about to be made; BudgetError if it does not fit."""
        most = self.most(todo.values())
        if not self.budget.take(most):
            raise BudgetError("budget: other calls hold what this batch may need; wait for them")
        self.held = most

    def made(self, job: BatchJob) -> None:
        """Note a batch that is about to be made."""
        self.open[job.mark] = self.most(job.bodies.values())

    def refused(self, job: BatchJob) -> None:
        """Note a batch that costs nothing."""
        self.open.pop(job.mark, None)

    def collected(self, job: BatchJob, results: Mapping[str, Answer]) -> None:
        """Note what answers cost, at most where they do not tell."""
        self.open.pop(job.mark, None)
        for name, answer in results.items():
            if answer.error:
                continue
            counted = used(answer.prompt_tokens, answer.completion_tokens)
            most = self.most([job.bodies[name]])
            usd, tokens = most if counted is None else (answer.usd, sum(counted))
            usd = most[0] if usd is None else usd
            self.spent = self.spent[0] + usd, self.spent[1] + tokens

    def settle(self) -> None:
        """Release what was held, and count what was spent and what may yet be billed."""
        if self.held is not None:
            self.budget.settle(self.held, *self.spent)
        for usd, tokens in self.open.values():
            self.budget.charge(usd, tokens)


def _jobs(side: Side, todo: Mapping[str, dict], repeat: int, account: _Account) -> list[BatchJob]:
    """Return the batches made before that hold what is asked, and those now made."""
    jobs, left = [], dict(todo)
    with FileLock(side.folder / "lock"):
        for job in side.noted():
            if job.repeat == repeat and left.keys() & job.bodies.keys():
                job.id = job.id or side.lost(job)
                if not job.id:
                    job.close()
                    continue
                job.keep()
                jobs.append(job)
                left = {name: body for name, body in left.items() if name not in job.bodies}
        account.hold(left)
        for part in parts(left):
            job = BatchJob.begin(side.folder, repeat, part)
            account.made(job)
            try:
                job.id = side.make(job)
            except BatchError:
                if not job.note.exists():  # it was refused, and forgotten
                    account.refused(job)
                raise
            job.keep()
            jobs.append(job)
    return jobs


def _await(side: Side, job: BatchJob, account: _Account, poll_s, wait_s, progress) -> None:
    """Return when a batch has ended; one that could not run costs nothing."""
    try:
        side.wait(job, poll_s, wait_s, progress)
    except BatchError:
        if not job.note.exists():
            account.refused(job)
        raise


def _row(prepared: PreparedRequests, name: str, job: BatchJob, answer: Answer) -> dict:
    """Return the ledger's row of an answer, with the request as it was given."""
    return as_row(name, prepared.wanted.get(name, job.bodies[name]), answer)


def _collect(side: Side, job: BatchJob) -> dict[str, Answer]:
    """Read what came back, in whatever order; what did not is a failure."""
    status, results = side.results(job)
    none = None, f"the batch is {status} and holds no answer to this"
    return {
        name: _answer(results.get(name, none), side.prepared, name, body)
        for name, body in job.bodies.items()
    }


def _answer(result: tuple, prepared: PreparedRequests, name: str, body: Mapping) -> Answer:
    """Turn what came back for a request into an answer."""
    native, error = result
    if error:
        return Answer(None, error)
    wire = prepared.provider.wire
    try:
        with tolerant.reading():
            response = tolerant.checked(wire.response_of(native))
    except wire.FAILURES as problem:
        return Answer(None, wire.explain(problem))
    read, written = wire.tokens(response)
    price = prepared.price(body, batch=True)
    known = None not in (read, written)
    return Answer(
        text=wire.text(response),
        response=response,
        prompt_tokens=read,
        completion_tokens=written,
        usd=price.usd(read, written, *wire.cached_tokens(response)) if known else None,
        log_probabilities=wire.log_probabilities(response),
        token_probabilities=wire.token_probabilities(response),
        outcome=wire.outcome(response),
        changes=prepared.changes(name, body) or None,
    )
