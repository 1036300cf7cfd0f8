"""What the runs of one scenario recorded, panel by panel, as figures that name their runs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import BUILD, MONITOR, SERVE, Contract, Fact, RecordError, Table, Value
from diptych.core.data import versions
from diptych.core.data.perturb import MARK
from diptych.core.evaluation import graders, metrics
from diptych.core.evaluation.graders import LABEL, Grader
from diptych.core.evaluation.metrics import Metric
from diptych.core.evaluation.scored import ScoredRows, class_shares
from diptych.core.evaluation.stats import Estimate
from diptych.execution.runs import Run
from diptych.llmops.server import listing
from diptych.reporting.contrast.way import Elsewhere
from diptych.reporting.format import number, plain

LEFT, RIGHT = contract.PANELS
# its pretraining had labelled text of their generators (MODEL_CARD.md), so it needs labels too
SEEN_BY_THE_BOX = ("reviews", "summaries", "support")
CONTAMINATED = (
    "the model in the box was pretrained on labelled text of this task's generator, "
    "so how many labels it needs is not known"
)
BOX = "the model in the box ({} parameters, trained on generated sentences only)"
# whose datasheet says so: the shares of their slices are a choice, and nobody wrote their split
# of other wordings by hand
READ_BY_SLICE = OTHER_WORDINGS = ("support",)
LINES = ["truth", "predicted", "score", "grader", "confidence", "probabilities"]
# Where 2_build keeps its graded rows: the column that names a model or prompt, the fact that
# names the selected one, and the tables.
GRADED = {
    LEFT: ("family", contract.FAMILY, (contract.PREDICTIONS,)),
    RIGHT: (
        "variant",
        contract.VARIANT,
        (contract.RESULTS, contract.PERTURBED_RESULTS, contract.HAND_WRITTEN_RESULTS),
    ),
}


@dataclass(frozen=True)
class Figure:
    """One side's figure.

    Attributes
    ----------
    value : float
        Infinite where a goal was not reached.
    runs : tuple of str
        Ids of the runs it came from, the most telling one first.
    low, high : float or None
        A 95 % interval.
    n : int
        Rows behind it; 0 where that is not recorded.
    note : str
        How it was measured, where that is not plain.
    exact : bool
        Whether it is a count that another measurement would give again, such as bytes of a file.
    """

    value: float
    runs: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    n: int = 0
    note: str = ""
    exact: bool = False

    @classmethod
    def of(cls, estimate: Estimate, *runs: str, note: str = "") -> "Figure":
        """Return an estimate as a figure of these runs."""
        return cls(estimate.value, runs, estimate.low, estimate.high, estimate.n, note)

    @property
    def estimate(self) -> Estimate | None:
        """The figure with its interval, None where it has none; of a count both ends are it."""
        if self.exact:
            return Estimate(self.value, self.value, self.value, self.n)
        if self.low is None or self.high is None:
            return None
        return Estimate(self.value, self.low, self.high, self.n)

    def text(self, unit: str = "") -> str:
        """Return the figure as it is read, with its unit."""
        return _text(self.value, unit)

    def interval(self, unit: str = "") -> str:
        """Return the interval as it is read, "" where there is none."""
        if self.low is None or self.high is None:
            return ""
        if not unit:
            return f"{self.low:.3f} to {self.high:.3f}"
        return f"{_text(self.low, unit, named=False)} to {_text(self.high, unit)}"


def _text(value: float, unit: str, *, named: bool = True) -> str:
    if math.isinf(value):
        return "not reached"
    name = f" {unit}" if unit and named else ""
    if unit in ("USD", "ms", "s", "MB") and 0 < abs(value) < 1:
        return f"{plain(value)}{name}"
    return number(int(value) if unit in ("labels", "bytes") else value) + name


class Panel:
    """The newest complete run of each notebook of a panel, and what it recorded.

    Every name that is asked for is declared in `diptych.core.contract`. Every method returns None
    where the run is missing, or a value that a run may leave out: nothing is ever guessed.

    Raises
    ------
    RecordError
        By every method: if the stage's notebook declares no such name, or a complete run lacks
        one that it must have, because another version made it.
    """

    def __init__(self, name: str, runs: Iterable[Run]):
        self.name = name
        self.others, self.representative = Elsewhere(), None  # see `represent`
        of_panel = [run for run in runs if run.notebook.partition("/")[0] == name]
        # a draft is here only if the user named it
        ended = [
            run
            for run in of_panel
            if run.status == "draft" or (run.status == "ok" and run.result.get("complete"))
        ]
        self.runs = {run.notebook.partition("/")[2]: run for run in ended}

    def contract(self, stage: str) -> Contract:
        """Return what the notebook of a stage such as ``"2_build"`` declares."""
        declared = contract.of(f"{self.name}/{stage}")
        if declared is None:
            raise RecordError(f"{self.name}/{stage}: no notebook of this name has a contract")
        return declared

    def run(self, stage: str) -> Run | None:
        """Return the run of a stage."""
        self.contract(stage)
        return self.runs.get(stage)

    def declares(self, stage: str, value: Value) -> bool:
        """Say whether this panel's notebook of a stage records a value."""
        return value in self.contract(stage).values

    def fact(self, stage: str, fact: Fact):
        """Return a fact that a stage noted."""
        self.contract(stage).fact(fact.name)
        run = self.run(stage)
        return None if run is None else _entry(run, "facts", fact.name)

    def value(self, stage: str, value: Value, note: str = "") -> Figure | None:
        """Return a value that a stage recorded, None where it could not be measured."""
        self.contract(stage).value(value.name)
        run = self.run(stage)
        if run is None or not (value.always or value.name in run.result.get("values", {})):
            return None
        entry = _entry(run, "values", value.name)
        if not _is_number(entry["value"]):
            return None
        ends = entry.get("low"), entry.get("high")
        return Figure(entry["value"], (run.id,), *ends, note=note)

    def table(self, stage: str, table: Table) -> pd.DataFrame | None:
        """Return a table that a stage saved."""
        declared = self.contract(stage)
        declared.table(table.name)
        run = self.run(stage)
        if run is None:
            return None
        path = run.folder / f"{table.name}.parquet"
        if not path.exists():
            raise _lacks(run, table.name)
        frame = pd.read_parquet(path)
        declared.check_columns(table.name, list(frame))
        return frame

    @cached_property
    def load_curve(self) -> pd.DataFrame:
        """What serving took, by requests under way; without lines where that is not measured."""
        curve = self.table(SERVE, contract.LOAD_CURVE)
        return pd.DataFrame() if curve is None or curve.empty else curve.set_index("concurrency")

    def under_load(self, level: int, name: str) -> Figure | None:
        """Return what serving took with so many requests under way, None if not measured.

        Parameters
        ----------
        name : str
            One of `diptych.core.contract.UNDER_LOAD`.
        """
        if level not in self.load_curve.index:
            return None
        line = self.load_curve.loc[level]
        value, low, high = (float(line[name + end]) for end in ("", " low", " high"))
        if not math.isfinite(value):
            return None
        note, run = f"{level} at once", self.run(SERVE).id
        return Figure(value, (run,), low, high, int(line["requests"]), note)

    def parameter(self, stage: str, name: str):
        """Return the value of a notebook's parameter."""
        self.contract(stage).parameter(name)
        parameters = self.fact(stage, contract.PARAMETERS)
        if parameters is not None and name not in parameters:
            raise _lacks(self.run(stage), f"parameter {name}")
        return None if parameters is None else parameters[name]

    def seconds(self, *stages: str, note: str = "") -> Figure | None:
        """Return how long the runs of all these stages took together.

        Replayed answers count with the latency they had when they were requested first.
        """
        runs = [self.run(stage) for stage in stages]
        if None in runs or not all("seconds" in run.manifest for run in runs):
            return None
        ids = tuple(run.id for run in reversed(runs))
        replayed = sum(_replayed_seconds(run.result) for run in runs)
        note += f", {replayed:.0f} s of it replayed latency" if replayed >= 1 else ""
        return Figure(sum(run.manifest["seconds"] for run in runs) + replayed, ids, note=note)

    @property
    def metrics(self) -> dict[str, str]:
        """What decided, by the notebook that recorded it."""
        noted = {stage: self.fact(stage, contract.METRIC) for stage in (BUILD, MONITOR)}
        return {f"{self.name}/{stage}": spec for stage, spec in noted.items() if spec}

    def scored(self, ids: pd.Index, metric: Metric) -> ScoredRows:
        """Return what the selected model or prompt answered to some rows, as metrics take it.

        Parameters
        ----------
        ids : Index of str
            In this order; rows that have no answer are an error of the caller.
        """
        return scored(self.lines.loc[ids], self.lines, metric)

    @cached_property
    def lines(self) -> pd.DataFrame | None:
        """The graded rows of the selected model or prompt, by id; of repeats the first.

        ``truth``, ``predicted``, ``score``, ``grader``, ``confidence`` and ``probabilities``.
        Failed calls, which have no answer, are left out.
        """
        selected = self.fact(BUILD, GRADED[self.name][1])
        return None if selected is None else self.of_variant(selected)

    def of_variant(self, name: str) -> pd.DataFrame:
        """Return the graded rows of one model or prompt, as `lines` has them."""
        column, _, tables = GRADED[self.name]
        frames = [self.table(BUILD, table) for table in tables]
        rows = pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)
        rows = rows[rows[column] == name]
        if "error" in rows and (failed := int((rows["error"].fillna("") != "").sum())):
            raise RecordError(
                f"{name}: {failed} of {len(rows)} answers failed in run {self.run(BUILD).id}: "
                f"it has no figure. Run {self.name}/{BUILD} again; only what failed is asked"
            )
        rows = rows.rename(columns={"label": "truth", "expected": "truth"})
        rows = rows.assign(id=rows["id"].astype(str)).drop_duplicates("id").set_index("id")
        return rows.reindex(columns=LINES)

    @property
    def task(self) -> str:
        """The task that was built for, "" where nothing was."""
        run = self.run(BUILD)
        return "" if run is None else (run.result.get("task") or {}).get("task", "")

    @property
    def grader(self) -> Grader | None:
        """What graded the selected model's or prompt's answers, None where it has no figure."""
        try:
            names = [] if self.lines is None else self.lines["grader"].dropna().unique()
        except RecordError:  # calls failed: whoever measures its quality says so
            return None
        return graders.get(names[0]) if len(names) == 1 else None

    def slices(self) -> dict[str, pd.Index]:
        """Return the ids of the rows of each slice, where the task is to be read by slice."""
        if self.task not in READ_BY_SLICE or self.lines is None:
            return {}
        rows = versions.read(self.task)
        ids = rows["id"].astype(str)
        return {name: pd.Index(ids[rows["slice"] == name]) for name in sorted(set(rows["slice"]))}

    def represent(self, others: Elsewhere) -> None:
        """Let the way of this side that was best on validation rows stand for its quality.

        One that was measured elsewhere does if it was better than what this panel selected, or if
        the model in the box answered here, which is no evidence. It becomes ``representative``.
        """
        self.others = others
        ours = [
            way for way in others.ways if way.side == self.name and math.isfinite(way.validated)
        ]
        validation = self.value(BUILD, contract.VALIDATION)
        if not ours:
            return
        best = max(ours, key=lambda way: (way.validated, -way.labels))
        if self.is_box or (validation is not None and best.validated > validation.value):
            self.representative = best

    def answered(self, part: str, ids: pd.Index) -> pd.DataFrame | None:
        """Return the graded rows that stand for this side's quality.

        Parameters
        ----------
        part : {"rows", "by_hand"}
            Of a representative: its test rows or its hand-written ones.
        ids : Index of str
            Else those of these rows that the selected model or prompt answered.
        """
        if self.representative is not None:
            return getattr(self.representative, part)
        return None if self.lines is None else self.lines.loc[ids.intersection(self.lines.index)]

    @cached_property
    def grades(self) -> pd.Series | None:
        """The grades (0 to 1) of the selected model or prompt by row id, NaN of numbers.

        Of test rows, perturbed ones and hand-written ones; see `GRADED`.
        """
        column, fact, tables = GRADED[self.name]
        selected = self.fact(BUILD, fact)
        if selected is None:
            return None
        frames = [self.table(BUILD, table) for table in tables]
        rows = pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)
        rows = rows[rows[column] == selected]
        scores = rows["score"].astype(float)
        truth = rows.get("label", rows.get("expected"))
        of_numbers = pd.api.types.is_float_dtype(truth)  # which have errors, no grades
        if rows.empty or (scores.isna().any() and not of_numbers):
            raise RecordError(
                f"{selected}: run {self.run(BUILD).id} selected it, and a graded row of it is "
                f"missing or without its score. Run {self.name}/{BUILD} again"
            )
        return scores.groupby(rows["id"].astype(str)).mean()

    def answers(self) -> pd.DataFrame | None:
        """Return the answers of the selected prompt to test rows, with tokens and times."""
        results, name = self.table(BUILD, contract.RESULTS), self.fact(BUILD, contract.VARIANT)
        if results is None:
            return None
        answers = results[(results["variant"] == name) & (results["error"] == "")]
        return answers if len(answers) else None

    @property
    def is_contaminated(self) -> bool:
        """Whether the model in the box answered a task that its pretraining has seen."""
        run = self.run(BUILD)
        if self.name == LEFT or run is None:
            return False
        task = (run.result.get("task") or {}).get("task")
        return task in SEEN_BY_THE_BOX and "local" in (self.parameter(BUILD, "models") or [])

    @property
    def speakers(self) -> str:
        """Who the language models that answered are, in a few words; "" of MLOps."""
        models = None if self.name == LEFT else self.parameter(BUILD, "models")
        described = {"local": BOX.format(listing.box_size())}
        return "; ".join(
            described.get(model)
            or listing.speakers([model]).removeprefix("Answers come from ").removesuffix(".")
            for model in models or []
        )

    @property
    def is_box(self) -> bool:
        """Whether the model in the box answered."""
        return self.name == RIGHT and "local" in (self.parameter(BUILD, "models") or [])

    @property
    def is_box_alone(self) -> bool:
        """Whether no other model answered."""
        return self.is_box and self.parameter(BUILD, "models") == ["local"]

    @property
    def is_local(self) -> bool:
        """Whether every model that was called runs on this machine."""
        models = self.parameter(BUILD, "models") or []
        return bool(models) and all(model.partition("/")[0] == "local" for model in models)


def scored(lines: pd.DataFrame, everything: pd.DataFrame, metric: Metric) -> ScoredRows:
    """Return graded rows as metrics take them; `everything` the model answered has its classes."""
    if (lines["grader"] != LABEL).any():
        return ScoredRows.of_grades(lines["score"], lines.index)
    truth, predicted = lines["truth"].to_numpy(object), lines["predicted"].to_numpy(object)
    if metric.needs == metrics.NUMBERS:
        return ScoredRows.of_numbers(truth.astype(float), predicted.astype(float))
    predicted = np.where(pd.isna(predicted), None, predicted)
    named = [*everything["truth"], *everything["predicted"]]
    classes = sorted({name for name in named if isinstance(name, str)})
    positive = metric.positive if len(classes) == 2 else ""
    sure = lines["confidence"].to_numpy(float)
    shares = class_shares(predicted, classes, sure, lines["probabilities"])
    return ScoredRows.of_labels(truth, predicted, shares, classes, positive)


def metric_of(left: Panel, right: Panel) -> tuple[Metric | None, str]:
    """Return the metric that both panels were decided by, and why there is none.

    None, with "", where no run recorded one.
    """
    noted = left.metrics | right.metrics
    if len(set(noted.values())) > 1:
        listed = "; ".join(f"{notebook} by {spec}" for notebook, spec in noted.items())
        why = f"the runs were decided by different metrics ({listed}); run them with one `metric`"
        return None, why
    spec = next(iter(noted.values()), None)
    metric = metrics.parse(spec) if spec else None
    if metric is not None and metric.needs == metrics.GRADES:
        grader = left.grader or right.grader
        metric = metric if grader is None else replace(metric, title=grader.metric)
    return metric, ""


def sides(runs: Sequence[Run]) -> tuple[Panel, Panel]:
    """Return both panels of a scenario's runs, MLOps first."""
    return Panel(LEFT, runs), Panel(RIGHT, runs)


def _replayed_seconds(result: dict) -> float:
    """Return the replayed latency of a run; runs of older versions call it ``spared_seconds``."""
    return result.get("replayed_seconds", result.get("spared_seconds", 0.0))


def is_perturbed(ids: pd.Index | pd.Series):
    """Say of each row id whether it is a perturbed row's."""
    return ids.astype(str).str.contains(MARK, regex=False)


def _entry(run: Run, what: str, name: str):
    recorded = run.result.get(what, {})
    if name not in recorded:
        raise _lacks(run, name)
    return recorded[name]


def _lacks(run: Run, name: str) -> RecordError:
    return RecordError(
        f"{name}: run {run.id} has no such record, which {run.notebook} declares; another version "
        f"made it. Run {run.notebook} again"
    )


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
