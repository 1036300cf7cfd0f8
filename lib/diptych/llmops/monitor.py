"""Stage 5, monitor: watch the calls of a prompt in service, window by window.

A log has one line per live row: ``id``, ``window``, ``prediction`` (null if the answer has no label
or the call failed), ``probability``, ``label`` (null until it is known), and of the row's call
``output``, ``status``, ``prompt_tokens``, ``completion_tokens``, ``usd`` and ``latency_ms``.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from diptych.core.evaluation import graders, stats
from diptych.core.evaluation.fairness import figure
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.monitoring.cusum import Alarm, Detector
from diptych.core.monitoring.drift import Profile
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
from diptych.llmops.evaluation.outcome import refuses

__all__ = [
    "add_labels", "alarmed", "change", "describe", "figure", "graded", "health", "marks",
    "new_words", "quality", "reference", "refuses", "spending", "watch",
]  # fmt: skip

NEEDED = ("id", "window", "prediction", "probability", "label", "output", "status",
          "prompt_tokens", "completion_tokens", "usd", "latency_ms")  # fmt: skip
SERVED = "as served"
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
    frame["model answer"] = answers["prediction"].fillna(NONE).astype("str").to_numpy()
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
    described = describe(log["id"].map(texts).tolist(), known, log)
    for name in profile.columns.keys() - set(described):
        described[name] = np.nan  # no probability came any more: a drift of its own
    return watch_inputs(profile, described, log["window"].to_numpy())


def graded(log: pd.DataFrame, grader: str) -> pd.Series:
    """Return whether the answer to each labelled row is right, by id, in the order of the log.

    The task's `grader` decides. A failed call has no answer to grade and is left out: `health`
    counts it. An answer without a label is wrong.
    """
    return (_grades(_labelled(log), grader) >= graders.RIGHT).astype(bool)


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


def quality(log: pd.DataFrame, scoring: str | Scoring) -> Quality:
    """Return how good the answers are, by the task's metric; failed calls are left out.

    Where that is the accuracy, it is also estimated from the model's confidence: an answer without
    a label counts as a confidence of 0, unless none of its window has any, because the endpoint
    then gives no probabilities.
    """
    scoring, lines = Scoring.of(scoring), _labelled(log)
    answered = log[log["status"] == "ok"]
    measured = answered.groupby("window")["probability"].transform("count") > 0
    sure = answered["probability"].where(answered["prediction"].notna(), 0.0).where(measured)
    confidence = sure.astype(float).set_axis(answered["window"])
    lines = lines.sort_values("id")
    windows = lines["window"].to_numpy(object)
    return Quality.of(scoring.metric, _scored(lines, scoring), windows, confidence)


def _scored(lines: pd.DataFrame, scoring: Scoring) -> ScoredRows:
    """Return answered and labelled lines, sorted by id, as metrics take them."""
    results = pd.DataFrame({
        "variant": SERVED, "repeat": 0, "id": lines["id"], "expected": lines["label"],
        "predicted": lines["prediction"], "confidence": lines["probability"].astype(float),
        "score": _grades(lines, scoring.grader).to_numpy(), "error": "",
    })  # fmt: skip
    if lines.empty:
        return ScoredRows.of_labels([], [])
    return evaluate.scored_rows(results, scoring)[SERVED]


def change(log: pd.DataFrame, grader: str, test: Detector) -> tuple[pd.DataFrame, Alarm | None]:
    """Run the change detector over the labelled rows in order.

    Returns
    -------
    path : DataFrame
        ``row`` (1 is the first), ``window``, ``sum`` in units of the limit.
    alarm : Alarm or None
    """
    right = graded(log, grader)
    windows = log.set_index("id")["window"].reindex(right.index)
    path = pd.DataFrame({
        "row": np.arange(1, len(right) + 1), "window": windows.to_numpy(), "sum": test.path(right),
    })  # fmt: skip
    return path, test.detect(right)


def health(log: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return failures and speed by window.

    Returns
    -------
    shares : DataFrame
        ``window``, ``kind`` ("failed": no answer; "unreadable": an answer without a label;
        "refused": unreadable, and the answer declines), ``value``, ``low``, ``high``, ``n``.
    figures : DataFrame
        ``window``, ``rows``, latency ``p50 ms`` and ``p95 ms`` of answered calls (NaN if there
        is none), mean ``tokens in`` and ``tokens out`` of a call.
    """
    _check(log)
    shares, figures = [], []
    for window, group in log.groupby("window", sort=True):
        answered = group["status"] == "ok"
        unread = answered & group["prediction"].isna()
        counts = {
            "failed": int((~answered).sum()),
            "unreadable": int(unread.sum()),
            "refused": sum(map(refuses, group.loc[unread, "output"])),
        }
        shares += [
            as_row(window, kind, stats.wilson(count, len(group))) for kind, count in counts.items()
        ]
        ms = group.loc[answered, "latency_ms"].dropna()
        p50, p95 = np.quantile(ms, [0.5, 0.95]) if len(ms) else (np.nan, np.nan)
        tokens = group[["prompt_tokens", "completion_tokens"]].mean()
        figures.append((window, len(group), p50, p95, *tokens))
    names = ["window", "rows", "p50 ms", "p95 ms", "tokens in", "tokens out"]
    columns = ["window", "kind", "value", "low", "high", "n"]
    return pd.DataFrame(shares, columns=columns), pd.DataFrame(figures, columns=names)


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


def _check(log: pd.DataFrame) -> None:
    if missing := [name for name in NEEDED if name not in log]:
        raise ValueError(f"log: it has no column {', '.join(missing)}")
    if log.empty:
        raise ValueError("log: it is empty; run llmops/4_serve to serve live rows")
