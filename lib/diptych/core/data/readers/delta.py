"""Delta tables, through deltalake's own query engine.

`DeltaTable.to_pyarrow_table` gives nulls where columns are mapped to other names, as Databricks
writes them, and refuses tables with deletion vectors; `QueryBuilder` reads both right.
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from diptych.core.data.readers.table import RawTable
from diptych.core.data.readers.typed import frame_of
from diptych.core.data.sources import CLOUD, DataError, first_line, refuse_odd_path


def is_delta(folder: Path) -> bool:
    """Whether a folder holds a Delta table."""
    return (folder / "_delta_log").is_dir()


def read_delta(location: str, place: str, options: Mapping[str, str]) -> RawTable:
    """Read the newest version of a Delta table.

    Raises
    ------
    DataError
        If it is damaged, needs a feature that deltalake lacks, or has nested columns.
    """
    import deltalake
    from deltalake.exceptions import DeltaError

    if not location.startswith(CLOUD):
        refuse_odd_path(location, "task")
    try:
        rows = deltalake.DeltaTable(location)
        reader = deltalake.QueryBuilder().register("t", rows).execute("select * from t")
        table = pa.table(reader)
    except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"task: {place} cannot be read as a Delta table ({first_line(error)})."
        ) from error
    return RawTable(frame_of(table, place, options.get("leave_out", "")))
