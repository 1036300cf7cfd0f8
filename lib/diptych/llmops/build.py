"""Stage 2, build: nothing is fitted; prompts, models and numbers of examples are compared."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from diptych.core.data import perturb
from diptych.core.data.schema import is_number
from diptych.core.data.tasks import Task
from diptych.core.evaluation import stats, text_metrics
from diptych.core.evaluation.graders import ROUGE_L, Scoring
from diptych.core.evaluation.leaderboard import estimates
from diptych.core.evaluation.metrics import Metric
from diptych.core.store.records import Record, RecordError
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.evaluation import outcome, scorers
from diptych.llmops.evaluation.evaluate import (
    COLUMNS,
    counted,
    evaluate,
    leaderboard,
    scored_rows,
)
from diptych.llmops.leaderboard import Leaderboard
from diptych.llmops.prompts.variant import Variant

MLOPS = " (MLOps)"  # after the name of a model of that panel


def pick(
    tried: pd.DataFrame, variants: Sequence[Variant], scoring: Scoring | None = None
) -> tuple[list[Variant], pd.DataFrame]:
    """Choose shots and temperature for each prompt and model, on the validation rows.

    Of equals the one with fewer tokens is taken. A variant that was not asked, because of an
    interrupt, or of which a call failed, has no score and is not taken.

    Parameters
    ----------
    tried : DataFrame
        What `evaluate` returned for these variants.
    scoring : Scoring, optional
        The task's, whose metric selects; without it the mean grade does.

    Returns
    -------
    variants : list of Variant
        The best of each prompt and model, the best of all first.
    trials : DataFrame
        ``name``, ``prompt``, ``validation`` (score), ``tokens in`` and ``selected``.

    Raises
    ------
    UnmeasuredError
        If calls of every variant failed.
    """
    groups = tried.groupby("variant")
    table = pd.DataFrame({"name": [variant.name for variant in variants]})
    table["prompt"] = [variant.prompt.name for variant in variants]
    if scoring is None:
        figures = outcome.measured(tried).groupby("variant")["score"].mean()
    else:
        scored = scored_rows(tried, scoring)
        figures = {name: scoring.metric.figure(rows) for name, rows in scored.items()}
    table["validation"] = table["name"].map(figures)
    table["tokens in"] = table["name"].map(groups["prompt_tokens"].mean())
    whose = [
        (v.prompt.name, v.target.endpoint, v.target.model, str(v.target.server)) for v in variants
    ]
    order = table.assign(whose=whose).sort_values(
        ["validation", "tokens in"],
        ascending=[scoring is not None and scoring.metric.sign < 0, True],
        kind="stable",
    )
    first = order[order["validation"].notna() & ~order["whose"].duplicated()].index
    table["selected"] = table.index.isin(first)
    return [variants[i] for i in first], table


def beside(
    variants: Sequence[Variant],
    rows: pd.DataFrame,
    grader: str | scorers.Scorer,
    record: Record,
    options: CallOptions = CallOptions(),
    *,
    pool: Sequence[tuple] = (),
) -> pd.DataFrame:
    """Ask variants about rows, and append the predictions of the MLOps models for these rows.

    Without rows it has no lines; takes what `evaluate` and `from_mlops` take.
    """
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    predictions = from_mlops(record, rows, grader)  # refused before anything is asked
    results = evaluate(variants, rows, grader, options, pool=pool)
    return pd.concat([results, predictions], ignore_index=True)


def with_further(
    results: pd.DataFrame,
    champion: Variant,
    rows: pd.DataFrame,
    grader: str | scorers.Scorer,
    record: Record,
    options: CallOptions = CallOptions(),
    *,
    pool: Sequence[tuple] = (),
) -> pd.DataFrame:
    """Return results with those of the selected prompt on further test rows, where these are quick.

    Few rows leave the difference to MLOps open. Takes what `beside` takes. A larger local model is
    not asked: a model of 0.5B parameters would read 1,700 rows for a quarter of an hour.
    """
    if rows.empty or not champion.target.is_quick:
        return results
    more = beside([champion], rows, grader, record, options, pool=pool)
    return pd.concat([results, more], ignore_index=True)


def from_mlops(
    record: Record,
    rows: pd.DataFrame,
    grader: str | scorers.Scorer,
    families: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the predictions of the MLOps models for the same rows, as `evaluate` returns results.

    Parameters
    ----------
    record : Record
        A run of ``mlops/2_build``.
    rows : DataFrame
        With ``id``.
    grader : str or callable
        How the results are graded that these stand beside.
    families : sequence of str
        Only these; all by default.

    Raises
    ------
    RecordError
        If that run has no predictions for these rows or of these families, or they were graded
        by another grader.
    """
    predictions = record.table("test_predictions")
    if families:
        predictions = predictions[predictions["family"].isin(families)]
    expected = [scorers.expected(row, grader) for row in rows.to_dict("records")]
    kind = "float64" if is_number(rows["label"]) else "str"
    results = rows[["id"]].assign(expected=pd.Series(expected, dtype=kind).to_numpy())
    results = results.merge(predictions, on="id", validate="one_to_many")
    sizes = results.groupby("family").size()
    complete = {"score", "grader"} <= set(results) and sizes.eq(len(rows)).all()
    if results.empty or not complete:
        there = int(rows["id"].isin(predictions["id"]).sum())
        raise RecordError(
            f"{record.id} predicted {there:,} of these {len(rows):,} rows; run {record.notebook} "
            "with at least as many (perturbed_rows is the same in both panels by default)"
        )
    if other := set(results["grader"]) - {scorers.name_of(grader)}:
        raise RecordError(
            f"{record.id} was graded by {', '.join(sorted(other))}, and these answers are graded "
            f"by {scorers.name_of(grader)}; run {record.notebook} again with the task as it is now"
        )
    results["variant"] = results["family"] + MLOPS
    results = results.assign(repeat=0, error="", outcome=outcome.ANSWERED, usd=0.0, cached=True)
    if kind == "float64":
        results = results.assign(correct=False, score=np.nan, confidence=np.nan, output=None)
    return results.reindex(columns=list(COLUMNS)).sort_values(["variant", "id"], ignore_index=True)


def accuracies(results: pd.DataFrame, margin: float, seed: int) -> pd.DataFrame:
    """Return the share right, or mean grade, of each variant; none where the label is a number.

    See `diptych.llmops.evaluation.evaluate.leaderboard`.
    """
    numbers = is_number(results["expected"])
    return leaderboard(results.head(0) if numbers else results, margin, seed)


def accuracy_drop(results: pd.DataFrame, seed: int, metric: Metric | None = None) -> pd.DataFrame:
    """Return what answers lose on perturbed rows, see `diptych.core.data.perturb.accuracy_drop`."""
    results = outcome.measured(results)
    if is_number(results["expected"]):
        results = results.assign(label=results["expected"], predicted=counted(results))
    if perturb.by_another(metric):
        results = results.rename(columns={"expected": "label"})
    return perturb.accuracy_drop(results, "variant", seed, metric)


def faithful(results: pd.DataFrame, rows: pd.DataFrame, grader: str) -> dict[str, stats.Estimate]:
    """Return how faithful each variant's summaries are, and how many of them are copied.

    Faithful is a summary whose every content word is in the text, so one that copies a sentence is
    always faithful; `copied` says how often that is why. Empty where the task's grader is not
    ``"rouge_l"``; see `diptych.core.evaluation.text_metrics`.
    """
    if grader != ROUGE_L:
        return {}
    source = results["id"].map(rows.set_index("id")["text"])
    pairs = list(zip(results["output"].fillna(""), source, strict=True))
    return {
        f"{measure.__name__}, {name}": stats.wilson(int(x.sum()), len(x))
        for measure in (text_metrics.faithful, text_metrics.copied)
        for name, x in pd.Series([measure(*pair) for pair in pairs]).groupby(
            results["variant"].array
        )
    }


def figures(
    board: Leaderboard,
    results: pd.DataFrame,
    rows: pd.DataFrame,
    by_hand: pd.DataFrame,
    lost: pd.DataFrame,
) -> dict[str, stats.Estimate]:
    """Return the figures that a run records, by their names in `diptych.core.contract`.

    Parameters
    ----------
    results, rows : DataFrame
        Answers to the test rows, and these rows.
    by_hand : DataFrame
        The leaderboard of the hand-written rows.
    lost : DataFrame
        As `accuracy_drop` returns it.
    """
    task = board.task
    kind = "error rise under " if task.regression else "accuracy drop under "
    kind = "quality drop under " if perturb.by_another(task.metric) else kind
    ranked = leaderboard(results, board.margin, board.seed, scoring=task.scoring)
    return {
        **estimates(accuracies(results, board.margin, board.seed), "accuracy of "),
        **estimates(ranked, "score of "),
        **estimates(by_hand, "hand-written, "),
        **faithful(results, rows, task.grader),
        **estimates(lost, kind),
    }


def title_of_drop(task: Task) -> str:
    """Return what an axis calls the result of `accuracy_drop`."""
    if perturb.by_another(task.metric):
        return f"how much worse the {task.metric.title} gets"
    return "rise of the mean error" if task.regression else "accuracy lost"


def rivals(
    text: str,
    board: Leaderboard,
    tried: pd.DataFrame,
    rows: pd.DataFrame,
    options: CallOptions = CallOptions(),
) -> bool | str:
    """Say whether a prompt is as good on some rows as the best that was tried on them.

    Parameters
    ----------
    text : str
        As `Leaderboard.add` takes it; the leaderboard stays as it is.
    tried : DataFrame
        What `evaluate` returned for these rows.

    Returns
    -------
    bool or str
        True, or what its figure is beside the best one, and rows that it gets wrong.
    """
    apart = Leaderboard([], board.task, board.labels, board.margin, board.seed)
    apart.numbers = board.numbers
    apart.add("attempt", text)
    scoring, metric = board.task.scoring, board.task.metric
    known = {name: metric.figure(x) for name, x in scored_rows(tried, scoring).items()}
    best = max(known.values(), key=lambda value: metric.sign * value)
    answers = evaluate([Variant(apart.prompts[0])], rows, scoring.grader, options)
    (scored,) = scored_rows(answers, scoring).values()
    figure = metric.figure(scored)
    if metric.sign * (figure - best) >= 0:
        return True
    wrong = answers.loc[~answers["correct"], "id"].head(3).tolist()
    return (
        f"Its {metric.title} is {figure:.3f}, and the best has {best:.3f}. Read the rows "
        f"{', '.join(wrong)}: what does the prompt leave open?"
    )
