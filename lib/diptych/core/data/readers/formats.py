"""Which reader reads a location: by what it is and by how its bytes begin, then by its name."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from diptych.core.data import sources
from diptych.core.data.readers import delta, dvc, hub, parquet, sql
from diptych.core.data.readers.delimited import read_delimited
from diptych.core.data.readers.records import read_records
from diptych.core.data.readers.spreadsheet import read_spreadsheet
from diptych.core.data.readers.table import Guess, RawTable, Source
from diptych.core.data.readers.unpack import unpacked
from diptych.core.data.sources import CLOUD, REMOTE, DataError
from diptych.execution.cache import dependencies

TEXT = (".csv", ".tsv", ".tab", ".txt", ".dat", ".psv")
JSON = (".jsonl", ".ndjson", ".json")
SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
ARROW = (".feather", ".arrow", ".ipc", ".arrows")
PACKED = (".gz", ".bz2", ".xz", ".zip")
SUFFIXES = TEXT + JSON + SHEETS + parquet.SUFFIXES + ARROW
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAGIC = {
    b"PAR1": ("Parquet", parquet.SUFFIXES, parquet.read_parquet),
    b"ARROW1": ("Arrow", ARROW, parquet.read_arrow),
    b"FEA1": ("Feather", ARROW, parquet.read_arrow),
    b"PK\x03\x04": ("a spreadsheet", SHEETS, read_spreadsheet),
    OLD_OFFICE: ("a spreadsheet", SHEETS, read_spreadsheet),
}
BY_SUFFIX: dict[tuple[str, ...], Callable[[Source], RawTable]] = {
    TEXT: read_delimited,
    JSON: read_records,
    SHEETS: read_spreadsheet,
    parquet.SUFFIXES: parquet.read_parquet,
    ARROW: parquet.read_arrow,
}
MOST_COLUMNS = 10_000  # each is looked at for what it means


def read_table(
    location: str, options: Mapping[str, str] | None = None, expected: Collection[str] = ()
) -> RawTable:
    """Read a table from wherever it lies.

    Parameters
    ----------
    location : str
        A path or URL of a file, a folder of Parquet files or a Delta table, a database's URL,
        ``hf:owner/name``, or a ``.dvc`` file.
    options : mapping, optional
        As `parse_options` returns it: what overrides the guesses.
    expected : collection of str
        Names of columns that the user gave: a first row that holds one of them is the header.

    Returns
    -------
    RawTable
        At least one row and one column.

    Raises
    ------
    DataError
        If it is missing, unreachable, too large, empty, of an unknown format, or damaged, or a name
        stands for two columns.
    """
    options = options or {}
    location, place = resolve(location), shown(location)
    if hub.is_hub(location) or sql.is_database(location):
        dependencies.never(f"{place} may change unseen")
        reader = hub.read_hub if hub.is_hub(location) else sql.read_sql
        return _with_rows(reader(location, options), place)
    place = sources.shown(location)
    if location.startswith(REMOTE):
        dependencies.never(f"{place} may change unseen")
    notes = []
    if location.endswith(".dvc") and Path(location).is_file():
        pointer = Path(location)
        location = place = str(dvc.target(pointer))
        notes = dvc.note(pointer)
    raw = _folder(location, place, options) or _file(
        Source(b"", _name(location), place, options, expected), location
    )
    raw.notes.extend(notes)
    return _with_rows(raw, place)


def resolve(location: str) -> str:
    """Return an address as it is, and a path as an absolute one; see `sources.resolve`.

    Raises
    ------
    DataError
        If it is an address of another kind than those that can be read.
    """
    if hub.is_hub(location) or sql.is_database(location):
        return location
    return sources.resolve(location)


def shown(location: str) -> str:
    """Return a location fit for a report: without user, password and query."""
    return sql.shown_database(location) if sql.is_database(location) else sources.shown(location)


def stem(location: str) -> str:
    """Return what a location calls its table: a file's name without suffixes, a table's name."""
    if sql.is_database(location):
        return sql.table_name(location)
    name = location.partition(":")[2] if hub.is_hub(location) else sources.file_name(location)
    for suffix in (*PACKED, ".dvc", *SUFFIXES):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name or "data"


def columns_of_beginning(
    path: Path, options: Mapping[str, str], expected: Collection[str], size: int
) -> list[str]:
    """Return the names of a file's columns from its first `size` bytes; [] if they do not show."""
    name = path.name.lower()
    if name.endswith(parquet.SUFFIXES):
        try:
            return pa.parquet.read_schema(path).names
        except (OSError, pa.ArrowException):
            return []
    if not name.endswith(TEXT):
        return []
    with path.open("rb") as stream:
        data = stream.read(size)
    whole_lines = data[: data.rfind(b"\n") + 1]
    try:
        raw = read_delimited(Source(whole_lines, name, str(path), options, expected))
    except DataError:  # such as a quoted line break at the cut
        return []
    return list(raw.frame.columns)


def _folder(location: str, place: str, options: Mapping[str, str]) -> RawTable | None:
    """Read a folder, or return None if it is none; a cloud address without a suffix is one."""
    if location.startswith(CLOUD) and not _name(location).endswith(SUFFIXES + PACKED):
        return delta.read_delta(location, place, options)
    path = Path(location)
    if location.startswith(REMOTE) or not path.is_dir():
        return None
    if delta.is_delta(path):
        return delta.read_delta(location, place, options)
    if parquet.has_parts(path):
        return parquet.read_parquet_folder(path, place, options)
    held = ", ".join(sorted(p.name for p in path.iterdir())[:10]) or "nothing"
    raise DataError(
        f"task: the folder {place} holds neither a Delta table nor Parquet files but {held}; give "
        "the path of a file."
    )


def _file(source: Source, location: str) -> RawTable:
    place = source.place
    source = unpacked(replace(source, data=sources.read_bytes(location)))
    if not source.data:
        raise DataError(f"task: {place} is empty; give a file with rows.")
    if source.data.startswith(b"SQLite format 3\0"):
        raise DataError(f"task: {place} is a database; give its address: sqlite:///{place}")
    for magic, (kind, suffixes, reader) in MAGIC.items():
        if source.data.startswith(magic):
            raw = reader(source)
            if not source.name.endswith(suffixes):
                raw.guesses.insert(0, Guess("format", kind, "the file begins like one"))
            return raw
    return _reader(source)(source)


def _reader(source: Source) -> Callable[[Source], RawTable]:
    for suffixes, reader in BY_SUFFIX.items():
        if source.name.endswith(suffixes):
            return reader
    if "." in Path(source.name).name:
        raise DataError(
            f"task: {source.place} is of no supported format; give a file that ends in "
            f"{', '.join(SUFFIXES)} (packed too: {', '.join(PACKED)}), a Delta folder (one that "
            "holds _delta_log) or a folder of Parquet files."
        )
    return read_delimited


def _name(location: str) -> str:
    return sources.file_name(location).lower()


def _with_rows(raw: RawTable, place: str) -> RawTable:
    if not len(raw.frame) or not raw.frame.shape[1]:
        raise DataError(f"task: {place} has columns but no rows; give a file with rows.")
    if raw.frame.shape[1] > MOST_COLUMNS:
        raise DataError(
            f"task: {place} has {raw.frame.shape[1]:,} columns, and at most {MOST_COLUMNS:,} are "
            "read; give a file with those that matter."
        )
    return raw
