"""Parquet, Feather and Arrow files, and folders of Parquet files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.feather
import pyarrow.fs
import pyarrow.parquet

from diptych.core.data.readers.arrow_size import unpacked_size
from diptych.core.data.readers.table import Guess, RawTable, Source
from diptych.core.data.readers.typed import frame_of
from diptych.core.data.sources import DataError, first_line

SUFFIXES = (".parquet", ".parq", ".pq")
LEAST = 2**30  # bytes of a table that are read however little memory is free
NUMBER = 8  # bytes
VIEWS = (pa.string_view(), pa.binary_view())
FAULTS = (pa.ArrowException, OSError, ValueError, LookupError, TypeError)


def read_parquet(source: Source) -> RawTable:
    """Read a Parquet file.

    Raises
    ------
    DataError
        If it is damaged or has nested columns.
    """
    try:
        table = _unpacked(source)
    except DataError:  # it is larger than the memory
        raise
    except FAULTS as error:
        raise _damaged(source.place, "Parquet", error) from error
    return RawTable(frame_of(table, source.place, source.options.get("leave_out", "")))


def _unpacked(source: Source) -> pa.Table:
    """Return a file's table; one that says a text once and means it a million times is counted.

    Texts stay coded until it is known how much they are written out.
    """
    whole = pa.parquet.ParquetFile(pa.BufferReader(source.data))
    schema, metadata = whole.schema_arrow, whole.metadata
    groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    cells = metadata.num_rows * metadata.num_columns
    _refuse_bomb(source, sum(groups) + 4 * cells)
    texts = [field.name for field in schema if _is_text(field.type)]
    coded = pa.parquet.ParquetFile(pa.BufferReader(source.data), read_dictionary=texts).read()
    _refuse_bomb(source, sum(map(_written_out, coded.columns)))
    return coded.cast(schema)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_binary(kind)


def _written_out(column: pa.ChunkedArray) -> float:
    """Return about how many bytes a column takes without its codes, runs and shared texts."""
    return sum(NUMBER * len(part) + _texts(part) for part in column.chunks)


def _texts(part: pa.Array) -> float:
    """Return the bytes of all texts in an array, each as often as it is meant."""
    if pa.types.is_dictionary(part.type):
        uses = pa.compute.value_counts(part.indices.drop_null())
        lengths = _lengths(part.dictionary)[uses.field("values").to_numpy()]
        return float(lengths @ uses.field("counts").to_numpy().astype(float))
    if pa.types.is_run_end_encoded(part.type):
        ends = np.clip(part.run_ends.to_numpy(), part.offset, part.offset + len(part))
        return float(_lengths(part.values) @ np.diff(ends, prepend=part.offset).astype(float))
    return float(_lengths(part).sum()) if part.type in VIEWS else part.nbytes


def _lengths(part: pa.Array) -> np.ndarray:
    """Return the bytes of each text in an array, 0 for what is none."""
    if part.type in VIEWS and len(part):  # a view begins with its length
        views = np.frombuffer(part.buffers()[1], "<i4").reshape(-1, 4)
        return views[part.offset : part.offset + len(part), 0].astype(float)
    try:
        return pa.compute.binary_length(part).fill_null(0).to_numpy().astype(float)
    except pa.ArrowNotImplementedError:
        return np.zeros(len(part))


def _refuse_bomb(source: Source, size: float) -> None:
    most = max(LEAST, psutil.virtual_memory().available // 2)
    if size > most:
        raise DataError(
            f"task: {source.place} has {len(source.data) / 1e6:,.1f} MB and would take "
            f"{size / 1e9:,.1f} GB here, of {most / 1e9:,.1f} GB that may be used; give fewer rows "
            "or columns."
        )


def read_arrow(source: Source) -> RawTable:
    """Read an Arrow or Feather file, or a stream of Arrow batches.

    Raises
    ------
    DataError
        If it is damaged or has nested columns.
    """
    buffer = pa.BufferReader(source.data)
    is_old = source.data.startswith(b"FEA1")  # never packed
    try:
        _refuse_bomb(source, len(source.data) if is_old else unpacked_size(source.data))
        if is_old:
            table = pa.feather.read_table(buffer)
        elif source.data.startswith(b"ARROW1"):
            table = pa.ipc.open_file(buffer).read_all()
        else:
            table = pa.ipc.open_stream(buffer).read_all()
        table.validate()
        _refuse_bomb(source, sum(map(_written_out, table.columns)))
        table.validate(full=True)  # else a damaged offset ends the process
    except DataError:  # it is larger than the memory
        raise
    except FAULTS as error:
        raise _damaged(source.place, "Arrow", error) from error
    return RawTable(frame_of(table, source.place, source.options.get("leave_out", "")))


def read_parquet_folder(folder: Path, place: str, options: Mapping[str, str]) -> RawTable:
    """Read all Parquet files below a folder; a part `key=value` of a path is a column of text.

    Raises
    ------
    DataError
        If the files have columns of types that no one type can hold, or one is damaged.
    """
    files = sorted(path for path in folder.rglob("*") if _is_part(path, folder))
    keys = _keys(files, folder, place)
    schemas = {}
    try:
        for path in files:
            schemas[path] = pa.parquet.read_schema(path).remove_metadata()
        unified = pa.unify_schemas(schemas.values(), promote_options="permissive")
        texts = pa.schema([(key, pa.string()) for key in keys])
        columns = pa.schema([f for f in unified if f.name not in keys])
        data = pa.dataset.dataset(
            [str(path) for path in files],
            schema=pa.unify_schemas([columns, texts]),
            format="parquet",
            partitioning=pa.dataset.partitioning(texts, flavor="hive"),
            partition_base_dir=str(folder),
            filesystem=pa.fs.LocalFileSystem(),
        )
        table = data.to_table()
    except FAULTS as error:
        raise DataError(
            f"task: the Parquet files in {place} are not one table ({first_line(error)}). Write "
            "them with the same types, or give the path of one file."
        ) from error
    notes = [f"{len(files):,} Parquet files read as one table"]
    differ = [p for p in files if set(schemas[p].names) != set(unified.names)]
    if differ:
        lacking = sorted(set(unified.names) - set(schemas[differ[0]].names))
        notes.append(
            f"{len(differ):,} of them lack a column, such as {differ[0].name} the column "
            f"{lacking[0]!r}; it is null there"
        )
    frame = frame_of(table, place, options.get("leave_out", ""))
    guesses = []
    if keys:
        why = f"folders are called {keys[0]}=..."
        guesses.append(Guess("partitions", ", ".join(keys), why, f"leave_out={','.join(keys)}"))
    return RawTable(frame, guesses, notes)


def _is_part(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    hidden = any(part.startswith((".", "_")) and "=" not in part for part in parts)
    return path.name.lower().endswith(SUFFIXES) and not hidden and path.is_file()


def has_parts(folder: Path) -> bool:
    """Whether a folder holds Parquet files, in it or below it."""
    return any(_is_part(path, folder) for path in folder.rglob("*"))


def _keys(files: list[Path], folder: Path, place: str) -> list[str]:
    """Return the keys of the partitions, the same for every file."""
    keys = [
        [part.partition("=")[0] for part in path.relative_to(folder).parts[:-1] if "=" in part]
        for path in files
    ]
    other = next((at for at, names in enumerate(keys) if names != keys[0]), None)
    if other is not None:
        raise DataError(
            f"task: the files in {place} lie in different partitions: {keys[0]} and {keys[other]} "
            f"({os.path.relpath(files[other], folder)}). Give one of its folders."
        )
    return keys[0]


def _damaged(place: str, kind: str, error: Any) -> DataError:
    return DataError(f"task: {place} is not a whole {kind} file ({first_line(error)}).")
