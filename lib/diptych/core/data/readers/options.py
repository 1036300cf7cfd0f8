"""The one string in which a user says how a file is to be read, where a guess was wrong."""

import codecs
import difflib
import re
from collections.abc import Mapping

from diptych.core.data.column import KINDS
from diptych.core.data.sources import DataError
from diptych.core.data.times import TimeError, zone_of

OPTIONS = {
    "separator": "what stands between fields: , ; | tab or space",
    "quote": "what fields are quoted with: \" ' or none",
    "decimal": "the decimal mark: . or ,",
    "thousands": "what groups digits: , . ' space or none",
    "encoding": "such as utf-8, cp1252, latin-1 or utf-16",
    "header": "yes or no: whether the first line holds the names",
    "sheet": "a sheet's name or number, from 1",
    "skip_rows": "how many lines stand above the table",
    "totals": "keep or drop: a last row of totals",
    "dates": "dmy, mdy or ymd: what stands first in dates such as 1/2/2026 or 26-02-01",
    "zone": "the time zone of times that name none, such as Europe/Berlin or +02:00",
    "percent": "number or fraction: whether 5% is 5 or 0.05",
    "kinds": "what columns are, such as zip:category,paid:boolean; a kind is number, category, "
    "text, boolean, time or drop",
    "labels": "what classes are called, such as 0:negative,1:positive",
    "missing": "words for missing values, separated by commas",
    "leave_out": "columns not to read, separated by commas",
    "table": "the table of a database",
    "query": "an SQL query; takes the rest of the line unless it is quoted",
}
WORDS = {
    "separator": {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
    | {"space": " "},
    "quote": {"double": '"', "single": "'", "none": "none", "no": "none"},
    "thousands": {"space": " ", "none": "", "no": "", "comma": ",", "dot": ".", "point": "."}
    | {"apostrophe": "'"},
    "decimal": {"comma": ",", "dot": ".", "point": "."},
}
ALLOWED = {
    "separator": None,
    "quote": ('"', "'", "none"),
    "decimal": (".", ","),
    "thousands": (",", ".", "'", " ", ""),
    "header": ("yes", "no"),
    "dates": ("dmy", "mdy", "ymd"),
    "totals": ("keep", "drop"),
    "percent": ("number", "fraction"),
}
DROP = "drop"
KIND = re.compile(rf"\s*(.+?)\s*:\s*({'|'.join((*KINDS, DROP))})\s*(?:,|$)")
TOKEN = re.compile(r"""\s*([A-Za-z_]+)=("[^"]*"(?=\s|$)|'[^']*'(?=\s|$)|\S*)""")
QUOTED = re.compile(r"""\s*(?:"([A-Za-z_]+=[^"]*)"|'([A-Za-z_]+=[^']*)')(?=\s|$)""")


def parse_options(text: str) -> dict[str, str]:
    """Return what a `read_options` parameter says.

    Parameters
    ----------
    text : str
        Such as ``separator=; decimal=, header=no``; a value with spaces stands in quotes. The
        names are those of `OPTIONS`.

    Raises
    ------
    DataError
        If a name is unknown or given twice, or a value is none of those allowed.
    """
    options: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        if quoted := QUOTED.match(text, at):  # "kinds=post code:category"
            name, _, value = (quoted[1] or quoted[2]).partition("=")
            at = quoted.end()
            _refuse_name(name, options)
            options[name] = _value(name, value)
            continue
        token = TOKEN.match(text, at)
        if not token:
            raise DataError(
                f"read_options: {text[at:].strip()!r} is not written as name=value; give for "
                "example: separator=; decimal=, header=no"
            )
        name, value = token[1].lower(), token[2]
        at = token.end()
        _refuse_name(name, options)
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        elif name == "query":
            value, at = text[token.start(2) :].strip(), len(text)
        options[name] = _value(name, value)
    if options.get("decimal", "") and options.get("decimal") == options.get("thousands"):
        raise DataError(
            f"read_options: decimal and thousands are both {options['decimal']!r}; "
            "change one of them."
        )
    if drops := [name for name, kind in kinds_of(options).items() if kind == DROP]:
        options["leave_out"] = ",".join(filter(None, [options.get("leave_out", ""), *drops]))
    return options


def kinds_of(options: Mapping[str, str]) -> dict[str, str]:
    """Return the kind of each column that ``kinds`` names, "drop" of those to leave out.

    Raises
    ------
    DataError
        If it is not written as ``column:kind``, or the kind is none.
    """
    kinds: dict[str, str] = {}
    text, at = options.get("kinds", "").strip("{} "), 0
    while at < len(text):
        entry = KIND.match(text, at)
        if not entry:
            raise DataError(
                f"read_options: kinds={text[at:]} cannot be; write column:kind, such as "
                f"zip:category, where kind is one of {', '.join((*KINDS, DROP))}."
            )
        name = entry[1].strip("'\"")
        if kinds.get(name, entry[2]) != entry[2]:
            raise DataError(f"read_options: kinds names {name!r} twice; give it one kind.")
        kinds[name] = entry[2]
        at = entry.end()
    return kinds


def labels_of(options: Mapping[str, str]) -> dict[str, str]:
    """Return what ``labels`` calls each class, by what the file calls it.

    Raises
    ------
    DataError
        If it is not written as ``value:name``, or a value stands twice.
    """
    names: dict[str, str] = {}
    for entry in filter(str.strip, options.get("labels", "").strip("{} ").split(",")):
        value, mark, name = (part.strip(" '\"") for part in entry.partition(":"))
        if not (value and mark and name):
            raise DataError(
                f"read_options: labels={entry.strip()} cannot be; write value:name, such as "
                "0:negative,1:positive."
            )
        if names.get(value, name) != name:
            raise DataError(f"read_options: labels names {value!r} twice; give it one name.")
        names[value] = name
    return names


def without_drops(options: Mapping[str, str]) -> dict[str, str]:
    """Return the options without the columns that they leave out."""
    kinds = {name: kind for name, kind in kinds_of(options).items() if kind != DROP}
    others = {name: value for name, value in options.items() if name not in ("kinds", "leave_out")}
    written = ",".join(f"{name}:{kind}" for name, kind in kinds.items())
    return others | ({"kinds": written} if written else {})


def _refuse_name(name: str, options: dict[str, str]) -> None:
    if name in options:
        raise DataError(f"read_options: {name} is given twice; give it once.")
    if name not in OPTIONS:
        near = difflib.get_close_matches(name, OPTIONS, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise DataError(
            f"read_options: there is no option {name}. {hint}The options are {', '.join(OPTIONS)}."
        )


def _value(name: str, value: str) -> str:
    value = WORDS.get(name, {}).get(value.lower(), value)
    allowed = ALLOWED.get(name)
    wrong = allowed is not None and value not in allowed
    wrong |= name == "separator" and (len(value) != 1 or value.isalnum() or value in "\"'\r\n")
    wrong |= name == "skip_rows" and not value.isascii()
    wrong |= name == "skip_rows" and not value.isdigit()
    wrong |= value == "" and name in ("sheet", "query", "table", "encoding")
    if name == "encoding" and not wrong:
        try:
            b"".decode(value)
            codecs.lookup(value)
        except (LookupError, UnicodeDecodeError):
            wrong = True
    if name == "zone":
        try:
            zone_of(value)
        except TimeError as error:
            raise DataError(f"read_options: zone={value} cannot be; {error}.") from error
    if name == "kinds":
        kinds_of({"kinds": value})
    if name == "labels":
        labels_of({"labels": value})
    if wrong:
        raise DataError(f"read_options: {name}={value} cannot be; give {OPTIONS[name]}.")
    return value
