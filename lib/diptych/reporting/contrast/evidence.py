"""What the runs of one scenario recorded, panel by panel, as figures that name their runs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import pandas as pd

from diptych.core.evaluation.stats import Estimate
from diptych.execution.runs import Run
from diptych.reporting.format import number

LEFT, RIGHT = "mlops", "llmops"
HARDER = "~"  # between a row's id and the way it was made harder


@dataclass(frozen=True)
class Figure:
    """One side's figure.

    Attributes
    ----------
    value : float
        Infinite where a goal was not reached.
    runs : tuple of str
        Ids of the runs it came from, the one to look at first.
    low, high : float or None
        A 95 % interval.
    n : int
        Rows behind it; 0 where that is not recorded.
    note : str
        How it was measured, where that is not plain.
    """

    value: float
    runs: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    n: int = 0
    note: str = ""

    @classmethod
    def of(cls, estimate: Estimate, *runs: str, note: str = "") -> "Figure":
        """Return an estimate as a figure of these runs."""
        return cls(estimate.value, runs, estimate.low, estimate.high, estimate.n, note)

    @property
    def estimate(self) -> Estimate | None:
        """The figure with its interval, None where it has none."""
        if self.low is None or self.high is None:
            return None
        return Estimate(self.value, self.low, self.high, self.n)

    def said(self, unit: str = "") -> str:
        """Return the figure in words."""
        if math.isinf(self.value):
            return "not reached"
        if unit in ("USD", "ms", "s", "MB") and 0 < abs(self.value) < 1:
            return f"{Decimal(f'{self.value:.2g}'):f} {unit}"
        value = int(self.value) if unit in ("labels", "bytes") else self.value
        return number(value) + (f" {unit}" if unit else "")


class Panel:
    """The newest complete run of each notebook of a panel, and what it recorded.

    Every method returns None where the run or the thing is missing: nothing is ever guessed.
    """

    def __init__(self, name: str, runs: Iterable[Run]):
        self.name = name
        own = [run for run in runs if run.notebook.partition("/")[0] == name]
        good = [run for run in own if run.status == "ok" and run.result.get("complete")]
        self.runs = {run.notebook.partition("/")[2]: run for run in good}

    def run(self, stage: str) -> Run | None:
        """Return the run of a stage such as ``"2_build"``."""
        return self.runs.get(stage)

    def fact(self, stage: str, name: str):
        """Return a fact that a stage noted."""
        run = self.run(stage)
        return None if run is None else run.result.get("facts", {}).get(name)

    def value(self, stage: str, *names: str, note: str = "") -> Figure | None:
        """Return the first of these values that a stage recorded as a number."""
        run = self.run(stage)
        values = {} if run is None else run.result.get("values", {})
        for name in names:
            entry = values.get(name)
            if entry and _is_number(entry["value"]):
                ends = entry.get("low"), entry.get("high")
                return Figure(entry["value"], (run.id,), *ends, note=note)
        return None

    def table(self, stage: str, name: str) -> pd.DataFrame | None:
        """Return a table that a stage saved."""
        run = self.run(stage)
        path = None if run is None else run.folder / f"{name}.parquet"
        return pd.read_parquet(path) if path and path.exists() else None

    def seconds(self, *stages: str, note: str = "") -> Figure | None:
        """Return how long the runs of all these stages took together.

        Answers that were there already count with the time they took when asked.
        """
        runs = [self.run(stage) for stage in stages]
        if None in runs or not all("seconds" in run.manifest for run in runs):
            return None
        ids = tuple(run.id for run in reversed(runs))
        spared = sum(run.result.get("spared_seconds", 0.0) for run in runs)
        note += f", {spared:.0f} s of it when its answers were asked first" if spared >= 1 else ""
        return Figure(sum(run.manifest["seconds"] for run in runs) + spared, ids, note=note)

    @cached_property
    def graded(self) -> pd.Series | None:
        """The grade (0 to 1) of what goes on, by row id: every row that ``2_build`` judged."""
        tables = self._judged()
        if not tables:
            return None
        rows = pd.concat(tables, ignore_index=True)
        grade = "score" if "score" in rows and rows["score"].notna().all() else "correct"
        return rows.groupby("id")[grade].mean().astype(float)

    def _judged(self) -> list[pd.DataFrame]:
        """Return the lines of the model or prompt that goes on, of every table that grades rows."""
        run = self.run("2_build")
        column, wanted = {
            LEFT: ("family", self.fact("2_build", "family")),
            RIGHT: ("variant", self.fact("2_build", "name")),
        }[self.name]
        if run is None or wanted is None:
            return []
        found = []
        for path in sorted(run.folder.glob("*.parquet")):
            table = pd.read_parquet(path)
            if {"id", "correct", column} <= set(table):
                own = table[table[column] == wanted]
                found += [own.assign(id=own["id"].astype(str))] if len(own) else []
        return found

    def said(self) -> pd.DataFrame | None:
        """Return the lines of the right panel's prompt that goes on, with tokens and times."""
        results = self.table("2_build", "results")
        name = self.fact("2_build", "name")
        if results is None or name is None:
            return None
        own = results[(results["variant"] == name) & (results["error"] == "")]
        return own if len(own) else None

    def parameter(self, stage: str, name: str):
        """Return the value of a notebook's parameter."""
        return (self.fact(stage, "parameters") or {}).get(name)

    @property
    def is_local(self) -> bool:
        """Whether every model that was asked runs on this machine."""
        models = self.parameter("2_build", "models") or []
        return bool(models) and all(model.partition("/")[0] == "local" for model in models)


def sides(runs: Sequence[Run]) -> tuple[Panel, Panel]:
    """Return both panels of a scenario's runs."""
    return Panel(LEFT, runs), Panel(RIGHT, runs)


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
