"""Stage 4, serve: send the live rows through a chain of endpoints, and read back the record.

Each row has a prediction: what was read of the answer, under the row's id, to which a late label is
joined. Each call has a record: text, tokens, cost, times, errors. The request's hash joins the two.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.base import workspace
from diptych.core.data.schema import is_number
from diptych.core.store.calls import Calls
from diptych.core.store.predictions import Predictions
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.fallback import AllowanceError, Chain, Link, Reply
from diptych.llmops.client.load_test import unused_repeat
from diptych.llmops.client.request import opened, prepare
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate, outcome, scorers
from diptych.llmops.prompts.variant import Variant

CALLER = "live"
TIED = ["id", "window", "request", "step"]  # what `log` needs for each row
OF_CALL = ["request", "time", "endpoint", "model", "prompt_version", "step", "output", "status",
           "error", "outcome", "prompt_tokens", "completion_tokens", "usd", "first_token_ms",
           "latency_ms", "retries"]  # fmt: skip


def serve(
    variant: Variant,
    stream: pd.DataFrame,
    links: Sequence[Link],
    grader: str,
    options: CallOptions,
    *,
    name: str = "",
    ledger: str | Path | None = None,
) -> pd.DataFrame:
    """Ask about the live rows in the order of their windows, and record every answer.

    Every run asks about all rows: no answer of an earlier run is read from the ledger.

    Parameters
    ----------
    variant : Variant
        What was released; its messages are sent to all links.
    stream : DataFrame
        As `diptych.core.data.splits.stream` returns it.
    links : sequence of Link
        The endpoints, in the order in which they are tried.
    grader : str
        The task's grader: whether a prediction is a label or the whole text.
    options : CallOptions
        With ``run``: the serving run, under which its answers are recorded.
    name : str
        The released version, recorded with each prediction.
    ledger : str or Path, optional
        Where predictions go; by default the workspace's ledger.

    Returns
    -------
    DataFrame
        `TIED`, one line per row; ``step`` is the link that answered, -1 if none did.

    Raises
    ------
    ValueError
        If the options name no run.
    PromptError
        If the prompt cannot be graded as the task is; no request is sent then.
    BudgetError, LedgerError
        The answers until then are on record.
    """
    scorers.check_prompt(variant.prompt, grader, is_number(stream["label"]))
    lines, run = [], options.required_run()
    chain = Chain(
        links,
        replace(options, stream=True, progress=False, prompt_version=variant.prompt.version),
    )
    with (
        Predictions(ledger or workspace.ledger_path()) as book,
        bars.bar(len(stream), "row", options.progress) as bar,
    ):
        for window, rows in stream.groupby("window", sort=True):
            requests = variant.requests(rows.to_dict("records"))
            replies = chain.ask_many(requests, CALLER, unused_repeat(f"{run} {CALLER}"))
            book.log(_predictions(variant, rows, replies, grader, run, name))
            hashes = _hashes(requests, chain.links)
            for i, (row, reply) in enumerate(zip(rows["id"], replies, strict=True)):
                step = -1 if reply.step is None else reply.step
                lines.append((row, window, hashes[step][i], step))
            bar.update(len(rows))
    return pd.DataFrame(lines, columns=TIED)


def _hashes(requests: list, links: Sequence[Link]) -> list[list[str]]:
    """Return what identifies each request at each link."""
    return [prepare(requests, link.target).hashes for link in links]


def _predictions(
    variant: Variant, rows: pd.DataFrame, replies: Sequence[Reply], grader: str, run: str, name: str
) -> list[dict]:
    """Return the predictions to record."""
    lines = []
    answers = evaluate.likeliest(variant, [reply.answer for reply in replies], grader)
    for row, answer in zip(rows.to_dict("records"), answers, strict=True):
        prediction = scorers.read_answer(variant.prompt, outcome.gradable(answer), grader)
        confidence = evaluate.confidence(variant, answer, prediction)
        lines.append({
            "endpoint": run,
            "model": name or variant.name,
            "row_id": row["id"],
            "input": {key: row[key] for key in variant.prompt.inputs},
            "prediction": prediction if prediction is None else str(prediction),
            "probability": None if pd.isna(confidence) else confidence,
            "latency_ms": answer.latency_ms,
            "status": "failed" if answer.error else "ok",
        })  # fmt: skip
    return lines


def log(
    run: str,
    tied: pd.DataFrame,
    *,
    calls: Calls | str | Path | None = None,
    ledger: str | Path | None = None,
) -> pd.DataFrame:
    """Return the record of a serving run, with the labels that have arrived.

    Parameters
    ----------
    run : str
        The serving run.
    tied : DataFrame
        What `serve` returned.
    calls, ledger
        Where the calls and the predictions are; by default where `serve` records them.

    Returns
    -------
    DataFrame
        One line per recorded row: ``id``, ``window``, ``prediction`` (None: no label could be
        read, or the call failed), ``probability`` (NaN where the endpoint gave none), ``label``
        (null until it arrives), and `OF_CALL` of the call that answered or of the last that failed;
        ``outcome`` also says of an answer whether it could be read, see
        `diptych.llmops.evaluation.outcome`.
    """
    with Predictions(ledger or workspace.ledger_path()) as book:
        predictions = book.table(endpoint=run)
    with opened(calls) as calls_book:
        calls_made = calls_book.table(run=run).query("caller == @CALLER")
    calls_made = calls_made[OF_CALL].drop_duplicates("request", keep="last")
    columns = ["row_id", "prediction", "probability", "label"]
    predictions = predictions[columns].rename(columns={"row_id": "id"})
    joined = tied.drop(columns="step").merge(predictions, on="id", validate="one_to_one")
    joined = joined.merge(calls_made, on="request", how="left", validate="many_to_one")
    return joined.assign(outcome=outcome.of_log(joined))


def links(target: Target, fallback: str, deadline_s: float) -> list[Link]:
    """Return the chain of a champion: its endpoint, then `fallback` if it names one."""
    after = [Link(Target.parse(fallback), deadline_s)] if fallback else []
    return [Link(target, deadline_s), *after]


def faults(link: Link) -> dict[str, list[Link]]:
    """Return chains whose first link fails, by what is wrong with it; the second is `link`."""
    down = Link(Target("http://127.0.0.1:9/v1", "nobody"), link.deadline_s)
    slow = replace(link, deadline_s=0.001)
    return {"The first is down": [down, link], "The first is too slow": [slow, link]}


def refusal(chain: Chain, requests: Sequence, caller: str) -> str:
    """Let a caller ask until its allowance is used up; return what it is told then."""
    try:
        chain.ask_many(requests, caller, unused_repeat(caller))
    except AllowanceError as refused:
        return str(refused)
    return f"The allowance of {caller} was not used up by {len(requests)} requests."
