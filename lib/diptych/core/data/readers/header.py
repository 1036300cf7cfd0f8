"""Whether the first row of a table holds its names.

`csv.Sniffer.has_header` is wrong on eight of the tables in the cases (it knows no header over texts
or categories of different length) and `duckdb`'s sniffer takes the first text of a file without a
header for a name; so this is ours. Each column votes: a word over numbers or dates is a name; a
number over numbers, a long text over texts and a word that comes back below are values.
"""

import itertools
import re
from collections.abc import Collection, Sequence

from diptych.core.data.readers.conventions import WORDS, is_number
from diptych.core.data.readers.table import MISSING

DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b|\s*\d{4}Q[1-4]\b|\s*\d{1,2}:\d{2}\b")
LONG = 4  # words make a text rather than a name
LONGEST_NAME = 120  # characters


def has_header(
    first: Sequence[str], rows: Sequence[Sequence[str]], expected: Collection[str] = ()
) -> tuple[bool, str]:
    """Return whether the first row holds names, and why.

    Parameters
    ----------
    first : sequence of str
    rows : sequence of sequence of str
        The rows below, a sample.
    expected : collection of str
        Names that the user gave.
    """
    if known := [cell.strip() for cell in first if cell.strip() and cell.strip() in expected]:
        return True, f"the first row holds the name {known[0]!r}"
    rows = _without_repeats(first, rows)
    if not rows:
        return True, "there is one row"
    if _numbered(first):
        return True, "the first row counts its columns or years"
    columns = [
        (name.strip(), [row[at].strip() for row in rows if at < len(row)])
        for at, name in enumerate(first)
    ]
    votes = [_vote(name, values) for name, values in columns]
    names, values = sum(v for v in votes if v > 0), -sum(v for v in votes if v < 0)
    if values > names:
        at = min(range(len(votes)), key=votes.__getitem__)
        return False, f"{first[at].strip()[:40]!r} in the first row is like the values below it"
    at = max(range(len(votes)), key=votes.__getitem__, default=0)
    if votes and votes[at] == 1:
        return True, f"{first[at].strip()[:40]!r} stands over numbers or dates"
    return True, "no value of the first row comes back below it"


def _without_repeats(first: Sequence[str], rows: Sequence[Sequence[str]]) -> Sequence:
    """Leave out the few rows that repeat the first, as where files with headers were joined."""
    others = [row for row in rows if list(row) != list(first)]
    few = len(rows) - len(others) <= len(rows) // 20
    return others if few and len(first) > 1 else rows


def _vote(name: str, values: list[str]) -> float:
    """Return 1 for surely a name to -1 for surely a value."""
    present = [v for v in values if v and v not in MISSING and v not in WORDS]
    if not name or not present:
        return 0
    data = sum(is_number(v) or bool(DATE.match(v)) for v in present) >= 0.9 * len(present)
    if is_number(name) or DATE.match(name):
        return -1 if data else -0.25
    if data:
        return 0 if name in MISSING or name in WORDS else 1
    if name in present or len(name) > LONGEST_NAME:
        return -1
    long = sum(len(v.split()) >= LONG for v in present) >= 0.8 * len(present)
    if long:
        return -1 if len(name.split()) >= LONG else 0.75
    return 0.5


def _numbered(first: Sequence[str]) -> bool:
    """Whether the names are 0, 1, 2, ... or all but the first count years."""
    plain = [cell.strip() for cell in first]
    if plain == [str(at) for at in range(len(plain))] and len(plain) > 2:
        return True
    years = [int(cell) for cell in plain if re.fullmatch(r"(19|20)\d\d", cell)]
    steps = {later - earlier for earlier, later in itertools.pairwise(years)}
    return len(years) > 2 and len(years) >= len(plain) - 3 and steps in ({1}, {-1})
