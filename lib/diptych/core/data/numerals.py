"""Numbers as people write them: decimal marks, marks of thousands, currencies, percent signs."""

import re
from typing import NamedTuple

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
POWERS = {"": 0, "K": 3, "M": 6, "B": 9}  # what a letter after a number multiplies it by
_PARENTHESES = re.compile(r"\(([^()-]+)\)")
_ROUND = re.compile(r"(?<=\d)[.,][-\u2013\u2014]{1,2}$")  # 12.- is 12 francs, not -12
_LETTER = re.compile(r"(.*\d)\s?([kKMB])")
_SIGNS = "|".join(re.escape(x) for x in CURRENCIES)
_MONEY = re.compile(
    rf"(?P<minus>[+-]?)\s*(?P<before>{_SIGNS})?\s*(?P<number>[+-]?[\d.,' ]*\d[\d.,]*)"
    rf"(?P<below>-)?\s?(?P<letter>(?-i:[kKMB]))?\s*(?P<after>{_SIGNS})?",
    re.IGNORECASE,
)


class Token(NamedTuple):
    """A number without what stands around it.

    Attributes
    ----------
    number : str
        With its marks and its minus.
    sign : str
        "%" or a currency, in upper case; "" if there is none.
    letter : str
        One of `POWERS`.
    """

    number: str
    sign: str = ""
    letter: str = ""


def bare(text: str) -> Token:
    """Return a number without what stands around it.

    Parentheses, a minus of its own character, and one after the number (as SAP writes it) mean
    below zero.
    """
    text = text.strip().translate(_PLAIN)
    if text[:1] == "\u2013":
        text = "-" + text[1:]
    if match := _PARENTHESES.fullmatch(text):
        text = "-" + match[1].strip()
    text = _ROUND.sub("", text)
    if is_below(text):
        text = "-" + text[:-1].rstrip()
    if text.endswith("%"):
        return Token(text[:-1].rstrip(), "%")
    if match := _MONEY.fullmatch(text):
        sign = match["before"] or match["after"]
        if sign:
            minus = match["minus"] or match["below"] or ""
            letter = (match["letter"] or "").upper()
            return Token(f"{minus}{match['number']}", sign.upper(), letter)
    if text[-1:] in ("k", "K", "M", "B") and (match := _LETTER.fullmatch(text)):
        return Token(match[1], "", match[2].upper())
    return Token(text)


def is_below(text: str) -> bool:
    """Whether a number has its minus behind it, such as ``12,50-``."""
    return text[-1:] == "-" and text[:1] not in ("+", "-") and text[-2:-1].isdigit()


def number_pattern(decimal: str, thousands: str) -> re.Pattern:
    """Return what a number looks like with these marks."""
    return _PATTERNS[decimal, thousands]


INDIAN = "[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"  # 12,34,567: after a thousand, by hundreds


def _compiled(decimal: str, thousands: str) -> re.Pattern:
    d, t = re.escape(decimal), re.escape(thousands)
    if not thousands:
        return re.compile(rf"[+-]?(?:[0-9]+(?:{d}[0-9]*)?|{d}[0-9]+)(?:[eE][+-]?[0-9]+)?")
    # the first group has no leading zero: 0.982 is never 982
    grouped = rf"[1-9][0-9]{{0,2}}(?:{t}[0-9]{{3}})+"
    if thousands == ",":
        grouped = rf"(?:{grouped}|{INDIAN})"
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
    if indian := [x for x in digits if marks[1] == "," and re.match(rf"[+-]?{INDIAN}", x)]:
        return marks, [f"digits are grouped as in India (such as {indian[0]})"]
    return marks, [f"the decimal mark is {marks[0]!r}, the mark of thousands {thousands}"]
