"""What the columns of your own table mean: from raw columns to canonical rows.

Canonical rows are what every stage reads: ``id``, ``time`` (UTC or null), the features
(``text``, or float32 columns), ``label``, ``slice`` and ``split``.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.tseries.api import guess_datetime_format

from diptych.core.data import splits
from diptych.core.data.sources import DataError
from diptych.core.evaluation.graders import REFERENCE

FRAME = ("id", "time", "label", "slice", "split")
MOST_CLASSES = 50
TEXT_WORDS = 3  # a column of strings with so many words on average is taken for text
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?")
TRUTH = {"True": "1", "true": "1", "TRUE": "1", "False": "0", "false": "0", "FALSE": "0"}


@dataclass(frozen=True)
class Rows:
    """Canonical rows without their split.

    Attributes
    ----------
    frame : DataFrame
        ``id``, ``time``, the features, ``label``, ``slice``.
    kind : str
        ``"text"`` or ``"table"``.
    features : list of str
        ``["text"]``, or the numeric columns, their names made into identifiers.
    notes : list of str
        What was left out, and why.
    """

    frame: pd.DataFrame
    kind: str
    features: list[str]
    notes: list[str] = field(default_factory=list)


def schema(features: list[str], reference: bool = False) -> pa.Schema:
    """Return the types of canonical rows; only ``time`` and numbers may be null."""
    numbers = [] if features == ["text"] else features
    strings = ["label", *([REFERENCE] if reference else []), "slice", "split"]
    return pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("time", pa.timestamp("us", "UTC")),
            *(pa.field(name, pa.float32()) for name in numbers),
            *(pa.field(name, pa.string()) for name in [*features[: not numbers], *strings]),
        ]
    )


def right_answer(row: Mapping) -> str:
    """Return the right answer to a row, as an example shows it.

    It is the first line of the reference where the task's grader needs one, else the label.
    """
    return row[REFERENCE].split("\n")[0] if REFERENCE in row else row["label"]


def sliced_by(rows: pd.DataFrame) -> str:
    """Return the column that slices rows: ``slice``, or ``label`` where all are of one slice."""
    return "slice" if rows["slice"].nunique() > 1 else "label"


def no_times(index: pd.Index) -> pd.Series:
    """Return a time column of nulls."""
    return pd.Series(pd.NaT, index=index, dtype="datetime64[us, UTC]")


def interpret(raw: pd.DataFrame, text_column: str, label_column: str, time_column: str) -> Rows:
    """Turn raw columns into canonical rows.

    Parameters
    ----------
    raw : DataFrame
        As `readers.read_table` returns it.
    text_column : str
        "", or the default name ``text`` where no column holds text, makes every numeric column
        a feature.
    label_column, time_column : str
        `time_column` may be "". A column ``id`` of distinct values becomes the id, a column
        ``slice`` the slice.

    Raises
    ------
    DataError
        If a column is not there, or its values are not what the parameter needs.
    """
    chosen = {"label_column": label_column, "text_column": text_column, "time_column": time_column}
    named = [name for name in chosen.values() if name]
    if twice := [name for name in named if named.count(name) > 1]:
        where = " and ".join(key for key, name in chosen.items() if name == twice[0])
        raise DataError(f"{where}: both name the column {twice[0]!r}; each needs its own.")
    frame = pd.DataFrame(index=raw.index)
    frame["time"] = _times(raw, time_column) if time_column else no_times(raw.index)
    kind, notes = "table", []
    if _has_text(raw, text_column, {*named, "id", "slice"}):
        kind, features = "text", ["text"]
        frame["text"] = _texts(raw, text_column)
    else:
        numbers = _numbers(
            raw.drop(columns=[c for c in raw if c in {*named, "id", "slice"}]), notes
        )
        if numbers.empty:
            wanted = f"no column {text_column!r} and no" if text_column else "no"
            raise DataError(
                f"text_column: there is {wanted} numeric column; {_listed(raw)} "
                "Name the column with the text."
            )
        features = list(numbers.columns)
        frame = pd.concat([frame, numbers], axis=1)
    frame["label"] = _labels(raw, label_column)
    frame["slice"] = _slices(raw, notes)
    frame.insert(0, "id", _ids(raw, frame, features, notes))
    return Rows(frame, kind, features, notes)


def _column(raw: pd.DataFrame, parameter: str, name: str) -> pd.Series:
    """Return a column without nulls, or say what is wrong with it."""
    if name not in raw:
        near = difflib.get_close_matches(name, list(raw.columns), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{parameter}: there is no column {name!r}; {_listed(raw)}{hint}")
    column = raw[name]
    missing = column.isna()
    if pd.api.types.is_string_dtype(column) or column.dtype == object:
        missing |= column.astype("str").str.strip().eq("")
    if missing.any():
        raise DataError(
            f"{parameter}: column {name!r} is empty in {missing.sum():,} of {len(raw):,} rows, "
            f"first in row {_first(missing)}; fill these or remove the rows."
        )
    return column


def _listed(raw: pd.DataFrame) -> str:
    names = [repr(name) for name in raw.columns[:20]]
    more = f" and {raw.shape[1] - 20} more" if raw.shape[1] > 20 else ""
    return f"the columns are {', '.join(names)}{more}."


def _first(bad: pd.Series) -> int:
    """Return the place of the first true value, counted from 1."""
    return int(bad.to_numpy().argmax()) + 1


def _strings(column: pd.Series) -> pd.Series:
    """Return values as strings: 1, 1.0 and "1" are all "1"; surrounding spaces go."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    strings = column.astype("str").str.strip()
    if strings.dropna().str.fullmatch(r"[+-]?\d+\.0+").all():
        strings = strings.str.replace(r"\.0+$", "", regex=True)
    return strings


def _labels(raw: pd.DataFrame, name: str) -> pd.Series:
    labels = _strings(_column(raw, "label_column", name))
    classes = labels.unique()
    if len(classes) == 1:
        raise DataError(
            f"label_column: column {name!r} holds one class only, {classes[0]!r}; "
            "there is nothing to predict."
        )
    if len(classes) > MOST_CLASSES or len(classes) == len(labels):
        few = ", ".join(repr(x[:30]) for x in classes[:3])
        raise DataError(
            f"label_column: column {name!r} holds {len(classes):,} different values in "
            f"{len(labels):,} rows ({few}, ...), so it names no classes; name a column with 2 to "
            f"{MOST_CLASSES} of them, each in several rows."
        )
    return labels


def _times(raw: pd.DataFrame, name: str) -> pd.Series:
    """Return times in UTC; a time without a zone is taken for UTC, 1/2 for January 2nd.

    The format of the first row must hold for all, so that day and month never change places
    within a table.
    """
    column = _column(raw, "time_column", name)
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.to_datetime(column, utc=True).astype("datetime64[us, UTC]")
    strings = column.astype("str").str.strip()
    formats = ["ISO8601"]
    if not re.match(r"\d{4}", strings.iloc[0]):
        dated = [guess_datetime_format(strings.iloc[0], dayfirst=x) for x in _days(strings.iloc[0])]
        formats += [guess for guess in dated if guess]
    tried = [pd.to_datetime(strings, format=x, utc=True, errors="coerce") for x in formats]
    best = min(tried, key=lambda times: times.isna().sum())
    if (bad := best.isna()).any():
        row = _first(bad)
        raise DataError(
            f"time_column: column {name!r} holds {strings.iloc[row - 1]!r} in row {row}, which is "
            "no time, or not written like row 1; write times such as 2026-03-31 or "
            "2026-03-31T14:00."
        )
    return best.astype("datetime64[us, UTC]")


def _days(first: str) -> tuple[bool, ...]:
    """Return whether the day may come first: never after a name of a month, always if over 12."""
    number = re.match(r"\d+", first)
    if not number:
        return (False,)
    return (True,) if int(number[0]) > 12 else (False, True)


def _has_text(raw: pd.DataFrame, text_column: str, other: set[str]) -> bool:
    """Whether the rows are texts; an unknown name is an error unless it is only the default."""
    if not text_column:
        return False
    if text_column == "text" and text_column not in raw:
        wordy = [name for name in raw if name not in other and _words(raw[name]) >= TEXT_WORDS]
        if not wordy:
            return False
        raise DataError(
            f"text_column: there is no column 'text'; {_listed(raw)} Did you mean {wordy[0]!r}? "
            "To learn from the numeric columns only, set it to ''."
        )
    _column(raw, "text_column", text_column)
    return True


def _words(column: pd.Series) -> float:
    if not pd.api.types.is_string_dtype(column.dropna()):
        return 0
    return column.dropna().head(1000).astype("str").str.split().str.len().mean()


def _texts(raw: pd.DataFrame, name: str) -> pd.Series:
    texts = _column(raw, "text_column", name)
    if not pd.api.types.is_string_dtype(texts):
        raise DataError(
            f"text_column: column {name!r} holds {texts.dtype}, not text; name another column, "
            "or set it to '' to learn from the numeric columns."
        )
    return texts.astype("str")


def _numbers(raw: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Return the numeric columns as float32 under their new names; note the others."""
    columns = {}
    for column in raw:
        numbers, reason = _number(raw[column])
        if reason:
            notes.append(f"column {column!r} was left out: {reason}")
        else:
            columns[_identifier(column, columns)] = numbers
    return pd.DataFrame(columns, index=raw.index)


def _number(column: pd.Series) -> tuple[pd.Series, str]:
    """Return a column as numbers, and why it is none ("" if it is)."""
    if column.name == "":
        return column, "it has no name"
    if pd.api.types.is_datetime64_any_dtype(column):
        return column, "it holds times"
    if not pd.api.types.is_numeric_dtype(column):
        column = column.astype("str").str.strip()
        column = column.where(~column.isin(MISSING)).replace(TRUTH)
    numbers = pd.to_numeric(column, errors="coerce")
    bad = numbers.isna() & column.notna()
    if bad.any():
        row = _first(bad)
        return column, f"it is not numeric ({str(column.iloc[row - 1])[:30]!r} in row {row})"
    if numbers.isna().all():
        return column, "it is empty"
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which validation reports
        return numbers.astype(np.float64).astype(np.float32), ""


def _identifier(name: str, taken) -> str:
    """Return a column name of letters, digits and underscores that is not taken yet."""
    base = re.sub(r"\W+", "_", name).strip("_") or "column"
    base = f"x_{base}" if base[0].isdigit() or base.lower() in (*FRAME, "text") else base
    used, new, count = {x.casefold() for x in taken}, base, 1
    while new.casefold() in used:
        count += 1
        new = f"{base}_{count}"
    return new


def _slices(raw: pd.DataFrame, notes: list[str]) -> pd.Series:
    if "slice" in raw:
        names = _strings(raw["slice"]).fillna("")
        if names.nunique() <= MOST_CLASSES:
            return names
        notes.append(f"column 'slice' was left out: it holds {names.nunique():,} different values")
    return pd.Series("", index=raw.index, dtype="str")


def _ids(raw: pd.DataFrame, frame: pd.DataFrame, features: list[str], notes: list[str]):
    """Return the column of ids, else hashes of the content, which survive a change of order."""
    if "id" in raw:
        ids = _strings(raw["id"])
        if ids.notna().all() and ids.is_unique:
            return ids
        notes.append("column 'id' was left out: its values repeat or are missing")
    content = splits.content_hash(frame, features)
    rest = pd.util.hash_pandas_object(frame[["time", "label"]], index=False).to_numpy()
    ids = pd.Series([f"{x:016x}" for x in content ^ rest], index=raw.index, dtype="str")
    repeat = ids.groupby(ids).cumcount() + 1
    return ids.where(repeat == 1, ids + "-" + repeat.astype("str"))
