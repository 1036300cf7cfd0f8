"""Ask variants about rows, grade the answers and compare: one engine for every stage."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.core.evaluation.leaderboard import compare, shown
from diptych.llmops.client.ask import Answer, ask_many
from diptych.llmops.client.options import CallOptions
from diptych.llmops.client.request import opened
from diptych.llmops.evaluation import scorers
from diptych.llmops.prompts.variant import Variant

CHUNK = 1_000  # requests made and graded at once, so that memory stays flat
COSTS = (
    "failed",
    "unread",
    "p50 ms",
    "p95 ms",
    "first token ms",
    "tokens in",
    "tokens out",
    "usd per 1,000",
    "usd per correct",
)  # fmt: skip
NOTHING = "(none)"  # where an answer names no label
COLUMNS = (
    "variant", "id", "repeat", "output", "predicted", "expected", "score", "correct", "confidence",
    "error", "prompt_tokens", "completion_tokens", "usd", "first_token_ms", "latency_ms", "cached",
)  # fmt: skip


def evaluate(
    variants: Sequence[Variant],
    rows: pd.DataFrame,
    options: CallOptions = CallOptions(),
    *,
    pool: Sequence[tuple[Mapping, str]] = (),
    repeats: int = 1,
    scorer: scorers.Scorer = scorers.by_prompt,
) -> pd.DataFrame:
    """Ask every variant about every row and grade the answers.

    A call that failed is a row with its ``error`` and counts as wrong; a failure that every call
    would meet (a wrong key, an unknown model, nobody there) ends it at once. What was answered
    before is read from the ledger and not paid again, so a run that was cut off goes on where it
    stopped.

    Parameters
    ----------
    variants : sequence of Variant
    rows : DataFrame, shape (n, ...)
        With ``id``, ``label`` and what the prompts read.
    options : CallOptions
        Repeat and prompt version are set here.
    pool : sequence of (dict, str)
        Examples, see `diptych.llmops.data.pool`.
    repeats : int
        How often each question is asked; a repeat is not answered from an earlier one.
    scorer : callable
        See `diptych.llmops.evaluation.scorers`.

    Returns
    -------
    DataFrame
        `COLUMNS`, one line per variant, repeat and row: ``score`` from 0 to 1, ``correct`` where
        it is 0.5 or more, ``confidence`` the probability of the answer, NaN where not told.

    Raises
    ------
    ValueError
        If something is wrong with what is asked; nothing is asked then.
    EndpointError, BudgetError, LedgerError
        See `ask_many`.
    """
    _check(variants, rows, pool, repeats)
    frames = []
    with (
        opened(options.calls) as calls,
        bars.within(options.progress, len(variants) * len(rows) * repeats, "call") as bar,
    ):
        done = bar.n
        options = replace(options, calls=calls, progress=bar, give_up=True)
        for variant in variants:
            for repeat in range(repeats):
                for start in range(0, len(rows), CHUNK):
                    some = rows.iloc[start : start + CHUNK].to_dict("records")
                    said = ask_many(
                        variant.requests(some, pool), variant.target,
                        replace(options, repeat=repeat, prompt_version=variant.prompt.version),
                    )  # fmt: skip
                    frames.append(_graded(variant, repeat, some, said, scorer))
                    done += len(some)
                    bar.update(done - bar.n)  # those from the ledger too
    return pd.concat(frames, ignore_index=True)


def _check(variants: Sequence[Variant], rows: pd.DataFrame, pool: Sequence, repeats: int) -> None:
    if not variants or rows.empty:
        raise ValueError("variants, rows: there are none; give at least one of each")
    if repeats < 1:
        raise ValueError(f"repeats: {repeats}; at least 1")
    for name, count in Counter(variant.name for variant in variants).items():
        if count > 1:
            raise ValueError(f"variants: {count} are called {name!r}; let them differ")
    if (again := rows["id"].duplicated()).any():
        raise ValueError(f"rows: id {rows['id'][again].iloc[0]} is there twice; ids must differ")
    for variant in variants:
        if variant.shots > len(pool):
            told = f"the pool holds {len(pool)} examples; give more, or fewer shots"
            raise ValueError(f"shots: {variant.name} needs {variant.shots}, and {told}")


def _graded(variant, repeat: int, rows: list, said: list[Answer], scorer) -> pd.DataFrame:
    """Return the lines of one chunk."""
    grades = scorer(variant.prompt, rows, [answer.text for answer in said])
    lines = [
        (
            variant.name, row["id"], repeat, answer.text, grade.predicted, scorers.wanted(row),
            grade.score, grade.score >= 0.5, confidence(answer), answer.error,
            answer.prompt_tokens, answer.completion_tokens, answer.usd, answer.first_token_ms,
            answer.latency_ms, answer.cached,
        )
        for row, answer, grade in zip(rows, said, grades, strict=True)
    ]  # fmt: skip
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    numbers = [*COLUMNS[10:15], "score", "confidence"]
    texts = ["output", "predicted", "expected", "error"]
    return frame.astype(dict.fromkeys(numbers, "float64") | dict.fromkeys(texts, "str"))


def confidence(answer: Answer) -> float:
    """Return the probability that the model gave to its answer, NaN if the endpoint told none."""
    known = answer.log_probabilities
    return math.exp(min(sum(known), 0.0)) if known else math.nan


def grades(results: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the scores by variant, shape (rows, repeats), the rows in the order of their ids.

    Raises
    ------
    ValueError
        If the variants were not asked about the same rows.
    """
    found, ids = {}, None
    for name, own in results.groupby("variant", sort=False):
        wide = own.pivot(index="id", columns="repeat", values="score").sort_index()
        ids = wide.index if ids is None else ids
        if not wide.index.equals(ids) or wide.isna().any(axis=None):
            raise ValueError(f"results: {name} has other rows than the variants before it")
        found[name] = wide.to_numpy()
    return found


def leaderboard(
    results: pd.DataFrame, margin: float, seed: int, baseline: str | None = None
) -> pd.DataFrame:
    """Compare every variant with the best one, or with `baseline`, on the same rows.

    Parameters
    ----------
    results : DataFrame
        As `evaluate` returns it.
    margin : float
        Differences within it are a tie (region of practical equivalence).

    Returns
    -------
    DataFrame
        The best first: as the left panel's leaderboard
        (`diptych.core.evaluation.leaderboard.compare`), and the columns of `costs`.
    """
    if results.empty:
        return pd.DataFrame(columns=["name", "value", "low", "high", "n", *COSTS])
    compared = compare(grades(results), margin, seed, baseline)
    found = shown(compared, baseline or "the best")
    return found.merge(costs(results), on="name", validate="one_to_one")


def costs(results: pd.DataFrame) -> pd.DataFrame:
    """Return what each variant cost, and how it failed.

    Returns
    -------
    DataFrame
        ``name``, ``failed`` (calls), ``unread`` (answers without a label), ``p50 ms``, ``p95 ms``,
        ``first token ms`` (median), ``tokens in``, ``tokens out`` (a call), ``usd per 1,000``
        calls, ``usd per correct`` answer. Of an answer from the ledger it is what it cost when it
        was made; NaN where not known.
    """
    lines = []
    for name, own in results.groupby("variant", sort=False):
        failed = own["error"] != ""
        usd = own["usd"].sum(min_count=1)
        lines.append(
            {
                "name": name,
                "failed": int(failed.sum()),
                "unread": int((own["predicted"].isna() & ~failed).sum()),
                "p50 ms": own["latency_ms"][~failed].quantile(0.5),
                "p95 ms": own["latency_ms"][~failed].quantile(0.95),
                "first token ms": own["first_token_ms"].median(),
                "tokens in": own["prompt_tokens"].mean(),
                "tokens out": own["completion_tokens"].mean(),
                "usd per 1,000": usd / len(own) * 1000,
                "usd per correct": usd / own["correct"].sum() if own["correct"].any() else np.nan,
            }
        )
    return pd.DataFrame(lines, columns=["name", *COSTS])


def repeated(results: pd.DataFrame) -> pd.DataFrame:
    """Return how much the repeats of each variant differ.

    Returns
    -------
    DataFrame
        ``name``, ``repeats``, ``lowest`` and ``highest`` score of a repeat, ``deviation`` between
        repeats (NaN for one), ``changed``: the share of rows not always answered alike.
    """
    lines = []
    for name, own in results.groupby("variant", sort=False):
        each = own.groupby("repeat")["score"].mean()
        answers = own.groupby("id")["output"].nunique(dropna=False)
        deviation = 0.0 if len(each) > each.nunique() == 1 else each.std()
        lines.append((name, len(each), each.min(), each.max(), deviation, (answers > 1).mean()))
    names = ["name", "repeats", "lowest", "highest", "deviation", "changed"]
    return pd.DataFrame(lines, columns=names)


def by_slice(results: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return each variant's mean score by slice, or by label where there is one slice only."""
    column = "slice" if rows["slice"].nunique() > 1 else "label"
    part = results["id"].map(rows.set_index("id")[column]).rename("slice")
    found = results.pivot_table(index=part, columns="variant", values="score", sort=False)
    found = found[list(results["variant"].unique())].sort_index()
    found.insert(0, "n", rows[column].value_counts())
    return found.rename_axis(columns=None).reset_index()


def disagreements(results: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows to which variants gave different labels, most divided first.

    One column a variant, `NOTHING` where its answer has no label.
    """
    first = results[results["repeat"] == 0]
    said = first.pivot(index="id", columns="variant", values="predicted")
    said = said[list(first["variant"].unique())]
    right = first.groupby("id")["score"].mean().reindex(said.index)
    divided = said[said.nunique(axis=1) > 1]
    order = (right[divided.index] - 0.5).abs().sort_values(kind="stable").index
    said = said.fillna(NOTHING)
    shown = rows.set_index("id")[[*[c for c in ("text",) if c in rows], "label"]]
    return shown.join(said.loc[order], how="right").reset_index()
