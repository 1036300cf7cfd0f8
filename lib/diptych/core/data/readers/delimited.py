"""Delimited text: CSV and its kin.

Arrow parses (a million rows of 30 columns in a second); how the text is to be cut is found first,
see `separators`.
"""

import io
import re
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from diptych.core.data.readers.conventions import conventions_of
from diptych.core.data.readers.encoding import decoded
from diptych.core.data.readers.header import has_header
from diptych.core.data.readers.separators import SHOWN, Layout, layout_of
from diptych.core.data.readers.table import Guess, RawTable, Source
from diptych.core.data.readers.tidy import named, refuse_repeated, tidied, without_unnamed
from diptych.core.data.sources import DataError

SEP_LINE = re.compile(r"""\s*"?sep=(.)"?[^\S\r\n]*(?:\r\n|\r|\n)""", re.IGNORECASE)
BLANK_LINE = re.compile(r"\n(?=\r?\n)")
WEB_PAGE = ("<!doctype", "<html", "<?xml")


def read_delimited(source: Source) -> RawTable:
    """Read a text file of fields with a separator between them.

    Every column comes back as strings, an empty field as null.

    Raises
    ------
    DataError
        If it is empty, a web page, has a name twice or a record with too few or many fields.
    """
    text, guesses = decoded(source.data, source.place, source.options.get("encoding", ""))
    notes: list[str] = []
    if text.lstrip()[:200].lower().startswith(WEB_PAGE):
        raise DataError(
            f"task: {source.place} is a web page, not a table; give the address of the raw file."
        )
    text, options = _without_sep_line(text, source.options, guesses)
    text = _without_lines(text, options)
    if not text.strip("\r\n \t,;|\ufeff"):
        raise DataError(f"task: {source.place} is empty; give a file with rows.")
    text, layout = layout_of(text, source, options, guesses)
    header = _header(layout, options, source.expected, guesses)
    names, unnamed = _names(layout, header, source.place, guesses, notes)
    frame = _parsed(text, layout, names, header, source.place)
    frame = without_unnamed(frame, unnamed, notes, guesses)
    if frame.shape[1] == 1 and (blank := len(BLANK_LINE.findall(text.strip("\r\n")))):
        notes.append(f"{blank:,} blank line{'s' * (blank > 1)} skipped")
    frame = tidied(frame, options, notes, guesses)
    conventions, marks = conventions_of(frame, layout.separator, options)
    return RawTable(frame, guesses + marks, notes, conventions)


def _without_sep_line(text: str, options: Mapping[str, str], guesses: list[Guess]) -> Any:
    """Take the separator from a first line `sep=;`, which Excel writes and reads."""
    line = SEP_LINE.match(text[:100])
    if not line:
        return text, options
    if "separator" not in options:
        shown = SHOWN.get(line[1], line[1])
        guesses.append(Guess("separator", shown, "the first line says so", "separator=,"))
    return text[line.end() :], {"separator": line[1], **options}


def _without_lines(text: str, options: Mapping[str, str]) -> str:
    at = 0
    for _ in range(int(options.get("skip_rows", 0))):
        line = re.compile(r"\r\n|\r|\n").search(text, at)
        if not line:
            return ""
        at = line.end()
    return text[at:]


def _header(
    layout: Layout, options: Mapping[str, str], expected: Collection[str], guesses: list[Guess]
) -> bool:
    if "header" in options:
        return options["header"] == "yes"
    first, *rest = layout.records
    if rest and len(first) == len(rest[0]) - 1 and len(first) > 1:
        return True
    header, why = has_header(first, rest, expected)
    value = "yes" if header else "no"
    guesses.append(Guess("header", value, why, f"header={'no' if header else 'yes'}"))
    return header


def _names(
    layout: Layout, header: bool, place: str, guesses: list[Guess], notes: list[str]
) -> tuple[list[str], list[int]]:
    """Return the columns' names and the positions of those without one."""
    first = layout.records[0]
    if not header:
        names = [f"column_{at + 1}" for at in range(len(first))]
        guesses.append(
            Guess("column names", f"{names[0]}, ...", "the file has no header", "header=yes")
        )
        return names, []
    rest = layout.records[1:]
    lacking = min((len(record) for record in rest), default=0) - len(first)
    if lacking > 0 and not any("".join(record[len(first) :]) for record in rest):
        first = [*first, *[""] * lacking]  # the rows end in separators
    elif lacking == 1 and len(first) > 1:
        first = ["", *first]  # R writes its row names without a name
    if (plain := [name.strip() for name in first]) != first:
        notes.append("spaces around the names of columns left out")
    names, unnamed = named(plain)
    refuse_repeated(names, place)
    return names, unnamed


def _parsed(text: str, layout: Layout, names: list[str], header: bool, place: str) -> pd.DataFrame:
    skip = layout.skipped + header
    if skip:
        text = _after(text, layout, skip)
    if not text.strip():
        raise DataError(f"task: {place} has columns but no rows; give a file with rows.")
    data = text.encode()
    quoted = layout.quote != "none"
    try:
        table = pa.csv.read_csv(
            io.BytesIO(data),
            read_options=pa.csv.ReadOptions(
                column_names=names, use_threads=False, block_size=max(len(data), 2**20)
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=layout.separator,
                quote_char=layout.quote if quoted else False,
                double_quote=not layout.escaped,
                escape_char="\\" if layout.escaped else False,
                newlines_in_values=quoted,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(
            f"task: {place} is not a well-formed table ({_uneven(text, layout, names) or error}). "
            "Quote fields that hold the separator or a line break, or correct what was guessed "
            "with read_options: separator=..., quote=..., skip_rows=..."
        ) from error
    return table.to_pandas(ignore_metadata=True)


def _uneven(text: str, layout: Layout, names: list[str]) -> str:
    """Return what is wrong with the first record of another width than the names."""
    for number, record in enumerate(layout.cut(io.StringIO(text, newline="")), 1):
        if len(record) != len(names):
            shown = layout.separator.join(record)[:80]
            return f"row {number} has {len(record)} fields, not {len(names)}: {shown!r}"
    return ""


def _after(text: str, layout: Layout, records: int) -> str:
    """Return the text below its first records."""
    lines = _Lines(text)
    rows = layout.cut(lines)
    for _ in range(records):
        next(rows)
    return text[lines.at :]


class _Lines:
    """The lines of a text, and how far they were taken."""

    END = re.compile(r"\r\n|\r|\n|\Z")

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> str:
        if self.at >= len(self.text):
            raise StopIteration
        end = self.END.search(self.text, self.at)  # at the latest the end of the text
        start, self.at = self.at, end.end() if end else len(self.text)
        return self.text[start : self.at]
