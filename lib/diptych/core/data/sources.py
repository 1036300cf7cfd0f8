"""Reading a table from where it lies: CSV, Parquet or a Delta folder, by path or URL.

What comes back is raw: every column of a CSV is text, nothing is renamed or dropped. What the
columns mean is settled in `diptych.core.data.schema`.
"""

import csv
import difflib
import gzip
import http.client
import io
import os
import urllib.error
import urllib.parse
import urllib.request
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet

from diptych.base import workspace
from diptych.execution.cache import dependencies

MAX_BYTES = 500 * 2**20  # of a download, and of what a gz file unpacks to
TIMEOUT = 30  # seconds without a byte
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
CLOUD = ("s3://", "gs://")
WEB = ("http://", "https://")
REMOTE = WEB + CLOUD
ODD = "#%?[]^|\t"  # deltalake 1.6 takes a path for a URL: with these it loses rows or aborts


class DataError(ValueError):
    """Data cannot be used as given; the message names the place, what is wrong and the remedy."""


def resolve(location: str) -> str:
    """Return a URL as it is and a path (or ``file://`` URL) as an absolute path.

    A relative path is looked for in the working directory, then in the repository, because a
    notebook runs in its own folder.

    Raises
    ------
    DataError
        If it is a URL of another kind than http(s), file, s3 or gs.
    """
    if location.startswith(REMOTE):
        return location
    if location.startswith("file://"):
        location = urllib.request.url2pathname(urllib.parse.urlsplit(location).path)
    if "://" in location:
        scheme = location.partition("://")[0]
        raise DataError(
            f"task: {scheme}:// is no address this reads; use http(s), file, s3 or gs, or a path."
        )
    path = Path(location).expanduser()
    if not os.path.exists(path) and os.path.exists(beside := workspace.repo_root() / path):
        path = beside
    return str(path.resolve())


def shown(location: str) -> str:
    """Return a location fit for a report: a URL without user, password and query."""
    if not location.startswith(REMOTE):
        return location
    parts = urllib.parse.urlsplit(location)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def stem(location: str) -> str:
    """Return the last part of a path or URL without its suffix, "data" if nothing is left."""
    path = location
    if location.startswith(REMOTE):
        path = urllib.parse.unquote(urllib.parse.urlsplit(location).path)
    last = Path(path).name
    return last[: len(last) - len(_suffix(last))] or "data"


def read_table(location: str) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    location : str
        As `resolve` returns it: an absolute path, or an ``http(s)``, ``s3`` or ``gs`` URL. A path
        or cloud URL without one of `SUFFIXES` is taken for a Delta folder.

    Returns
    -------
    DataFrame
        At least one row; a CSV's columns are all strings, an empty field is null.

    Raises
    ------
    DataError
        If it is missing, unreachable, too large, empty, of an unknown format, or damaged.
    """
    suffix = _suffix(location)
    if location.startswith(REMOTE):
        dependencies.never(f"{shown(location)} may change unseen")
    if suffix:
        data = read_bytes(location)
        if suffix.endswith(".gz"):
            data = _unpacked(data, location)
        if not data:
            raise DataError(f"task: {shown(location)} is empty; give a file with rows.")
        table = _parquet(data, location) if suffix == ".parquet" else _csv(data, suffix, location)
    else:
        table = _delta(location)
    if not table.num_rows:
        raise DataError(f"task: {shown(location)} has columns but no rows; give a file with rows.")
    keep = [name for name in table.column_names if not name.startswith("__index_level_")]
    return table.select(keep).to_pandas(ignore_metadata=True)


def file_name(location: str) -> str:
    """Return the last part of a path or URL, without a query."""
    if location.startswith(REMOTE):
        location = urllib.parse.unquote(urllib.parse.urlsplit(location).path)
    return Path(location).name


def looks_like_location(task: str) -> bool:
    """Whether a task parameter names a place rather than a task."""
    return any(mark in task for mark in "/\\.") or os.path.exists(task)


def refuse_odd_path(path: str, parameter: str) -> None:
    """Refuse a path that Delta cannot hold a table below.

    Raises
    ------
    DataError
        Naming `parameter` and the characters.
    """
    if odd := [mark for mark in ODD if mark in path]:
        raise DataError(
            f"{parameter}: Delta tables cannot lie below {path}; use a folder without {odd[0]!r} "
            "in its path."
        )


def _suffix(location: str) -> str:
    path = urllib.parse.urlsplit(location).path if location.startswith(REMOTE) else location
    return next((s for s in reversed(SUFFIXES) if path.lower().endswith(s)), "")


def read_bytes(location: str) -> bytes:
    """Return the bytes of a file or a download.

    Raises
    ------
    DataError
        If it is not there, cannot be reached, or a download is larger than `MAX_BYTES`.
    """
    if location.startswith(WEB):
        return _download(location)
    if location.startswith(CLOUD):
        try:
            files, path = pa.fs.FileSystem.from_uri(location)
            with files.open_input_stream(path) as stream:
                return bounded(stream, location)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"task: {shown(location)} cannot be read ({first_line(error)}). "
                "Check the address and your cloud credentials."
            ) from error
    path = Path(location)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(not_found(path)) from error
    except OSError as error:
        raise DataError(f"task: {path} cannot be read ({error.strerror}).") from error


def not_found(path: Path) -> str:
    """Return the message for a path where there is nothing, with a name that is near."""
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "Check the path."
    return f"task: there is no file {path}. {hint}"


def _download(url: str) -> bytes:
    address = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "diptych"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return bounded(answer, url, int(answer.headers.get("Content-Length") or 0))
    except urllib.error.HTTPError as error:
        with error:
            reason = f"the server answered {error.code} {error.reason}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = first_line(getattr(error, "reason", None) or error)
    raise DataError(
        f"task: {shown(url)} cannot be downloaded ({reason}). Check the address and the network, "
        "or save the file and give its path."
    )


def bounded(stream, location: str, announced: int = 0) -> bytes:
    """Return what a stream holds.

    Raises
    ------
    DataError
        If it is more than `MAX_BYTES`, or less than was `announced`.
    """
    data = b"" if announced > MAX_BYTES else stream.read(MAX_BYTES + 1)
    if max(announced, len(data)) > MAX_BYTES:
        raise DataError(
            f"task: {shown(location)} is larger than {MAX_BYTES / 2**20:.0f} MB; "
            "take a sample of its rows, or save it and give the path of a Parquet or Delta table."
        )
    if len(data) < announced:
        raise DataError(
            f"task: {shown(location)} ended after {len(data)} of {announced} bytes; try again."
        )
    return data


def _unpacked(data: bytes, location: str) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            return bounded(stream, location)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"task: {shown(location)} is not a whole gzip file ({first_line(error)}). "
            "Fetch it again, or give the unpacked file."
        ) from error


def _csv(data: bytes, suffix: str, location: str) -> pa.Table:
    name = shown(location)
    text = _decoded(data, name)
    if text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<?xml")):
        raise DataError(
            f"task: {name} is a web page, not a table; give the address of the raw file."
        )
    delimiter = "\t" if suffix.startswith(".tsv") else ","
    try:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        if len(header) == 1 and ";" in header[0]:  # how spreadsheets write CSV where , is decimal
            delimiter = ";"
            header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise DataError(f"task: {name} has no readable header line ({error}).") from error
    if not header:
        raise DataError(f"task: {name} is empty; give a file with rows.")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise DataError(f"task: {name} has the column {twice[0]!r} twice; rename one of them.")
    options = {
        "read_options": pa.csv.ReadOptions(use_threads=False, block_size=max(len(data), 2**20)),
        "parse_options": pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        "convert_options": pa.csv.ConvertOptions(
            column_types={column: pa.string() for column in header},
            null_values=[""],
            strings_can_be_null=True,
        ),
    }
    try:
        return pa.csv.read_csv(io.BytesIO(text.encode()), **options)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"task: {name} is not a well-formed CSV ({first_line(error)}). "
            "Quote fields that hold the separator or a line break."
        ) from error


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"task: {name} is not UTF-8: line {line} holds the byte 0x{data[error.start]:02x}. "
            "Save the file as UTF-8."
        ) from error


def _parquet(data: bytes, location: str) -> pa.Table:
    try:
        return pa.parquet.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"task: {shown(location)} is not a whole Parquet file ({first_line(error)})."
        ) from error


def _delta(location: str) -> pa.Table:
    import deltalake
    from deltalake.exceptions import DeltaError

    path = Path(location)
    if not location.startswith(REMOTE) and not path.exists():
        raise DataError(not_found(path))
    if not location.startswith(CLOUD) and not (path / "_delta_log").is_dir():
        raise DataError(
            f"task: {shown(location)} is of no supported format; give a file that ends in "
            f"{', '.join(SUFFIXES)}, or a Delta folder (one that holds _delta_log)."
        )
    if not location.startswith(CLOUD):
        refuse_odd_path(location, "task")
    try:
        return deltalake.DeltaTable(location).to_pyarrow_table()
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise DataError(
            f"task: {shown(location)} cannot be read as a Delta table ({first_line(error)})."
        ) from error


def first_line(error) -> str:
    """Return the first line of an error's message, its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
