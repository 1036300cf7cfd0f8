"""How a file writes its numbers: the decimal mark and what groups the digits.

A file has one convention, so the evidence of all columns counts. `1.234,5` and `0,695` can be read
in one way only; `1,234` alone can be read in two. Columns that contradict each other leave the file
without a thousands mark: what then does not read as a number stays text, and none is read wrongly.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from diptych.core.data.facts import Conventions
from diptych.core.data.numerals import INDIAN
from diptych.core.data.readers.table import MISSING, Guess

CURRENCY = r"(?:[$€£¥₹₽₩₺¢]|R\$|US\$|CHF|EUR|USD|GBP|JPY|kr\.?|zł|Kč|Fr\.)"
APOSTROPHE = "['\u2019]"
MINUS = "[+\u2212-]"
SPACE = "[ \u00a0\u202f\u2009]"
GROUPED = r"[0-9]{1,3}(?:%s[0-9]{3})+"
CORE = (
    rf"(?:{INDIAN}(?:[.][0-9]+)?"
    rf"|{GROUPED % '[.,]'}(?:[.,][0-9]+)?|{GROUPED % APOSTROPHE}(?:[.,][0-9]+)?"
    rf"|{GROUPED % SPACE}(?:[.,][0-9]+)?|[0-9]+(?:[.,][0-9]*)?"
    r"|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?"
)
BEFORE = rf"^\s*\(?{MINUS}?\s*(?:{CURRENCY}\s*)?{MINUS}?"
AFTER = rf"-?\s*(?:%|{CURRENCY})?\s*\)?\s*$"
NUMBER = BEFORE + CORE + AFTER
LIKELY = 0.8  # of a column's values must look like numbers before it says how they are written
SAMPLE = 2000  # values looked at to tell whether a column holds numbers
WORDS = (
    "-", "--", "\u2014", ".", "..", "...", "#N/A", "#NA", "<NA>", "none", "missing", "unknown",
    "nil", "n.a.", "k.A.", "k. A.", "na", "NaT", "#VALUE!", "#DIV/0!", "#REF!",
)  # fmt: skip
# What can be read in one way only, and what in two.
FORMS = {
    (",", "."): rf"{GROUPED % '[.]'},[0-9]+|{GROUPED % '[.]'}(?:[.][0-9]{{3}})",
    (".", ","): rf"{GROUPED % ','}[.][0-9]+|{GROUPED % ','}(?:,[0-9]{{3}})|{INDIAN}(?:[.][0-9]+)?",
    (",", " "): rf"{GROUPED % SPACE},[0-9]+",
    (".", " "): rf"{GROUPED % SPACE}[.][0-9]+",
    (",", "'"): rf"{GROUPED % APOSTROPHE},[0-9]+",
    (".", "'"): rf"{GROUPED % APOSTROPHE}[.][0-9]+",
    ("", " "): GROUPED % SPACE,
    ("", "'"): GROUPED % APOSTROPHE,
    (",", ""): r"(?:[0-9]*,(?:[0-9]{1,2}|[0-9]{4,})|0[0-9]*,[0-9]+|[0-9]{4,},[0-9]+)",
    (".", ""): r"(?:[0-9]*[.](?:[0-9]{1,2}|[0-9]{4,})|0[0-9]*[.][0-9]+|[0-9]{4,}[.][0-9]+)",
    ("?", ","): r"[1-9][0-9]{0,2},[0-9]{3}",
    ("?", "."): r"[1-9][0-9]{0,2}[.][0-9]{3}",
    ("", ""): r"[0-9]{4,}",
}
OTHER_MARKS = "[0-9][,'\u2019 \u00a0\u202f\u2009][0-9]"
EXPONENT = r"(?:[eE][+-]?[0-9]+)?"


@dataclass(frozen=True)
class Evidence:
    """How many values of a column have which form."""

    column: str
    values: int
    forms: dict[tuple[str, str], int]

    def count(self, *forms: tuple[str, str]) -> int:
        """Return how many values have one of the forms."""
        return sum(self.forms.get(form, 0) for form in forms)


def is_number(text: str) -> bool:
    """Whether a field reads as a number in some convention."""
    return re.search(NUMBER, text) is not None


def conventions_of(
    frame: pd.DataFrame, separator: str, options: Mapping[str, str]
) -> tuple[Conventions, list[Guess]]:
    """Return how a table of strings writes numbers and gaps, and what of that is guessed.

    Parameters
    ----------
    frame : DataFrame
        Columns that are not strings are not looked at.
    separator : str
        Of the fields: with ";" a `1,234` alone is taken for a decimal number.
    options : mapping
        `decimal`, `thousands` and `missing` are taken as they are given.
    """
    columns = {name: _values(frame[name]) for name in frame if _is_text(frame[name])}
    numeric = {name: values for name, values in columns.items() if _numeric(values)}
    evidence = [_evidence(name, values) for name, values in numeric.items()]
    decimal, thousands, guesses = _marks(evidence, separator, options)
    missing, words = _missing(numeric, options)
    guesses += words + _signs(numeric)
    return Conventions(decimal=decimal, thousands=thousands, missing=missing), guesses


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(column.dtype)


def _values(column: pd.Series) -> pa.ChunkedArray:
    values = pa.chunked_array([pa.array(column, from_pandas=True)])
    return values.cast(pa.large_string()).drop_null()


def _numeric(values: pa.ChunkedArray) -> bool:
    sample = _sample(values)
    known = pc.invert(pc.is_in(pc.utf8_trim_whitespace(sample), pa.array([*MISSING, *WORDS])))
    sample = sample.filter(known)
    if not len(sample):
        return False
    return pc.mean(pc.match_substring_regex(sample, NUMBER)).as_py() >= LIKELY


def _sample(values: pa.ChunkedArray) -> pa.ChunkedArray:
    step = max(1, len(values) // SAMPLE)
    return values.take(pa.array(range(0, len(values), step), pa.int64()))


def _evidence(name: str, values: pa.ChunkedArray) -> Evidence:
    """Count the forms: in all values if one has another mark than a point, else in a sample."""
    forms = list(FORMS)
    if not pc.any(pc.match_substring_regex(values, OTHER_MARKS)).as_py():
        values, forms = _sample(values), [(".", ""), ("?", "."), (",", ".")]
    counts = {}
    for form in forms:
        pattern = f"{BEFORE}(?:{FORMS[form]}){EXPONENT}{AFTER}"
        counts[form] = pc.sum(pc.match_substring_regex(values, pattern)).as_py() or 0
    return Evidence(name, len(values), counts)


def _marks(
    evidence: list[Evidence], separator: str, options: Mapping[str, str]
) -> tuple[str, str, list[Guess]]:
    comma = [e for e in evidence if e.count((",", "."), (",", " "), (",", "'"), (",", ""))]
    point = [e for e in evidence if e.count((".", ","), (".", " "), (".", "'"), (".", ""))]
    unsure = [e for e in evidence if e.count(("?", ","))]
    guesses = []
    if "decimal" in options:
        decimal = options["decimal"]
    else:
        decimal, why = _decimal(comma, point, unsure, separator)
        why = why or _two_ways(evidence, point)
        if why:
            other = "." if decimal == "," else ","
            guesses.append(Guess("decimal mark", decimal, why, f"decimal={other}"))
    if "thousands" in options:
        return decimal, options["thousands"], guesses
    thousands, why = _thousands(evidence, decimal, bool(comma and point))
    if why:
        guesses.append(Guess("thousands mark", thousands or "none", why, _other(thousands)))
    return decimal, thousands, guesses


def _decimal(comma: Any, point: Any, unsure: Any, separator: str) -> tuple[str, str]:
    """Return the decimal mark and the evidence for it, "" if there is nothing to say."""
    if comma and point:
        first, second = comma[0].column, point[0].column
        decimal = "," if len(comma) > len(point) else "."
        return decimal, (
            f"mixed: {first!r} writes numbers with a decimal comma, {second!r} with a point; the "
            "mark of more columns is taken, and what does not read so stays text"
        )
    if comma:
        best = max(comma, key=lambda e: e.count((",", "."), (",", ""), (",", " "), (",", "'")))
        sure = best.count((",", "."), (",", ""), (",", " "), (",", "'"))
        return ",", f"{sure:,} of {best.values:,} values of {best.column!r} read as numbers only so"
    loose = [e for e in unsure if not point and (separator == ";" or e.count(("", "")))]
    if loose:
        return ",", (
            f"{loose[0].column!r} writes numbers such as 1,234, which can be read in two ways; "
            "taken for decimal numbers "
            + (
                "as the fields are separated by ;"
                if separator == ";"
                else "as others are not grouped"
            )
        )
    return ".", ""


def _two_ways(evidence: list[Evidence], point: list[Evidence]) -> str:
    dotted = [e for e in evidence if e.count(("?", ".")) and not point]
    if not dotted:
        return ""
    return (
        f"{dotted[0].column!r} writes numbers such as 1.234, which can be read in two ways; taken "
        "for decimal numbers"
    )


def _thousands(evidence: list[Evidence], decimal: str, mixed: bool) -> tuple[str, str]:
    """Return the thousands mark, "" if digits are not grouped, and the evidence for it."""
    group = "." if decimal == "," else ","
    marks = {
        group: ((decimal, group), ("?", group)),
        " ": ((decimal, " "), ("", " ")),
        "'": ((decimal, "'"), ("", "'")),
    }
    sure, mark, best = max(
        ((e.count(*forms), mark, e) for mark, forms in marks.items() for e in evidence),
        key=lambda entry: entry[0],
        default=(0, "", None),
    )
    if not sure or best is None:
        return "", ""
    if mixed and mark == group:
        return "", f"mixed: {best.column!r} may group digits with {group!r}, or not"
    why = f"{sure:,} of {best.values:,} values of {best.column!r} group their digits so"
    if best.count(("?", mark)) == sure and not any(e.count((decimal, "")) for e in evidence):
        why += f"; numbers such as 1{mark}234 can be read in two ways"
    return mark, why


def _other(thousands: str) -> str:
    mark = {",": ".", ".": ","}.get(thousands)
    return f"decimal={thousands} thousands=none" if mark else "thousands=none"


def _missing(numeric: Any, options: Mapping[str, str]) -> tuple[tuple[str, ...], list[Guess]]:
    """Return the words for missing, with those that stand among the numbers of a column."""
    if "missing" in options:
        return ("", *(w.strip() for w in options["missing"].split(",") if w.strip())), []
    words: dict[str, str] = {}
    for name, values in numeric.items():
        trimmed = pc.utf8_trim_whitespace(values)
        present = trimmed.filter(pc.is_in(trimmed, pa.array(WORDS, trimmed.type)))
        for entry in pc.value_counts(present).to_pylist():
            where = f"{entry['counts']:,} times among numbers of {name!r}"
            words.setdefault(entry["values"], where)
    why = "; ".join(f"{word!r} {where}" for word, where in words.items())
    guesses = [Guess("words for missing", ", ".join(words), why, "missing=NA,...")] if words else []
    return (*MISSING, *words), guesses


def _signs(numeric: Any) -> list[Guess]:
    """Say which columns hold amounts or percentages: they read as numbers without their sign."""
    guesses = []
    for what, pattern in (("currency", CURRENCY), ("percent", "%")):
        named = [
            name
            for name, values in numeric.items()
            if pc.any(pc.match_substring_regex(values.slice(0, SAMPLE), pattern)).as_py()
        ]
        if named:
            listed = ", ".join(repr(name) for name in named[:5])
            guesses.append(Guess(f"{what} sign", listed, "its values are numbers beside it"))
    return guesses
