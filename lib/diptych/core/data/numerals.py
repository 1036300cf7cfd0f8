"""Numbers as people write them: decimal marks, marks of thousands, currencies, percent signs."""

import re

INFINITE = ("inf", "+inf", "-inf", "infinity", "-infinity")
# longer ones first; those that `readers.conventions` knows
CURRENCIES = (
    "us$", "r$", "kr.", "fr.", "usd", "eur", "gbp", "chf", "jpy", "kr", "zł", "kč",
    "$", "€", "£", "¥", "₹", "₽", "₩", "₺", "¢",
)  # fmt: skip
# dashes that stand for a minus, narrow spaces, and the apostrophe of Swiss numbers
_PLAIN = str.maketrans("\u2212\u00a0\u202f\u2009\u2019", "-   '")
# (decimal mark, mark of thousands), in order of preference
MARKS = (
    (".", ""),
    (",", ""),
    (".", ","),
    (",", "."),
    (".", " "),
    (",", " "),
    (".", "'"),
    (",", "'"),
)
_PARENTHESES = re.compile(r"\(([^()-]+)\)")
_SIGNS = "|".join(re.escape(x) for x in CURRENCIES)
_MONEY = re.compile(
    rf"(?P<minus>[+-]?)\s*(?P<before>{_SIGNS})?\s*(?P<number>[+-]?[\d.,' ]*\d[\d.,]*)"
    rf"\s*(?P<after>{_SIGNS})?",
    re.IGNORECASE,
)


def bare(text: str) -> tuple[str, str]:
    """Return a number without what stands around it, and that sign ("" if there is none).

    Parentheses and a minus of its own character mean below zero.
    """
    text = text.strip().translate(_PLAIN)
    if text[:1] == "\u2013":
        text = "-" + text[1:]
    if match := _PARENTHESES.fullmatch(text):
        text = "-" + match[1].strip()
    if text.endswith("%"):
        return text[:-1].rstrip(), "%"
    if match := _MONEY.fullmatch(text):
        sign = match["before"] or match["after"]
        if sign:
            return f"{match['minus']}{match['number']}", sign.upper()
    return text, ""


def number_pattern(decimal: str, thousands: str) -> re.Pattern:
    """Return what a number looks like with these marks."""
    return _PATTERNS[decimal, thousands]


def _compiled(decimal: str, thousands: str) -> re.Pattern:
    d, t = re.escape(decimal), re.escape(thousands)
    if not thousands:
        return re.compile(rf"[+-]?(?:[0-9]+(?:{d}[0-9]*)?|{d}[0-9]+)(?:[eE][+-]?[0-9]+)?")
    # the first group has no leading zero: 0.982 is never 982
    grouped = rf"[1-9][0-9]{{0,2}}(?:{t}[0-9]{{3}})+"
    return re.compile(rf"[+-]?(?:{grouped}|[0-9]+)(?:{d}[0-9]*)?")


_PATTERNS = {marks: _compiled(*marks) for marks in MARKS}


def fitting(tokens: list[str]) -> list[tuple[str, str]]:
    """Return the pairs of marks under which all tokens are numbers."""
    return [marks for marks in MARKS if all(map(number_pattern(*marks).fullmatch, tokens))]


def choose_marks(
    candidates: list, digits: list[str], decimal: str
) -> tuple[tuple[str, str], list[str]]:
    """Choose among the marks that read a column, the file's decimal mark first."""
    marks = next((x for x in candidates if x[0] == decimal), candidates[0])
    if marks == (",", "") and decimal != "," and (".", ",") in candidates:
        example = next(x for x in digits if "," in x)  # each comma has three digits after it
        return (".", ","), [f"the comma is taken for the mark of thousands (such as {example})"]
    if marks == (".", "") or not any(mark in x for x in digits for mark in ",.' "):
        return marks, []
    thousands = {"": "none", " ": "a space"}.get(marks[1], repr(marks[1]))
    return marks, [f"the decimal mark is {marks[0]!r}, the mark of thousands {thousands}"]
