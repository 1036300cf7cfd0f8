"""Open the ledger of a path or URL: SQLite or PostgreSQL, which offer the same.

SQL is written with ``?`` for values and without it elsewhere.
"""

from pathlib import Path

from diptych.core.store.migrations import Database
from diptych.core.store.sqlite import Sqlite


def open_database(path_or_url: str | Path) -> Database:
    """Return the database of a path or URL: SQLite, or PostgreSQL for ``postgresql://``."""
    if str(path_or_url).startswith(("postgresql://", "postgres://")):
        from diptych.core.store.postgres import Postgres

        return Postgres(str(path_or_url))
    return Sqlite(path_or_url)
