"""Ask many questions in a batch: later, and cheaper where the endpoint has a price for it.

For a remote endpoint this is the OpenAI Batch API: requests go up as a file, answers come down as
one when the batch has ended. For the local model the same file is worked through by `ask_many`, in
the same form. A batch is noted in the workspace before it is made, so a run that is cut off while
it waits takes it up again and does not pay twice. Limits and forms: OpenAI's API reference, Batch.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from filelock import FileLock

from diptych.core.store.calls import Calls
from diptych.core.store.prices import Price
from diptych.llmops.client.ask import Answer, as_row, replayed
from diptych.llmops.client.batch_job import BatchError, Here, Job, Remote, Side, parts
from diptych.llmops.client.budget import Budget, BudgetError
from diptych.llmops.client.formats import chat_completions
from diptych.llmops.client.request import Plan, make_plan, opened

__all__ = ["BatchError", "ask_batch", "cancel", "costs"]

POLL_S = 10.0


def ask_batch(
    requests: Iterable,
    *,
    endpoint: str = "local",
    model: str = "",
    parameters: Mapping | None = None,
    server: Mapping | None = None,
    key_env: str = "",
    repeat: int = 0,
    calls: Calls | str | Path | None = None,
    run: str = "",
    prompt_version: str = "",
    budget: Budget | None = None,
    progress: bool = False,
    poll_s: float = POLL_S,
    wait_s: float | None = None,
) -> list[Answer]:
    """Ask in a batch; takes and returns what `ask_many` does, and the ledger is the cache.

    Parameters
    ----------
    poll_s : float
        Seconds between two looks at a batch.
    wait_s : float, optional
        Seconds to wait at most; by default until it has ended, which may take a day.

    Raises
    ------
    BatchError
        If the endpoint has no batches or refuses this one, or `wait_s` is over; asked again, the
        same requests are not sent again.
    ValueError, EndpointError, BudgetError, LedgerError
        See `ask_many`.
    """
    plan = make_plan(requests, endpoint, model, parameters, server, key_env)
    with opened(calls) as book:
        found = book.answered(plan.hashes, repeat)
        answers = {name: replayed(row) for name, row in found.items()}
        todo = {name: body for name, body in plan.named().items() if name not in answers}
        if not todo:
            return [answers[name] for name in plan.hashes]
        facts = {"endpoint": plan.at.name, "run": run, "prompt_version": prompt_version}
        purse, spent = budget or Budget(), (0.0, 0)
        here = Here(plan, {"calls": book, "run": run, "prompt_version": prompt_version})
        side = here if plan.at.name == "local" else Remote(plan)
        jobs, held = _jobs(side, todo, repeat, purse)
        try:
            for job in jobs:
                side.wait(job, poll_s, wait_s, progress)
                got = _collect(side, job)
                # another process may have taken up the same batch
                known = book.answered(list(got), repeat) if side.records else got
                rows = [as_row(name, job.bodies[name], got[name]) for name in got.keys() - known]
                book.log([facts | {"repeat": repeat} | row for row in rows])
                job.close()
                answers |= got
                spent = _sum(spent, got.values())
        finally:
            purse.settle(held, *spent)
    return [answers[name] for name in plan.hashes]


def cancel(endpoint: str, key_env: str = "") -> int:
    """Cancel this workspace's batches at a remote endpoint, and return how many.

    What they had done is paid; asking the same again reads it and asks for the rest.
    """
    if endpoint == "local":
        raise ValueError("endpoint: a batch of the local model ends with the process that asks")
    side = Remote(make_plan([], endpoint, key_env=key_env))
    jobs = [job for job in side.noted() if job.id]
    with side.told():
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
) -> tuple[list[Job], tuple[float, int]]:
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
        held = _afford(side.plan, left, purse)
        try:
            for part in parts(left):
                job = Job.begin(side.folder, repeat, part)
                job.id = side.make(job)
                job.keep()
                jobs.append(job)
        except BaseException:
            purse.settle(held, 0.0, 0)
            raise
    return jobs, held


def _afford(plan: Plan, todo: Mapping[str, dict], purse: Budget) -> tuple[float, int]:
    """Hold back what a batch can cost at most: it cannot be stopped halfway."""
    if purse.max_usd is None and purse.max_tokens is None:
        return 0.0, 0
    most = 0.0, 0
    for body in todo.values():
        usd, tokens = purse.cost(body, _price(plan, body))
        most = most[0] + usd, most[1] + tokens
    if not purse.take(most):
        raise BudgetError("budget: other calls hold what this batch may need; wait for them")
    return most


def _price(plan: Plan, body: Mapping) -> Price:
    return Price(plan.at.prices, body["model"], batch=True)


def _sum(spent: tuple[float, int], answers: Iterable[Answer]) -> tuple[float, int]:
    """Add what answers cost to what was spent."""
    usd, tokens = spent
    for answer in answers:
        usd += answer.usd or 0.0
        tokens += (answer.prompt_tokens or 0) + (answer.completion_tokens or 0)
    return usd, tokens


def _collect(side: Side, job: Job) -> dict[str, Answer]:
    """Read what came back, in whatever order; what did not is a failure."""
    word, files = side.results(job)
    lines = [json.loads(line) for file in files for line in file.splitlines() if line.strip()]
    came = {line["custom_id"]: line for line in lines}
    none = {"error": {"message": f"the batch is {word} and holds no answer to this"}}
    return {
        name: _answer(came.get(name, none), side.plan, body) for name, body in job.bodies.items()
    }


def _answer(line: Mapping, plan: Plan, body: Mapping) -> Answer:
    """Turn a line of a batch's output or error file into an answer."""
    response, error = line.get("response") or {}, line.get("error")
    found = response.get("body") or {}
    if error or response.get("status_code") != 200 or not found.get("choices"):
        told = error or found.get("error") or {}
        code = response.get("status_code") or told.get("code")
        said = " ".join(str(told.get("message") or "no answer").split())
        return Answer(None, f"HTTP {code}: {said}" if isinstance(code, int) else said)
    read, written = chat_completions.tokens(found)
    usd = None if None in (read, written) else _price(plan, body).usd(read, written)
    return Answer(chat_completions.text(found), "", found, read, written, usd)
