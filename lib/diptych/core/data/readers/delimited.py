"""Delimited text: CSV and its kin.

Arrow parses (a million rows of 30 columns in a second); what it must be told is found here on the
first records. Measured on the cases: `csv.Sniffer` and `duckdb`'s sniffer both find the separator
in every file that they can read; `csv.Sniffer` finds none in a file with one column and may take a
letter for one, and `duckdb` (66 MB) cannot read latin-1, takes a `sep=` line for the header and
the first text of a headerless file for a name. Counting fields, 40 lines, has none of these
faults, so neither is used. A separator is right if it gives every record as many fields.
"""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from diptych.core.data.readers.conventions import conventions_of
from diptych.core.data.readers.encoding import decoded
from diptych.core.data.readers.header import has_header
from diptych.core.data.readers.table import Guess, RawTable, Source
from diptych.core.data.readers.tidy import named, refuse_repeated, tidied, without_unnamed
from diptych.core.data.sources import DataError, first_line

SEPARATORS = (",", ";", "\t", "|")
NEVER = "\x1f\x1e\x1d\x1c"  # separators of ASCII, which no text holds
SHOWN = {"\t": "tab", " ": "space"}
HEAD = 2**18  # characters that are looked at for the separator
RECORDS = 500  # of them, at most
PREAMBLE = 20  # lines above a table, at most
SEP_LINE = re.compile(r"""\s*"?sep=(.)"?[^\S\r\n]*(?:\r\n|\r|\n)""", re.IGNORECASE)
WEB_PAGE = ("<!doctype", "<html", "<?xml")


@dataclass(frozen=True)
class Layout:
    """How the text of a table is cut into fields.

    Attributes
    ----------
    separator, quote : str
        `quote` is "none" where quotation marks are part of the text.
    records : list of list of str
        The first records, from the table's first line on; blank lines are none.
    skipped : int
        Records above the table.
    escaped : bool
        Whether a backslash stands before a quotation mark within a field, as MySQL writes.
    """

    separator: str
    quote: str
    records: list[list[str]]
    skipped: int = 0
    escaped: bool = False

    def cut(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Cut lines into records as the csv module does."""
        return _cut(lines, self.separator, self.quote, self.escaped)


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
    layout = _layout(text, source, options, guesses)
    header = _header(layout, options, guesses)
    names, unnamed = _names(layout, header, source.place, guesses)
    frame = _parsed(text, layout, names, header, source.place)
    frame = without_unnamed(frame, unnamed, notes, guesses)
    frame = tidied(frame, options, notes, guesses)
    conventions, marks = conventions_of(frame, layout.separator, options)
    return RawTable(frame, guesses + marks, notes, conventions)


def _without_sep_line(text: str, options: Mapping[str, str], guesses: list[Guess]):
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


# ---- the separator and the quotes


def _layout(text: str, source: Source, options: Mapping[str, str], guesses: list[Guess]) -> Layout:
    quote = options.get("quote") or _quote(text)
    separators = options.get("separator", SEPARATORS)
    cut = {s: _records(text, s, quote) for s in separators}
    separator = _separator(cut, source.name)
    if not separator:  # one column: cut by what is in no field
        separator = next(mark for mark in (*SEPARATORS, *NEVER) if mark not in text)
        cut[separator] = _records(text, separator, quote)
    layout = Layout(separator, quote, cut[separator])
    if quote == '"' and "quote" not in options and not _well_quoted(text, separator):
        layout = _odd_quotes(text, separator, source.place, guesses)
    elif quote == "'" and "quote" not in options:
        why = "the fields stand between such marks"
        guesses.append(Guess("quotation mark", "'", why, 'quote="'))
    records = layout.records
    if not records:
        raise DataError(
            f"task: {source.place} holds no lines that could be records; give a file with rows."
        )
    widths = Counter(len(r) for r in records)
    usual = widths.most_common(1)[0][0]
    if "separator" not in options:
        counted = f"{widths[usual]:,} of the first {len(records):,} records have {usual} field"
        guesses.append(
            Guess(
                "separator",
                SHOWN.get(separator, separator) if usual > 1 else "none",
                counted + "s" * (usual > 1),
                "separator=;" if separator != ";" else "separator=,",
            )
        )
    skipped = _preamble(records) if "skip_rows" not in options else 0
    if skipped:
        why = f"the first {skipped} records have fewer fields than the {usual} of the table"
        guesses.append(Guess("lines above the table", str(skipped), why, "skip_rows=0"))
    return replace(layout, records=records[skipped:], skipped=skipped)


def _quote(text: str) -> str:
    """Return ' if fields stand between such marks and never between double ones."""
    head = text[:HEAD]
    if '"' in head:
        return '"'
    quoted = re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n]|$)", head, re.MULTILINE)
    lines = head.count("\n") or 1
    return "'" if len(quoted) >= lines and 2 * len(quoted) == head.count("'") else '"'


def _cut(
    lines: Iterable[str], separator: str, quote: str, escaped: bool = False, strict: bool = False
) -> Iterator[list[str]]:
    """Return the records of lines, without the blank ones."""
    rows = csv.reader(
        lines,
        delimiter=separator,
        quotechar=None if quote == "none" else quote,
        quoting=csv.QUOTE_NONE if quote == "none" else csv.QUOTE_MINIMAL,
        escapechar="\\" if escaped else None,
        doublequote=not escaped,
        strict=strict,
    )
    return (row for row in rows if row)


def _records(text: str, separator: str, quote: str, escaped: bool = False) -> list[list[str]]:
    """Return the first records of a text."""
    whole = len(text) <= HEAD
    lines = io.StringIO(text if whole else text[:HEAD], newline="")
    try:
        records = list(itertools.islice(_cut(lines, separator, quote, escaped), RECORDS + 1))
    except csv.Error:  # a field longer than its limit
        return []
    return records[:RECORDS] if whole or len(records) > RECORDS else records[:-1]


def _separator(cut: dict[str, list[list[str]]], name: str) -> str:
    """Return the separator that gives the most records as many fields, "" if there is none."""
    usual = "\t" if ".tsv" in name or ".tab" in name else ","
    order = sorted(cut, key=lambda s: s != usual)

    def worth(separator: str) -> tuple:
        widths = Counter(len(record) for record in cut[separator])
        if not widths:
            return (0, 0, 0)
        width, count = widths.most_common(1)[0]
        if width == 1 or (separator == "," and _one_column(cut[separator])):
            return (0, 0, 0)
        share = count / len(cut[separator])
        decimal = separator == "," and _decimal_commas(cut)
        return (round(share, 2), not decimal, width)

    best = max(order, key=worth)
    return best if len(cut) == 1 or worth(best)[0] else ""


def _one_column(records: list[list[str]]) -> bool:
    """Whether below a single name every record is a number with a decimal comma, or a whole one."""
    first, *rest = records
    whole, part = re.compile(r"[-+]?[\d.' ]+"), re.compile(r"\d*")
    numbers = (whole.fullmatch(r[0]) and part.fullmatch("".join(r[1:])) for r in rest)
    return len(first) == 1 and max(map(len, rest), default=0) == 2 and all(numbers)


def _decimal_commas(cut: dict[str, list[list[str]]]) -> bool:
    """Whether another separator also cuts evenly and leaves every comma within a number."""
    for separator in (";", "\t", "|"):
        records = cut.get(separator, [])
        if len({len(r) for r in records}) == 1 and len(records[0]) > 1:
            fields = [field for record in records for field in record if "," in field]
            return all(re.fullmatch(r"\s*[-+]?[\d.]*,\d+\s*%?\s*", field) for field in fields)
    return False


def _well_quoted(text: str, separator: str) -> bool:
    """Whether every quotation mark opens, closes or doubles another, as the format has it."""
    if '"' not in text:
        return True
    data = np.frombuffer(text.encode(), np.uint8)
    at = np.flatnonzero(data == 34)
    if len(at) % 2:
        return False
    edge = np.zeros(256, bool)
    edge[[ord(separator) & 255, 10, 13, 34]] = True
    opening, closing = at[::2], at[1::2]
    before = edge[data[opening - 1]] | (opening == 0)
    after = edge[data[np.minimum(closing + 1, len(data) - 1)]] | (closing == len(data) - 1)
    return bool(before.all() and after.all())


def _odd_quotes(text: str, separator: str, place: str, guesses: list[Guess]) -> Layout:
    """Decide what quotation marks are that do not stand as the format has it."""
    if '\\"' in text and _well_quoted(re.sub(r"\\.", "", text, flags=re.DOTALL), separator):
        why = "a backslash stands before marks within fields"
        guesses.append(Guess("quotation mark", '\\" within "', why, "quote=none"))
        return Layout(separator, '"', _records(text, separator, '"', True), escaped=True)
    try:
        rows = _cut(io.StringIO(text, newline=""), separator, '"', strict=True)
        widths = {len(row) for row in rows}
    except csv.Error:
        widths = set()
    if len(widths) == 1:  # marks within fields, such as 5" nails
        return Layout(separator, '"', _records(text, separator, '"'))
    plain = _records(text, separator, "none")
    if plain and len({len(record) for record in plain}) == 1:
        why = "they do not come in pairs around fields, so they are part of the text"
        guesses.append(Guess("quotation mark", "none", why, "quote=double"))
        return Layout(separator, "none", plain)
    raise DataError(
        f"task: {place} has quotation marks that do not come in pairs around fields; correct them "
        "(a mark within a quoted field is doubled), or if they are part of the text, give "
        "read_options: quote=none"
    )


def _preamble(records: list[list[str]]) -> int:
    """Return how many records with fewer fields stand above a table."""
    widths = [len(record) for record in records]
    usual = Counter(widths).most_common(1)[0][0]
    start = next((at for at, width in enumerate(widths) if width == usual), 0)
    above = widths[:start]
    if not start or start > PREAMBLE or len(records) - start < 2:
        return 0
    if start == 1 and (above[0] == usual - 1) and usual > 2:
        return 0  # names without one for the row's own
    return start if max(above) < usual else 0


# ---- names and rows


def _header(layout: Layout, options: Mapping[str, str], guesses: list[Guess]) -> bool:
    if "header" in options:
        return options["header"] == "yes"
    first, *rest = layout.records
    if rest and len(first) == len(rest[0]) - 1 and len(first) > 1:
        return True
    header, why = has_header(first, rest)
    value = "yes" if header else "no"
    guesses.append(Guess("header", value, why, f"header={'no' if header else 'yes'}"))
    return header


def _names(layout: Layout, header: bool, place: str, guesses: list[Guess]):
    """Return the columns' names and the positions of those without one."""
    first = layout.records[0]
    if not header:
        names = [f"column_{at + 1}" for at in range(len(first))]
        guesses.append(
            Guess("column names", f"{names[0]}, ...", "the file has no header", "header=yes")
        )
        return names, []
    width = Counter(len(record) for record in layout.records[1:]).most_common(1)
    if width and width[0][0] == len(first) + 1 and len(first) > 1:
        if all(not record[-1] for record in layout.records[1:] if len(record) > len(first)):
            first = [*first, ""]  # every row ends in a separator
        else:
            first = ["", *first]  # R writes its row names without a name
    names, unnamed = named(first)
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
            f"task: {place} is not a well-formed table ({first_line(error)}; row 1 is the first "
            f"below {'the header' if header else 'the start'}). Quote fields that hold the "
            "separator or a line break, or correct the guess with read_options: separator=..., "
            "quote=..., skip_rows=..."
        ) from error
    return table.to_pandas(ignore_metadata=True)


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

    def __iter__(self):
        return self

    def __next__(self) -> str:
        if self.at >= len(self.text):
            raise StopIteration
        start, self.at = self.at, self.END.search(self.text, self.at).end()
        return self.text[start : self.at]
