"""Ask many questions in a batch: later, and cheaper where the endpoint has a price for it.

For a remote endpoint this is the OpenAI Batch API: requests go up as a file, answers come down as
one when the batch has ended. For the local model the same file is worked through by `ask_many`, in
the same form. A batch is noted in the workspace before it is made, so a run that is cut off while
it waits takes it up again and does not pay twice. Limits and forms: OpenAI's API reference, Batch.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pandas as pd
from filelock import FileLock

from diptych.core.store.prices import Price
from diptych.llmops.client.ask import Answer, as_row, from_ledger
from diptych.llmops.client.batch_job import BatchError, BatchJob, Here, Remote, Side, parts
from diptych.llmops.client.budget import Budget, BudgetError
from diptych.llmops.client.call_options import CallOptions
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
        purse, spent = options.budget or Budget(), (0.0, 0)
        # the local calls are within what this batch holds back of the budget
        here = replace(options, calls=calls, budget=None)
        side = Here(prepared, here) if target.is_local else Remote(prepared)
        jobs, held = _jobs(side, todo, repeat, purse)
        try:
            for job in jobs:
                side.wait(job, poll_s, wait_s, options.progress)
                results = _collect(side, job)
                # another process may have taken up the same batch
                known = calls.answered(list(results), repeat) if side.records else results
                new = results.keys() - known
                calls.log([facts | as_row(name, job.bodies[name], results[name]) for name in new])
                job.close()
                answers |= results
                spent = _sum(spent, results.values())
        finally:
            purse.settle(held, *spent)
    return [answers[name] for name in prepared.hashes]


def cancel(target: Target) -> int:
    """Cancel this workspace's batches at a remote endpoint, and return how many.

    What they had done is paid; asking the same again reads it and asks for the rest.
    """
    if target.is_local:
        raise ValueError("endpoint: a batch of the local model ends with the process that asks")
    side = Remote(prepare([], target))
    jobs = [job for job in side.noted() if job.id]
    with side.explained():
        for job in jobs:
            side.client.batches.cancel(job.id)
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


def _jobs(
    side: Side, todo: Mapping[str, dict], repeat: int, purse: Budget
) -> tuple[list[BatchJob], tuple[float, int]]:
    """Return the batches made before that hold what is asked and those now made, and their cost."""
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
        held = _afford(side.prepared, left, purse)
        try:
            for part in parts(left):
                job = BatchJob.begin(side.folder, repeat, part)
                job.id = side.make(job)
                job.keep()
                jobs.append(job)
        except BaseException:
            purse.settle(held, 0.0, 0)
            raise
    return jobs, held


def _afford(
    prepared: PreparedRequests, todo: Mapping[str, dict], purse: Budget
) -> tuple[float, int]:
    """Hold back what a batch can cost at most: it cannot be stopped halfway."""
    most = 0.0, 0
    for body in todo.values() if purse.limited else ():
        usd, tokens = purse.cost(body, prepared.price(body, batch=True))
        most = most[0] + usd, most[1] + tokens
    if not purse.take(most):
        raise BudgetError("budget: other calls hold what this batch may need; wait for them")
    return most


def _sum(spent: tuple[float, int], answers: Iterable[Answer]) -> tuple[float, int]:
    """Add what answers cost to what was spent."""
    usd, tokens = spent
    for answer in answers:
        usd += answer.usd or 0.0
        tokens += (answer.prompt_tokens or 0) + (answer.completion_tokens or 0)
    return usd, tokens


def _collect(side: Side, job: BatchJob) -> dict[str, Answer]:
    """Read what came back, in whatever order; what did not is a failure."""
    status, files = side.results(job)
    lines = [json.loads(line) for file in files for line in file.splitlines() if line.strip()]
    came = {line["custom_id"]: line for line in lines}
    none = {"error": {"message": f"the batch is {status} and holds no answer to this"}}
    return {
        name: _answer(came.get(name, none), side.prepared, body)
        for name, body in job.bodies.items()
    }


def _answer(line: Mapping, prepared: PreparedRequests, body: Mapping) -> Answer:
    """Turn a line of a batch's output or error file into an answer."""
    envelope, error = line.get("response") or {}, line.get("error")
    response = envelope.get("body") or {}
    if error or envelope.get("status_code") != 200 or not response.get("choices"):
        error = error or response.get("error") or {}
        code = envelope.get("status_code") or error.get("code")
        message = " ".join(str(error.get("message") or "no answer").split())
        return Answer(None, f"HTTP {code}: {message}" if isinstance(code, int) else message)
    wire = prepared.provider.wire
    used = wire.tokens(response)
    return Answer(
        text=wire.text(response),
        response=response,
        prompt_tokens=used[0],
        completion_tokens=used[1],
        usd=None
        if None in used
        else prepared.price(body, batch=True).usd(*used, *wire.cached_tokens(response)),
        log_probabilities=wire.log_probabilities(response),
        token_probabilities=wire.token_probabilities(response),
        outcome=wire.outcome(response),
    )
