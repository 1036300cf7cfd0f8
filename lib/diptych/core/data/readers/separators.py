"""How the text of a table is cut into fields: its separator, its quotation marks, its first line.

Measured on the cases: `csv.Sniffer` and `duckdb`'s sniffer both find the separator in every file
that they can read. `csv.Sniffer` finds none in a file with one column. `duckdb` (66 MB) cannot read
latin-1, takes a `sep=` line for the header and the first text of a headerless file for a name.
Counting fields has none of these faults and gives the evidence to show, so neither is used. A
separator is right if it gives every record as many fields.
"""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from diptych.core.data.readers.conventions import is_number
from diptych.core.data.readers.table import Guess, Source
from diptych.core.data.sources import DataError

csv.field_size_limit(2**31 - 1)  # a text may be longer than the 131,072 characters it allows
SEPARATORS = (",", ";", "\t", "|")
NEVER = "\x1f\x1e\x1d\x1c"  # separators of ASCII, which no text holds
ALIGNED = NEVER[0]  # takes the place of runs of spaces
SHOWN = {"\t": "tab", " ": "space", ALIGNED: "spaces"}
HEAD = 2**18  # characters that are looked at for the separator
RECORDS = 500  # of them, at most
PREAMBLE = 20  # lines above a table, at most


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


def layout_of(
    text: str, source: Source, options: Mapping[str, str], guesses: list[Guess]
) -> tuple[str, Layout]:
    """Return the text to cut and how; what was decided is added to `guesses`.

    The text changes only if spaces align its fields or stand before quotation marks: they are
    replaced or left out.

    Raises
    ------
    DataError
        If quotation marks do not come in pairs, or the first line has too few names.
    """
    quote = options.get("quote") or _quote(text)
    text, separator = _separated(text, source.name, quote, options.get("separator", ""))
    text = _without_spaces_at_quotes(text, separator, guesses) if quote == '"' else text
    layout = Layout(separator, quote, _records(text, separator, quote))
    if quote == '"' and "quote" not in options and not _well_quoted(text, separator):
        layout = _odd_quotes(text, separator, source.place, guesses)
    elif quote == "'" and "quote" not in options:
        why = "the fields stand between such marks"
        guesses.append(Guess("quotation mark", "'", why, 'quote="'))
    records = layout.records
    if not records:
        raise DataError(f"task: {source.place} is empty; give a file with rows.")
    if "separator" not in options:
        guesses.append(_separator_guess(separator, records))
    skipped = 0 if "skip_rows" in options else _preamble(records, source.place)
    if skipped:
        why = f"the first {skipped} records have one field, those of the table more"
        guesses.append(Guess("lines above the table", str(skipped), why, "skip_rows=0"))
    return text, replace(layout, records=records[skipped:], skipped=skipped)


def _separated(text: str, name: str, quote: str, chosen: str) -> tuple[str, str]:
    """Return the separator, and the text with one where fields are aligned by spaces."""
    if chosen == " ":
        return _aligned(text), ALIGNED
    if chosen:
        return text, chosen
    cut = {s: _records(text, s, quote) for s in SEPARATORS}
    separator = _separator(cut, name)
    if separator:
        return text, separator
    if _is_aligned(text):
        return _aligned(text), ALIGNED
    return text, next(mark for mark in (*SEPARATORS, *NEVER) if mark not in text)


def _is_aligned(text: str) -> bool:
    """Whether runs of spaces cut every line into as many fields, most of them numbers."""
    lines = [line.split() for line in text[:HEAD].splitlines() if line.strip()][:RECORDS]
    lines = lines[: -1 if len(text) > HEAD else None]
    fields = [field for line in lines[1:] for field in line]
    return (
        len(lines) > 1
        and len(lines[0]) > 1
        and len({len(line) for line in lines[1:]}) == 1
        and len(lines[1]) - len(lines[0]) in (0, 1)
        and '"' not in text[:HEAD]
        and 2 * sum(map(is_number, fields)) > len(fields)
    )


def _aligned(text: str) -> str:
    """Return a text with a separator in place of the spaces between fields."""
    text = re.sub(r"^[ \t]+|[ \t]+$", "", text, flags=re.MULTILINE)
    quoted_or_spaces = re.compile(r'("[^"\n]*")|[ \t]+')
    return quoted_or_spaces.sub(lambda match: match[1] or ALIGNED, text)


def _without_spaces_at_quotes(text: str, separator: str, guesses: list[Guess]) -> str:
    """Leave out the spaces between separators and quotation marks, which hide the marks."""
    mark = re.escape(separator)
    spaced = re.compile(f'{mark} +"|" +(?={mark}|\r?$)', re.MULTILINE)
    if not spaced.search(text, 0, HEAD) or _well_quoted(text, separator):
        return text
    before = re.sub(f'{mark} +"', f'{separator}"', text)
    both = re.sub(f'" +(?={mark}|\r?$)', '"', before, flags=re.MULTILINE)
    without = next((x for x in (before, both) if _well_quoted(x, separator)), None)
    if without is None:
        return text
    why = "they stand between a separator and a quotation mark"
    guesses.append(Guess("spaces beside quotation marks", "left out", why))
    return without


def _separator_guess(separator: str, records: list[list[str]]) -> Guess:
    usual, count = Counter(len(record) for record in records).most_common(1)[0]
    why = f"{count:,} of the first {len(records):,} records have {usual} field{'s' * (usual > 1)}"
    value = SHOWN.get(separator, separator) if usual > 1 else "none"
    return Guess("separator", value, why, "separator=," if separator == ";" else "separator=;")


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
    for head in (text[:HEAD], text):
        rows = _cut(io.StringIO(head, newline=""), separator, quote, escaped)
        records = list(itertools.islice(rows, RECORDS + 1))
        if len(head) == len(text) or len(records) > RECORDS:
            return records[:RECORDS]
        if len(records) > 2:
            return records[:-1]  # the last one may be cut
    return records


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
    """Whether another separator cuts evenly too and leaves commas within numbers, names apart."""
    for separator in (";", "\t", "|"):
        records = cut.get(separator, [])
        if len({len(r) for r in records}) == 1 and len(records[0]) > 1:
            fields = [field for record in records[1:] for field in record if "," in field]
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


def _preamble(records: list[list[str]], place: str) -> int:
    """Return how many records of one field stand above a table of several."""
    widths = [len(record) for record in records]
    usual = Counter(widths).most_common(1)[0][0]
    start = next((at for at, width in enumerate(widths) if width == usual), 0)
    above = widths[:start]
    if not start or start > PREAMBLE or len(records) - start < 2 or max(above) > usual:
        return 0
    if max(above) == 1 and (usual > 2 or start > 1 or records[0][0].count(" ")):
        return start
    if above != [usual - 1] and any("".join(r[above[0] :]) for r in records[start:]):
        raise DataError(
            f"task: {place} has {above[0]} names in its first line and {usual} fields in the next "
            "ones; correct it, or if this line is no part of the table: read_options: skip_rows=1"
        )
    return 0
