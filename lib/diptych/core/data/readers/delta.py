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

# in parallel, each reading gives the rows in another order
ONE_AFTER_ANOTHER = "set datafusion.execution.target_partitions = 1"


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
        engine = deltalake.QueryBuilder().register("t", rows)
        engine.execute(ONE_AFTER_ANOTHER).read_all()
        table = pa.table(engine.execute("select * from t"))
    except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"task: {place} cannot be read as a Delta table ({first_line(error)})."
        ) from error
    return RawTable(frame_of(table, place, options.get("leave_out", "")))
