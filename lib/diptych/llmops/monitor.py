"""Stage 5, monitor: watch the calls of a prompt in service, window by window.

A log has one line per live row: ``id``, ``window``, ``prediction`` (null if the answer has no label
or the call failed), ``probability``, ``label`` (null until it is known), and of the row's call
``output``, ``status``, ``outcome``, ``prompt_tokens``, ``completion_tokens``, ``usd`` and
``latency_ms``. Where the label is a number, prediction and label are written numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.core.data.schema import is_number
from diptych.core.evaluation import conformal, graders, stats
from diptych.core.evaluation.fairness import figure
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.metrics import NUMBERS
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.monitoring import meaning_drift
from diptych.core.monitoring.cusum import Alarm, Detector
from diptych.core.monitoring.drift import NO_GAP, ConfidenceGap, Numeric, Profile
from diptych.core.monitoring.text_drift import describe_texts, new_words
from diptych.core.monitoring.windows import (
    InputWatch,
    Quality,
    add_labels,
    alarmed,
    as_row,
    marks,
    watch_inputs,
)
from diptych.core.store.prices import Price
from diptych.llmops.evaluation import evaluate
from diptych.llmops.evaluation.outcome import (
    ANSWERED,
    FAILED,
    ORDER,
    REFUSED,
    UNREADABLE,
)

__all__ = [
    "Tolerance", "add_labels", "alarmed", "change", "describe", "figure", "graded", "health",
    "marks", "meaning", "new_words", "outcomes", "quality", "reference", "right", "spending",
    "watch",
]  # fmt: skip

NEEDED = ("id", "window", "prediction", "probability", "label", "output", "status",
          "prompt_tokens", "completion_tokens", "usd", "latency_ms")  # fmt: skip
SERVED = "as served"
ANSWER = "model answer"  # a column in which drift is looked for
NEARLY_ALL = 0.9  # of the errors on the test set; a number within them counts as right
NONE = "none"  # stands for an answer without a label


def describe(texts: list[str], known: set[str], answers: pd.DataFrame) -> pd.DataFrame:
    """Return the columns in which drift is looked for: how rows are written, and the answers.

    Parameters
    ----------
    texts : list of str, n of them
    known : set of str
        Words of the train rows, in lower case.
    answers : DataFrame, n rows
        ``prediction`` and ``probability``; without any probability that column is left out.
    """
    frame = describe_texts(texts, known)
    # missing probabilities are counted as such by the profile
    if answers["probability"].notna().any():
        frame["model confidence"] = answers["probability"].to_numpy(float)
    answered = answers["prediction"]
    if is_number(answered):
        frame[ANSWER] = answered.to_numpy(float)
    else:
        frame[ANSWER] = answered.fillna(NONE).astype("str").to_numpy()
    return frame


def reference(texts: list[str], known: set[str], results: pd.DataFrame, seed: int) -> Profile:
    """Profile the test rows and the answers to them.

    The answers are as `diptych.llmops.evaluation.evaluate.evaluate` returns them.
    """
    answers = results.rename(columns={"confidence": "probability", "predicted": "prediction"})
    return Profile.fit(describe(texts, known, answers), seed=seed)


def watch(profile: Profile, log: pd.DataFrame, texts: pd.Series, known: set[str]) -> InputWatch:
    """Compare each window with the profile.

    Parameters
    ----------
    texts : Series
        The input of each row, by row id.

    Raises
    ------
    ValueError
        If the log is empty, lacks a column, or has a row without text.
    """
    _check(log)
    if (unknown := ~log["id"].isin(texts.index)).any():
        raise ValueError(f"texts: there is none for row {log['id'][unknown].iloc[0]!r} of the log")
    if isinstance(profile.columns.get(ANSWER), Numeric):
        log = log.assign(prediction=pd.to_numeric(log["prediction"]).astype(float))
    described = describe(log["id"].map(texts).tolist(), known, log)
    for name in profile.columns.keys() - set(described):
        described[name] = np.nan  # no probability came any more: a drift of its own
    return watch_inputs(profile, described, log["window"].to_numpy())


def meaning(before: pd.Series, log: pd.DataFrame, texts: pd.Series, seed: int) -> pd.DataFrame:
    """Compare what the texts of each window mean with those of `before`, such as the test rows.

    Takes what `watch` takes, and returns what `meaning_drift.by_window` does.
    """
    return meaning_drift.by_window(before, log["id"].map(texts), log["window"], seed)


@dataclass(frozen=True)
class Tolerance:
    """How far a number may lie from the true one and count as right, for the change detector.

    Attributes
    ----------
    half : float
        Nine of ten errors on the test set are not larger (split conformal).
    stand_in : float
        What an answer without a number counts as.
    """

    half: float
    stand_in: float

    @classmethod
    def of(cls, results: pd.DataFrame) -> "Tolerance | None":
        """Return that of what `evaluate` returned for the test set; None where labels are classes.

        Raises
        ------
        ValueError
            If an answer has no number, and its prompt no stand-in.
        """
        if not is_number(results["expected"]):
            return None
        errors = evaluate.counted(results) - results["expected"]
        half = conformal.half_width(errors, NEARLY_ALL)
        return cls(half, float(results["stand_in"].iloc[0]))

    def right(self, predicted: pd.Series, truth: pd.Series) -> pd.Series:
        """Return whether each number is near enough."""
        numbers = pd.to_numeric(predicted).astype(float).fillna(self.stand_in)
        return (numbers - truth.astype(float)).abs() <= self.half


def right(results: pd.DataFrame, tolerance: Tolerance | None = None) -> pd.Series:
    """Return whether each answer that `evaluate` returned counts as right."""
    if tolerance is None:
        return results["correct"].astype(bool)
    return tolerance.right(results["predicted"], results["expected"])


def graded(log: pd.DataFrame, grader: str, tolerance: Tolerance | None = None) -> pd.Series:
    """Return whether the answer to each labelled row is right, by id, in the order of the log.

    The task's `grader` decides; of numbers the `tolerance`. A failed call has no answer to grade
    and is left out: `health` counts it. An answer without a label is wrong.
    """
    lines = _labelled(log)
    if tolerance is not None:
        return tolerance.right(lines["prediction"], lines["label"]).set_axis(lines["id"].to_numpy())
    return (_grades(lines, grader) >= graders.RIGHT).astype(bool)


def _labelled(log: pd.DataFrame) -> pd.DataFrame:
    """Return the lines that were answered and whose label came."""
    _check(log)
    return log[log["label"].notna() & (log["status"] == "ok")]


def _grades(lines: pd.DataFrame, grader: str) -> pd.Series:
    """Return the grade of each answer, by id."""
    answers = lines["prediction"].where(lines["prediction"].notna(), "").astype("str")
    score = graders.get(grader).score
    pairs = zip(answers, lines["label"].astype("str"), strict=True)
    return pd.Series([score(*pair) for pair in pairs], lines["id"].to_numpy(), dtype=float)


def quality(
    log: pd.DataFrame,
    scoring: str | Scoring,
    tolerance: Tolerance | None = None,
    before: pd.DataFrame | None = None,
) -> Quality:
    """Return how good the answers are, by the task's metric; failed calls are left out.

    Where the label is a number, an answer without one counts as the tolerance's stand-in.

    Where that is the accuracy, it is also estimated from the model's confidence: an answer without
    a label counts as a confidence of 0, unless none of its window has any, because the endpoint
    then gives no probabilities.

    Parameters
    ----------
    before : DataFrame, optional
        The same model's answers to the test set, as `evaluate` returns them: the estimate takes
        into account by how much its confidence was off there.
    """
    scoring, lines = Scoring.of(scoring), _labelled(log)
    answered = log[log["status"] == "ok"]
    confidence = _sure(answered, answered["probability"], answered["prediction"])
    confidence = confidence.set_axis(answered["window"])
    lines = lines.sort_values("id")
    windows = lines["window"].to_numpy(object)
    stand_in = np.nan if tolerance is None else tolerance.stand_in
    gap = NO_GAP
    if before is not None and scoring.metric.right_or_wrong:
        test = before[before["error"] == ""].assign(window="")
        gap = ConfidenceGap.of(_sure(test, test["confidence"], test["predicted"]), test["correct"])
    rows = _scored(lines, scoring, stand_in)
    return Quality.of(scoring.metric, rows, windows, confidence, gap)


def _sure(lines: pd.DataFrame, probability: pd.Series, predicted: pd.Series) -> pd.Series:
    """Return each answer's confidence: 0 without a label, NaN where its window has none at all."""
    measured = probability.groupby(lines["window"]).transform("count") > 0
    return probability.where(predicted.notna(), 0.0).where(measured).astype(float)


def _scored(lines: pd.DataFrame, scoring: Scoring, stand_in: float) -> ScoredRows:
    """Return answered and labelled lines, sorted by id, as metrics take them."""
    if scoring.metric.needs == NUMBERS:
        predicted = pd.to_numeric(lines["prediction"]).astype(float).fillna(stand_in)
        return ScoredRows.of_numbers(lines["label"].astype(float), predicted)
    results = pd.DataFrame({
        "variant": SERVED, "repeat": 0, "id": lines["id"], "expected": lines["label"],
        "predicted": lines["prediction"], "confidence": lines["probability"].astype(float),
        "score": _grades(lines, scoring.grader).to_numpy(), "error": "",
    })  # fmt: skip
    if lines.empty:
        return ScoredRows.of_labels([], [])
    return evaluate.scored_rows(results, scoring)[SERVED]


def change(
    log: pd.DataFrame, grader: str, test: Detector, tolerance: Tolerance | None = None
) -> tuple[pd.DataFrame, Alarm | None]:
    """Run the change detector over the labelled rows in order.

    Returns
    -------
    path : DataFrame
        ``row`` (1 is the first), ``window``, ``sum`` in units of the limit.
    alarm : Alarm or None
    """
    right = graded(log, grader, tolerance)
    windows = log.set_index("id")["window"].reindex(right.index)
    path = pd.DataFrame({
        "row": np.arange(1, len(right) + 1), "window": windows.to_numpy(), "sum": test.path(right),
    })  # fmt: skip
    return path, test.detect(right)


def health(log: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what became of the rows, and the speed, by window.

    Returns
    -------
    shares : DataFrame
        ``window``, ``kind`` (an outcome, see `diptych.llmops.evaluation.outcome`: failures,
        unreadable answers, refusals, and any other but "answered" that there was), ``value``,
        ``low``, ``high``, ``n``.
    figures : DataFrame
        ``window``, ``rows``, latency ``p50 ms`` and ``p95 ms`` of answered calls (NaN if there
        is none), mean ``tokens in`` and ``tokens out`` of a call.
    """
    _check(log, "outcome")
    shares, figures = [], []
    there = {FAILED, UNREADABLE, REFUSED, *log["outcome"]} - {ANSWERED}
    for window, group in log.groupby("window", sort=True):
        shares += [
            as_row(window, kind, stats.wilson(int((group["outcome"] == kind).sum()), len(group)))
            for kind in ORDER
            if kind in there
        ]
        ms = group.loc[group["status"] == "ok", "latency_ms"].dropna()
        p50, p95 = np.quantile(ms, [0.5, 0.95]) if len(ms) else (np.nan, np.nan)
        tokens = group[["prompt_tokens", "completion_tokens"]].mean()
        figures.append((window, len(group), p50, p95, *tokens))
    names = ["window", "rows", "p50 ms", "p95 ms", "tokens in", "tokens out"]
    columns = ["window", "kind", "value", "low", "high", "n"]
    return pd.DataFrame(shares, columns=columns), pd.DataFrame(figures, columns=names)


def outcomes(log: pd.DataFrame) -> pd.DataFrame:
    """Return how many rows of each window were answered, cut, refused and so on; all together last.

    Returns
    -------
    DataFrame
        ``window``, ``rows``, and a column for each outcome that there was.
    """
    _check(log, "outcome")
    counts = pd.crosstab(log["window"], log["outcome"])
    counts = counts[[name for name in ORDER if name in counts]]
    counts.loc["all"] = counts.sum()
    counts.insert(0, "rows", counts.sum(axis=1))
    return counts.rename_axis(columns=None).reset_index()


def spending(log: pd.DataFrame, budget_usd: float, models: Sequence[str] = ()) -> pd.DataFrame:
    """Return the cost by window against the budget.

    Parameters
    ----------
    budget_usd : float
        For all windows together.
    models : sequence of str
        ``provider/model`` in genai-prices; the same tokens are priced there.

    Returns
    -------
    DataFrame
        ``model`` ("as served", or the priced model), ``window``, ``usd``, ``so far``, ``share`` of
        the budget, and ``at this rate``: the total after the last window, at the mean cost of the
        windows so far. NaN if no price is known.

    Raises
    ------
    ValueError
        If the budget is negative.
    """
    _check(log)
    if not budget_usd >= 0:
        raise ValueError(f"budget_usd: {budget_usd}; give 0 or more")
    windows = sorted(log["window"].unique())
    tokens = log[["prompt_tokens", "completion_tokens"]].fillna(0).astype(int)
    lines = []
    for model in (SERVED, *models):
        at, _, name = model.partition("/")
        price, costs = Price(at, name), log["usd"]
        if model != SERVED:
            costs = pd.Series([price.usd(*pair) for pair in tokens.to_numpy().tolist()], log.index)
        each = costs.astype(float).groupby(log["window"]).sum(min_count=1).reindex(windows)
        total = each.cumsum()
        for number, window in enumerate(windows, 1):
            so_far = total[window]
            share = so_far / budget_usd if budget_usd else np.nan
            rate = so_far / number * len(windows)
            lines.append((model, window, each[window], so_far, share, rate))
    names = ["model", "window", "usd", "so far", "share", "at this rate"]
    return pd.DataFrame(lines, columns=names)


def _check(log: pd.DataFrame, *more: str) -> None:
    if missing := [name for name in (*NEEDED, *more) if name not in log]:
        raise ValueError(f"log: it has no column {', '.join(missing)}")
    if log.empty:
        raise ValueError("log: it is empty; run llmops/4_serve to serve live rows")
