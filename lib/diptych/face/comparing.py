"""Comparisons: models on the same rows, two runs, and rows against a reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from diptych.base.errors import ParameterError
from diptych.core.evaluation import leaderboard
from diptych.core.monitoring import drift as profiles
from diptych.core.plots import html, plots
from diptych.execution import comparison, runs
from diptych.execution.runs import Run
from diptych.face.shown import ShownFrame

BETWEEN_RUNS = ("figures", "parameters", "inputs", "packages", "environment")


class Leaderboard(ShownFrame):
    """Candidates on the same rows, as `compare` returns them: a table and a plot."""

    def _table(self) -> pd.DataFrame:
        return leaderboard.shown(pd.DataFrame(self), self.attrs["baseline"])

    def _below(self) -> str:
        rows = pd.DataFrame(self)[["name", "value", "low", "high"]]
        return plots.interval_html(rows, xlabel="mean score") + super()._below()


@dataclass(frozen=True)
class RunComparison:
    """Two runs beside each other, as `compare` returns them."""

    result: comparison.Comparison

    def __str__(self) -> str:
        return comparison.as_text(self.result)

    __repr__ = __str__

    @property
    def figures(self) -> pd.DataFrame:
        """What either run recorded: ``name``, ``first``, ``second``."""
        return self._frame("figures")

    def _frame(self, part: str) -> pd.DataFrame:
        lines = [(name, *pair) for name, pair in getattr(self.result, part).items()]
        return pd.DataFrame(lines, columns=["name", "first", "second"])

    def _repr_html_(self) -> str:
        first, second = self.result.first, self.result.second
        parts = [f"<p>first: {escape(first.id)} · second: {escape(second.id)}</p>"]
        tables = [(part, self._frame(part)) for part in BETWEEN_RUNS]
        parts += [html.table_html(frame.astype(str), part) for part, frame in tables if len(frame)]
        if self.result.code:
            code = escape("\n".join(self.result.code))
            parts.append(f"<details><summary>code</summary><pre>{code}</pre></details>")
        return "".join(parts)


def compare(
    scores: Mapping[str, Sequence] | Run | str,
    other: Run | str | None = None,
    *,
    margin: float = 0.01,
    baseline: str | None = None,
    seed: int = 0,
) -> "Leaderboard | RunComparison":
    """Compare models on the same rows, paired row by row; or two runs.

    Parameters
    ----------
    scores : mapping of str to array, shape (n,) or (n, repeats), or run
        By name, whether each row was answered right (1) or wrong (0), or a grade between, for the
        same rows in the same order. Or the first of two runs: a `Run`, its id, or a notebook's name
        for its newest run.
    other : run, optional
        The second run, if the first is one.
    margin : float
        Differences within it are a tie.
    baseline : str, optional
        The one that all are compared with; by default the best.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Leaderboard
        A DataFrame, the best first: ``name``, ``value`` with ``low`` and ``high`` (95 %), ``n``,
        ``difference`` to the baseline with its interval (paired bootstrap), ``p`` (exact sign test,
        which of right and wrong is McNemar's, after Holm), ``verdict``, ``rows_needed`` to show a
        difference of the margin. A notebook shows it as a table and a plot.
    RunComparison
        Of two runs: what differs in figures, parameters, inputs, packages and code.

    Raises
    ------
    ValueError
        If there is nothing to compare, or the rows differ in number.
    ParameterError
        If there is no such run, or only one was named.

    Examples
    --------
    >>> right = {"lr": [1] * 90 + [0] * 10, "xgb": [1] * 70 + [0] * 30}
    >>> leaderboard = dt.compare(right)
    >>> list(leaderboard["name"]), leaderboard["verdict"][1]
    (['lr', 'xgb'], 'worse')
    """
    if isinstance(scores, Run | str):
        if other is None:
            raise ParameterError(
                "compare: one run was given, and two are compared; name the other, too"
            )
        return RunComparison(comparison.compare(_run(scores), _run(other)))
    if other is not None:
        raise ParameterError("compare: give one mapping of scores by name, or two runs")
    board = Leaderboard(leaderboard.compare(scores, margin, seed, baseline))
    board.attrs |= {
        "baseline": baseline or "the best",
        "caption": "The same rows, compared in pairs",
    }
    return board


def _run(run: Run | str) -> Run:
    return run if isinstance(run, Run) else runs.named(run)


class Drift(ShownFrame):
    """Drift of each column, as `drift` returns it."""

    @property
    def drifted(self) -> list[str]:
        """The columns that have drifted."""
        frame = pd.DataFrame(self)
        return frame.loc[frame["drifted"].astype(bool), "feature"].tolist()

    def _table(self) -> pd.DataFrame:
        frame = pd.DataFrame(self)
        return frame if frame["reason"].any() else frame.drop(columns="reason")


def drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    false_alarms: float = 0.001,
    min_effect: float = 0.02,
    seed: int = 0,
) -> Drift:
    """Compare each column of rows with the same column of reference rows.

    Parameters
    ----------
    reference, current : DataFrame
    columns : sequence of str, optional
        By default all of numbers, booleans, texts or categories.
    false_alarms : float
        Chance that *any* column counts as drifted though nothing has changed, from 0.0001.
    min_effect : float
        Shift (largest change of a probability) below which no column counts as drifted.
    seed : int
        Of the resampling behind the thresholds.

    Returns
    -------
    Drift
        A DataFrame, one line a column, see `diptych.core.monitoring.drift.compare_profiles`; its
        property ``drifted`` names the columns that have.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or a column is not in both.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> before = pd.DataFrame({"age": rng.normal(40, 9, 2000), "fare": rng.normal(20, 3, 2000)})
    >>> after = before.assign(age=before["age"] + 5)
    >>> dt.drift(before, after).drifted
    ['age']
    """
    for name, frame in (("reference", reference), ("current", current)):
        if not isinstance(frame, pd.DataFrame):
            raise ValueError(
                f"{name}: a {type(frame).__name__} is no DataFrame; make one, as by "
                "pd.DataFrame(rows)"
            )
    profile = profiles.Profile.fit(reference, columns, seed)
    table = Drift(profiles.compare_profiles(profile, current, false_alarms, min_effect))
    drifted = ", ".join(table.drifted) or "none"
    table.attrs |= {
        "caption": f"Drift of {len(current):,} rows from {len(reference):,}",
        "note": f"Drifted: {drifted}. If nothing has changed, the chance that any column counts as "
        f"drifted is at most {false_alarms:.4g}.",
    }
    return table
