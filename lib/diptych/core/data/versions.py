"""Versions of a task's rows: one Delta table a task, read by number, with who, when and why.

A commit is made on the table as it was read (compare and swap: no retries inside Delta), so of
two processes that write at once one begins again and sees what the other wrote.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from diptych.base import workspace
from diptych.core.data.column import Column
from diptych.core.data.schema import FILLED
from diptych.core.data.sources import DataError, first_line, refuse_odd_path
from diptych.execution.cache import dependencies

if TYPE_CHECKING:
    from deltalake import DeltaTable

ATTEMPTS = 20  # at a commit, when other processes commit at the same time


@dataclass(frozen=True)
class Version:
    """One version of a table.

    Attributes
    ----------
    number : int
        From 0.
    rows : int
        How many rows it has.
    digest : str
        SHA-256 over the rows, whatever their order.
    created : datetime
        Time of the commit, UTC.
    new : bool
        Whether this call wrote it.
    """

    number: int
    rows: int
    digest: str
    created: datetime
    new: bool = False


@dataclass(frozen=True)
class Meaning:
    """What the columns of one version are.

    Attributes
    ----------
    names : list of str
        Of all columns.
    columns : tuple of Column
        How each feature of a typed table is read; empty for others.
    regression : bool
        Whether the label is a number.
    """

    names: list[str]
    columns: tuple[Column, ...] = ()
    regression: bool = False


class HasRows(Protocol):
    """What `ingest` needs of a task."""

    name: str
    columns: Sequence[Column]
    from_user: bool

    @property
    def schema(self) -> pa.Schema:
        """Column names and types of the rows."""

    def load(self) -> pd.DataFrame:
        """Return the rows."""


def ingest(task: HasRows, *, why: str, who: str = "") -> Version:
    """Write a task's rows as a new version, unless they are those ingested last.

    Rows of a user's own may come with other columns than before; earlier versions keep theirs.

    Parameters
    ----------
    task : HasRows
        Such as a `Task`; its rows are loaded.
    why : str
        Kept in the history.
    who : str, optional
        By default the user of this process.

    Returns
    -------
    Version
        The new version, or the one that already holds these rows.

    Raises
    ------
    DataError
        If `why` is empty, the rows do not fit the task's schema or that of the table, or other
        processes do not stop writing.
    """
    frame = task.load()  # before the schema, which it may decide
    rows = _fit(frame, task.schema, task.name)
    digest = digest_of(rows)
    facts = {}
    if task.columns:
        facts["columns"] = json.dumps([x.to_dict() for x in task.columns], ensure_ascii=False)
        digest = hashlib.sha256((digest + facts["columns"]).encode()).hexdigest()

    def change(table: DeltaTable | None) -> Any:
        if table is not None:
            if not task.from_user:
                _fit(rows, _schema(table), task.name)
            last = next((x for x in table.history() if x.get("action") == "ingest"), None)
            if last and last["digest"] == digest:
                return Version(int(last["number"]), len(rows), digest, _created(last))
        return rows, digest, len(rows)

    return _commit(task.name, "ingest", change, who, why, facts)


def pin(name: str, ingested: Version, data_version: int) -> int:
    """Return the version to use: the one just ingested, or the one pinned if it holds these rows.

    Parameters
    ----------
    name : str
        A task's name.
    ingested : Version
        As `ingest` returned it.
    data_version : int
        The pinned version; -1 pins none.

    Raises
    ------
    DataError
        If there is no such version, or its rows are others than those just ingested.
    """
    if data_version in (-1, ingested.number):
        return ingested.number
    known = history(name).set_index("version")["digest"]
    if known.get(data_version) == ingested.digest:
        return data_version
    if data_version not in known.index:
        read(name, data_version)  # says which versions there are
    raise DataError(
        f"data_version: the source of {name} has changed since version {data_version}: its rows "
        f"are version {ingested.number} now. Set data_version to {ingested.number}, or to -1 to "
        f"always use the rows as they are. To build on version {data_version} as it is stored, "
        f"leave this stage out: diptych run mlops/2_build -p data_version={data_version}"
    )


def append(name: str, frame: pd.DataFrame, *, why: str, who: str = "") -> Version:
    """Add rows to a table as a new version.

    Parameters
    ----------
    name : str
        A task's name.
    frame : DataFrame
        Canonical rows with new ids.
    why, who : str
        As for `ingest`.

    Raises
    ------
    DataError
        If there is no table, a column is missing, unknown, of another type or null, or an id
        is there already. Nothing is written then.
    """

    def change(table: DeltaTable | None) -> Any:
        if table is None:
            raise DataError(_no_table(name))
        added = _fit(frame, _schema(table), name)
        both = pa.concat_tables([table.to_pyarrow_table(), added])
        _refuse_repeats(both, name)
        return added, digest_of(both), len(both)

    return _commit(name, "append", change, who, why)


def read(name: str, version: int = -1) -> pd.DataFrame:
    """Return the rows of one version, sorted by id.

    Parameters
    ----------
    name : str
        A task's name.
    version : int
        -1 is the newest.

    Raises
    ------
    DataError
        If there is no such table or version; the message lists those there are.
    """
    table = _open(name)
    if table is None:
        raise DataError(_no_table(name))
    last = table.version()
    if not -1 <= version <= last:
        known = "only version 0" if last == 0 else f"versions 0 to {last}"
        raise DataError(
            f"data_version: there is no version {version} of {name}; it has {known}, and -1 is "
            "the newest."
        )
    if version >= 0:
        table.load_as_version(version)
    dependencies.table(workspace.tables() / name, version)
    rows = table.to_pyarrow_table()
    frame = rows.to_pandas()
    for field in rows.schema:  # with gaps they would be objects
        if pa.types.is_boolean(field.type):
            frame[field.name] = frame[field.name].astype("boolean")
    return by_id(frame)


def by_id(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows sorted by id; those that are sorted are not copied."""
    ids = pa.array(frame["id"], from_pandas=True)
    if len(ids) < 2 or pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py():
        return frame.reset_index(drop=True)
    return frame.sort_values("id", ignore_index=True)


def meaning(name: str, version: int = -1) -> Meaning | None:
    """Return what the columns of one version are, None if there is no such version."""
    table = _open(name)
    if table is None or version > table.version():
        return None
    entries = table.history()  # newest first
    if version >= 0:
        table.load_as_version(version)
        entries = entries[len(entries) - 1 - version :]
    ingested = next((x for x in entries if x.get("action") == "ingest"), {})
    columns = json.loads(ingested.get("columns", "[]"))
    fields = _schema(table)
    regression = pa.types.is_floating(fields.field("label").type)
    return Meaning(fields.names, tuple(Column.from_dict(x) for x in columns), regression)


def history(name: str) -> pd.DataFrame:
    """Return every version, oldest first.

    Returns
    -------
    DataFrame
        ``version``, ``time``, ``who``, ``why``, ``rows``, ``digest``, ``operation``.

    Raises
    ------
    DataError
        If there is no such table.
    """
    table = _open(name)
    if table is None:
        raise DataError(_no_table(name))
    entries = [
        {
            "version": int(entry.get("number", entry["version"])),
            "time": _created(entry),
            "who": entry.get("who", ""),
            "why": entry.get("why", ""),
            "rows": int(entry["rows"]) if "rows" in entry else None,
            "digest": entry.get("digest", ""),
            "operation": entry.get("action", entry["operation"]),  # of other tools: Delta's own
        }
        for entry in reversed(table.history())
    ]
    return pd.DataFrame(entries).astype({"rows": "Int64"})


def difference(name: str, before: int, after: int) -> dict[str, int]:
    """Count the rows added, removed and changed (same id, other content) between two versions.

    Raises
    ------
    DataError
        As for `read`.
    """
    old, new = (read(name, version).set_index("id") for version in (before, after))
    common = old.index.intersection(new.index)
    changed = _row_hashes(old.loc[common]) != _row_hashes(new.loc[common])
    return {
        "added": len(new) - len(common),
        "removed": len(old) - len(common),
        "changed": int(changed.sum()),
    }


def digest_of(rows: pa.Table) -> str:
    """Return a digest of columns and rows that does not depend on the order of the rows."""
    hashes = np.sort(_row_hashes(rows.to_pandas()))
    names = ",".join(f"{field.name}:{field.type}" for field in rows.schema)
    return hashlib.sha256(names.encode() + hashes.tobytes()).hexdigest()


def _row_hashes(frame: pd.DataFrame) -> np.ndarray:
    return pd.util.hash_pandas_object(frame, index=False, categorize=False).to_numpy()


def _commit(
    name: str, action: str, change: Callable, who: str, why: str, more: dict | None = None
) -> Version:
    """Write what `change` makes of the newest table; begin again if another was faster.

    `change` takes the table or None and returns (rows to write, digest and count of all rows),
    or the version that makes writing needless.
    """
    from deltalake import CommitProperties, PostCommitHookProperties, write_deltalake
    from deltalake.exceptions import DeltaError

    if not why.strip():
        raise DataError("why: it is empty; say in a few words why the rows change.")
    facts = {"who": who or _user(), "why": why, "action": action} | (more or {})
    for attempt in range(ATTEMPTS):
        table = _open(name)
        result = change(table)
        if isinstance(result, Version):
            return result
        rows, digest, count = result
        number = 0 if table is None else table.version() + 1
        # Delta counts versions back from the table it opened, wrongly if others commit meanwhile
        totals = {"number": str(number), "digest": digest, "rows": str(count)}
        mode: Literal["error", "overwrite", "append"] = "error"
        if table is not None:
            mode = "overwrite" if action == "ingest" else "append"
        try:
            write_deltalake(
                address(name) if table is None else table,
                rows,
                mode=mode,
                schema_mode="overwrite" if mode == "overwrite" else None,
                # old versions stay readable: Delta would clear its log after 30 days
                configuration={"delta.enableExpiredLogCleanup": "false"},
                commit_properties=CommitProperties(facts | totals, 0),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        except DeltaError as error:
            now = _open(name)
            if (0 if now is None else now.version() + 1) == number:
                raise DataError(f"data: the table {name} cannot be written ({error}).") from error
            time.sleep(random.uniform(0, 0.05 * (attempt + 1)))
            continue
        workspace.sync(workspace.tables() / name)
        return Version(number, count, digest, datetime.now(UTC), new=True)
    raise DataError(f"data: other processes keep writing the table {name}; try again later.")


def address(name: str) -> str:
    """Return where the Delta table of a task lies.

    Raises
    ------
    DataError
        If the path of the workspace cannot hold one.
    """
    place = str(workspace.tables() / name)
    refuse_odd_path(place, "DIPTYCH_HOME")
    return place


def _open(name: str) -> DeltaTable | None:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(address(name))
    except TableNotFoundError:
        return None
    except DeltaError as error:
        remedy = (
            "a newer deltalake wrote it; update deltalake"
            if "Unsupported" in str(error)
            else "restore a copy, or move the folder away to start a new one"
        )
        raise DataError(
            f"data: the table {workspace.shown(workspace.tables() / name)} cannot be read "
            f"({first_line(error)}); {remedy}."
        ) from error


def _schema(table: DeltaTable) -> pa.Schema:
    return pa.schema(table.schema().to_arrow())


def _created(entry: dict) -> datetime:
    return datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)


def _no_table(name: str) -> str:
    return f"data: there is no table {name} yet; run mlops/1_data on the task first."


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


def _fit(rows: pd.DataFrame | pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """Return rows as the schema has them, or say which column does not fit."""
    names = dict.fromkeys(rows.schema.names if isinstance(rows, pa.Table) else rows.columns)
    expected = dict.fromkeys(schema.names)
    if wrong := [c for c in expected if c not in names]:
        raise DataError(f"{wrong[0]}: the rows have no such column, {name} expects it.")
    if wrong := [c for c in names if c not in expected]:
        raise DataError(f"{wrong[0]}: {name} has no such column; remove it from the rows.")
    arrays = [_column(rows[field.name], field, name) for field in schema]
    fitted = pa.Table.from_arrays(arrays, schema=schema)
    _refuse_repeats(fitted, name)
    return fitted


def _column(values: pd.Series | pa.ChunkedArray, field: pa.Field, name: str) -> Any:
    try:
        array, got = _array(values), ""
    except pa.ArrowException:
        array, got = None, "values of several types"
    if array is None or not _same(array.type, field.type):
        raise DataError(
            f"{field.name}: the rows have {got or array.type}, {name} expects {field.type}; "
            "convert the column."
        )
    empty = array.null_count
    if empty and field.name in FILLED:
        raise DataError(f"{field.name}: {empty} rows have no value; {name} needs one in each.")
    return array.cast(field.type)


def _array(values: pd.Series | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return values
    if isinstance(values.dtype, pd.DatetimeTZDtype):  # Arrow's own conversion warns on pandas 3.1
        naive = pa.array(values.dt.tz_convert(None))
        return naive.cast(pa.timestamp(naive.type.unit, "UTC"))
    return pa.array(values, from_pandas=True)


def _same(got: pa.DataType, expected: pa.DataType) -> bool:
    """Whether a type holds what another does: strings of any layout, UTC times of any unit."""
    if pa.types.is_timestamp(expected):
        return pa.types.is_null(got) or (pa.types.is_timestamp(got) and got.tz == expected.tz)
    if expected == pa.string():
        return got in (pa.string(), pa.large_string(), pa.string_view())
    return got == expected


def _refuse_repeats(rows: pa.Table, name: str) -> None:
    ids = rows["id"].to_pandas()
    if (repeat := ids.duplicated()).any():
        raise DataError(
            f"id: {ids[repeat].iloc[0]!r} occurs twice in {name}; each row needs an id of its own."
        )
