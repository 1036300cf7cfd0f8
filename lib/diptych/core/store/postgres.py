"""The ledger in PostgreSQL, as `diptych.core.store.migrations.Database`."""

import threading
from contextlib import contextmanager
from typing import Any

from diptych.core.store.migrations import BUSY_S, POSTGRES_MIGRATIONS, LedgerError, filled

LOCK = 0x44495054  # of all processes that raise the schema at once, one does


class Postgres:
    """A PostgreSQL database, safe to use from several threads and processes.

    Parameters
    ----------
    url : str
        ``postgresql://user@host:port/name``; the password is best kept in ``~/.pgpass`` or
        ``PGPASSWORD``.

    Raises
    ------
    LedgerError
        If psycopg is not installed, the server does not answer, or its schema is a newer one.
    """

    def __init__(self, url: str):
        try:
            import psycopg
        except ImportError as error:
            raise LedgerError(
                "ledger: PostgreSQL needs psycopg; run pip install 'psycopg[binary]'"
            ) from error
        self._error = psycopg.Error
        self._lock = threading.RLock()
        self.place = url.rpartition("@")[2]  # without user and password
        with self._explained():
            self._db = psycopg.connect(url, autocommit=True, connect_timeout=int(BUSY_S))
        try:
            with self._explained(), self._db.transaction(), self._db.cursor() as cursor:
                self._migrate(cursor)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the connection; further calls raise `LedgerError`."""
        with self._lock:
            self._db.close()

    def write(self, statement: str, rows: list[tuple]) -> None:
        """Run a statement for every row in one transaction, on the disk when this returns."""
        with self._lock, self._explained(), self._db.transaction(), self._db.cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s"), [tuple(map(_plain, r)) for r in rows])

    def query(self, statement: str, conditions: dict) -> list[tuple]:
        """Run a statement whose ``{where}`` becomes those conditions that have a value."""
        statement, values = filled(statement, conditions)
        with self._lock, self._explained(), self._db.cursor() as cursor:
            return cursor.execute(statement.replace("?", "%s"), values).fetchall()

    def _migrate(self, cursor: Any) -> None:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        cursor.execute("CREATE TABLE IF NOT EXISTS diptych_schema (version INTEGER NOT NULL)")
        row = cursor.execute("SELECT version FROM diptych_schema").fetchone()
        version = row[0] if row else 0
        if version > len(POSTGRES_MIGRATIONS):
            raise LedgerError(
                f"ledger: {self.place} has schema {version} and this Diptych knows up to "
                f"{len(POSTGRES_MIGRATIONS)}; update Diptych or give another database"
            )
        for statements in POSTGRES_MIGRATIONS[version:]:
            for statement in statements:
                cursor.execute(statement)
        cursor.execute("DELETE FROM diptych_schema")
        cursor.execute("INSERT INTO diptych_schema VALUES (%s)", (len(POSTGRES_MIGRATIONS),))

    @contextmanager
    def _explained(self) -> Any:
        """Turn the server's errors into one sentence."""
        try:
            yield
        except self._error as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise LedgerError(f"ledger: {self.place} failed: {reason}") from error


def _plain(value: Any) -> Any:
    """Return text without NUL, the one character that PostgreSQL does not hold."""
    return value.replace("\x00", "\N{SYMBOL FOR NULL}") if isinstance(value, str) else value
