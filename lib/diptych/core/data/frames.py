"""Rows in memory, stored in the workspace under the digest of their content."""

import hashlib
import re
import warnings
from pathlib import Path

import pandas as pd

from diptych.base import workspace
from diptych.core.data.sources import DataError

FOLDER = "frames"


def stored(frame: pd.DataFrame, name: str, label_column: str, text_column: str | None) -> Path:
    """Write a frame as Parquet, unless the same rows are there already, and return its path.

    Raises
    ------
    DataError
        If it is no frame, a column is not there, or a column holds what Parquet cannot.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"frame: a {type(frame).__name__} is no DataFrame; make one, as by pd.DataFrame(rows)"
        )
    for parameter, column in (("label_column", label_column), ("text_column", text_column or "")):
        if column and column not in frame.columns:
            has = ", ".join(map(str, frame.columns))
            raise DataError(f"{parameter}: there is no column {column!r}; the frame has {has}")
    if wrong := [column for column in frame.columns if not isinstance(column, str)]:
        raise DataError(f"frame: the column {wrong[0]!r} has no text as its name; rename it")
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "frame"
    content = _parquet(frame)
    folder = workspace.home() / FOLDER / hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"{slug}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        workspace.write_atomic(path, content)
    return path


def _parquet(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = frame.reset_index(drop=True)
    try:
        with warnings.catch_warnings():  # how pyarrow reads times with a zone
            warnings.filterwarnings("ignore", "Series.values", DeprecationWarning)
            table = pa.Table.from_pandas(plain, preserve_index=False)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"frame: it cannot be stored ({reason}); let each column hold one kind of values, such "
            "as by .astype(str)"
        ) from error
    return sink.getvalue().to_pybytes()
