"""JSON: one record a line (jsonl, ndjson), or an array of records.

Python's own parser keeps every value exact; Arrow's turns texts that look like times into times.
"""

import json
from typing import Any

from diptych.core.data.readers.conventions import conventions_of
from diptych.core.data.readers.encoding import decoded
from diptych.core.data.readers.table import RawTable, Source
from diptych.core.data.readers.typed import columns_of
from diptych.core.data.sources import DataError


def read_records(source: Source) -> RawTable:
    """Read records of JSON; a key that a record lacks is null.

    Raises
    ------
    DataError
        If a line is no record, a key stands twice in one, or a value is a list or a record.
    """
    text, guesses = decoded(source.data, source.place, source.options.get("encoding", ""))
    notes: list[str] = []
    whole = text.lstrip().startswith("[")
    records = _array(text, source.place) if whole else _lines(text, source.place)
    if not records:
        raise DataError(f"task: {source.place} is empty; give a file with rows.")
    names: dict[str, None] = {}
    for at, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise DataError(
                f"task: {source.place} holds {json.dumps(record)[:60]} as record {at}; each must "
                'be an object such as {"text": "good", "label": "pos"}.'
            )
        names.update(dict.fromkeys(record))
    unwanted = {n.strip() for n in source.options.get("leave_out", "").split(",")} - {""}
    _refuse_unknown(unwanted - set(names), names, source.place)
    wanted = [name for name in names if name not in unwanted]
    if not wanted:
        raise DataError(f"task: {source.place} has records without keys; give a file with columns.")
    rows = [[record.get(name) for name in wanted] for record in records]
    frame = columns_of(wanted, rows, source.place, notes)
    conventions, marks = conventions_of(frame, "", source.options)
    return RawTable(frame, guesses + marks, notes, conventions)


def _refuse_unknown(unknown: set[str], names: Any, place: str) -> None:
    if unknown:
        raise DataError(
            f"read_options: leave_out={min(unknown)}: {place} has no such column; its columns are "
            f"{', '.join(map(repr, list(names)[:20]))}."
        )


def _object(pairs: list[tuple]) -> dict:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in a record")
    return record


DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _array(text: str, place: str) -> list:
    try:
        return DECODER.decode(text)
    except ValueError as error:
        raise DataError(
            f"task: {place} is not well-formed JSON ({error}); correct it, or give one record a "
            "line (.jsonl)."
        ) from error


def _lines(text: str, place: str) -> list:
    records = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append(DECODER.decode(line))
        except ValueError as error:
            if number == 1 and text.lstrip().startswith("{"):
                _refuse_one_object(text, place)
            raise DataError(
                f"task: {place} is not well-formed JSON in line {number} ({error}); correct this "
                "line, or write an array of records."
            ) from error
    if len(records) == 1 and isinstance(records[0], dict):
        _refuse_columns(records[0], place)
    return records


def _refuse_one_object(text: str, place: str) -> None:
    try:
        _refuse_columns(json.loads(text), place)
    except ValueError as error:
        if isinstance(error, DataError):
            raise


def _refuse_columns(record: dict, place: str) -> None:
    if record and all(isinstance(value, dict | list) for value in record.values()):
        raise DataError(
            f"task: {place} is one object, not records; write a list of records, such as pandas' "
            'to_json(orient="records") does.'
        )
