"""The model calls in the ledger: one row a call, in SQLite or PostgreSQL.

It is the bill (tokens and dollars), the monitor's source (latency, errors) and the cache (an equal
request with an equal repeat index is answered from its row). A failed call is a failed row.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from diptych.core.store.connect import open_database
from diptych.core.store.migrations import LedgerError, utc
from diptych.core.store.rows import Table, as_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CALL", "Calls", "LedgerError", "request_hash"]

# a new column is also a step of `MIGRATIONS` and `POSTGRES_MIGRATIONS` in `migrations`
CALL = (
    "id", "time", "run", "endpoint", "model", "prompt_version", "request", "repeat", "input",
    "output", "response", "prompt_tokens", "completion_tokens", "usd", "first_token_ms",
    "latency_ms", "retries", "status", "error", "caller", "step", "outcome",
    "changes",
)  # fmt: skip
ADD = f"INSERT INTO calls ({', '.join(CALL)}) VALUES ({', '.join('?' * len(CALL))})"
GET = f"SELECT {', '.join(CALL)} FROM calls WHERE {{where}} ORDER BY time, id"
SUM = """SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
    coalesce(sum(usd), 0), coalesce(sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END), 0)
    FROM calls WHERE {where}"""
WHOLE = ("", "answered")  # outcomes of a whole answer; those of an older version are not known
AT_ONCE = 500  # requests looked up in one query

_NUMBERS = ("prompt_tokens", "completion_tokens", "usd", "first_token_ms", "latency_ms")
_COUNTS = ("repeat", "retries", "step")


def request_hash(where: str, body: Mapping) -> str:
    """Return the SHA-256 of a request: its endpoint and body, whatever the order of the fields.

    Parameters
    ----------
    where : str
        Base URL of the endpoint, or the digest of a local model's file.
    body : mapping
        The request's JSON.
    """
    text = json.dumps([where, body], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Calls(Table):
    """The calls of a ledger; also a context manager that closes it.

    Safe to use from several threads and from several processes.

    Parameters
    ----------
    path_or_url : str or Path
        An SQLite file (made if missing), ``sqlite:///`` followed by one, or ``postgresql://…``.

    Raises
    ------
    LedgerError
        If it cannot be opened.
    """

    ROW = "call"
    COLUMNS = CALL
    REQUIRED = ("endpoint", "model", "request", "input")
    DEFAULTS: ClassVar = {
        "run": "", "prompt_version": "", "repeat": 0, "retries": 0, "status": "ok", "caller": "",
        "step": 0, "outcome": "",
    }  # fmt: skip
    JSON = ("input", "response", "changes")
    TEXTS = ("output", "error")

    def __init__(self, path_or_url: str | Path):
        super().__init__(open_database(path_or_url))

    def log(self, rows: Iterable[Mapping]) -> None:
        """Record calls in one transaction, on the disk when this returns.

        Parameters
        ----------
        rows : iterable of mappings
            ``endpoint``, ``model``, ``request`` (see `request_hash`) and ``input`` (JSON) are
            required. The other columns of `CALL` are optional: ``status`` is "ok" or "failed",
            ``outcome`` how its answer ended, ``caller`` is who asked, ``step`` the endpoint's place
            in a fallback chain (0 first),
            ``changes`` the rules by which what was sent differs from ``input`` (JSON).

        Raises
        ------
        ValueError
            If a row lacks a required field or has an unknown one.
        LedgerError
            If the rows could not be written; then none of them was.
        """
        self._add(ADD, rows)

    def answered(
        self, requests: Sequence[str], repeat: int = 0, without: Sequence[str] = ()
    ) -> dict[str, dict]:
        """Return the answered call of each request hash that has one, by hash.

        Of several the first whole answer counts, else the last of the others.

        Parameters
        ----------
        without : sequence of str
            Outcomes of answers that are left out.
        """
        answers: dict[str, dict] = {}
        for start in range(0, len(requests), AT_ONCE):
            some = requests[start : start + AT_ONCE]
            where = f"status = 'ok' AND request IN ({', '.join('?' * len(some))})"
            for row in self._db.query(GET, {where: tuple(some), "repeat = ?": repeat}):
                call = dict(zip(CALL, row, strict=True))
                before = answers.get(call["request"])
                if call["outcome"] not in without and not (before and before["outcome"] in WHOLE):
                    answers[call["request"]] = call
        for call in answers.values():
            for name in self.JSON:
                call[name] = json.loads(call[name]) if call[name] else None
        return answers

    def table(
        self,
        run: str | None = None,
        endpoint: str | None = None,
        since: str | datetime | None = None,
    ) -> "pd.DataFrame":
        """Read calls in the order of their time, as the columns of `CALL`.

        Parameters
        ----------
        run, endpoint : str, optional
            Only those of this run, of this endpoint.
        since : str or datetime, optional
            Only those from this time on (ISO 8601; UTC where no zone is given).
        """
        where = {"run = ?": run, "endpoint = ?": endpoint, "time >= ?": since and utc(since)}
        rows = self._db.query(GET, where)
        return as_frame(rows, CALL, json_columns=self.JSON, numbers=_NUMBERS, counts=_COUNTS)

    def spent(
        self,
        run: str | None = None,
        caller: str | None = None,
        since: str | datetime | None = None,
        endpoint: str | None = None,
    ) -> dict[str, float]:
        """Return the bill: calls, failed calls, tokens and dollars.

        Parameters
        ----------
        run, caller, since, endpoint : optional
            Only of this run, of this caller, from this time on, of this endpoint.
        """
        where = {
            "run = ?": run, "caller = ?": caller, "time >= ?": since and utc(since),
            "endpoint = ?": endpoint,
        }  # fmt: skip
        ((calls, prompt, completion, usd, failed),) = self._db.query(SUM, where)
        return {
            "calls": calls,
            "failed": int(failed),
            "prompt_tokens": int(prompt),
            "completion_tokens": int(completion),
            "usd": float(usd),
        }
