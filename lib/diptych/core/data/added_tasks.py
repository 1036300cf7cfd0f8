"""Tasks that plugins add: a function that returns the rows, or a whole task."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from diptych.base.plugins import PluginError
from diptych.core.data import schema, tasks
from diptych.core.data.column import NUMBER
from diptych.core.data.sources import DataError
from diptych.core.data.tasks import Task
from diptych.core.evaluation import graders, metrics

NAME = re.compile(r"[a-z][a-z0-9_-]*")
COLUMNS = (
    "text_column", "label_column", "time_column", "group_column", "metric", "datasheet", "grader",
    "reference_column", "replies",
)  # fmt: skip


def builder(name: str, function: object, **columns: Any) -> Callable[[], Task]:
    """Return what makes the task, see `diptych.face.register.task`; nothing is read now.

    Raises
    ------
    PluginError
        If the name is none, it is no function, or a column has an unknown name.
    """
    if not NAME.fullmatch(name):
        raise PluginError(f"task: {name!r} is no name; write small letters, digits, - and _")
    if not callable(function):
        raise PluginError(f"task: {name!r} is no function that returns rows or a Task")
    if unknown := columns.keys() - set(COLUMNS):
        raise PluginError(f"task: {min(unknown)!r} is not known; there are {', '.join(COLUMNS)}")

    @functools.cache
    def build() -> Task:
        content = function()
        if isinstance(content, Task):
            return content
        if isinstance(content, pd.DataFrame):
            return _of_frame(name, content, **columns)
        raise DataError(
            f"task: the function of {name!r} gave a {type(content).__name__}; return a DataFrame, "
            "or a Task"
        )

    return build


read_added = builder  # what a package's entry point gives: a function


def _of_frame(
    name: str,
    frame: pd.DataFrame,
    text_column: str | None = None,
    label_column: str = "label",
    time_column: str = "",
    group_column: str = "",
    metric: str = "",
    datasheet: str = "",
    grader: str = graders.LABEL,
    reference_column: str = graders.REFERENCE,
    replies: Mapping[str, str] | None = None,
) -> Task:
    if text_column is None:
        text_column = "text" if "text" in frame else ""
    raw = frame.reset_index(drop=True)
    target = tasks.target_of(metric)
    known = schema.interpret(raw, text_column, label_column, time_column, group_column,
                             target=target)  # fmt: skip

    references = _references(name, raw, grader, reference_column)

    def rows(seed: int) -> pd.DataFrame:
        frame = tasks.assigned(known, seed)
        return frame if references is None else frame.assign(reference=references[known.positions])

    number = known.regression or target == NUMBER
    chosen = metrics.parse(metric or ("rmse" if number else "accuracy"))
    labels = () if number else tuple(sorted(known.frame["label"].unique()))
    kind = "text" if known.features == ["text"] else "table"
    sheet = datasheet or f"# Datasheet: {name}\n\nRows of the plugin that registers this task.\n"
    return Task(
        name, kind, known.features, sheet, rows, labels=labels, metric=chosen,
        columns=known.columns, notes=list(known.notes), grader=grader, replies=dict(replies or {}),
    )  # fmt: skip


def _references(name: str, raw: pd.DataFrame, grader: str, column: str) -> np.ndarray | None:
    """Return what answers are compared with, by row; None where they are compared with labels.

    Raises
    ------
    DataError
        If the grader compares with a column that the rows have not.
    """
    if not graders.get(grader).needs_reference:
        return None
    if column not in raw:
        raise DataError(
            f"reference_column: {name} is graded by {grader}, which compares with {column!r}, and "
            f"the rows have {', '.join(map(str, raw))}; name the column that holds the references"
        )
    return raw[column].to_numpy(object)
