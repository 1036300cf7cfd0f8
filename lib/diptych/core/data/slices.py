"""Groups of rows by columns of your own table, whether or not a model reads these columns."""

import difflib
from typing import Any

import pandas as pd

from diptych.core.data.schema import MOST_SLICES
from diptych.core.data.sources import DataError
from diptych.core.data.tasks import Task

BINS, FEW = 4, 10  # numbers of more than so many different values are cut at their quartiles
MISSING = "missing"


def groups(task: Task, rows: pd.DataFrame, slice_column: str) -> pd.DataFrame:
    """Return the group of each row by each column.

    A column that no model reads is taken from your own table, which is read again; rows are found
    there by their id.

    Parameters
    ----------
    rows : DataFrame
        All canonical rows: numbers are cut at the quartiles of all of them.
    slice_column : str
        Names of columns, separated by commas; "" is none.

    Returns
    -------
    DataFrame of str
        A column a name, indexed by the rows' id. Gaps are `MISSING`.

    Raises
    ------
    DataError
        If there is no such column, it has too many different values, or the table no longer holds
        the rows.
    """
    names = list(dict.fromkeys(filter(None, (x.strip() for x in slice_column.split(",")))))
    table = pd.DataFrame(index=pd.Index(rows["id"], name="id"))
    source = None
    for name in names:
        values = _in_rows(task, rows, name)
        if values is None:
            source = _source(task) if source is None else source
            values = _beside(source, table.index, name, task, rows)
        table[name] = _named(values, name).to_numpy()
    return table


def values(task: Task, rows: pd.DataFrame, name: str) -> pd.Series:
    """Return what a column of your own table holds in these rows, by their id.

    Raises
    ------
    DataError
        If there is no such column, or the table cannot be read or no longer holds the rows.
    """
    source = _source(task).set_index("id")
    ids = pd.Index(rows["id"])
    if name not in source or not ids.isin(source.index).all():
        raise DataError(f"{name}: the table has no such column any more, or has other rows")
    return source[name].reindex(ids)


def _in_rows(task: Task, rows: pd.DataFrame, name: str) -> pd.Series | None:
    for column in task.columns:
        if name in (column.original, column.name):
            return rows[column.name]
    return rows[name] if name in ("label", "slice") or name in task.features else None


def _source(task: Task) -> pd.DataFrame:
    return pd.DataFrame({"id": []}) if task.beside is None else task.beside()


def _beside(source: pd.DataFrame, ids: pd.Index, name: str, task: Task, rows: Any) -> pd.Series:
    if name not in source or name == "id":
        originals = [column.original for column in task.columns] or task.features
        known = list(dict.fromkeys([*source.columns.drop("id"), *originals, "label", "slice"]))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"slice_column: there is no column {name!r}. {hint}Take one of "
            f"{', '.join(map(repr, known[:20]))}"
        )
    values = source.set_index("id")[name]
    if lost := int((~ids.isin(values.index)).sum()):
        raise DataError(
            f"slice_column: {lost:,} of {len(ids):,} rows are no longer in the table, so their "
            f"{name!r} is not known; run 1_data again, and build on that."
        )
    return values.reindex(ids)


def _named(values: pd.Series, name: str) -> pd.Series:
    """Return groups by their names: values as they are, numbers of many values by quartile."""
    missing = values.isna() | (values.astype("str").str.strip() == "")
    numbers = None
    if not pd.api.types.is_bool_dtype(values) and not pd.api.types.is_datetime64_any_dtype(values):
        numbers = pd.to_numeric(values.where(~missing), errors="coerce")
    if numbers is not None and (numbers.notna() | missing).all() and numbers.nunique() > FEW:
        named = _quartiles(numbers)
    else:
        named = values.astype("str").str.strip().str.replace(r"^(-?\d+)\.0$", r"\1", regex=True)
    if (count := named[~missing].nunique()) > MOST_SLICES:
        raise DataError(
            f"slice_column: {name!r} holds {count:,} different values, and at most {MOST_SLICES} "
            "groups can be compared; name a column of fewer."
        )
    return named.where(~missing, MISSING)


def _quartiles(numbers: pd.Series) -> pd.Series:
    cut = pd.qcut(numbers, BINS, duplicates="drop")
    low, high = numbers.groupby(cut, observed=True).min(), numbers.groupby(cut, observed=True).max()
    names = {bin: f"{low[bin]:.4g} to {high[bin]:.4g}" for bin in low.index}
    return cut.astype(object).map(names).astype("str")
