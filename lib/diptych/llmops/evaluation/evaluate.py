"""Ask variants about rows, grade the answers and compare: one engine for every stage."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.base import process_environment
from diptych.core.data.schema import is_number, sliced_by
from diptych.core.evaluation import graders, stats
from diptych.core.evaluation.graders import RIGHT, Scoring
from diptych.core.evaluation.leaderboard import all_equal as equally_good
from diptych.core.evaluation.leaderboard import compare, rank, shown
from diptych.core.evaluation.metrics import Metric
from diptych.core.evaluation.scored import ScoredRows, class_shares
from diptych.core.evaluation.stats import Estimate
from diptych.execution import cells
from diptych.llmops.client import adaptation
from diptych.llmops.client.ask import Answer, ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.request import opened
from diptych.llmops.evaluation import outcome, scorers
from diptych.llmops.evaluation.confidence import shares
from diptych.llmops.prompts.constraint import SCORES
from diptych.llmops.prompts.variant import Variant

CHUNK = 1_000  # requests sent and graded at once, so that memory stays flat
COSTS = (
    "failed",
    "unreadable",
    "outcomes",
    "p50 ms",
    "p95 ms",
    "TTFT ms",
    "tokens in",
    "tokens out",
    "usd per 1,000",
    "usd per correct",
)  # fmt: skip
NOTHING = "(none)"  # where an answer names no label
COLUMNS = (
    "variant", "id", "repeat", "output", "predicted", "expected", "score", "correct", "confidence",
    "probabilities", "outcome", "error", "prompt_tokens", "completion_tokens", "usd",
    "first_token_ms", "latency_ms", "cached", "grader", "stand_in",
)  # fmt: skip


def evaluate(
    variants: Sequence[Variant],
    rows: pd.DataFrame,
    grader: str | scorers.Scorer,
    options: CallOptions = CallOptions(),
    *,
    pool: Sequence[tuple[Mapping, str]] = (),
    repeats: int = 1,
    partial: bool = False,
) -> pd.DataFrame:
    """Ask every variant about every row and grade the answers.

    A failed call is a row with its ``error`` and without a score, and its variant has no figure; a
    failure that every call would meet (a wrong key, an unknown model, no server) ends it at once,
    and `CallOptions.patience` equal ones in a row do. Earlier answers are read from
    the ledger and not paid again, so an interrupted run resumes where it stopped.

    Parameters
    ----------
    variants : sequence of Variant
    rows : DataFrame, shape (n, ...)
        With ``id``, what the prompts read and what the grader compares with.
    grader : str or callable
        The grader of the task, ``task.grader``; or a scorer of your own, see
        `diptych.llmops.evaluation.scorers`. Results record its name, and those of another grader
        cannot stand beside them.
    options : CallOptions
        Repeat and prompt version are set here.
    pool : sequence of (dict, str)
        Examples, see `diptych.llmops.data.pool`.
    repeats : int
        How often each question is asked; a repeat does not take the answer of an earlier one.
    partial : bool
        An interrupt in a notebook's cell or a script then ends it with the variants that were
        asked about all rows, once there is one. In a run of the runner it stops the run.

    Returns
    -------
    DataFrame
        `COLUMNS`, one line per variant, repeat and row: ``score`` from 0 to 1 (NaN where the call
        failed), ``correct`` where it is 0.5 or more, ``confidence`` the probability of the label,
        NaN where it is not known, ``probabilities`` a list of those of all labels, sorted, None
        where they are not known, ``outcome`` what became of the question
        (`diptych.llmops.evaluation.outcome`), ``grader`` the name of what graded it. Where the
        label is a number, ``predicted`` and ``expected`` are floats, no answer has a score, and
        ``stand_in`` is what an answer without a number counts as.

    Raises
    ------
    PromptError
        If a prompt cannot be graded as the task is; no request is sent then.
    ValueError
        If an argument is wrong; no request is sent then.
    EndpointError, BudgetError, LedgerError
        See `ask_many`.
    """
    _check(variants, rows, pool, repeats)
    _check_grader(variants, rows, grader)
    frames = []
    with (
        opened(options.calls) as calls,
        bars.within(options.progress, len(variants) * len(rows) * repeats, "call") as bar,
    ):
        options = replace(options, calls=calls, progress=bar, give_up=True, alike=[])
        for number, variant in enumerate(variants):
            try:
                answers = list(_answers(variant, rows, grader, options, pool, repeats))
            except KeyboardInterrupt:
                if not (partial and frames) or process_environment.run_folder():
                    raise
                count = f"{number} of {len(variants)} variants"
                print(f"Interrupted: {count} were evaluated, and the others are left out.")
                cells.note_partial(f"{count} were evaluated")
                break
            frames += answers
            bars.best(bar, float(pd.concat(answers)["score"].mean(skipna=False)), variant.name)
    return pd.concat(frames, ignore_index=True)


def _answers(variant, rows: pd.DataFrame, grader, options, pool, repeats: int):
    """Yield the graded answers of one variant, chunk by chunk, and move the bar."""
    bar = options.progress
    for repeat in range(repeats):
        for start in range(0, len(rows), CHUNK):
            some, before = rows.iloc[start : start + CHUNK].to_dict("records"), bar.n
            answers = ask_many(
                variant.requests(some, pool), variant.target,
                replace(options, repeat=repeat, prompt_version=variant.prompt.version),
            )  # fmt: skip
            changes = [answer.changes for answer in answers]
            adaptation.show(variant.target.model_name, changes, options.run)
            yield _graded(variant, repeat, some, answers, grader)
            bar.update(len(some) - (bar.n - before))  # those from the ledger too


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
            raise ValueError(
                f"shots: {variant.name} needs {variant.shots}, and the pool holds {len(pool)} "
                "examples; give more, or fewer shots"
            )


def _check_grader(variants: Sequence[Variant], rows: pd.DataFrame, grader) -> None:
    scorers.expected(rows.iloc[0], grader)  # the rows have what answers are compared with
    if not callable(grader):
        for variant in variants:
            scorers.check_prompt(variant.prompt, grader, is_number(rows["label"]))


def _graded(variant, repeat: int, rows: list, answers: list[Answer], grader) -> pd.DataFrame:
    """Return the lines of one chunk."""
    score, answers = scorers.scorer_of(grader), likeliest(variant, answers, grader)
    texts = [outcome.gradable(answer) for answer in answers]
    grades, name = score(variant.prompt, rows, texts), scorers.name_of(grader)
    lines = [
        (
            variant.name, row["id"], repeat, answer.text, grade.predicted,
            scorers.expected(row, grader), math.nan if answer.error else grade.score,
            not answer.error and grade.score >= RIGHT,
            *_confident(variant, answer, grade.predicted), outcome.of_grade(answer, grade),
            answer.error, answer.prompt_tokens, answer.completion_tokens, answer.usd,
            answer.first_token_ms, answer.latency_ms, answer.cached, name, variant.prompt.stand_in,
        )
        for row, answer, grade in zip(rows, answers, grades, strict=True)
    ]  # fmt: skip
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    read = "float64" if isinstance(lines[0][5], float) else "str"
    numbers = ["score", "confidence", "prompt_tokens", "completion_tokens", "usd",
               "first_token_ms", "latency_ms", "stand_in"]  # fmt: skip
    texts = ["output", "outcome", "error", "grader"]
    return frame.astype(
        dict.fromkeys(numbers, "float64") | dict.fromkeys(texts, "str")
        | dict.fromkeys(["predicted", "expected"], read)
    )  # fmt: skip


def likeliest(variant: Variant, answers: Sequence[Answer], grader) -> list[Answer]:
    """Return answers with the likeliest label as text, where the variant scores its labels.

    Raises
    ------
    ValueError
        If the endpoint gives no probabilities.
    """
    if variant.decoding != SCORES or callable(grader) or grader != graders.LABEL:
        return list(answers)
    good = [answer for answer in answers if outcome.gradable(answer)]
    if good and not any(answer.token_probabilities for answer in good):
        raise ValueError(
            f"decoding: scores needs log-probabilities, and {variant.target.endpoint} gives none "
            f"for {variant.target.model_name}; take choice or free"
        )
    return [_likeliest(variant, answer) for answer in answers]


def _likeliest(variant: Variant, answer: Answer) -> Answer:
    labels = variant.prompt.labels
    written = scorers.read_answer(variant.prompt, outcome.gradable(answer), graders.LABEL)
    known = shares(answer.token_probabilities, written, labels)
    if not known:
        return answer
    best = max(labels, key=lambda name: known[name])
    return replace(answer, text=best, outcome=outcome.ANSWERED)


def confidence(variant: Variant, answer: Answer, predicted: str | None) -> float:
    """Return the probability of the label that was read of an answer, NaN where it is not known."""
    return _confident(variant, answer, predicted)[0]


def _confident(variant: Variant, answer: Answer, predicted: str | None):
    """Return the probability of the label that was read, and those of all labels, sorted.

    NaN and None where they are not known. A label that is among none of the alternatives that the
    endpoint lists has 0.
    """
    labels, written = variant.prompt.labels, predicted
    if variant.decoding == SCORES and predicted in labels:
        written = "".join(str(token.get("token") or "") for token in answer.token_probabilities)
        written = scorers.read_answer(variant.prompt, written, graders.LABEL)
    known = shares(answer.token_probabilities, written, labels)
    if predicted not in known:
        return math.nan, None
    return known[predicted], [min(known[name], 1.0) for name in sorted(labels)]


def grades(results: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the scores by variant, shape (rows, repeats), the rows in the order of their ids.

    A variant with failed calls is left out.

    Raises
    ------
    ValueError
        If the variants did not answer the same rows.
    UnmeasuredError
        If calls of every variant failed.
    """
    scores, ids = {}, None
    for name, lines in outcome.measured(results).groupby("variant", sort=False):
        wide = lines.pivot(index="id", columns="repeat", values="score").sort_index()
        ids = wide.index if ids is None else ids
        if not wide.index.equals(ids) or wide.isna().any(axis=None):
            raise ValueError(f"results: {name} has other rows than the variants before it")
        scores[name] = wide.to_numpy()
    return scores


def scored_rows(results: pd.DataFrame, scoring: Scoring) -> dict[str, ScoredRows]:
    """Return the answers of each variant as metrics take them, the rows in the order of their ids.

    Of repeats the first counts; a variant with failed calls is left out. An answer that cannot be
    read counts, or a prompt would gain by silence on hard rows: as wrong where labels are compared;
    as a forecast that favours no class where probabilities are (`_labelled`); as the prompt's
    stand-in, the mean of the training set, where the label is a number (`counted`).

    Raises
    ------
    ValueError
        If the variants did not answer the same rows.
    UnmeasuredError
        If calls of every variant failed.
    """
    results = outcome.measured(results)
    first, scored = results[results["repeat"] == 0], {}
    ids = None
    for name, lines in first.groupby("variant", sort=False):
        lines = lines.sort_values("id")
        ids = lines["id"].tolist() if ids is None else ids
        if lines["id"].tolist() != ids:
            raise ValueError(f"results: {name} has other rows than the variants before it")
        if graders.get(scoring.grader).needs_reference:
            scored[name] = ScoredRows.of_grades(lines["score"], lines["id"])
        elif is_number(lines["expected"]):
            scored[name] = ScoredRows.of_numbers(lines["expected"], counted(lines))
        else:
            scored[name] = _labelled(lines, scoring.metric)
    return scored


def counted(results: pd.DataFrame) -> pd.Series:
    """Return the number that each answer counts as: the one read of it, else the stand-in."""
    return results["predicted"].fillna(results["stand_in"])


def _labelled(lines: pd.DataFrame, metric: Metric) -> ScoredRows:
    """Return labels and the probabilities of classes, as `class_shares` has them.

    Where the rows lack a class, the listed probabilities do not fit, and are none.
    """
    truth, predicted = lines["expected"].to_numpy(object), lines["predicted"].to_numpy(object)
    predicted = np.where(pd.isna(predicted), None, predicted)
    classes = sorted(set(truth) | {name for name in predicted if name is not None})
    listed = lines["probabilities"] if "probabilities" in lines else [None] * len(lines)
    known = class_shares(predicted, classes, lines["confidence"].to_numpy(float), listed)
    return metric.scored(truth, predicted, known, classes)


def stand_ins(results: pd.DataFrame) -> str:
    """Return in a sentence what answers that cannot be read count as; "" if all could be read."""
    answered = results[(results["error"] == "") & (results["repeat"] == 0)]
    unread = answered["predicted"].isna()
    if not unread.any():
        return ""
    count = f"{int(unread.sum()):,} of {len(answered):,} answers could not be read. Each counts"
    if is_number(results["expected"]):
        values = sorted(answered.loc[unread, "stand_in"].dropna().unique())
        means = " or ".join(f"{x:.4g}" for x in values) or "no number"
        return f"{count} as {means}, the mean of the training set: left out, it would flatter."
    return f"{count} as wrong; in metrics of probabilities, as a forecast that favours no class."


def confident(results: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the answers of a variant that were not failed calls, with a known ``confidence``."""
    answers = results[(results["variant"] == name) & (results["repeat"] == 0)]
    return answers[(answers["error"] == "") & answers["confidence"].notna()]


def leaderboard(
    results: pd.DataFrame,
    margin: float,
    seed: int,
    baseline: str | None = None,
    scoring: Scoring | None = None,
) -> pd.DataFrame:
    """Compare every variant with the best one, or with `baseline`, on the same rows.

    Parameters
    ----------
    results : DataFrame
        As `evaluate` returns it.
    margin : float
        Differences within it are a tie (region of practical equivalence).
    scoring : Scoring, optional
        The task's, whose metric decides; without it the mean grade does.

    Returns
    -------
    DataFrame
        The best first: as the leaderboard of MLOps
        (`diptych.core.evaluation.leaderboard.rank`), and the columns of `costs`. A variant with
        failed calls is among the last: its figures are NaN, and its verdict is the reason.

    Raises
    ------
    UnmeasuredError
        If calls of every variant failed, or of the baseline.
    """
    if results.empty:
        return pd.DataFrame(columns=["name", "value", "low", "high", "n", *COSTS])
    reasons = outcome.unmeasured(results)
    if baseline in reasons:
        raise outcome.UnmeasuredError(outcome.explained({baseline: reasons[baseline]}))
    if scoring is None or results["repeat"].any():
        compared = compare(grades(results), margin, seed, baseline)
    else:
        compared = rank(scored_rows(results, scoring), scoring.metric, margin, baseline)
    board = shown(compared, baseline or "the best")
    none = pd.DataFrame(
        [
            {"name": name, "n": int((results["variant"] == name).sum()), "verdict": reason}
            for name, reason in reasons.items()
        ],
        columns=["name", "n", "verdict"],
    )
    board = pd.concat([board, none.reindex(columns=board.columns)]) if reasons else board
    return board.reset_index(drop=True).merge(costs(results), on="name", validate="one_to_one")


def costs(results: pd.DataFrame) -> pd.DataFrame:
    """Return what each variant cost, and how it failed.

    Returns
    -------
    DataFrame
        ``name``, ``failed`` (calls), ``unreadable`` (answers without a label), ``outcomes``
        (how often there was each), ``p50 ms``, ``p95 ms``, ``TTFT ms`` (time to first token,
        median), ``tokens in`` and ``tokens out`` of a call,
        ``usd per 1,000`` answers (calls that did not fail), ``usd per correct`` answer. An
        answer from the ledger counts with what it cost when it was made; NaN where the cost of any
        answer is not known, for a sum of the others would be too low.
    """
    lines = []
    for name, calls in results.groupby("variant", sort=False):
        failed = calls["error"] != ""
        answers = calls[~failed]
        usd, right = answers["usd"].sum(skipna=False), calls["correct"].sum()
        lines.append(
            {
                "name": name,
                "failed": int(failed.sum()),
                "unreadable": int((calls["predicted"].isna() & ~failed).sum()),
                "outcomes": outcome.counted(calls["outcome"]),
                "p50 ms": answers["latency_ms"].quantile(0.5),
                "p95 ms": answers["latency_ms"].quantile(0.95),
                "TTFT ms": calls["first_token_ms"].median(),
                "tokens in": calls["prompt_tokens"].mean(),
                "tokens out": calls["completion_tokens"].mean(),
                "usd per 1,000": usd / len(answers) * 1000 if len(answers) else np.nan,
                "usd per correct": usd / right if right else np.nan,
            }
        )
    return pd.DataFrame(lines, columns=["name", *COSTS])


def latencies(results: pd.DataFrame, most: int = 4) -> dict[str, np.ndarray]:
    """Return the latencies in milliseconds of answered calls, by variant, of the first few."""
    answered = results[results["error"] == ""].groupby("variant", sort=False)["latency_ms"]
    return {name: latency.to_numpy() for name, latency in list(answered)[:most]}


def repeated(results: pd.DataFrame) -> pd.DataFrame:
    """Return how much the repeats of each variant differ.

    Returns
    -------
    DataFrame
        ``name``, ``repeats``, ``lowest`` and ``highest`` score of a repeat (of numbers, mean
        absolute error), ``deviation`` between repeats (NaN for one), ``changed``: the share of
        ``rows`` not always answered alike, by the label, number or text that was read, or where
        none could be read by the whole answer. Rows with a failed call tell nothing of it.
    """
    lines = []
    answers = results["predicted"].astype(object)
    read = results.assign(
        score=_scores(results), read=answers.where(answers.notna(), results["output"])
    )
    for name, answered in read.groupby("variant", sort=False):
        each = answered.groupby("repeat")["score"].agg(_mean)
        whole = answered[answered.groupby("id")["error"].transform(lambda x: (x == "").all())]
        answers = whole.groupby("id")["read"].nunique(dropna=False)
        deviation = 0.0 if len(each) > each.nunique() == 1 else each.std()
        share = (answers > 1).mean()
        lines.append((name, len(each), each.min(), each.max(), deviation, share, len(answers)))
    names = ["name", "repeats", "lowest", "highest", "deviation", "changed", "rows"]
    return pd.DataFrame(lines, columns=names)


def instability(steady: pd.DataFrame) -> Estimate | None:
    """Return the first variant's share of changed answers with its interval, from `repeated`.

    None where no row was answered every time.
    """
    share, rows = steady[["changed", "rows"]].iloc[0]
    return stats.wilson(round(share * rows), int(rows)) if rows else None


def _scores(results: pd.DataFrame) -> pd.Series:
    """Return the scores, or the absolute errors of numbers; NaN where a call failed."""
    if "expected" not in results or not is_number(results["expected"]):
        return results["score"]
    errors = (counted(results) - results["expected"]).abs()
    return errors.where(results["error"] == "")


def _mean(scores: pd.Series) -> float:
    """Return the mean of scores, NaN where a call failed."""
    return scores.mean(skipna=False)


def by_slice(results: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return each variant's mean score by slice, or by label where there is one slice only.

    Of numbers it is the mean absolute error.
    """
    column = sliced_by(rows)
    part = results["id"].map(rows.set_index("id")[column]).rename("slice")
    results = results.assign(score=_scores(results))
    means = results.groupby([part, "variant"])["score"].agg(_mean).unstack("variant")
    means = means[list(results["variant"].unique())].sort_index()
    means.insert(0, "n", rows[column].value_counts())
    return means.rename_axis(columns=None).reset_index()


def disagreements(results: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows for which variants gave different answers, the most divided first.

    One column a variant, `NOTHING` where its answer has no label.
    """
    first = results[results["repeat"] == 0]
    answers = first.pivot(index="id", columns="variant", values="predicted")
    answers = answers[list(first["variant"].unique())]
    divided = answers[answers.nunique(axis=1) > 1]
    if is_number(results["expected"]):
        order = divided.std(axis=1).sort_values(ascending=False, kind="stable").index
    else:
        right = first.groupby("id")["score"].mean().reindex(answers.index)
        order = (right[divided.index] - 0.5).abs().sort_values(kind="stable").index
    answers = answers.astype(object).where(answers.notna(), NOTHING)
    shown = rows.set_index("id")[[*[c for c in ("text",) if c in rows], "label"]]
    return shown.join(answers.loc[order], how="right").reset_index()


def all_equal(results: pd.DataFrame) -> float:
    """Return the p-value that all variants are equally good, see `leaderboard.all_equal`.

    Of numbers their absolute errors are compared.
    """
    scores = results.assign(score=_scores(results))
    return equally_good(grades(scores))
