"""What the columns of your own table mean: from raw columns to canonical rows.

Canonical rows are what every stage reads: ``id``, ``time`` (UTC or null), the features
(``text``, or typed columns), ``label``, ``slice`` and ``split``.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from diptych.core.data import splits, stratify, typing
from diptych.core.data.column import (
    BOOLEAN,
    MISSING,
    NUMBER,
    TIME,
    TRUTH,
    Column,
    TypedColumns,
    spelling,
)
from diptych.core.data.facts import Conventions, KindError, LeftOutError
from diptych.core.data.sources import DataError
from diptych.core.data.times import TimeError, read_times
from diptych.core.evaluation.graders import REFERENCE

FRAME = ("id", "time", "label", "slice", "split")
FILLED = ("id", "label", "slice", "split", "text", REFERENCE)  # never null
MOST_SLICES = 50
MOST_CLASSES = 1_000
MANY_CLASSES, FEWEST_ROWS = 50, 5  # above so many classes each needs so many rows on average
FEW_NUMBERS = 20  # different numbers that are taken for classes unless the user decides otherwise
CLASSES = "classes"  # what a label is, beside a number
ARROW = {NUMBER: pa.float64(), BOOLEAN: pa.bool_(), TIME: pa.timestamp("us", "UTC")}


@dataclass(frozen=True)
class Rows:
    """Canonical rows without their split.

    Attributes
    ----------
    frame : DataFrame
        ``id``, ``time``, the features, ``label``, ``slice``. Rows without a label (or text, or
        time, where there is such a column) are left out.
    kind : str
        ``"text"`` or ``"table"``.
    features : list of str
        ``["text"]``, or the typed columns, their names made into identifiers.
    content : ndarray of uint64
        A hash of what a model reads of each row, see `splits.content_hash`.
    notes : list of str
        What was left out or decided, and why.
    typed : TypedColumns
        How each feature column is read; empty for text.
    label : Column or None
        How labels are read.
    groups, named_splits : Series or None
        The group of each row, and the split that the file names.
    positions : ndarray of int
        Of each row in the file.
    """

    frame: pd.DataFrame
    kind: str
    features: list[str]
    content: np.ndarray = field(repr=False)
    notes: list[str] = field(default_factory=list)
    typed: TypedColumns = field(default_factory=lambda: TypedColumns([]))
    label: Column | None = None
    groups: pd.Series | None = None
    named_splits: pd.Series | None = None
    positions: np.ndarray | None = field(default=None, repr=False)

    @property
    def regression(self) -> bool:
        """Whether the label is a number."""
        return is_number(self.frame["label"])

    @property
    def columns(self) -> tuple[Column, ...]:
        """The typed feature columns; none for text."""
        return tuple(self.typed.columns)


def schema(
    features: list[str],
    reference: bool = False,
    columns: Sequence[Column] = (),
    regression: bool = False,
) -> pa.Schema:
    """Return the types of canonical rows; only ``time`` and feature columns may be null.

    Parameters
    ----------
    features : list of str
    reference : bool
        Whether the rows hold a reference to grade answers by.
    columns : sequence of Column
        Of a typed table; without them the features are float32.
    regression : bool
        Whether the label is a number.
    """
    numbers = [] if features == ["text"] or columns else features
    strings = [*([REFERENCE] if reference else []), "slice", "split"]
    label = pa.field("label", pa.float64() if regression else pa.string())
    typed = [pa.field(column.name, ARROW.get(column.kind, pa.string())) for column in columns]
    texts = features if features == ["text"] else []
    return pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("time", pa.timestamp("us", "UTC")),
            *typed,
            *(pa.field(name, pa.float32()) for name in numbers),
            *(pa.field(name, pa.string()) for name in texts),
            label,
            *(pa.field(name, pa.string()) for name in strings),
        ]
    )


def right_answer(row: Mapping) -> str:
    """Return the right answer to a row, as an example shows it.

    It is the first line of the reference where the task's grader needs one, else the label.
    """
    if REFERENCE in row:
        return row[REFERENCE].split("\n")[0]
    return row["label"] if isinstance(row["label"], str) else f"{row['label']:.10g}"


def sliced_by(rows: pd.DataFrame) -> str:
    """Return the column that slices rows: ``slice``, or the class where all are of one slice.

    Numbers are no classes, so rows with a number are always sliced by ``slice``.
    """
    return "slice" if rows["slice"].nunique() > 1 or is_number(rows["label"]) else "label"


def is_number(labels: pd.Series) -> bool:
    """Return whether labels are numbers; classes are strings."""
    return pd.api.types.is_float_dtype(labels.dtype)


def no_times(index: pd.Index) -> pd.Series:
    """Return a time column of nulls."""
    return pd.Series(pd.NaT, index=index, dtype="datetime64[us, UTC]")


def interpret(
    raw: pd.DataFrame,
    text_column: str,
    label_column: str,
    time_column: str,
    group_column: str = "",
    conventions: Conventions | None = None,
    target: str = "",
) -> Rows:
    """Turn raw columns into canonical rows.

    Parameters
    ----------
    raw : DataFrame
        As `readers.read_table` returns it.
    text_column : str
        "", or the default name ``text`` where there is no such column, makes every column that a
        model can use a feature.
    label_column, time_column, group_column : str
        The last two may be "". A column ``id`` of distinct values becomes the id, a column
        ``slice`` the slice, a column ``split`` of such words the split.
    conventions : Conventions, optional
        What the user or the file settles about numbers, gaps and dates.
    target : str
        What the label is: ``"number"`` or ``"classes"``. "" lets its values decide: numbers are
        classes where at most `FEW_NUMBERS` differ.

    Raises
    ------
    DataError
        If a column is not there, or its values are not what the parameter needs.
    """
    conventions = conventions or Conventions()
    chosen = {
        "label_column": label_column,
        "text_column": text_column,
        "time_column": time_column,
        "group_column": group_column,
    }
    _refuse_twice(chosen)
    notes: list[str] = []
    _refuse_kinds(conventions.kinds, raw, label_column, time_column)
    is_text = _has_text(raw, text_column)
    decimals = typing.Decimals(raw, conventions)
    label, labels = _labels(raw, label_column, decimals, notes, target)
    needed = chosen if is_text else chosen | {"text_column": ""}
    raw, labels, positions = _complete(raw, labels, needed, notes)
    _refuse_labels(labels, label_column)
    frame = pd.DataFrame(index=raw.index)
    frame["time"] = _times(raw, time_column, conventions, notes)
    split_column = _split_column(raw, {*chosen.values()}, notes)
    named = raw[split_column].astype("str").str.strip() if split_column else None
    parts = {*filter(None, chosen.values()), "id", "slice"}
    parts |= {split_column} if split_column else set()
    if is_text:
        kind, features, typed = "text", ["text"], TypedColumns([])
        frame["text"] = _texts(raw, text_column, parts, notes)
    else:
        typed = typed_columns(raw, conventions, parts, decimals)
        _refuse_features(typed, raw, text_column)
        kind, features = "table", [column.name for column in typed.columns]
        notes += typed.sentences()
        frame = pd.concat([frame, typed.read(raw)], axis=1)
    frame["label"] = labels
    frame["slice"] = _slices(raw, notes)
    content = splits.content_hash(frame, features)
    frame.insert(0, "id", _ids(raw, frame, content, notes))
    groups = _strings(raw[group_column]).map(spelling) if group_column else None
    return Rows(frame, kind, features, content, notes, typed, label, groups, named, positions)


def check_columns(
    names: Sequence[str], text_column: str, label_column: str, time_column: str, group_column: str
) -> None:
    """Refuse parameters that name no column, or one column twice; see `interpret`.

    Raises
    ------
    DataError
        Naming the parameter, and a column that is near.
    """
    raw = pd.DataFrame(columns=list(names))
    chosen = {
        "label_column": label_column, "text_column": text_column, "time_column": time_column,
        "group_column": group_column,
    }  # fmt: skip
    _refuse_twice(chosen)
    if text_column == "text" and text_column not in raw:
        chosen["text_column"] = ""
    for parameter, name in chosen.items():
        if name or parameter == "label_column":
            _column(raw, parameter, name)


def typed_columns(
    raw: pd.DataFrame,
    conventions: Conventions,
    exclude: Iterable[str],
    decimals: typing.Decimals | None = None,
) -> TypedColumns:
    """Return what `typing.infer` does.

    Raises
    ------
    DataError
        If a column cannot be of the kind that `conventions` asks for.
    """
    try:
        return typing.infer(raw, conventions, exclude, decimals)
    except KindError as error:
        raise DataError(f"read_options: kinds: {error}; give another kind, or drop.") from error


def _refuse_kinds(kinds: dict[str, str], raw: pd.DataFrame, label: str, time: str) -> None:
    """Refuse kinds of columns that are not there, or that a parameter settles otherwise."""
    for name, kind in kinds.items():
        if name not in raw:
            near = difflib.get_close_matches(name, list(raw.columns), n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"read_options: kinds: there is no column {name!r}; {_listed(raw)}{hint}"
            )
        if name == label and kind == TIME:
            raise DataError(
                f"read_options: kinds: {name!r} is the label, whose values are classes or numbers, "
                f"so it cannot be {kind}; leave it out of kinds."
            )
        if name == time and kind != TIME:
            raise DataError(
                f"read_options: kinds: {name!r} is the time_column, so it cannot be {kind}; leave "
                "it out of kinds, or set time_column to ''."
            )


def _refuse_twice(chosen: dict[str, str]) -> None:
    named = [name for name in chosen.values() if name]
    if twice := [name for name in named if named.count(name) > 1]:
        where = " and ".join(key for key, name in chosen.items() if name == twice[0])
        raise DataError(f"{where}: both name the column {twice[0]!r}; each needs its own.")


def _column(raw: pd.DataFrame, parameter: str, name: str) -> pd.Series:
    """Return a column, or say which there are."""
    if name not in raw:
        near = difflib.get_close_matches(name, list(raw.columns), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else f" Set {parameter} to one of them."
        raise DataError(f"{parameter}: there is no column {name!r}; {_listed(raw)}{hint}")
    return raw[name]


def _listed(raw: pd.DataFrame) -> str:
    names = [repr(name) for name in raw.columns[:20]]
    more = f" and {raw.shape[1] - 20} more" if raw.shape[1] > 20 else ""
    return f"the columns are {', '.join(names)}{more}."


def _empty(column: pd.Series) -> pd.Series:
    """Return which values are null or blank."""
    missing = column.isna()
    if pd.api.types.is_string_dtype(column) or column.dtype == object:
        missing |= column.astype("str").str.strip().eq("")
    return missing


def _complete(
    raw: pd.DataFrame, labels: pd.Series, chosen: dict[str, str], notes: list[str]
) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    """Leave out rows without a label, text, time or group, and say how many; give the places."""
    kept = labels.notna()
    if not kept.all():
        notes.append(_left_out(~kept, "label", chosen["label_column"]))
    for parameter in ("text_column", "time_column", "group_column"):
        if not (name := chosen[parameter]):
            continue
        empty = _empty(_column(raw, parameter, name)) & kept
        if parameter == "time_column":
            empty |= kept & raw[name].astype("str").str.strip().str.casefold().isin(MISSING)
        if empty.any():
            notes.append(_left_out(empty, parameter.removesuffix("_column"), name))
        kept &= ~empty
    if not kept.any():
        empty = {name: _empty(raw[name]).all() for name in chosen.values() if name}
        which = next((name for name, all_empty in empty.items() if all_empty), "")
        why = f"column {which!r} is empty" if which else "each lacks its label, text or time"
        raise DataError(f"data: no row of {len(raw):,} can be used: {why}; name another column.")
    places = np.flatnonzero(kept)
    if kept.all():
        return raw, labels, places
    return raw[kept].reset_index(drop=True), labels[kept].reset_index(drop=True), places


def _left_out(rows: pd.Series, what: str, name: str) -> str:
    count = int(rows.sum())
    first = int(rows.to_numpy().argmax()) + 1
    return (
        f"{count:,} of {len(rows):,} rows were left out: they have no {what} "
        f"(column {name!r}, first in row {first:,})"
    )


def _labels(
    raw: pd.DataFrame, name: str, decimals: typing.Decimals, notes: list[str], target: str
) -> tuple[Column, pd.Series]:
    """Return how labels are read, and the labels, null where there is none."""
    values = _column(raw, "label_column", name)
    if _empty(values).all():
        raise DataError(f"label_column: column {name!r} is empty; name another column.")
    conventions = decimals.conventions
    kind = conventions.kinds.get(name, "")
    if conventions.labels and target == NUMBER:
        raise DataError(
            "read_options: labels names classes, and metric asks for a number; leave out one."
        )
    target = CLASSES if conventions.labels else target
    target = target or (kind and (NUMBER if kind == NUMBER else CLASSES))
    if target != CLASSES and (numbers := _numbers(raw, name, decimals, target, notes)):
        return numbers
    try:
        column, remarks = typing.label_column(values, name, conventions)
    except LeftOutError as error:
        raise DataError(
            f"label_column: column {name!r}: {error}. A row has one class here; several classes "
            "a row are not supported, so make one column and one task for each."
        ) from error
    labels = _renamed(column.read_series(values), name, conventions.labels, notes)
    for remark in remarks:
        if not remark.startswith("it holds"):
            notes.append(f"label column {name!r}: {remark}")
    notes += [f"label column {name!r}: {remark}" for remark in _odd_classes(labels)]
    return column, labels


def _renamed(
    labels: pd.Series, column: str, names: Mapping[str, str], notes: list[str]
) -> pd.Series:
    """Return labels by the names that the user gives them; several may get one name."""
    if not names:
        return labels
    classes = list(labels.dropna().unique())
    if unknown := [value for value in names if value not in classes]:
        raise DataError(
            f"read_options: labels: {unknown[0]!r} is no class of column {column!r}; there are "
            f"{', '.join(repr(x) for x in sorted(classes)[:10])}."
        )
    pairs = ", ".join(f"{value} is called {name}" for value, name in names.items())
    notes.append(f"label column {column!r}: {pairs}")
    return labels.replace(dict(names))


def are_bare(labels: Iterable[str]) -> bool:
    """Say whether classes have no names: each is a number, a letter, or yes, no and the like.

    What they stand for is known to whoever made the rows, not to a model that reads texts.
    """
    labels = list(labels)
    return bool(labels) and all(
        len(label) < 2 or label.casefold() in TRUTH or label.lstrip("+-").replace(".", "").isdigit()
        for label in labels
    )


def label_option(labels: Sequence[str]) -> str:
    """Return what to give as `read_options` so that classes have names, by the first of them."""
    return "labels=" + ",".join(f"{label}:NAME" for label in labels[:2])


def _numbers(
    raw: pd.DataFrame, name: str, decimals: typing.Decimals, target: str, notes: list[str]
) -> tuple[Column, pd.Series] | None:
    """Return labels as numbers; None where they are classes, by their values."""
    conventions = replace(decimals.conventions, decimal=decimals.common(raw.columns))
    wanted = target == NUMBER
    try:
        reading = typing.number_label(raw[name], name, conventions, wanted)
    except LeftOutError:  # lists or ids: no classes either, which says why
        return None
    if reading is None and wanted:
        first = str(raw[name].dropna().iloc[0])[:30]
        raise DataError(
            f"label_column: column {name!r} holds no numbers (such as {first!r}), and metric asks "
            "for a number; name another column, or leave metric empty."
        )
    if reading is None:
        return None
    column, remarks = reading
    numbers = column.read_series(raw[name]).astype("float64")
    if not wanted:
        few = _are_few(numbers.dropna(), name, notes)
        if few:
            return None
    notes += [f"label column {name!r}: {remark}" for remark in remarks]
    return column, numbers


def _are_few(numbers: pd.Series, name: str, notes: list[str]) -> bool:
    """Return whether numbers are classes, by how many differ, and say how to decide otherwise."""
    different = numbers.nunique()
    whole = bool((numbers % 1 == 0).all())
    few = different <= FEW_NUMBERS and (whole or different * FEWEST_ROWS <= len(numbers))
    held = f"label column {name!r}: it holds {different:,} different {'whole ' * whole}numbers"
    if few and different > 2:
        notes.append(f"{held}, taken for classes; to predict the number, set metric to rmse")
    if not few and whole and different <= MOST_CLASSES:
        notes.append(f"{held}, and the number is predicted; for classes, set metric to accuracy")
    return few


def _odd_classes(labels: pd.Series) -> list[str]:
    """Say where classes may be several at once, or two words for one."""
    classes = set(labels.dropna().unique())
    for mark in "|;,":
        joined = [x for x in classes if mark in x]
        whole = [x for x in joined if {part.strip() for part in x.split(mark)} <= classes]
        if whole:
            return [
                f"{min(whole)!r} seems to be several classes of one row, which are not supported; "
                f"each of {len(joined):,} such combinations is taken for a class of its own"
            ]
    truths: list[set[str]] = [
        {x for x in classes if TRUTH.get(x.casefold()) is y} for y in (True, False)
    ]
    if classes == set.union(*truths) and len(classes) > 2:
        larger = max(truths, key=len)
        words = ", ".join(repr(x) for x in sorted(larger))
        return [f"{words} are different classes; write them alike if they mean the same"]
    return []


def _refuse_labels(labels: pd.Series, name: str) -> None:
    """Refuse a column that names no classes, or one number only."""
    classes = labels.unique()
    if is_number(labels):
        if len(classes) == 1:
            raise DataError(
                f"label_column: column {name!r} holds one number only, {classes[0]:g}; there is "
                "nothing to predict."
            )
        return
    if len(classes) == 1:
        raise DataError(
            f"label_column: column {name!r} holds one class only, {classes[0]!r}; "
            "there is nothing to predict."
        )
    sparse = len(classes) > MANY_CLASSES and len(labels) < FEWEST_ROWS * len(classes)
    if len(classes) > MOST_CLASSES or len(classes) == len(labels) or sparse:
        few = ", ".join(repr(x[:30]) for x in classes[:3])
        raise DataError(
            f"label_column: column {name!r} holds {len(classes):,} different values in "
            f"{len(labels):,} rows ({few}, ...), so it names no classes; name a column with 2 to "
            f"{MOST_CLASSES:,} of them, each in several rows."
        )
    if len(classes) > MANY_CLASSES:
        numbers = pd.to_numeric(pd.Series(classes), errors="coerce")
        if numbers.notna().all() and (numbers % 1 != 0).any():
            raise DataError(
                f"label_column: column {name!r} holds {len(classes):,} different numbers such as "
                f"{classes[0]}, an amount and no classes; set metric to rmse to predict it, "
                "name a column of classes, or add one such as 'high' and 'low'."
            )


def _times(raw: pd.DataFrame, name: str, conventions: Conventions, notes: list[str]) -> pd.Series:
    """Return times in UTC; nulls without a time column."""
    if not name:
        return no_times(raw.index)
    values = raw[name]
    if not pd.api.types.is_datetime64_any_dtype(values) and values.dtype != object:
        strings = pd.api.types.is_string_dtype(values)
        values = values.astype("str").str.strip() if strings else values
    try:
        times, _, remarks = read_times(values, conventions.order, conventions.zone)
    except TimeError as error:
        raise DataError(
            f"time_column: column {name!r}: {error}; write times such as 2026-03-31 or "
            "2026-03-31T14:00, or name another column."
        ) from error
    notes += [f"time column {name!r}: {remark}" for remark in remarks]
    return times.dt.as_unit("us")


def _split_column(raw: pd.DataFrame, chosen: set[str], notes: list[str]) -> str:
    """Return the column that names splits, "" if there is none; one that only may is noted."""
    for name in raw.columns:
        if name in chosen or not pd.api.types.is_string_dtype(raw[name]):
            continue
        words = (
            set(raw[name].dropna().unique())
            if name.casefold() == "split"
            else set(raw[name].dropna().head(1_000).unique())
        )
        known = {word for word in words if word.strip().casefold() in stratify.WORDS}
        if known and name.casefold() == "split":
            return name
        if len(known) > 1 and known == words:
            notes.append(
                f"column {name!r} seems to name splits ({', '.join(sorted(known))}) and is read as "
                "any other; call it 'split' if the rows are to be split so"
            )
    if "split" in raw and "split" not in chosen:
        notes.append(
            "column 'split' names no splits such as train and test, so it is read as any other"
        )
    return ""


def _has_text(raw: pd.DataFrame, text_column: str) -> bool:
    """Whether the rows are texts; an unknown name is an error unless it is only the default."""
    if not text_column or (text_column == "text" and text_column not in raw):
        return False
    _column(raw, "text_column", text_column)
    return True


def _refuse_features(typed: TypedColumns, raw: pd.DataFrame, text_column: str) -> None:
    """Refuse a table without a feature, and one of a single text whose name was not given."""
    if not typed.columns:
        wanted = f"no column {text_column!r} and no" if text_column else "no"
        reasons = "; ".join(typed.sentences()[:3])
        raise DataError(
            f"text_column: there is {wanted} other column a model can use; {_listed(raw)} "
            f"{reasons + '. ' if reasons else ''}Name the column with the text."
        )
    if text_column and all(_is_wordy(raw[column.original]) for column in typed.columns):
        raise DataError(
            f"text_column: there is no column 'text'; {_listed(raw)} Did you mean "
            f"{typed.columns[0].original!r}? To read all columns as a table, set it to ''."
        )


def _is_wordy(values: pd.Series) -> bool:
    """Whether a column holds sentences."""
    values = values.dropna().head(1_000)
    if not pd.api.types.is_string_dtype(values):
        return False
    return values.astype("str").str.split().str.len().mean() >= typing.TEXT_WORDS


def _texts(raw: pd.DataFrame, name: str, parts: set[str], notes: list[str]) -> pd.Series:
    texts = raw[name]
    if not pd.api.types.is_string_dtype(texts):
        raise DataError(
            f"text_column: column {name!r} holds {texts.dtype}, not text; name another column, "
            "or set it to '' to read all columns as a table."
        )
    texts = texts.astype("str")
    words = texts[texts.str.strip().str.casefold().isin(MISSING)]
    if len(words):
        notes.append(
            f"{len(words):,} texts are no more than {words.iloc[0].strip()!r} or the like; they "
            "are kept"
        )
    if unread := [column for column in raw if column not in parts and column.strip()]:
        listed = ", ".join(map(repr, unread[:5])) + (", ..." if len(unread) > 5 else "")
        notes.append(
            f"only the text is read, not {listed}; to read all columns as a table, set "
            "text_column to ''"
        )
    return texts


def _strings(column: pd.Series) -> pd.Series:
    """Return values as strings: 1, 1.0 and "1" are all "1"; surrounding spaces go."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    strings = column.astype("str").str.strip()
    if strings.dropna().str.fullmatch(r"[+-]?\d+\.0+").all():
        strings = strings.str.replace(r"\.0+$", "", regex=True)
    return strings


def _slices(raw: pd.DataFrame, notes: list[str]) -> pd.Series:
    if "slice" in raw:
        names = _strings(raw["slice"]).fillna("")
        if names.nunique() <= MOST_SLICES:
            return names
        notes.append(f"column 'slice' was left out: it holds {names.nunique():,} different values")
    return pd.Series("", index=raw.index, dtype="str")


def _ids(raw: pd.DataFrame, frame: pd.DataFrame, content: np.ndarray, notes: list[str]) -> Any:
    """Return the column of ids, else hashes of the content, which survive a change of order."""
    if "id" in raw:
        ids = _strings(raw["id"])
        if ids.notna().all() and ids.is_unique:
            return ids
        notes.append("column 'id' was left out: its values repeat or are missing")
    rest = pd.util.hash_pandas_object(frame[["time", "label"]], index=False).to_numpy()
    keys = content ^ rest
    digits = keys.astype(">u8").tobytes().hex()
    ids = [digits[at : at + 16] for at in range(0, len(digits), 16)]
    ids = pd.Series(ids, index=raw.index, dtype="str")
    if pd.Series(keys).is_unique:
        return ids
    repeat = ids.groupby(ids).cumcount() + 1
    return ids.where(repeat == 1, ids + "-" + repeat.astype("str"))
