"""One comparison for MLOps and LLMOps: candidates on the same rows, the best first, and ties."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from diptych.core.evaluation import stats
from diptych.core.evaluation.metrics import METRICS, Metric, MetricError
from diptych.core.evaluation.scored import ScoredRows


def compare(
    scores: Mapping[str, Sequence],
    margin: float = 0.01,
    seed: int = 0,
    baseline: str | None = None,
) -> pd.DataFrame:
    """Rank candidates and compare each with one of them, row by row.

    Parameters
    ----------
    scores : mapping of str to array, shape (n,) or (n, repeats)
        By name, for the same rows in the same order: right (1) or wrong (0), or a grade between.
        Repeats of a row are averaged, so that they do not count as rows of their own.
    margin : float
        Differences within it are a tie (region of practical equivalence).
    seed : int
        Of the bootstrap.
    baseline : str, optional
        The one that all are compared with; by default the best.

    Returns
    -------
    DataFrame
        The best first: ``name``; ``value``, ``low``, ``high`` (Wilson's interval; of grades and
        repeats a bootstrap over the rows); ``n``; ``difference`` to the baseline with
        ``difference_low``, ``difference_high`` (paired bootstrap); ``p`` (the exact sign test,
        which for right and wrong is McNemar's, after Holm); ``verdict``; ``rows_needed`` to see a
        difference of the margin (`stats.rows_needed`; NaN if there is no such number).

    Raises
    ------
    ValueError
        If there is nothing to compare, the rows differ in number, or a score is outside 0..1.
    """
    if not isinstance(scores, Mapping):
        raise ValueError(
            f"scores: give what is right by model, as {{'mine': correct, 'other': correct}}, not "
            f"a {type(scores).__name__}; two runs are compared by `diptych compare RUN RUN`"
        )
    if not scores:
        raise ValueError("scores: there are none to compare")
    means = {name: _means(values) for name, values in scores.items()}
    shares = {name: _estimate(values, seed) for name, values in means.items()}
    names = sorted(shares, key=lambda name: -shares[name].value)
    if baseline is not None and baseline not in means:
        raise ValueError(f"baseline: {baseline!r} is not among {', '.join(names)}")
    against = names[0] if baseline is None else baseline
    others = [name for name in names if name != against]
    p_values = [_p_value(means[name], means[against]) for name in others]
    p_of = dict(zip(others, stats.holm(p_values), strict=True)) if others else {}
    lines = []
    for name in names:
        line = {"name": name} | asdict(shares[name])
        if name == against:
            line["verdict"] = "best" if baseline is None else "baseline"
        else:
            gap = stats.paired_difference(means[name], means[against], seed=seed)
            line["difference"] = gap.value
            line["difference_low"], line["difference_high"] = gap.low, gap.high
            line["p"], line["verdict"] = p_of[name], stats.verdict(gap, margin)
            line["rows_needed"] = stats.rows_needed(means[name], means[against], margin)
        lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS).astype({"rows_needed": float})


def rank(
    rows: Mapping[str, ScoredRows], metric: Metric, margin: float, baseline: str | None = None
) -> pd.DataFrame:
    """Rank candidates by a metric and compare each with one of them, row by row.

    Parameters
    ----------
    rows : mapping of str to ScoredRows
        By name, of the same rows in the same order.
    metric : Metric
    margin : float
        Differences within it are a tie, in the metric's units; a share of the baseline's figure
        where the metric has no upper end.
    baseline : str, optional
        The one that all are compared with; by default the best.

    Returns
    -------
    DataFrame
        As `compare` returns it: intervals and paired differences are the metric's, a difference
        above 0 is better than the baseline; ``p`` is McNemar's for accuracy, else that of the
        difference over its standard error.

    Raises
    ------
    MetricError
        If there is nothing to compare, the rows differ, or the metric does not suit them.
    """
    if not rows:
        raise MetricError("scores: there are none to compare")
    figures = {name: metric.estimate(scored) for name, scored in rows.items()}
    names = sorted(figures, key=lambda name: _place(figures[name].value, metric.sign))
    if baseline is not None and baseline not in rows:
        raise MetricError(f"baseline: {baseline!r} is not among {', '.join(names)}")
    against = names[0] if baseline is None else baseline
    margin *= 1.0 if np.isfinite(metric.high) else abs(figures[against].value)
    others = [name for name in names if name != against]
    p_values = [metric.p_value(rows[name], rows[against]) for name in others]
    p_of = dict(zip(others, _holm(p_values), strict=True))
    lines = []
    for name in names:
        figure = figures[name]
        line = {"name": name, "value": figure.value, "low": figure.low, "high": figure.high}
        line["n"] = figure.n
        if name == against:
            line["verdict"] = "best" if baseline is None else "baseline"
        else:
            gap = metric.improvement(rows[name], rows[against])
            line["difference"] = gap.value
            line["difference_low"], line["difference_high"] = gap.low, gap.high
            line["p"] = p_of[name]
            line["verdict"] = stats.verdict(gap, margin) if gap.reliable else "unclear"
            line["rows_needed"] = metric.rows_needed(rows[name], rows[against], margin)
        lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS).astype({"rows_needed": float})


def _place(value: float, sign: int) -> float:
    return np.inf if np.isnan(value) else -sign * value


def _holm(p_values: list[float]) -> np.ndarray:
    """Correct the p-values that are known."""
    corrected = np.array(p_values, float)
    known = np.isfinite(corrected)
    if known.any():
        corrected[known] = stats.holm(corrected[known])
    return corrected


COLUMNS = ["name", "value", "low", "high", "n", "difference", "difference_low", "difference_high",
           "p", "verdict", "rows_needed"]  # fmt: skip


def shown(compared: pd.DataFrame, baseline: str = "the best") -> pd.DataFrame:
    """Return a comparison in the words of a leaderboard."""
    texts = [
        baseline if pd.isna(d) else f"{d:.3f} ({low:.3f} to {high:.3f})"
        for d, low, high in zip(
            *(compared[x] for x in ("difference", "difference_low", "difference_high")), strict=True
        )
    ]
    words = {"p": "p (Holm)", "rows_needed": "rows needed"}
    table = compared[["name", "value", "low", "high", "n", "p", "verdict", "rows_needed"]].copy()
    table.insert(5, f"against {baseline}", texts)
    return table.rename(columns=words)


def differences(compared: pd.DataFrame) -> pd.DataFrame:
    """Return the differences of a comparison for a plot: name, value, low, high, verdict."""
    names = {"difference": "value", "difference_low": "low", "difference_high": "high"}
    gaps = compared[["name", *names, "verdict"]].rename(columns=names)
    return gaps.dropna(subset="value").reset_index(drop=True)


def estimates(frame: pd.DataFrame, prefix: str = "") -> dict[str, stats.Estimate]:
    """Turn lines with ``name``, ``value``, ``low``, ``high`` and ``n`` into named estimates.

    What was not measured is left out.
    """
    return {
        prefix + row.name: stats.Estimate(row.value, row.low, row.high, row.n)
        for row in frame.dropna(subset="value").itertuples(index=False)
    }


def all_equal(scores: Mapping[str, Sequence]) -> float:
    """Return the p-value of the test that all are equally good; NaN for fewer than three.

    Cochran's Q where rows are right or wrong, else Friedman's test, which it is a case of.
    """
    from scipy.stats import friedmanchisquare

    means = [_means(values) for values in scores.values()]
    if len(means) < 3:
        return float("nan")
    matrix = np.column_stack(means)
    if np.isin(matrix, (0, 1)).all():
        return stats.cochran(matrix)
    if (matrix == matrix[:, :1]).all():
        return 1.0
    return float(friedmanchisquare(*means).pvalue)


def _means(values: ArrayLike) -> np.ndarray:
    each = np.asarray(values, dtype=float)
    return each.mean(axis=1) if each.ndim == 2 else each


def _estimate(means: np.ndarray, seed: int) -> stats.Estimate:
    if np.isin(means, (0, 1)).all():
        return stats.wilson(int(means.sum()), len(means))
    return stats.bootstrap(means, seed=seed)


def _p_value(a: np.ndarray, b: np.ndarray) -> float:
    return stats.mcnemar(a > b, b > a)


def reported(rows: ScoredRows) -> pd.DataFrame:
    """Return every metric that suits the rows; they are reported and decide nothing.

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high``, ``n``, ``note``.
    """
    lines = []
    for metric in METRICS.values():
        try:
            figure = metric.estimate(rows)
        except MetricError:
            continue
        lines.append({"name": metric.title} | asdict(figure))
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n", "note"])
