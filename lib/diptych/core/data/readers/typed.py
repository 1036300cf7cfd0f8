"""Typed columns as pandas columns that hold exactly the same values.

pandas turns whole numbers with gaps into floats, which merges large ones, and times with gaps of
dates into objects; here they stay what they are.
"""

import datetime
import decimal
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute

from diptych.core.data.readers.tidy import refuse_repeated
from diptych.core.data.sources import DataError

NULLABLE = {
    pa.bool_(): pd.BooleanDtype(), pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(), pa.uint32(): pd.UInt32Dtype(), pa.uint64(): pd.UInt64Dtype(),
}  # fmt: skip
TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)
LARGEST = 2**53  # up to here a float is every whole number


def frame_of(table: pa.Table, place: str, leave_out: str = "") -> pd.DataFrame:
    """Return an Arrow table as a frame, with every value as it is.

    Parameters
    ----------
    table : Table
        Decimal numbers become floats where each comes back the same, else objects.
    place : str
        What messages call it.
    leave_out : str
        Columns to leave out, separated by commas.

    Raises
    ------
    DataError
        If a name stands for two columns, or a column holds lists, records or bytes.
    """
    table = table.select([n for n in _left(table, leave_out, place) if not _is_index(n)])
    columns, fields = [], []
    plain = [_plain(column) for column in table.columns]
    _refuse_nested(dict(zip(table.column_names, plain, strict=True)), place)
    for name, column in zip(table.column_names, plain, strict=True):
        columns.append(column)
        fields.append(pa.field(name, column.type))
    table = pa.table(columns, schema=pa.schema(fields))
    frame = table.to_pandas(ignore_metadata=True, date_as_object=False)
    for at, column in enumerate(columns):
        kind = column.type
        if kind in NULLABLE and column.null_count:
            frame[table.column_names[at]] = column.to_pandas(types_mapper=NULLABLE.get)
    return frame


def columns_of(
    names: Sequence[str], rows: Sequence[Sequence], place: str, notes: list[str]
) -> pd.DataFrame:
    """Return rows of Python values as a frame with a type for each column.

    A column of numbers and texts becomes text, which `notes` says.

    Raises
    ------
    DataError
        If a name stands for two columns, or a value is a list, a record or bytes.
    """
    refuse_repeated(names, place)
    arrays = []
    values = zip(*rows, strict=True) if rows else [()] * len(names)
    values = list(values)
    nested = {name: held for name, column in zip(names, values, strict=True)
              if (held := _held_in(column))}  # fmt: skip
    if nested:
        raise _nested(nested, place)
    for name, column in zip(names, values, strict=True):
        arrays.append(_array(name, column, notes))
    return frame_of(pa.table(arrays, names=list(names)), place)


def _left(table: pa.Table, leave_out: str, place: str) -> list[str]:
    unwanted = [name.strip() for name in leave_out.split(",") if name.strip()]
    if unknown := [name for name in unwanted if name not in table.column_names]:
        raise DataError(
            f"read_options: leave_out={unknown[0]}: {place} has no such column; its columns are "
            f"{', '.join(map(repr, table.column_names[:20]))}."
        )
    refuse_repeated([n for n in table.column_names if n not in unwanted], place)
    return [name for name in table.column_names if name not in unwanted]


def _is_index(name: str) -> bool:
    return name.startswith("__index_level_")


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Undo encodings that are no types of values: categories, views, nulls."""
    kind = column.type
    if isinstance(kind, pa.ExtensionType):
        column = pa.chunked_array([c.storage for c in column.chunks], kind.storage_type)
        kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_run_end_encoded(kind):
        column = pa.chunked_array(
            [pa.compute.run_end_decode(c) for c in column.chunks], kind.value_type
        )
        kind = column.type
    if pa.types.is_null(kind) or kind in (pa.string_view(), pa.large_string()):
        column = column.cast(pa.large_string())
    if pa.types.is_float16(kind):
        column = column.cast(pa.float32())
    if pa.types.is_decimal(kind) and _is_exact_as_float(column):
        column = column.cast(pa.float64())
    return column


def _is_exact_as_float(column: pa.ChunkedArray) -> bool:
    """Whether decimal numbers come back from floats as they are; if not, they stay `Decimal`."""
    try:
        return column.cast(pa.float64()).cast(column.type).equals(column)
    except pa.ArrowInvalid:
        return False


def _refuse_nested(columns: dict[str, pa.ChunkedArray], place: str) -> None:
    nested = {name: held for name, column in columns.items() if (held := _held(column.type))}
    if nested:
        raise _nested(nested, place)


def _held(kind: pa.DataType) -> str:
    """Return what values of a type hold that are no single values, "" of others."""
    types = pa.types
    if (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    ):
        return "lists"
    if types.is_struct(kind) or types.is_map(kind) or types.is_union(kind):
        return "records"
    binary = (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )
    return "bytes" if binary else ""


def _nested(nested: dict[str, str], place: str) -> DataError:
    """Return the refusal of all columns that hold several values in one."""
    label = ""
    if "lists" in nested.values():
        label = " A label must be one value: make a row of each, or join them."
    held = ", ".join(f"{what} in the column {name!r}" for name, what in nested.items())
    names = ",".join(nested)
    option = f'leave_out="{names}"' if " " in names else f"leave_out={names}"
    parts = "it" if len(nested) == 1 else "them"
    return DataError(
        f"task: {place} holds {held}; write one value a row, or a column for each part, or leave "
        f"{parts} out with read_options: {option}.{label}"
    )


def _held_in(values: Sequence) -> str:
    kinds = {type(v) for v in values if v is not None}
    several = {list: "lists", tuple: "lists", dict: "records", bytes: "bytes"}
    return next((what for kind, what in several.items() if kind in kinds), "")


def _array(name: str, values: Sequence, notes: list[str]) -> pa.Array:
    kinds = {type(v) for v in values if v is not None}
    if kinds == {int, float} and all(abs(v) <= LARGEST for v in values if isinstance(v, int)):
        values, kinds = [None if v is None else float(v) for v in values], {float}
    try:
        if kinds <= {int}:
            return _whole(values)
        if len(kinds) == 1 and kinds <= {bool, float, str, decimal.Decimal, *TIMES}:
            return pa.array(values, from_pandas=kinds == {float})
    except (pa.ArrowException, OverflowError, ValueError):
        pass  # such as times with and without a zone, or numbers beyond 64 bits
    named = ", ".join(sorted(kind.__name__ for kind in kinds))
    notes.append(f"the column {name!r} mixes kinds of values ({named}) and is read as text")
    return pa.array([None if v is None else text_of(v) for v in values], pa.string())


def _whole(values: Sequence) -> pa.Array:
    if not any(v is not None for v in values):
        return pa.nulls(len(values), pa.string())
    try:
        return pa.array(values, pa.int64())
    except (pa.ArrowException, OverflowError):
        return pa.array(values, pa.uint64())


def text_of(value: Any) -> str:
    """Return a value as text; a whole float without its `.0`, as sheets show it."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
        return str(int(value))
    return value.isoformat() if isinstance(value, TIMES[:3]) else str(value)
