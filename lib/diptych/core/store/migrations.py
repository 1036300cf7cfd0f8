"""The ledger's schema, as steps that are only ever appended to, and what both databases share."""

from datetime import UTC, datetime
from typing import Protocol

PREDICTIONS = (
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
)

CALLS = (
    """CREATE TABLE calls (
        id TEXT PRIMARY KEY, time TEXT NOT NULL, run TEXT NOT NULL, endpoint TEXT NOT NULL,
        model TEXT NOT NULL, prompt_version TEXT NOT NULL, request TEXT NOT NULL,
        repeat INTEGER NOT NULL, input TEXT NOT NULL, output TEXT, response TEXT,
        prompt_tokens INTEGER, completion_tokens INTEGER, usd DOUBLE PRECISION,
        first_token_ms DOUBLE PRECISION, latency_ms DOUBLE PRECISION, retries INTEGER,
        status TEXT NOT NULL, error TEXT)""",
    "CREATE INDEX calls_by_request ON calls (request, repeat)",
    "CREATE INDEX calls_of_run ON calls (run, time)",
)

CALLERS = (
    "ALTER TABLE calls ADD COLUMN caller TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE calls ADD COLUMN step INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX calls_of_caller ON calls (caller, time)",
)

OUTCOMES = ("ALTER TABLE calls ADD COLUMN outcome TEXT NOT NULL DEFAULT ''",)

CHANGES = ("ALTER TABLE calls ADD COLUMN changes TEXT",)

MIGRATIONS = (PREDICTIONS, CALLS, CALLERS, OUTCOMES, CHANGES)

POSTGRES_MIGRATIONS = (CALLS, CALLERS, OUTCOMES, CHANGES)

BUSY_S = 30.0  # how long a database is waited for


class LedgerError(RuntimeError):
    """The ledger cannot be opened, read or written; the message says what to do."""


class Database(Protocol):
    """What `diptych.core.store.sqlite.Sqlite` and `diptych.core.store.postgres.Postgres` offer.

    Statements are written with ``?`` for values. Each method raises `LedgerError` with a sentence
    that says what to do.
    """

    def close(self) -> None:
        """Close it; further calls raise `LedgerError`."""

    def write(self, statement: str, rows: list[tuple]) -> None:
        """Run a statement for every row in one transaction, on the disk when this returns."""

    def query(self, statement: str, conditions: dict) -> list[tuple]:
        """Run a statement whose ``{where}`` becomes those conditions that have a value."""


def utc(moment: str | datetime | None) -> str:
    """Write a time (None is now) as UTC text of one width, so that text order is time order."""
    if moment is None:
        moment = datetime.now(UTC)
    elif isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")


def filled(query: str, conditions: dict) -> tuple[str, tuple]:
    """Return a query and its values, of those conditions whose value is not None.

    A tuple stands for as many ``?``; any other value for one.
    """
    used = {sql: value for sql, value in conditions.items() if value is not None}
    values = [v if isinstance(v, tuple) else (v,) for v in used.values()]
    return query.format(where=" AND ".join(used) or "1 = 1"), tuple(x for v in values for x in v)
