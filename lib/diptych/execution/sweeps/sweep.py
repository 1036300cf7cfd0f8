"""Run a notebook at many points: all of a grid, some drawn from it, or the best at more effort.

Points are ordinary runs, so a finished one is linked when the sweep is started again, and one that
fails is listed and does not stop the others. Everything a sweep makes lies in one folder:
``results.csv``, ``results.parquet``, ``sweep.json`` and ``runs/``.
"""

import contextlib
import csv
import io
import json
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from diptych.base import environment, workspace
from diptych.base.progress import Bar, say
from diptych.base.secrets import Redactor
from diptych.execution.engine import Engine
from diptych.execution.notebooks import nearest
from diptych.execution.runner import warn_of_paths
from diptych.execution.runs import STAMP
from diptych.execution.sweeps.search_space import SweepPlan
from diptych.execution.sweeps.workers import Here, Outcome, Place, Workers

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet computes begins so


@dataclass
class Trial:
    """One point and how it ended.

    Attributes
    ----------
    point : dict
        The varied parameters.
    status : {"ok", "linked", "failed"}
    value, low, high : float or None
        The metric and its interval.
    recorded : dict
        All that the run recorded, by name; an interval as ``name_low`` and ``name_high``.
    """

    number: int
    point: dict
    status: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    run: str = ""
    error: str = ""
    recorded: dict = field(default_factory=dict)

    def row(self) -> dict:
        """Return the trial as a line of the results table: point, status, all it recorded."""
        shown = {
            name: json.dumps(v) if isinstance(v, list | dict) else v
            for name, v in self.point.items()
        }
        rest = {"seconds": self.seconds, "run": self.run, "error": self.error}
        first = {"number": self.number, **shown, "status": self.status}
        taken = {*first, *rest}
        figures = {f"recorded_{name}" if name in taken else name: value
                   for name, value in self.recorded.items()}  # fmt: skip
        return first | figures | rest


@dataclass
class Result:
    """A sweep that has ended.

    Attributes
    ----------
    folder : Path
    plan : SweepPlan
    trials : list of Trial
        In the order they ended.
    """

    folder: Path
    plan: SweepPlan
    trials: list[Trial] = field(default_factory=list)

    @property
    def failed(self) -> list[Trial]:
        """The trials that failed."""
        return [trial for trial in self.trials if trial.status == "failed"]

    @property
    def ranked(self) -> list[Trial]:
        """The trials that have the metric, at full effort where that is halved, best first."""
        name, levels = self.plan.halving
        full = [t for t in self.trials if not name or t.point[name] == levels[-1]]
        return best_first([t for t in full if t.value is not None], self.plan.minimize)


def best_first(trials: list[Trial], minimize: bool) -> list[Trial]:
    """Sort by the metric, ties by number."""
    return sorted(trials, key=lambda t: (t.value if minimize else -t.value, t.number))


def sweep(
    plan: SweepPlan,
    *,
    workers: int = 1,
    dask: str = "",
    folder: Path | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> Result:
    """Run the points of a plan and write the tables.

    Parameters
    ----------
    workers : int
        Processes beside each other; more than there are cores only wait for each other.
    dask : str
        Address of a Dask scheduler to run on instead.
    folder : Path, optional
        Of the sweep; a new one in the workspace if not given.
    engine : Engine, optional
        As `run_notebook` takes it; sent to every process that runs points.

    Raises
    ------
    ParameterError
        If no scheduler answers at `dask`.
    """
    folder = Path(folder).absolute() if folder else _new_folder(plan)
    root = folder / "runs"
    cores = environment.cores()
    if workers > cores and not dask:
        say(f"--workers {workers}: this machine has {cores} cores, so {cores} are used")
    warn_of_paths(plan.base)
    place = _place(root, min(workers, cores), dask, engine, plan)
    result = Result(folder, plan)
    try:
        with _Display(plan, progress) as display:
            rungs = _halved if plan.halving[0] else _once
            rungs(plan, place, lambda trial: (result.trials.append(trial), display(trial)))
    finally:
        place.close()
        if result.trials:
            write(result)
    if progress:
        display.conclude(result)
    return result


def _as_text(value):
    """Return a value for the CSV; a text that a spreadsheet would compute gets an apostrophe.

    Numbers stay as they are, those of a text too; ``results.parquet`` has every value unchanged.
    """
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    with contextlib.suppress(ValueError):
        float(value)
        return value
    return f"'{value}"


def write(result: Result) -> None:
    """Write the tables and what the sweep was."""
    result.folder.mkdir(parents=True, exist_ok=True)
    redactor = Redactor()  # value by value: quoting in CSV and JSON would hide a key
    trials = sorted(result.trials, key=lambda trial: trial.number)
    rows = redactor.tree(_aligned([trial.row() for trial in trials]))
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows({name: _as_text(value) for name, value in row.items()} for row in rows)
    workspace.write_atomic(result.folder / "results.csv", text.getvalue())
    _write_parquet(result.folder / "results.parquet", rows)
    plan = result.plan
    facts = {
        "notebook": plan.base.shown,
        "parameters": plan.base.values,
        "grid": plan.described(),
        "metric": plan.metric,
        "minimize": plan.minimize,
        "random": plan.random,
        "halving": dict([plan.halving]) if plan.halving[0] else {},
        "seed": plan.seed,
        "trials": len(result.trials),
        "failed": len(result.failed),
        "best": result.ranked[0].row() if result.ranked else None,
    }
    workspace.write_atomic(result.folder / "sweep.json", redactor.json(facts) + "\n")


def _aligned(rows: list[dict]) -> list[dict]:
    """Return rows that have the same columns: what any recorded, before ``seconds``."""
    names = dict.fromkeys(name for row in rows for name in row)
    last = ("seconds", "run", "error")
    order = [name for name in names if name not in last] + list(last)
    return [{name: row.get(name) for name in order} for row in rows]


def _write_parquet(path: Path, rows: list[dict]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    columns = {}
    for name in rows[0]:
        column = [row[name] for row in rows]
        kinds = {type(value) for value in column if value is not None}
        if len(kinds) > 1 and not kinds <= {int, float}:
            column = [None if value is None else str(value) for value in column]
        columns[name] = pa.array(column, pa.float64() if kinds == {int, float} else None)
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table(columns), sink)
    workspace.write_atomic(path, sink.getvalue().to_pybytes())


def _new_folder(plan: SweepPlan) -> Path:
    stamp = workspace.now().strftime(STAMP)
    name = f"{stamp}-{plan.base.name.replace('/', '-')}-{secrets.token_hex(2)}"
    return workspace.home() / "sweeps" / name


def _place(root: Path, workers: int, dask: str, engine: Engine | None, plan: SweepPlan) -> Place:
    if dask:
        from diptych.execution.sweeps.dask import Cluster

        return Cluster(dask, root, plan.base, engine)
    return Workers(root, workers, engine) if workers > 1 else Here(root, engine)


def _once(plan: SweepPlan, place: Place, on_trial: Callable[[Trial], None]) -> list[Trial]:
    return _rung(plan, place, plan.points(), 0, on_trial)


def _halved(plan: SweepPlan, place: Place, on_trial: Callable[[Trial], None]) -> None:
    """Try all points at the lowest effort, then the best at each higher one, at equal cost.

    Successive halving: Jamieson and Talwalkar 2016, arXiv 1502.07943.
    """
    name, levels = plan.halving
    points, started = plan.points(), 0
    for level, following in zip(levels, [*levels[1:], None], strict=True):
        trials = _rung(plan, place, [p | {name: level} for p in points], started, on_trial)
        started += len(trials)
        ranked = best_first([t for t in trials if t.value is not None], plan.minimize)
        if following is None or not ranked:
            return
        # of as many as there were, so that what failed does not make the rest pass
        count = max(1, math.floor(len(points) * level / following))
        points = [{k: v for k, v in t.point.items() if k != name} for t in ranked[:count]]


def _rung(
    plan: SweepPlan,
    place: Place,
    points: list[dict],
    start: int,
    on_trial: Callable[[Trial], None],
) -> list[Trial]:
    """Run points and report each as it ends."""
    trials = {start + i: Trial(start + i, point) for i, point in enumerate(points)}
    for number, outcome in place.map([(n, plan.run_at(t.point)) for n, t in trials.items()]):
        _fill(trials[number], outcome, plan.metric)
        on_trial(trials[number])
    return list(trials.values())


def _fill(trial: Trial, outcome: Outcome, metric: str) -> None:
    """Write down how a trial ended."""
    run, trial.error, trial.status = outcome.run, outcome.error, "failed"
    if run is not None:
        trial.run, trial.seconds = run.id, run.manifest.get("seconds")
        trial.recorded = _figures(run.result.get("values"))
    if outcome.error:
        return
    trial.status = "linked" if run.linked else "ok"
    if not metric:
        return
    values = run.result.get("values", {})
    value = values.get(metric, {}).get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        trial.status = "failed"
        trial.error = (
            f"{metric}: recorded as {value!r}, which is no number to compare"
            if metric in values
            else f"{metric}: the run recorded no such value. {nearest(metric, values)}"
            f"It recorded {', '.join(values) or 'nothing'}"
        )
        return
    trial.value = value
    trial.low, trial.high = values[metric].get("low"), values[metric].get("high")


def _figures(values) -> dict:
    """Return all scalars that a run recorded, with the ends of their intervals."""
    figures = {}
    for name, entry in (values if isinstance(values, dict) else {}).items():
        entry = entry if isinstance(entry, dict) else {"value": entry}
        ends = {f"{name}_{end}": entry.get(end) for end in ("low", "high")}
        scalars = {name: entry.get("value")} | {k: v for k, v in ends.items() if v is not None}
        figures |= {k: v for k, v in scalars.items() if v is None or not isinstance(v, list | dict)}
    return figures


class _Display:
    """One bar with the best so far; lines for what failed and for each new best."""

    def __init__(self, plan: SweepPlan, show: bool):
        self.plan, self.show, self.best, self.done = plan, show, None, 0
        self.total = len(plan.points())
        self._bar = Bar(f"sweep {plan.base.name}", "point", show, self.total)

    def __enter__(self):
        self._bar.__enter__()
        return self

    def __exit__(self, *error):
        self._bar.__exit__(*error)

    def __call__(self, trial: Trial) -> None:
        self.done += 1
        self.total = max(self.total, self.done)
        if trial.value is not None and (
            self.best is None or best_first([self.best, trial], self.plan.minimize)[0] is trial
        ):
            self.best = trial
            self._say(f"{self._at()} best so far: {self._shown(trial)}")
        if trial.status == "failed":
            self._say(f"{self._at()} failed: {_words(trial.point)}: {trial.error}")
        self._bar(self.done, self.total, f"best {self._shown(self.best)}" if self.best else "")

    def conclude(self, result: Result) -> None:
        """Say how it all ended."""
        linked = sum(trial.status == "linked" for trial in result.trials)
        failed = f", {len(result.failed)} failed" if result.failed else ""
        self._say(f"{len(result.trials)} points, {linked} linked{failed}: {result.folder}")
        if result.ranked:
            self._say(f"best: {self._shown(result.ranked[0])}")

    def _shown(self, trial: Trial) -> str:
        return f"{self.plan.metric} {trial.value:.4g} at {_words(trial.point)}"

    def _at(self) -> str:
        return f"[{self.done}/{self.total}]"

    def _say(self, line: str) -> None:
        if self.show:
            say(Redactor().text(line))


def _words(point: dict) -> str:
    return " ".join(f"{name}={json.dumps(value)}" for name, value in point.items())
