"""How rows of the ledger are written and read back: the same for predictions and for calls."""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core.store.migrations import Database, utc

if TYPE_CHECKING:  # the model server opens ledgers and never needs pandas
    import pandas as pd


class Table:
    """A table of the ledger and what a row of it holds; also a context manager that closes it.

    A subclass says what its rows are by the names below. Every table has ``id`` and ``time``,
    which are made here where a row has none.

    Attributes
    ----------
    ROW : str
        What one row is, in messages.
    COLUMNS, REQUIRED : tuple of str
    DEFAULTS : mapping of str to value
        What columns that may not be null hold where a row says nothing.
    JSON, TEXTS : tuple of str
        Columns of any JSON value; columns of text from elsewhere, in which half a surrogate pair
        becomes a question mark and NUL is left out, for no database stores them.
    """

    ROW = "row"
    COLUMNS: tuple[str, ...] = ()
    REQUIRED: tuple[str, ...] = ()
    DEFAULTS: ClassVar[Mapping[str, object]] = {}
    JSON: tuple[str, ...] = ()
    TEXTS: tuple[str, ...] = ()

    def __init__(self, database: Database):
        self._db = database

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger; further calls raise `LedgerError`."""
        self._db.close()

    def _add(self, statement: str, rows: Iterable[Mapping]) -> None:
        """Check rows, fill them in and write all of them or none; None is the same as no value.

        Raises
        ------
        ValueError
            If a row lacks a required field or has an unknown one.
        LedgerError
            If the rows could not be written.
        """
        # ids that rise with time keep inserts at the end of the index
        now, stamp = utc(None), time.time_ns()
        values = []
        for i, row in enumerate(rows):
            self._check(i, row)
            new = {"id": f"{stamp + i:016x}{os.urandom(6).hex()}", "time": now}
            full = {**self.DEFAULTS, **new, **{k: v for k, v in row.items() if v is not None}}
            if full["time"] is not now:
                full["time"] = utc(full["time"])
            for name in self.JSON:
                if name in full:
                    full[name] = json.dumps(full[name])
            for name in self.TEXTS:
                if name in full:
                    full[name] = full[name].replace("\0", "").encode("utf-8", "replace").decode()
            values.append(tuple(map(full.get, self.COLUMNS)))
        self._db.write(statement, values)

    def _check(self, i: int, row: Mapping) -> None:
        if unknown := [name for name in row if name not in self.COLUMNS]:
            raise ValueError(
                f"row {i}: {', '.join(unknown)} unknown in a {self.ROW}; "
                f"it has {', '.join(self.COLUMNS)}"
            )
        if missing := [name for name in self.REQUIRED if row.get(name) is None]:
            raise ValueError(f"row {i}: {', '.join(missing)} missing in a {self.ROW}")


def as_frame(
    rows: Sequence[tuple],
    columns: Sequence[str],
    *,
    json_columns: Sequence[str] = (),
    numbers: Sequence[str] = (),
    counts: Sequence[str] = (),
) -> "pd.DataFrame":
    """Build a table whose types do not depend on which values are missing.

    ``time`` is in UTC, columns of JSON hold Python values or None, `numbers` are floats, `counts`
    are whole numbers and never null, and all others are text.
    """
    import pandas as pd

    def column(name: str, values: Sequence) -> pd.Series:
        if name in json_columns:
            parsed = [None if value is None else json.loads(value) for value in values]
            return pd.Series(parsed, dtype=object)
        if name == "time":
            return pd.to_datetime(pd.Series(values, dtype="str"), utc=True).dt.as_unit("us")
        if name in counts:
            return pd.Series(values, dtype="int64")
        return pd.Series(values, dtype=float if name in numbers else "str")

    cells = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pd.DataFrame({name: column(name, x) for name, x in zip(columns, cells, strict=True)})
