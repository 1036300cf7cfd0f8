"""The predictions in the ledger, with their late labels, and the audit of promotions.

All lie in one SQLite file. A row is on the disk before `Predictions.log` returns, so an answer
sent after it survives a killed process and a power cut. Several processes may read and write at
once. All SQL stands at the top of this module; the tables are made by
`diptych.core.store.migrations`.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from diptych.core.store.migrations import MIGRATIONS, LedgerError, utc
from diptych.core.store.rows import Table, as_frame
from diptych.core.store.sqlite import Sqlite
from diptych.execution.cache import dependencies

if TYPE_CHECKING:  # the model server opens ledgers and never needs pandas
    import pandas as pd

__all__ = ["MIGRATIONS", "LedgerError", "Predictions"]

PREDICTION = (
    "id", "time", "endpoint", "model", "row_id", "input",
    "prediction", "probability", "probabilities", "latency_ms", "status",
)  # fmt: skip
PROMOTION = ("time", "model", "from_version", "to_version", "who", "why", "gate")
ADD_PREDICTION = f"""INSERT INTO predictions ({", ".join(PREDICTION)})
    VALUES ({", ".join("?" * len(PREDICTION))})"""
ADD_LABEL = """INSERT INTO labels (endpoint, row_id, label, time) VALUES (?, ?, ?, ?)
    ON CONFLICT (endpoint, row_id) DO UPDATE SET label = excluded.label, time = excluded.time"""
ADD_PROMOTION = f"INSERT INTO promotions ({', '.join(PROMOTION)}) VALUES (?, ?, ?, ?, ?, ?, ?)"
GET_PREDICTIONS = f"""SELECT {", ".join("p." + name for name in PREDICTION)}, l.label
    FROM predictions p LEFT JOIN labels l ON l.endpoint = p.endpoint AND l.row_id = p.row_id
    WHERE {{where}} ORDER BY p.time, p.id"""
COUNT_PREDICTIONS = "SELECT count(*) FROM predictions WHERE endpoint = ?"
SAW_PROMOTION = "SELECT min(time) FROM promotions WHERE model = ? AND to_version = ?"
GET_PROMOTIONS = f"SELECT {', '.join(PROMOTION)} FROM promotions WHERE {{where}} ORDER BY id"


class Predictions(Table):
    """The predictions of a ledger file, made if missing; also a context manager that closes it.

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

    ROW = "prediction"
    COLUMNS = PREDICTION
    REQUIRED = ("endpoint", "model", "input")
    DEFAULTS: ClassVar = {"status": "ok"}
    JSON = ("input", "probabilities")

    def __init__(self, path_or_url: str | Path):
        database = Sqlite(path_or_url)
        super().__init__(database)
        self.path = database.path

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
        self._add(ADD_PREDICTION, rows)

    def table(
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
        where = {"p.endpoint = ?": endpoint, "p.time >= ?": since and utc(since)}
        rows = self._db.query(GET_PREDICTIONS, where)
        if endpoint and not since:
            dependencies.rows(self.path, COUNT_PREDICTIONS, [endpoint])
        return _frame(rows, (*PREDICTION, "label"))

    def label(self, endpoint: str, labels: Mapping) -> None:
        """Record late labels ``{row_id: label}`` of an endpoint; a later one replaces an earlier.

        A label may come before its prediction.
        """
        now = utc(None)
        values = [(endpoint, str(row), str(label), now) for row, label in labels.items()]
        self._db.write(ADD_LABEL, values)

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
        check_promotion(who, why)
        before = None if from_version is None else str(from_version)
        values = (utc(None), model, before, str(to_version), who, why, json.dumps(dict(gate)))
        self._db.write(ADD_PROMOTION, [values])
        dependencies.rows(self.path, SAW_PROMOTION, [model, str(to_version)])

    def promotions(self, model: str | None = None) -> "pd.DataFrame":
        """Read the audit, oldest first: the columns of `PROMOTION`, ``gate`` as a dict."""
        return _frame(self._db.query(GET_PROMOTIONS, {"model = ?": model}), PROMOTION)


def check_promotion(who: str, why: str) -> None:
    """Raise ValueError if a promotion does not name who made it and why."""
    for name, value in (("who", who), ("why", why)):
        if not value.strip():
            raise ValueError(f"{name}: is empty; a promotion names who made it and why")


def _frame(rows: list[tuple], columns: tuple) -> "pd.DataFrame":
    return as_frame(
        rows,
        columns,
        json_columns=(*Predictions.JSON, "gate"),
        numbers=("probability", "latency_ms"),
    )
