"""Read the rows of a request, in one of MLflow's JSON forms or as CSV, or say what is wrong.

Checked once, on plain lists: building a table and checking it column by column, as is usual,
costs more than everything else a small model's endpoint does.
"""

import csv
import difflib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NoReturn

FORMS = ("inputs", "instances", "dataframe_split", "dataframe_records")
MOST_ROWS = 1_000
MOST_TEXT = 100_000  # characters
MOST_ID = 256  # characters
MOST_NAME = 100  # characters, and names, among which a misspelt one is looked for
LARGEST = 3.4e38  # of a float32
# what the first line of a CSV of texts may be: the name of a column, not a text
NAME = re.compile(r"[\w-]+( [\w-]+){0,2}")
csv.field_size_limit(2**31 - 1)  # the length of the body bounds a cell


class InputError(ValueError):
    """A request that cannot be answered; the message names the field and the remedy."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Reader:
    """Reads requests for one model.

    Attributes
    ----------
    kind : str
        ``"text"``, or any other for rows of numbers.
    features : list of str
        Columns in the order the model reads them.
    ignored : set of str
        Names in the last request that are no columns of the model.
    """

    kind: str
    features: list[str]
    ignored: set[str] = field(default_factory=set, compare=False, kw_only=True)

    def parse(
        self, body: bytes, content_type: str = "application/json"
    ) -> tuple[list, list[str | None]]:
        """Return a request's rows and their ids.

        Parameters
        ----------
        body : bytes
        content_type : str
            Of the request; any page could send one without, so it is needed. ``text/csv`` may say
            ``header=present`` or ``header=absent`` (RFC 4180, section 3).

        Returns
        -------
        rows : list of str, or of lists of numbers
            A missing number is None.
        ids : list of str or None
            As long as `rows`.

        Raises
        ------
        InputError
            If the body is not in a known form, or a value is not what the model reads.
        """
        self.ignored.clear()
        kind, *options = (part.strip(' "') for part in content_type.lower().split(";"))
        options = dict(option.replace('"', "").split("=", 1) for option in options if "=" in option)
        charset = options.get("charset", "utf-8")
        if charset not in ("utf-8", "utf8", "us-ascii"):
            raise InputError(f"Content-Type: charset {charset!r} is not read; send UTF-8", 415)
        match kind:
            case "application/json":
                rows, ids, name = self._from_json(body)
            case "text/csv":
                rows, ids, name = self._from_csv(body, options.get("header", ""))
            case other:
                sent = f"{_short(other)!r} is not read" if other else "is missing"
                raise InputError(f"Content-Type: {sent}; send application/json or text/csv", 415)
        if not 1 <= len(rows) <= MOST_ROWS:
            raise InputError(f"{name}: {len(rows):,} rows; send 1 to {MOST_ROWS:,}")
        take = self._text if self.kind == "text" else self._numbers
        taken = [take(row, i, name) for i, row in enumerate(rows)]
        if b"\\u" in body:  # as JSON writes half a pair
            _whole(
                json.dumps([taken, sorted(self.ignored)], ensure_ascii=False, default=str), "body"
            )
        return taken, _ids(ids, len(rows))

    def _from_json(self, body: bytes) -> tuple[list, object, str]:
        content = _decode(body)
        if not isinstance(content, dict):
            raise InputError(f"body: is no object; send one with one of {', '.join(FORMS)}")
        forms = [name for name in FORMS if name in content]
        for name in content:
            if name not in (*FORMS, "ids", "params"):
                near = _near(name, (*FORMS, "ids"))
                hint = f"did you mean {near[0]}?" if near else f"send {', '.join(FORMS)} or ids"
                raise InputError(f"{_short(name)}: is no known field; {hint}")
        if content.get("params"):
            raise InputError("params: this model takes none; leave the field out")
        if len(forms) != 1:
            sent = " and ".join(forms) or "none"
            raise InputError(f"body: one of {', '.join(FORMS)} is needed, found {sent}")
        name, rows = forms[0], content[forms[0]]
        if name == "dataframe_split":
            rows = self._from_split(rows)
        elif name == "inputs" and isinstance(rows, dict):
            rows = self._from_columns(rows)
        if not isinstance(rows, list):
            raise InputError(f"{name}: is {_a(rows)}; send a list of rows")
        return rows, content.get("ids"), name

    def _from_split(self, split: object) -> list:
        """Rows of ``{"columns": […], "data": [[…], …]}``."""
        if not isinstance(split, dict) or not {"columns", "data"} <= split.keys():
            raise InputError("dataframe_split: send an object with columns and data")
        for name in split.keys() - {"columns", "data", "index"}:
            raise InputError(f"dataframe_split: {_short(name)} is no known field; leave it out")
        columns, data = split["columns"], split["data"]
        if not isinstance(columns, list) or not isinstance(data, list):
            raise InputError("dataframe_split: columns and data must be lists")
        order = self._order(columns, "columns")
        for i, row in enumerate(data):
            if not isinstance(row, list) or len(row) != len(columns):
                raise InputError(f"data: row {i} is not a list of {len(columns)}, one a column")
        return [[row[at] for at in order] for row in data]

    def _from_columns(self, columns: dict) -> list:
        """Rows of ``{"name": [values], …}``."""
        order = self._order(list(columns), "inputs")
        values = list(columns.values())
        for name, column in columns.items():
            if not isinstance(column, list) or len(column) != len(values[0]):
                raise InputError(f"{name}: is not a list as long as the other columns")
        return [[values[at][i] for at in order] for i in range(len(values[0]))]

    def _from_csv(self, body: bytes, header: str = "") -> tuple[list, None, str]:
        """Rows of CSV; the first line may name the columns, `header` is what the client says."""
        lines = self._lines(body)
        order, width = range(len(self.features)), len(self.features)
        if lines and header != "absent" and self._is_header(lines, header == "present"):
            names = [name.strip() for name in lines.pop(0)]
            order, width = self._order(names, "header"), len(names)
        for i, line in enumerate(lines):
            if len(line) != width:
                raise InputError(
                    f"csv: row {i} has {len(line)} cells and not {width}; quote cells with commas"
                )
        return self._cells([[line[at] for at in order] for line in lines]), None, "csv"

    def _lines(self, body: bytes) -> list[list[str]]:
        return csv_lines(body)

    def _is_header(self, lines: list[list[str]], told: bool) -> bool:
        """Whether the first line names columns.

        Raises
        ------
        InputError
            If a text stands there that could as well be the name of a column: to predict it
            would give one answer too many.
        """
        if told or {cell.strip() for cell in lines[0]} & self._known:
            return True
        first = lines[0][0].strip()
        if self.kind == "text" and len(lines) > 1 and NAME.fullmatch(first):
            raise InputError(
                f"csv: the first line, {_short(first)!r}, may be a header and is not "
                f"{self._spellings[0][0]!r}; name the column so, or send 'text/csv; header=absent'"
            )
        return False

    def _cells(self, lines: list[list[str]]) -> list:
        """Return cells of CSV as JSON would hold them."""
        if self.kind == "text":
            return lines
        return [
            [_number(cell, i, name) for cell, name in zip(line, self.features, strict=True)]
            for i, line in enumerate(lines)
        ]

    @property
    def _spellings(self) -> list[tuple[str, ...]]:
        """The names that each column may have in a request."""
        return [(name,) for name in self.features]

    @cached_property
    def _known(self) -> set[str]:
        return {name for names in self._spellings for name in names}

    def _order(self, columns: list, where: str) -> list[int]:
        """Return where in `columns` each feature stands."""
        for name in columns:
            if not isinstance(name, str):
                raise InputError(f"{where}: {_short(name)} is no column name")
        for name, count in Counter(columns).items():
            if name and count > 1:
                raise InputError(f"{name}: stands {count} times in {where}; name it once")
        return [columns.index(name) for name in self._names(columns, where)]

    def _names(self, names, where: str) -> list[str]:
        """Return each feature's name as `names` spells it, and remember names that are none."""
        unknown = [name for name in names if name not in self._known]
        spelled = []
        for spellings in self._spellings:
            name = next((x for x in spellings if x in names), None)
            if name is None:
                near = _near(spellings[0], unknown)
                hint = f"did you mean it by {_short(near[0])!r}?" if near else "add the column"
                raise InputError(f"{_short(spellings[0])}: is missing in {where}; {hint}")
            spelled.append(name)
        self.ignored.update(unknown)
        return spelled

    def _text(self, row, i: int, name: str) -> str:
        if isinstance(row, dict):
            row = row[self._names(row, f"row {i}")[0]]
        elif isinstance(row, list) and len(row) == 1:
            row = row[0]
        if not isinstance(row, str):
            raise InputError(f"{name}: row {i} is {_a(row)}; send a text")
        if len(row) > MOST_TEXT:
            raise InputError(f"text: row {i} has {len(row):,} characters; send up to {MOST_TEXT:,}")
        if not any(mark.isprintable() and not mark.isspace() for mark in row):
            raise InputError(f"{self._spellings[0][0]}: row {i} is empty; send a text")
        return _whole(row, f"text: row {i}")

    def _numbers(self, row, i: int, name: str) -> list:
        if isinstance(row, dict):
            row = [row[name] for name in self._names(row, f"row {i}")]
        if not isinstance(row, list) or len(row) != len(self.features):
            problem = f"has {len(row)}" if isinstance(row, list) else f"is {_a(row)}"
            raise InputError(
                f"{name}: row {i} {problem}; send {len(self.features)} numbers: "
                + _short(", ".join(self.features), 200)
            )
        for feature, value in zip(self.features, row, strict=True):
            if value is None:
                continue
            if type(value) not in (float, int) or not -LARGEST <= value <= LARGEST:
                raise InputError(
                    f"{feature}: row {i} has {_short(value)}; send a number up to {LARGEST:g}, "
                    "or null where it is missing"
                )
        return row


def csv_lines(body: bytes, delimiter: str = ",") -> list[list[str]]:
    """Return the cells of each line that is not empty.

    Raises
    ------
    InputError
        If the body is no CSV in UTF-8.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"body: is not UTF-8 ({error.reason}); send it as UTF-8") from error
    try:
        return [
            line
            for line in csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
            if line
        ]
    except csv.Error as error:
        raise InputError(f"body: is no CSV ({error}); quote cells with commas") from error


def _not_json(name: str) -> NoReturn:
    raise InputError(f"body: {name} is not JSON; send null where a number is missing")


def _object(pairs: list[tuple]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise InputError(f"{_short(names.most_common(1)[0][0])}: stands twice in one object")
    return content


_DECODER = json.JSONDecoder(parse_constant=_not_json, object_pairs_hook=_object)


def _decode(body: bytes):
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise InputError(f"body: is not UTF-8 ({error.reason}); send it as UTF-8") from error
    except RecursionError as error:
        raise InputError("body: is nested too deeply; send a list of rows") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"body: is not JSON ({error}); check it with a JSON tool") from error


def _number(cell: str, i: int, name: str) -> float | None:
    """Read a cell of CSV; an empty one is a missing number."""
    if not cell.strip():
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{name}: row {i} has {_short(cell)}; send a number, or an empty cell")
    return value


def _ids(ids, count: int) -> list[str | None]:
    if ids is None:
        return [None] * count
    if not isinstance(ids, list) or len(ids) != count:
        raise InputError(f"ids: are not a list of {count}; send one a row, or leave them out")
    return [_id(value, i) for i, value in enumerate(ids)]


def _id(value, i: int) -> str | None:
    if value is None:
        return None
    if type(value) not in (str, int):
        raise InputError(f"ids: row {i} has {_a(value)}; send a text or a whole number")
    text = _whole(str(value), f"ids: row {i}")
    if not 1 <= len(text) <= MOST_ID:
        raise InputError(f"ids: row {i} has {len(text)} characters; send 1 to {MOST_ID}")
    return text


def _whole(text: str, where: str) -> str:
    """Return a text that can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where} has half a surrogate pair; send whole characters") from error
    return text


def _near(name: str, names: Iterable[str]) -> list[str]:
    """Return the name that is meant, if one is near; very long ones are near none."""
    short = [one for one in names if len(one) <= MOST_NAME][:MOST_NAME]
    return difflib.get_close_matches(name, short, n=1) if len(name) <= MOST_NAME else []


def _short(value, most: int = 60) -> str:
    if isinstance(value, list | dict):
        return _a(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= most else f"{text[:most]}…"


def _a(value) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")
