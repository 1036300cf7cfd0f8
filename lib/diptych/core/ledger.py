"""The ledger: every prediction, late label and promotion, in one SQLite file.

A row is on the disk before `Ledger.log` returns, so an answer sent after it survives a killed
process and a power cut. Several processes may read and write at once. The file's schema is a
number (``PRAGMA user_version``) raised by `MIGRATIONS`, to which steps are only ever appended.
All SQL stands at the top of this module: another database means another set of it.
"""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the model server opens ledgers and never needs pandas
    import pandas as pd

MIGRATIONS = (
    (
        """CREATE TABLE predictions (
            id TEXT PRIMARY KEY, time TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
            row_id TEXT, input TEXT NOT NULL, prediction TEXT, probability REAL,
            probabilities TEXT, latency_ms REAL, status TEXT NOT NULL)""",
        "CREATE INDEX predictions_of_endpoint ON predictions (endpoint, time)",
        """CREATE TABLE labels (
            endpoint TEXT NOT NULL, row_id TEXT NOT NULL, label TEXT NOT NULL, time TEXT NOT NULL,
            PRIMARY KEY (endpoint, row_id))""",
        """CREATE TABLE promotions (
            id INTEGER PRIMARY KEY, time TEXT NOT NULL, model TEXT NOT NULL, from_version TEXT,
            to_version TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, gate TEXT NOT NULL)""",
        """CREATE TRIGGER promotions_keep BEFORE UPDATE ON promotions
            BEGIN SELECT RAISE(ABORT, 'promotions are only ever added'); END""",
        """CREATE TRIGGER promotions_stay BEFORE DELETE ON promotions
            BEGIN SELECT RAISE(ABORT, 'promotions are only ever added'); END""",
    ),
)
PREDICTION = (
    "id", "time", "endpoint", "model", "row_id", "input",
    "prediction", "probability", "probabilities", "latency_ms", "status",
)  # fmt: skip
PROMOTION = ("time", "model", "from_version", "to_version", "who", "why", "gate")
ADD_PREDICTION = f"INSERT INTO predictions VALUES ({', '.join('?' * len(PREDICTION))})"
ADD_LABEL = """INSERT INTO labels (endpoint, row_id, label, time) VALUES (?, ?, ?, ?)
    ON CONFLICT (endpoint, row_id) DO UPDATE SET label = excluded.label, time = excluded.time"""
ADD_PROMOTION = f"INSERT INTO promotions ({', '.join(PROMOTION)}) VALUES (?, ?, ?, ?, ?, ?, ?)"
GET_PREDICTIONS = f"""SELECT {", ".join("p." + name for name in PREDICTION)}, l.label
    FROM predictions p LEFT JOIN labels l ON l.endpoint = p.endpoint AND l.row_id = p.row_id
    WHERE {{where}} ORDER BY p.time, p.id"""
GET_PROMOTIONS = f"SELECT {', '.join(PROMOTION)} FROM promotions WHERE {{where}} ORDER BY id"

APPLICATION = 0x44495054  # "DIPT" in the file's header tells a ledger from another SQLite file
BUSY_S = 30.0


class LedgerError(RuntimeError):
    """The ledger cannot be opened, read or written; the message says what to do."""


class Ledger:
    """One ledger file, made if missing; also a context manager that closes it.

    Safe to use from several threads and from several processes.

    Parameters
    ----------
    path_or_url : str or Path
        A file, or ``sqlite:///`` followed by one.

    Raises
    ------
    LedgerError
        If the file is damaged, belongs to something else or was written by a newer Diptych.
    """

    def __init__(self, path_or_url: str | Path):
        self.path = _file(path_or_url)
        self._lock = threading.RLock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"ledger: {self.path} cannot be opened ({error})") from error
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; further calls raise `LedgerError`."""
        with self._lock:
            self._db.close()

    def log(self, rows: Iterable[Mapping]) -> None:
        """Record predictions in one transaction, on the disk when the call returns.

        Parameters
        ----------
        rows : iterable of mappings
            ``endpoint``, ``model`` and ``input`` (any JSON value) are required;
            ``row_id``, ``prediction``, ``probability`` (of the predicted class),
            ``probabilities`` (list), ``latency_ms``, ``status`` ("ok"), ``time`` (a datetime, now)
            and ``id`` (made here) are optional.

        Raises
        ------
        ValueError
            If a row lacks a required field or has an unknown one.
        LedgerError
            If the rows could not be written; then none of them was.
        """
        now, stamp = _utc(None), time.time_ns()
        values = []
        for i, row in enumerate(rows):
            if not row.keys() <= _KNOWN or not row.keys() >= _REQUIRED:
                wrong = sorted((row.keys() - _KNOWN) | (_REQUIRED - row.keys()))
                raise ValueError(f"row {i}: {', '.join(wrong)} unknown or missing in a prediction")
            get, probabilities = row.get, row.get("probabilities")
            values.append(
                (
                    # ids that rise with time keep inserts at the end of the index
                    get("id") or f"{stamp + i:016x}{os.urandom(6).hex()}",
                    _utc(row["time"]) if "time" in row else now,
                    row["endpoint"],
                    row["model"],
                    get("row_id"),
                    json.dumps(row["input"]),
                    get("prediction"),
                    get("probability"),
                    None if probabilities is None else json.dumps(probabilities),
                    get("latency_ms"),
                    get("status", "ok"),
                )
            )
        with self._transaction():
            self._db.executemany(ADD_PREDICTION, values)

    def predictions(
        self, endpoint: str | None = None, since: str | datetime | None = None
    ) -> "pd.DataFrame":
        """Read predictions in the order of their time, with the labels that have come.

        Parameters
        ----------
        endpoint : str, optional
            Only those of this serving run.
        since : str or datetime, optional
            Only those from this time on (ISO 8601; UTC where no zone is given).

        Returns
        -------
        DataFrame
            The columns of `PREDICTION` (``time`` in UTC; ``input`` and ``probabilities`` as
            Python values) and ``label``, null until it came.
        """
        where = {"p.endpoint = ?": endpoint, "p.time >= ?": since and _utc(since)}
        rows = self._read(GET_PREDICTIONS, where)
        return _frame(rows, (*PREDICTION, "label"))

    def label(self, endpoint: str, labels: Mapping) -> None:
        """Record late labels ``{row_id: label}`` of an endpoint; a later one replaces an earlier.

        A label may come before its prediction.
        """
        now = _utc(None)
        values = [(endpoint, str(row), str(label), now) for row, label in labels.items()]
        with self._transaction():
            self._db.executemany(ADD_LABEL, values)

    def promote(
        self,
        model: str,
        from_version: str | None,
        to_version: str,
        who: str,
        why: str,
        gate: Mapping,
    ) -> None:
        """Add one promotion (or rollback) to the audit, which can never be changed.

        Parameters
        ----------
        model : str
            Registered name.
        from_version, to_version : str
            The champion before (None for the first) and after.
        who, why : str
            The person or job, and the reason; neither may be empty.
        gate : mapping
            The quality gate's verdict, as plain JSON.

        Raises
        ------
        ValueError
            If `who` or `why` is empty.
        """
        for name, value in (("who", who), ("why", why)):
            if not value.strip():
                raise ValueError(f"{name}: is empty; a promotion names who made it and why")
        before = None if from_version is None else str(from_version)
        values = (_utc(None), model, before, str(to_version), who, why, json.dumps(dict(gate)))
        with self._transaction():
            self._db.execute(ADD_PROMOTION, values)

    def promotions(self, model: str | None = None) -> "pd.DataFrame":
        """Read the audit, oldest first: the columns of `PROMOTION`, ``gate`` as a dict."""
        return _frame(self._read(GET_PROMOTIONS, {"model = ?": model}), PROMOTION)

    def _read(self, query: str, conditions: dict) -> list[tuple]:
        """Run a query with those conditions that have a value."""
        given = {sql: value for sql, value in conditions.items() if value is not None}
        query = query.format(where=" AND ".join(given) or "1 = 1")
        with self._lock, self._explained():
            return self._db.execute(query, tuple(given.values())).fetchall()

    def _prepare(self) -> None:
        """Bring the schema up to date, then switch to WAL (never in another program's file)."""
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                with self._transaction():
                    self._migrate()
                with self._explained():
                    # NORMAL, the default of many programs, may lose rows in a power cut
                    self._db.execute("PRAGMA synchronous = FULL")
                    self._db.execute("PRAGMA journal_mode = WAL")
                return
            except LedgerError as error:
                # SQLite does not wait where two processes switch to WAL at once
                busy = getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _migrate(self) -> None:
        """Apply the steps this file lacks; runs inside a transaction, so only one process does."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION and (application or tables):
            raise LedgerError(
                f"ledger: {self.path} is the database of another program; give another path"
            )
        if version > len(MIGRATIONS):
            raise LedgerError(
                f"ledger: {self.path} has schema {version} and this Diptych knows up to "
                f"{len(MIGRATIONS)}; update Diptych or give another path"
            )
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in statements:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {number}")
        if application != APPLICATION:
            self._db.execute(f"PRAGMA application_id = {APPLICATION}")

    @contextmanager
    def _transaction(self):
        """Hold the write lock for a block and commit it, or leave the file as it was."""
        with self._lock, self._explained():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self):
        """Turn SQLite's errors into one sentence that says what to do."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            remedy = next((text for start, text in REMEDIES if name.startswith(start)), None)
            raise LedgerError(f"ledger: {self.path} {remedy or f'failed: {error}'}") from error


REMEDIES = (
    ("SQLITE_FULL", "could not grow, the disk is full; free some space and try again"),
    ("SQLITE_IOERR", "could not be read or written, the disk is full or failing; check it"),
    ("SQLITE_BUSY", f"was locked by another process for {BUSY_S:g} s; end that one and try again"),
    ("SQLITE_NOTADB", "is not a ledger; give another path"),
    ("SQLITE_CORRUPT", "is damaged; restore a copy or move it away to start a new one"),
    ("SQLITE_READONLY", "cannot be written; check the permissions of the file and its folder"),
    ("SQLITE_CANTOPEN", "cannot be opened; check the permissions of the file and its folder"),
)
_KNOWN = frozenset(PREDICTION)
_REQUIRED = frozenset(("endpoint", "model", "input"))
_JSON = ("input", "probabilities", "gate")
_NUMBERS = ("probability", "latency_ms")


def _file(path_or_url: str | Path) -> Path:
    """Return the file that a path or URL names."""
    text = str(path_or_url)
    scheme, found, rest = text.partition("://")
    if not found:
        return Path(text).absolute()
    if scheme != "sqlite":
        raise LedgerError(f"ledger: {scheme}:// is no known kind; give a path or sqlite:///path")
    return Path(rest.removeprefix("/")).absolute()


def _utc(moment: str | datetime | None) -> str:
    """Write a time (None is now) as UTC text of one width, so that text order is time order."""
    if moment is None:
        moment = datetime.now(UTC)
    elif isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")


def _frame(rows: list[tuple], columns: tuple) -> "pd.DataFrame":
    """Build a table whose types do not depend on which values are missing."""
    import pandas as pd

    def column(name: str, values: tuple) -> pd.Series:
        if name in _JSON:
            parsed = [None if value is None else json.loads(value) for value in values]
            return pd.Series(parsed, dtype=object)
        if name == "time":
            return pd.to_datetime(pd.Series(values, dtype="str"), utc=True).dt.as_unit("us")
        return pd.Series(values, dtype=float if name in _NUMBERS else "str")

    cells = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pd.DataFrame({name: column(name, x) for name, x in zip(columns, cells, strict=True)})
