"""The ledger in one SQLite file.

``PRAGMA user_version`` tells which steps of `diptych.core.store.migrations` the file has. A
committed row survives a killed process and a power cut; several processes may read and write at
once.
"""

import os
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from diptych.core.store.migrations import BUSY_S, MIGRATIONS, LedgerError, filled

APPLICATION = 0x44495054  # "DIPT" in the file's header tells a ledger from another SQLite file


class Sqlite:
    """An SQLite file, made if missing, safe to use from several threads and processes.

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
            _make_private(self.path)
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

    def close(self) -> None:
        """Close the file; further calls raise `LedgerError`."""
        with self._lock:
            self._db.close()

    def write(self, statement: str, rows: list[tuple]) -> None:
        """Run a statement for every row in one transaction, on the disk when this returns."""
        with self._transaction():
            self._db.executemany(statement, rows)

    def query(self, statement: str, conditions: dict) -> list[tuple]:
        """Run a statement whose ``{where}`` becomes those conditions that have a value."""
        statement, values = filled(statement, conditions)
        with self._lock, self._explained():
            return self._db.execute(statement, values).fetchall()

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
    def _transaction(self) -> Any:
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
    def _explained(self) -> Any:
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


def _make_private(path: Path) -> None:
    """Make a new file that only its user may read: it holds inputs and answers.

    One that is there keeps its rights; SQLite gives the same to the files beside it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _file(path_or_url: str | Path) -> Path:
    """Return the file that a path or URL names."""
    text = str(path_or_url)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text).absolute()
    if scheme != "sqlite":
        raise LedgerError(f"ledger: {scheme}:// is no known kind; give a path or sqlite:///path")
    return Path(rest.removeprefix("/")).absolute()
