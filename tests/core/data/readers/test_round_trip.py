"""Random tables in every format: the same values come back, or a sentence; none silently changed.

A sample in `make test`; 10,000 tables in `make test-long`.
"""

import os
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diptych.core.data import readers
from diptych.core.data.sources import DataError

from . import tables

pytestmark = pytest.mark.longer
LONG = os.environ.get("DIPTYCH_LONG")
EXAMPLES = 5000 if LONG else 50  # for each of the two tests
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not LONG,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def number(text: str, conventions: readers.Conventions) -> float | None:
    """Read a number as the conventions have it, None if it is none."""
    group = conventions.thousands
    whole, point, part = text.partition(conventions.decimal)
    digits = whole.lstrip("-").split(group) if group else [whole.lstrip("-")]
    if any(len(d) != 3 for d in digits[1:]) or not all(d.isdigit() for d in digits):
        return None
    if point and not part.isdigit():
        return None
    return float(f"{'-' * whole.startswith('-')}{''.join(digits)}.{part or 0}")


def read(location: str, options: dict | None = None):
    """Return a table, or the sentence with which it is refused."""
    try:
        return readers.read_table(location, options), ""
    except DataError as error:
        return None, str(error)


@SETTINGS
@given(st.data())
def test_text_files_give_back_their_fields_and_numbers(data):
    style, free = data.draw(tables.styles())
    table = data.draw(tables.tables(free))
    with tempfile.TemporaryDirectory() as folder:
        path, fields = tables.write_text(table, style, Path(folder))
        raw, refusal = read(path)
        comes_again = any(str(name) in column for name, column in table.columns.items())
        if raw and comes_again and any(g.override == "header=yes" for g in raw.guesses):
            raw, refusal = read(path, {"header": "yes"})  # what the guess says to give
    if refusal:
        assert any(words in refusal for words in ("read_options", "empty", "no rows"))
        return
    expected = [row for row in fields if any(row)] if len(table.columns) > 1 else fields
    frame = raw.frame
    assert list(frame.columns) == list(table.columns), raw.guesses
    assert frame.astype("object").where(frame.notna(), "").values.tolist() == expected, raw
    doubt = any("two ways" in g.why or "mixed" in g.why for g in raw.guesses)
    for name, kind in table.kinds.items():
        if kind not in ("whole", "decimal"):
            continue
        written = [tables.as_text(v, style) for v in table.columns[name]]
        for value, text in zip(table.columns[name], written, strict=True):
            if text:
                back = number(text, raw.conventions)
                assert back in (None, value) or doubt, (name, text, raw.conventions, raw.guesses)


@SETTINGS
@given(st.data())
def test_typed_files_give_back_their_values(data):
    kind = data.draw(st.sampled_from(tables.FORMATS))
    table = data.draw(tables.tables())
    with tempfile.TemporaryDirectory() as folder:
        location = tables.write_typed(table, kind, Path(folder))
        raw, refusal = read(location, {"header": "yes"})
    if refusal:  # a sheet without a value below its names
        assert "no rows" in refusal
        assert (kind, {v for row in table.rows() for v in row}) == ("xlsx", {None})
        return
    frame = raw.frame
    if kind == "xlsx":  # a sheet has no rows without a cell, and its floats hold 15 digits
        table = without_what_sheets_lack(table)
    assert list(frame.columns) == list(table.columns)
    for name, column in table.columns.items():
        if any("sheet rounds" in note and repr(name) in note for note in raw.notes):
            column = [None if v is None else float(v) for v in column]
        back = [None if pd.isna(v) else v for v in frame[name]]
        if any("read as text" in note and repr(name) in note for note in raw.notes):
            column = [None if v is None else str(v) for v in column]
        assert back == column, (name, frame[name].dtype, raw.notes)


def without_what_sheets_lack(table: tables.Table) -> tables.Table:
    rows = [row for row in table.rows() if any(value is not None for value in row)]
    columns = {n: list(c) for n, c in zip(table.columns, zip(*rows, strict=True), strict=True)}
    return tables.Table(table.kinds, columns)
