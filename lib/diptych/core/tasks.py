"""Tasks: what is learnt, from which rows, split how, judged by what.

A task gives *canonical rows*: ``id``, ``time`` (UTC or null), the features (``text``, or float32
columns), ``label``, ``slice`` and ``split``. To add one, write a loader and put it in `BUILT_IN`;
your own file needs neither.
"""

import difflib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources

import numpy as np
import pandas as pd

from diptych.core import corpus, sources, splits
from diptych.core.sources import DataError

FRAME = ("id", "time", "label", "slice", "split")
MOST_CLASSES = 50


@dataclass
class Task:
    """A task and how to load its rows.

    Attributes
    ----------
    name : str
        Also names the data table and the registered model.
    kind : str
        ``"text"``, ``"table"`` or ``"image"``.
    features : list of str
        The columns a model reads.
    datasheet : str
        Markdown.
    own : bool
        Whether these are the user's own rows.
    notes : list of str
        What loading left out.
    """

    name: str
    kind: str
    features: list[str]
    datasheet: str
    rows: Callable[[], pd.DataFrame] = field(repr=False)
    seed: int = 0
    metric: str = "accuracy"
    own: bool = False
    notes: list[str] = field(default_factory=list)

    def load(self) -> pd.DataFrame:
        """Return the canonical rows, sorted by id."""
        frame = self.rows()
        if "split" not in frame:
            frame["split"] = splits.assign(frame, self.features, self.seed)
        return frame[["id", "time", *self.features, "label", "slice", "split"]].sort_values(
            "id", ignore_index=True
        )


def get(
    task: str,
    *,
    text_column: str = "text",
    label_column: str = "label",
    time_column: str = "",
    seed: int = 0,
) -> Task:
    """Return a built-in task by name, or one over your own rows by their place.

    Parameters
    ----------
    task : str
        A name in `BUILT_IN`, or the path or URL of a CSV, Parquet or Delta table.
    text_column, label_column, time_column : str
        Columns of your own rows; an empty `time_column` means no time. Without a column
        `text_column` all numeric columns are the features.

    Raises
    ------
    DataError
        If the name is unknown, the rows cannot be read, or a column is not as it must be.
    """
    if task in BUILT_IN:
        return BUILT_IN[task](seed)
    if not sources.looks_like_location(task):
        near = difflib.get_close_matches(task, BUILT_IN, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise DataError(
            f"task: {task!r} is no task.{meant} Take one of {', '.join(BUILT_IN)}, or the path "
            "or URL of a CSV, Parquet or Delta table"
        )
    return _own(sources.resolve(task), text_column, label_column, time_column, seed)


def _reviews(seed: int) -> Task:
    def rows() -> pd.DataFrame:
        generated = corpus.reviews(seed=seed)
        generated["split"] = splits.assign(generated, ["text"], seed)
        by_hand = corpus.handwritten().assign(split="handwritten")
        by_hand["time"] = _no_times(by_hand)
        both = pd.concat([generated, by_hand], ignore_index=True)
        return both.rename(columns={"domain": "slice"})

    return Task("reviews", "text", ["text"], _datasheet("reviews"), rows, seed)


def _tumours(seed: int) -> Task:
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    names = [re.sub(r"\W+", "_", str(name)) for name in found.feature_names]

    def rows() -> pd.DataFrame:
        labels = np.asarray(found.target_names)[found.target]
        frame = _table("tumour", found.data, names, labels)
        radius = frame["mean_radius"]
        frame["slice"] = pd.qcut(radius, 3, labels=["small", "medium", "large"]).astype(str)
        return frame

    return Task("tumours", "table", names, _datasheet("tumours"), rows, seed)


def _digits(seed: int) -> Task:
    from sklearn.datasets import load_digits

    names = [f"p{i:02d}" for i in range(64)]

    def rows() -> pd.DataFrame:
        found = load_digits()
        return _table("digit", found.data, names, found.target.astype(str))

    return Task("digits", "image", names, _datasheet("digits"), rows, seed)


BUILT_IN = {"reviews": _reviews, "tumours": _tumours, "digits": _digits}


def _table(prefix: str, data, names: list[str], labels) -> pd.DataFrame:
    frame = pd.DataFrame(np.asarray(data, dtype=np.float32), columns=names)
    frame["id"] = [f"{prefix}-{i:05d}" for i in range(len(frame))]
    frame["time"] = _no_times(frame)
    frame["label"], frame["slice"] = labels, ""
    return frame


def _no_times(frame: pd.DataFrame) -> pd.Series:
    return pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")


def _own(place: str, text_column: str, label_column: str, time_column: str, seed: int) -> Task:
    raw = sources.read(place)
    label = _column(raw, "label_column", label_column).astype("string")
    _check_labels(label, label_column)
    kind = "text" if text_column and text_column in raw else "table"
    taken = {label_column, time_column}
    notes = []
    if kind == "text":
        features = ["text"]
        data = pd.DataFrame({"text": _column(raw, "text_column", text_column).astype(str)})
    else:
        numbers = raw.drop(columns=[c for c in taken if c in raw]).apply(
            pd.to_numeric, errors="coerce"
        )
        numeric = [c for c in numbers if numbers[c].notna().any()]
        left = [c for c in numbers if c not in numeric]
        if left:
            notes.append(f"left out, not numeric: {', '.join(left)}")
        if not numeric:
            raise DataError(
                f"text_column: there is no column {text_column!r} and no numeric one either; "
                f"the columns are {', '.join(raw.columns)}"
            )
        data = numbers[numeric].astype(np.float32)
        features = [re.sub(r"\W+", "_", c).strip("_") or f"column_{i}" for i, c in enumerate(data)]
        data.columns = features
    data["id"] = [f"row-{i:07d}" for i in range(len(raw))]
    data["time"] = _times(raw, time_column)
    data["label"], data["slice"] = label.astype(object), ""
    name = re.sub(r"[^a-z0-9]+", "-", sources.stem(place).lower()).strip("-") or "data"
    choice = "\0".join((place, text_column, label_column, time_column))
    name = f"{name}-{hashlib.sha256(choice.encode()).hexdigest()[:6]}"
    sheet = f"Your own rows from {sources.shown(place)}: {len(raw):,} rows."
    return Task(name, kind, features, sheet, data.copy, seed, own=True, notes=notes)


def _column(raw: pd.DataFrame, parameter: str, name: str) -> pd.Series:
    if name not in raw:
        near = difflib.get_close_matches(name, list(raw.columns), n=1, cutoff=0.5)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise DataError(
            f"{parameter}: there is no column {name!r}. {meant}"
            f"The columns are {', '.join(raw.columns)}"
        )
    missing = raw[name].isna()
    if missing.any():
        raise DataError(
            f"{parameter}: {name} is empty in {int(missing.sum())} rows, the first is row "
            f"{int(missing.to_numpy().argmax()) + 1}; fill or remove them"
        )
    return raw[name]


def _check_labels(label: pd.Series, name: str) -> None:
    classes = label.nunique()
    if classes < 2 or classes > MOST_CLASSES:
        raise DataError(
            f"label_column: {name} holds {classes} different values; a class column has 2 to "
            f"{MOST_CLASSES}, so choose another column"
        )


def _times(raw: pd.DataFrame, name: str) -> pd.Series:
    if not name:
        return _no_times(raw)
    column = _column(raw, "time_column", name)
    times = pd.to_datetime(column, utc=True, errors="coerce", format="mixed")
    if times.isna().any():
        row = int(times.isna().to_numpy().argmax())
        raise DataError(
            f"time_column: {name} in row {row + 1} is {column.iloc[row]!r}, which is no time; "
            "write times such as 2025-03-31 or 2025-03-31T14:00"
        )
    return times.astype("datetime64[us, UTC]")


def _datasheet(name: str) -> str:
    return (resources.files("diptych") / "assets" / "datasheets" / f"{name}.md").read_text("utf-8")
