"""Versions of a task's rows: one Delta table a task, read by number, with who, when and why."""

import getpass
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa

from diptych.core.sources import DataError
from diptych.core.tasks import FRAME, Task
from diptych.run import workspace

ATTEMPTS = 5  # at a commit, when another process commits at the same time


@dataclass(frozen=True)
class Version:
    """One version: its number, row count, digest of the rows, and time of the commit."""

    number: int
    rows: int
    digest: str
    created: datetime


def ingest(task: Task, why: str, who: str = "") -> Version:
    """Write a task's rows as a new version, or find that they are already the newest.

    Raises
    ------
    DataError
        If `why` is empty.
    """
    frame = task.load()
    digest = digest_of(frame)
    for _ in range(ATTEMPTS):
        newest = _newest(task.name)
        if newest is not None and newest.digest == digest:
            return newest
        if _write(task.name, frame, digest, who, why, new=newest is None):
            return _newest(task.name)
    raise DataError(f"data: {task.name} is being written by others; try again in a moment")


def append(name: str, frame: pd.DataFrame, why: str, who: str = "") -> Version:
    """Add rows of the same schema as a new version.

    Raises
    ------
    DataError
        If a column is missing, unknown or of another type; nothing is written then.
    """
    before = read(name, -1)
    for column in [*before.columns, *frame.columns]:
        got = str(frame[column].dtype) if column in frame else "no such column"
        expected = str(before[column].dtype) if column in before else "no such column"
        if got != expected:
            raise DataError(
                f"{column}: the rows to add have {got}, table {name} expects {expected}; "
                "change the rows to match"
            )
    if twice := sorted(set(frame["id"]) & set(before["id"])):
        raise DataError(f"id: {twice[0]} is already in table {name}; give new rows new ids")
    both = pd.concat([before, frame], ignore_index=True)
    if not _write(name, both, digest_of(both), who, why, new=False):
        raise DataError(f"data: {name} was written by another process meanwhile; try again")
    return _newest(name)


def read(name: str, version: int = -1) -> pd.DataFrame:
    """Return the rows of one version, sorted by id; -1 is the newest.

    Raises
    ------
    DataError
        If there is no such table or version.
    """
    table = _table(name)
    if table is None:
        raise DataError(f"data: there is no table {name} yet; run mlops/1_data first")
    last = table.version()
    if not -1 <= version <= last:
        raise DataError(f"data_version: {name} has versions 0 to {last}, not {version}")
    if version >= 0:
        table.load_as_version(version)
    frame = table.to_pyarrow_table().to_pandas()
    return frame.sort_values("id", ignore_index=True)


def history(name: str) -> pd.DataFrame:
    """Return every version, oldest first: version, time, who, why, rows, digest."""
    found = []
    for entry in reversed(_table(name).history()):
        when = datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)
        facts = [entry[key] for key in ("who", "why", "rows", "digest")]
        found.append((entry["version"], when, *facts[:2], int(facts[2]), facts[3]))
    return pd.DataFrame(found, columns=["version", "time", "who", "why", "rows", "digest"])


def difference(name: str, before: int, after: int) -> dict[str, int]:
    """Count the rows added, removed and changed (same id, other content) between versions."""
    a, b = (read(name, v).set_index("id") for v in (before, after))
    common = a.index.intersection(b.index)
    hashes = [pd.util.hash_pandas_object(x.loc[common], index=True) for x in (a, b)]
    return {
        "added": len(b.index.difference(a.index)),
        "removed": len(a.index.difference(b.index)),
        "changed": int((hashes[0] != hashes[1]).sum()),
    }


def digest_of(frame: pd.DataFrame) -> str:
    """Return a digest of columns and rows that does not depend on the order of the rows."""
    rows = pd.util.hash_pandas_object(frame, index=False).sort_values().to_numpy()
    columns = ",".join(f"{name}:{kind}" for name, kind in frame.dtypes.items())
    return hashlib.sha256(columns.encode() + rows.tobytes()).hexdigest()


def _place(name: str) -> Path:
    return workspace.tables() / name


def _table(name: str):
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        return DeltaTable(str(_place(name)))
    except TableNotFoundError:
        return None


def _newest(name: str) -> Version | None:
    table = _table(name)
    if table is None:
        return None
    entry = table.history(1)[0]
    when = datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)
    return Version(table.version(), int(entry["rows"]), entry["digest"], when)


def _write(name: str, frame: pd.DataFrame, digest: str, who: str, why: str, new: bool) -> bool:
    """Commit the rows; False if another process committed first."""
    from deltalake import CommitProperties, write_deltalake
    from deltalake.exceptions import CommitFailedError, DeltaError

    if not why.strip():
        raise DataError("why: is empty; say why there is a new version")
    facts = {"who": who or getpass.getuser(), "why": why, "rows": str(len(frame))}
    properties = CommitProperties(custom_metadata=facts | {"digest": digest}, max_commit_retries=0)
    rows = pa.Table.from_pandas(frame, schema=_schema(frame), preserve_index=False)
    mode = "error" if new else "overwrite"
    target = str(_place(name)) if new else _table(name)
    try:
        write_deltalake(target, rows, mode=mode, commit_properties=properties)
    except (CommitFailedError, DeltaError):
        return False
    return True


def _schema(frame: pd.DataFrame) -> pa.Schema:
    fixed = {"time": pa.timestamp("us", "UTC"), "text": pa.string()}
    fixed |= {column: pa.string() for column in FRAME if column != "time"}
    return pa.schema([(column, fixed.get(column, pa.float32())) for column in frame.columns])
