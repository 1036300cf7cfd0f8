"""Tasks: what is learnt, from which rows, how they are split, and how answers are graded.

A task gives *canonical rows*: ``id``, ``time`` (UTC or null), the features (``text``, typed
columns, or float32 columns), ``label``, ``slice`` and ``split``; where the answer is a text, also
the ``reference`` that it is graded by. To add one, write a function that returns a `Task`,
put it in `_SHIPPED`, and add ``assets/datasheets/<name>.md`` and ``params/tasks/<name>.yaml``;
your own file needs none of this. A plugin registers one (`diptych.face.register.task`).
"""

import difflib
import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from diptych.base import plugins
from diptych.core.data import (
    generators,
    guesses,
    readers,
    schema,
    sources,
    splits,
    stratify,
    versions,
)
from diptych.core.data.column import NUMBER, Column
from diptych.core.data.facts import Conventions
from diptych.core.data.generators import summaries, support, tables
from diptych.core.data.schema import FRAME
from diptych.core.data.sources import DataError
from diptych.core.evaluation import graders, metrics
from diptych.core.evaluation.graders import REFERENCE, Scoring
from diptych.core.evaluation.metrics import METRICS, Metric, MetricError

OWN_LIVE_SHARE = 0.25  # of your own rows with times, the latest: met after release
RELEASE_MONTH = 13  # of `reviews`: what comes from then on is met after release


@dataclass
class Task:
    """A task and how to load its rows.

    Attributes
    ----------
    name : str
        Also names the data table and the registered model. A seed other than 0 splits the rows
        differently, so it has a name of its own.
    kind : str
        ``"text"``, ``"table"`` or ``"image"``.
    features : list of str
        The columns a model reads; ``["text"]`` for text, the names of `columns` for a typed table.
    datasheet : str
        Markdown.
    rows : callable
        Takes the seed and returns canonical rows; without ``split`` they are split by
        `splits.assign`.
    labels : tuple of str
        The classes; empty where the rows decide.
    bounds : tuple of float, optional
        Least and largest value of every numeric feature.
    apart : tuple of str
        Splits besides train, valid, test and live.
    grader : str
        How answers are graded in both panels: a name in
        `diptych.core.evaluation.graders.GRADERS`. Some compare with the rows' ``reference``.
    metric : Metric
        What selects, gates and monitors; where answers are graded as texts, their mean grade.
    replies : dict of str to str
        The canned answer of each class, where answers are texts.
    families : tuple of str
        Model families that suit, where they are not those of the kind.
    from_user : bool
        Whether these are the user's own rows.
    notes : list of str
        What was left out or decided on loading; known once the rows are loaded.
    columns : tuple of Column
        How each feature of a typed table is read; empty for text, images and tables of plain
        numbers.
    text_column : str
        What your own file calls the column of texts.
    target : str
        What the label's column is called, where it is a number.
    group_column : str
        The column of your own file whose rows stay together; "" is none.
    guesses : DataFrame or None
        What the reader of your own file guessed (`readers.RawTable.guessed`); known once the rows
        are loaded.
    beside : callable or None
        Returns your own table as its file has it, with the rows' ``id``, see `slices.groups`.
    parameters : dict
        What `get` was called with, by the names that notebooks have for it.
    """

    name: str
    kind: str
    features: list[str]
    datasheet: str
    rows: Callable[[int], pd.DataFrame] = field(repr=False)
    seed: int = 0
    labels: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    apart: tuple[str, ...] = ()
    grader: str = graders.LABEL
    metric: Metric = METRICS["accuracy"]
    replies: dict[str, str] = field(default_factory=dict, repr=False)
    families: tuple[str, ...] = ()
    from_user: bool = False
    notes: list[str] = field(default_factory=list)
    columns: tuple[Column, ...] = field(default=(), repr=False)
    text_column: str = "text"
    target: str = "label"
    group_column: str = ""
    guesses: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    beside: Callable[[], pd.DataFrame] | None = field(default=None, repr=False, compare=False)
    parameters: dict = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.metric = Scoring(self.grader, self.metric).metric

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        label_column: str = "label",
        text_column: str | None = None,
        name: str = "frame",
        **columns: Any,
    ) -> "Task":
        """Return a task over rows in memory.

        They are stored once in the workspace, as Parquet under the digest of their content, so that
        a notebook, which runs in a process of its own, reads the same rows.

        Parameters
        ----------
        frame : DataFrame
            The index is left out.
        label_column : str
            The column to predict.
        text_column : str, optional
            The column of texts, "" for a table; by default "text" where there is one.
        name : str
            What the task's name begins with.
        **columns
            ``time_column``, ``group_column``, ``read_options``, ``seed``, ``metric``: see `get`.

        Raises
        ------
        DataError
            If a column is not there, or holds what a table cannot store.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"age": [20, 60] * 40, "churn": ["no", "yes"] * 40})
        >>> task = dt.Task.from_frame(frame, label_column="churn", name="churn")
        >>> task.features
        ['age']
        """
        from diptych.core.data import frames

        place = frames.stored(frame, name, label_column, text_column)
        if text_column is None:
            text_column = "text" if "text" in frame.columns else ""
        return get(str(place), text_column=text_column, label_column=label_column, **columns)

    @property
    def regression(self) -> bool:
        """Whether the label is a number, float64 in the canonical rows."""
        return self.metric.needs == metrics.NUMBERS

    @property
    def scoring(self) -> Scoring:
        """How answers are graded, and which metric of them decides."""
        return Scoring(self.grader, self.metric)

    def settle_metric(self, spec: str, data: pd.DataFrame) -> tuple[str, str]:
        """Return the metric that decides, and why, as `metrics.settle` does.

        Parameters
        ----------
        spec : str
            The parameter ``metric``.
        data : DataFrame
            Canonical rows.

        Raises
        ------
        DataError
            If the metric does not suit the task.
        """
        if graders.get(self.grader).needs_reference:
            if spec:
                raise DataError(
                    f"metric: {spec!r} is given, and the answers of {self.name} are graded by "
                    f"{self.metric.title}; leave it empty"
                )
            return self.metric.spec, f"Answers are texts, graded by {self.metric.title}."
        train = data.loc[data["split"] == "train", "label"].dropna()
        try:
            return metrics.settle(spec, train.to_numpy(float if self.regression else object))
        except MetricError as error:
            raise DataError(str(error)) from error

    @property
    def base(self) -> str:
        """The name whatever the seed, under which its prompts lie."""
        return self.name.removesuffix(f"-seed{self.seed}") if self.seed else self.name

    @property
    def schema(self) -> pa.Schema:
        """Column names and types of the canonical rows."""
        reference = graders.get(self.grader).needs_reference
        return schema.schema(self.features, reference, self.columns, self.regression)

    def take(self, frame: pd.DataFrame) -> "Task":
        """Let these be the task's rows: what `load` returned, as a notebook has changed it since.

        Rows may be left out, values corrected, and ``split`` be another.
        """
        rows = frame.copy()
        self.rows = lambda seed: rows
        return self

    def load(self) -> pd.DataFrame:
        """Return the canonical rows, sorted by id.

        Raises
        ------
        DataError
            If the rows lack the reference that the grader needs, or the user's own rows cannot
            be read as the task needs.
        """
        frame = self.rows(self.seed)
        if REFERENCE in self.schema.names and REFERENCE not in frame:
            raise DataError(
                f"task: {self.name} is graded by {self.grader}, which needs a column "
                f"{REFERENCE!r}; add it, or take the grader {graders.LABEL}."
            )
        if "split" not in frame:
            frame["split"] = splits.assign(frame, self.features, self.seed)
        return versions.by_id(frame[self.schema.names])


def get(
    task: str,
    *,
    text_column: str = "text",
    label_column: str = "label",
    time_column: str = "",
    group_column: str = "",
    read_options: str = "",
    seed: int = 0,
    data_version: int = -1,
    metric: str = "",
) -> Task:
    """Return a built-in task by name, or one over your own rows by their place.

    Parameters
    ----------
    task : str
        A name in `BUILT_IN`, or a location that `readers.read_table` reads. A place whose
        rows were ingested before is not read again until the task's rows are loaded.
    text_column, label_column, time_column, group_column : str
        Columns of your own rows, see `schema.interpret`. Rows of one group are in one split.
    read_options : str
        How your own file is read where a guess was wrong, see `readers.parse_options`.
    seed : int
        Of the split.
    data_version : int
        Of the ingested rows whose columns the task has; -1 is the newest.
    metric : str
        The parameter of ``1_data``, or as `Task.settle_metric` settled it there; "" is accuracy,
        or RMSE where the label is a number. It says which of the two your own label is.

    Raises
    ------
    DataError
        If the name is unknown, the rows cannot be read, a column is not as it must be, or the
        metric suits no such label.
    """
    chosen = _parsed(metric) if metric else None
    parameters = {
        "task": task, "text_column": text_column, "label_column": label_column,
        "time_column": time_column, "group_column": group_column, "read_options": read_options,
        "seed": seed, "data_version": data_version, "metric": metric,
    }  # fmt: skip
    if task in BUILT_IN:
        built_in = BUILT_IN[task]()
        name = _seeded(built_in.name, seed)
        subject = replace(built_in, seed=seed, name=name, metric=chosen or built_in.metric)
        _refuse_metric(metric, built_in.regression, subject)
        subject.parameters = parameters
        return subject
    if sources.looks_like_location(task):
        own = OwnRows(
            readers.resolve(task), text_column, label_column, time_column, group_column,
            read_options.strip(), target_of(metric),
        )  # fmt: skip
        subject = _own(own, seed, data_version, chosen)
        subject.parameters = parameters
        return subject
    near = difflib.get_close_matches(task, BUILT_IN, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"task: {task!r} is no task. {hint}Take one of {', '.join(BUILT_IN)}, or the path or URL "
        f"of a CSV, Parquet or Delta table{plugins.failures()}."
    )


def of_run(run: Any) -> Task:
    """Return the task of a run in progress, as its parameters say, on the rows it builds on.

    Parameters
    ----------
    run : Recorder
        See `diptych.core.store.records.start`. One that builds on ``1_data`` takes its version of
        the rows and its metric.

    Raises
    ------
    DataError
        As `get` does.
    """
    parameters = run.fact("parameters")
    names = ("task", "text_column", "label_column", "time_column", "group_column", "read_options")
    options = {name: parameters[name] for name in (*names, "seed", "metric") if name in parameters}
    if run.upstream:
        options |= {"data_version": run.data_version(), "metric": run.metric()}
    return get(**options)


def target_of(metric: str) -> str:
    """Return what a metric says of the label, as `schema.interpret` takes it; "" says nothing.

    Raises
    ------
    DataError
        If there is no such metric.
    """
    if not metric:
        return ""
    return NUMBER if _parsed(metric).needs == metrics.NUMBERS else schema.CLASSES


def _parsed(metric: str) -> Metric:
    try:
        return metrics.parse(metric)
    except MetricError as error:
        raise DataError(str(error)) from error


def _refuse_metric(metric: str, number: bool, subject: Task) -> None:
    """Refuse a metric of numbers for labels that are classes, and the other way round."""
    if metric and subject.regression != number and not graders.get(subject.grader).needs_reference:
        suits = (metrics.NUMBERS,) if number else metrics.LABELS_OR
        names = ", ".join(x.name for x in METRICS.values() if x.needs in suits)
        raise DataError(
            f"metric: {metric!r} does not suit the labels of {subject.name}, which are "
            f"{'numbers' if number else 'classes'}; take one of {names}"
        )


def name_of(task: str, parameters: Mapping) -> str:
    """Return the name that a task has with parameters of `get`; nothing is read.

    Raises
    ------
    DataError
        If it is neither a task nor a place.
    """
    name = task
    if task not in BUILT_IN:
        columns = ("text_column", "label_column", "time_column", "group_column", "read_options")
        chosen = {key: parameters[key] for key in columns if key in parameters}
        name = OwnRows(readers.resolve(task), **chosen).name
    return _seeded(name, parameters.get("seed", 0))


def _seeded(name: str, seed: int) -> str:
    return f"{name}-seed{seed}" if seed else name


def _reviews() -> Task:
    def rows(seed: int) -> pd.DataFrame:
        stream = generators.reviews()
        release = stream["time"].min().normalize().replace(day=1)
        release += pd.DateOffset(months=RELEASE_MONTH - 1)
        stream["split"] = splits.assign(stream, ["text"], seed, release)
        by_hand = generators.handwritten().assign(split="handwritten")
        by_hand["time"] = schema.no_times(by_hand.index)
        both = pd.concat([stream, by_hand], ignore_index=True)
        return both.rename(columns={"domain": "slice"})

    labels = ("negative", "positive")
    sheet = _datasheet("reviews")
    return Task("reviews", "text", ["text"], sheet, rows, labels=labels, apart=("handwritten",))


def _tumours() -> Task:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    names = [re.sub(r"\W+", "_", str(name)) for name in data.feature_names]
    classes = tuple(str(name) for name in data.target_names)

    def rows(_: int) -> pd.DataFrame:
        frame = _table("tumour", data.data, names, np.asarray(classes)[data.target])
        tertile = pd.qcut(frame["mean_radius"], 3, labels=["small", "medium", "large"])
        return frame.assign(slice=tertile.astype("str"))

    sheet = _datasheet("tumours")
    return Task("tumours", "table", names, sheet, rows, labels=classes, bounds=(0, np.inf))


def _digits() -> Task:
    from sklearn.datasets import load_digits

    names = [f"p{i:02d}" for i in range(64)]

    def rows(_: int) -> pd.DataFrame:
        data = load_digits()
        return _table("digit", data.data, names, data.target.astype(str))

    sheet = _datasheet("digits")
    return Task("digits", "image", names, sheet, rows, labels=tuple("0123456789"), bounds=(0, 16))


def _support() -> Task:
    def rows(seed: int) -> pd.DataFrame:
        frame = support.support()
        frame["time"] = schema.no_times(frame.index)
        # split as rows without a time are; unseen wordings are a split of their own
        split = splits.assign(frame, ["text"], seed)
        return frame.assign(split=split.where(~frame["held"], "handwritten"))

    replies = support.replies()
    return Task(
        "support", "text", ["text"], _datasheet("support"), rows, labels=tuple(replies),
        apart=("handwritten",), grader=graders.CONTAINS, replies=replies,
    )  # fmt: skip


def _summaries() -> Task:
    def rows(_: int) -> pd.DataFrame:
        frame = summaries.summaries().rename(columns={"domain": "slice"})
        return frame.assign(time=schema.no_times(frame.index))

    places = tuple(str(place + 1) for place in range(summaries.LAST))
    return Task(
        "summaries", "text", ["text"], _datasheet("summaries"), rows, labels=places,
        grader=graders.ROUGE_L, families=("lead", "ranker"),
    )  # fmt: skip


@functools.cache
def _churn() -> Task:
    return _people("churn", tables.churn, "customer_id", "snapshot_date", "churned", "region")


@functools.cache
def _claims() -> Task:
    return _people("claims", tables.claims, "policy_id", "reported_at", "fraud", "channel")


@functools.cache
def _demand() -> Task:
    """Return the table of hours, whose label is a number; hour and weekday are columns."""
    raw = tables.demand()
    start = raw["hour_start"].dt
    raw = raw.assign(hour=start.hour, weekday=start.day_name().astype("str"))
    raw = raw.assign(slice=np.where(raw["working_day"], "working day", "day off"))
    known = schema.interpret(raw, "", "rentals", "hour_start", target=NUMBER)

    def rows(seed: int) -> pd.DataFrame:
        return _assigned(known, seed)[0]

    return Task(
        "demand", "table", known.features, _datasheet("demand"), rows, columns=known.columns,
        metric=METRICS["rmse"], target="rentals",
    )  # fmt: skip


def _people(name: str, generate: Callable, key: str, time: str, label: str, group: str) -> Task:
    """Return a typed table of one row a person: its columns are inferred, as a file's are."""
    raw = generate()
    raw = raw.rename(columns={key: "id"}).assign(slice=raw[group])
    known = schema.interpret(raw, "", label, time)

    def rows(seed: int) -> pd.DataFrame:
        return _assigned(known, seed)[0]

    return Task(
        name, "table", known.features, _datasheet(name), rows, labels=("no", "yes"),
        columns=known.columns,
    )  # fmt: skip


_SHIPPED: dict[str, Callable[[], Task]] = {
    "reviews": _reviews,
    "tumours": _tumours,
    "digits": _digits,
    "support": _support,
    "summaries": _summaries,
    "churn": _churn,
    "claims": _claims,
    "demand": _demand,
}
BUILT_IN: plugins.Registry[Callable[[], Task]] = plugins.Registry(
    "task", _SHIPPED, "core.data.added_tasks"
)


def _table(prefix: str, data: np.ndarray, names: list[str], labels: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame(np.asarray(data, dtype=np.float32), columns=names)
    ids = [f"{prefix}-{i:05d}" for i in range(len(frame))]
    return frame.assign(id=ids, time=schema.no_times(frame.index), label=labels, slice="")


@dataclass(frozen=True)
class OwnRows:
    """Where your own rows lie and how they are read."""

    place: str
    text_column: str = "text"
    label_column: str = "label"
    time_column: str = ""
    group_column: str = ""
    read_options: str = ""
    target: str = ""  # of `schema.interpret`; no part of the name

    @functools.cached_property
    def options(self) -> dict[str, str]:
        """Return what `read_options` says; raises as `readers.parse_options` does."""
        return readers.parse_options(self.read_options)

    @property
    def name(self) -> str:
        """Return a name that no other place or way of reading shares."""
        parts = [self.place, self.text_column, self.label_column, self.time_column]
        if self.group_column or self.read_options:
            parts += [self.group_column, self.read_options]
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:6]
        slug = re.sub(r"[^a-z0-9]+", "-", readers.stem(self.place).lower()).strip("-")[:40]
        return f"{slug or 'data'}-{digest}"

    def read_raw(self) -> readers.RawTable:
        """Return the table as its file has it; raises as `readers.read_table` does."""
        return readers.read_table(self.place, self.options, self.named)

    def read_whole(self) -> pd.DataFrame:
        """Return the table with the columns that ``kinds`` drops; raises as `read_raw` does."""
        options = readers.without_drops(self.options)
        return readers.read_table(self.place, options, self.named).frame

    def conventions(self, raw: readers.RawTable | None = None) -> Conventions:
        """Return what the user and the file settle about numbers, gaps and dates."""
        options = self.options
        settled: dict[str, Any] = {
            "order": options.get("dates", ""),
            "percent": options.get("percent", ""),
        }
        settled["zone"] = options.get("zone", "UTC")
        kinds = readers.kinds_of(options)
        settled["kinds"] = {name: kind for name, kind in kinds.items() if kind != readers.DROP}
        settled["labels"] = readers.labels_of(options)
        words = self.options.get("missing", "")
        decimal = self.options.get("decimal", raw.conventions.decimal if raw else "")
        if "decimal" in self.options or decimal == ",":  # a point may be no more than the default
            settled["decimal"] = decimal
        if "missing" in self.options:  # a typed format's reader does not look at it
            settled["missing"] = ("", *filter(None, map(str.strip, words.split(","))))
        return Conventions(**settled)

    def interpret(self, raw: readers.RawTable) -> schema.Rows:
        """Return the rows without their split; raises as `schema.interpret` does."""
        return schema.interpret(raw.frame, *self.columns, self.conventions(raw), self.target)

    @property
    def named(self) -> list[str]:
        """The columns that were named: a first row that holds one of them is the header."""
        return [name for name in self.columns if name]

    @property
    def columns(self) -> tuple[str, str, str, str]:
        """The columns of text, label, time and group; "" is none."""
        return self.text_column, self.label_column, self.time_column, self.group_column


def _own(own: OwnRows, seed: int, data_version: int, metric: Metric | None) -> Task:
    name = _seeded(own.name, seed)
    task = Task(name, "table", [], "", lambda seed: load(seed), seed, from_user=True)
    task.target, task.group_column = own.label_column, own.group_column
    task.metric = metric or task.metric

    @functools.cache
    def assigned(seed: int) -> tuple[pd.DataFrame, stratify.Assignment]:
        frame, assignment = _assigned(read()[1], seed, OWN_LIVE_SHARE)
        return versions.by_id(frame), assignment

    @functools.cache
    def read() -> tuple[readers.RawTable, schema.Rows]:
        raw = own.read_raw()
        return raw, own.interpret(raw)

    def describe(features: list[str], columns: tuple[Column, ...], number: bool) -> None:
        task.features, task.columns = features, columns
        task.metric = metric or METRICS["rmse" if number else "accuracy"]
        task.kind = "text" if features == ["text"] else "table"
        task.text_column = own.text_column if task.kind == "text" else "text"
        task.datasheet = OWN_SHEET.format(
            place=readers.shown(own.place),
            inputs="one text" if task.kind == "text" else f"{len(features)} columns",
            label=f"the {'number' if number else 'class'} in the column `{own.label_column}`",
            time=f"the column `{own.time_column}`" if own.time_column else "none",
        )

    def load(seed: int) -> pd.DataFrame:
        raw, rows = read()
        describe(rows.features, rows.columns, rows.regression)
        frame, assignment = assigned(seed)
        task.notes[:] = [*raw.notes, *rows.notes, *assignment.notes]
        task.guesses = readers.guess_table([*raw.guesses, *guesses.of_rows(rows)])
        return frame.copy(deep=False)

    def beside() -> pd.DataFrame:
        rows = read()[1]
        whole = own.read_whole().iloc[rows.positions].reset_index(drop=True)
        return whole.drop(columns="id", errors="ignore").assign(id=rows.frame["id"])

    task.rows, task.beside = load, beside
    # known rows are pinned by version, so their source may be gone
    stored = versions.meaning(name, data_version)
    if stored:
        describe([x for x in stored.names if x not in FRAME], stored.columns, stored.regression)
    else:
        rows = read()[1]
        describe(rows.features, rows.columns, rows.regression)
    return task


def assigned(rows: schema.Rows, seed: int) -> pd.DataFrame:
    """Return the canonical rows of an interpreted table, with their split."""
    return _assigned(rows, seed)[0]


def _assigned(
    rows: schema.Rows, seed: int, live_share: float = stratify.LIVE_SHARE
) -> tuple[pd.DataFrame, stratify.Assignment]:
    """Return canonical rows with their split, and how they were split."""
    frame, assignment = rows.frame.copy(deep=False), _assign(rows, seed, live_share)
    frame["split"] = pd.Series(assignment.split, index=frame.index, dtype="str")
    return frame, assignment


def _assign(rows: schema.Rows, seed: int, live_share: float) -> stratify.Assignment:
    """Split your own rows: as the file says, else so that every class can be in each split."""
    frame = rows.frame
    try:
        if rows.named_splits is not None:
            return stratify.file_splits(rows.named_splits.to_numpy(), rows.content, seed)
        labels = frame["label"].to_numpy(dtype=object)
        if rows.regression:  # no class can be absent from a split
            labels = np.full(len(frame), "a number", dtype=object)
        times = None if frame["time"].isna().all() else frame["time"]
        live_from = None if times is None else stratify.middle(times, live_share)
        return stratify.assign(
            rows.content, labels, seed, times=times, live_from=live_from,
            groups=rows.groups, repeats=rows.kind == "table",
        )  # fmt: skip
    except stratify.SplitError as error:
        raise DataError(str(error)) from error


OWN_SHEET = """# Datasheet: your own rows

Read from `{place}`: {inputs}, {label}, time: {time}.

How they were collected, whom they describe and what they must not be used for is yours to add.
"""


def _datasheet(name: str) -> str:
    return (resources.files("diptych") / "assets" / "datasheets" / f"{name}.md").read_text("utf-8")
