"""Data sets of the Hugging Face Hub: `hf:owner/name`, `hf:owner/name/config:split`."""

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from diptych.core.data.readers.table import Guess, RawTable
from diptych.core.data.readers.typed import frame_of
from diptych.core.data.sources import DataError, first_line

ADDRESS = re.compile(r"hf:(?://)?([\w.-]+/[\w.-]+)(?:/([\w.-]+))?(?::([\w.-]+))?")


def is_hub(location: str) -> bool:
    """Whether a location is a data set of the Hub."""
    return location.startswith("hf:")


def read_hub(location: str, options: Mapping[str, str]) -> RawTable:
    """Read a data set; without a split all of them, with a column `split` that names each row's.

    Raises
    ------
    DataError
        If the address is wrong, the package is not installed or the data cannot be had.
    """
    address = ADDRESS.fullmatch(location)
    if not address:
        raise DataError(
            f"task: {location} is no data set; write hf:owner/name, hf:owner/name/config or "
            "hf:owner/name:split."
        )
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"task: {location} needs the package datasets; install it with: pip install "
            "'diptych[hub]'"
        ) from error
    name, config, split = address.groups()
    try:
        loaded = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # whatever its loaders raise
        raise DataError(
            f"task: {location} cannot be loaded ({first_line(error)}). Check the name, the config "
            "and the split, and the network."
        ) from error
    guesses: list[Guess] = []
    notes: list[str] = []
    parts = loaded if isinstance(loaded, dict) else {split: loaded}
    tables = [_table(part, notes) for part in parts.values()]
    if len(parts) > 1:
        tables = _with_split(parts, tables)
        first = next(iter(parts))
        why = f"it has {len(parts)}: {', '.join(parts)}; the column 'split' names them"
        guesses.append(Guess("split", "all", why, f"task={location}:{first}"))
    table = pa.concat_tables(tables, promote_options="permissive")
    frame = frame_of(table, location, options.get("leave_out", ""))
    return RawTable(frame, guesses, list(dict.fromkeys(notes)))


def _with_split(parts: Any, tables: list[pa.Table]) -> list[pa.Table]:
    if any("split" in table.column_names for table in tables):
        return tables
    return [
        table.append_column("split", pa.array([name] * len(table), pa.string()))
        for name, table in zip(parts, tables, strict=True)
    ]


def _table(part: Any, notes: list[str]) -> pa.Table:
    """Return the rows of a split, labels by their names."""
    table = part.with_format("arrow")[:]
    for at, (name, feature) in enumerate(part.features.items()):
        names = getattr(feature, "names", None)
        if names:
            numbers = table[name].to_pylist()
            words = [None if n is None or n < 0 else names[n] for n in numbers]
            table = table.set_column(at, name, pa.array(words, pa.string()))
            notes.append(f"the numbers of the column {name!r} stand for {', '.join(names[:10])}")
    return table
