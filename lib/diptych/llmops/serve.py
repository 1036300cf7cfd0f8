"""The live rows through a chain of endpoints, window by window, and what the ledger tells of them.

Of each row there is a prediction (the label that was read, under the row's id, to which a late
label is joined) and of each call a row of the ledger of calls (text, tokens, cost, times, errors).
What was asked, a request's hash, ties the two.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.base import workspace
from diptych.core.store.calls import Calls
from diptych.core.store.predictions import Predictions
from diptych.llmops.client.fallback import Chain, Link, Reply
from diptych.llmops.client.load_test import unused_repeat
from diptych.llmops.client.options import CallOptions
from diptych.llmops.client.request import opened, prepare
from diptych.llmops.evaluation import evaluate, scorers
from diptych.llmops.prompts.variant import Variant

CALLER = "live"
TIED = ["id", "window", "request", "step"]  # what `log` needs of each row
OF_CALL = ["request", "time", "endpoint", "model", "prompt_version", "step", "output", "status",
           "error", "prompt_tokens", "completion_tokens", "usd", "first_token_ms", "latency_ms",
           "retries"]  # fmt: skip


def serve(
    variant: Variant,
    stream: pd.DataFrame,
    links: Sequence[Link],
    options: CallOptions,
    *,
    name: str = "",
    ledger: str | Path | None = None,
) -> pd.DataFrame:
    """Ask about the live rows in the order of their windows; every answer is put on record.

    Rows are asked afresh in every run: what is served now is not read from the ledger.

    Parameters
    ----------
    variant : Variant
        What was released; all links are asked its messages.
    stream : DataFrame
        As `diptych.core.data.splits.stream` returns it.
    links : sequence of Link
        Who is asked, in turn.
    options : CallOptions
        With ``run``: the serving run, by which the ledger knows its answers.
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
    BudgetError, LedgerError
        What was answered before is on record.
    """
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
            book.log(_predictions(variant, rows, replies, run, name))
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
    variant: Variant, rows: pd.DataFrame, replies: Sequence[Reply], run: str, name: str
) -> list[dict]:
    """Return the rows of the ledger of predictions."""
    found = []
    for row, reply in zip(rows.to_dict("records"), replies, strict=True):
        said = reply.answer
        sure = evaluate.confidence(said)
        found.append({
            "endpoint": run,
            "model": name or variant.name,
            "row_id": row["id"],
            "input": {key: row[key] for key in variant.prompt.inputs},
            "prediction": scorers.read(variant.prompt, said.text),
            "probability": None if pd.isna(sure) else sure,
            "latency_ms": said.latency_ms,
            "status": "failed" if said.error else "ok",
        })  # fmt: skip
    return found


def log(
    run: str,
    tied: pd.DataFrame,
    *,
    calls: Calls | str | Path | None = None,
    ledger: str | Path | None = None,
) -> pd.DataFrame:
    """Read from the ledger what a serving run answered, with the labels that have come.

    Parameters
    ----------
    run : str
        The serving run.
    tied : DataFrame
        What `serve` returned.
    calls, ledger
        Where the calls and the predictions are; by default where `serve` put them.

    Returns
    -------
    DataFrame
        One line per row that is on record: ``id``, ``window``, ``prediction`` (None: no label
        could be read, or the call failed), ``probability`` (NaN where none was told), ``label``
        (null until it came) and, of the call that answered, or of the last that failed, `OF_CALL`.
    """
    with Predictions(ledger or workspace.ledger_path()) as book:
        said = book.table(endpoint=run)
    with opened(calls) as made:
        called = made.table(run=run).query("caller == @CALLER")
    called = called[OF_CALL].drop_duplicates("request", keep="last")
    own = said[["row_id", "prediction", "probability", "label"]].rename(columns={"row_id": "id"})
    found = tied.drop(columns="step").merge(own, on="id", validate="one_to_one")
    return found.merge(called, on="request", how="left", validate="many_to_one")
