"""One column of a table and how to read its values, the same in training and in service.

`Column.read_value` reads one cell of a request, without pandas; `Column.read_series` reads a whole
column and gives the same values, for it reads every different value with `read_value`.
`diptych.core.data.typing` decides what a column is; the columns are stored in a model's folder.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from diptych.core.data.numerals import INFINITE, POWERS, Token, bare, number_pattern
from diptych.core.data.times import PLAIN, TimeFormat, native_times, plain_moments, series

if TYPE_CHECKING:  # an endpoint reads values without pandas
    import pandas as pd

NUMBER, BOOLEAN, CATEGORY, TIME, TEXT = KINDS = ("number", "boolean", "category", "time", "text")
# compared in lower case; spaces around do not count
MISSING = ("", "na", "n/a", "#n/a", "nan", "<na>", "nat", "null", "none", "nil", "missing",
           "-", "--", "?", ".", "…", "...")  # fmt: skip
TRUE, FALSE = ("true", "yes", "y", "t", "on"), ("false", "no", "n", "f", "off")
TRUTH = {**dict.fromkeys((*TRUE, "1"), True), **dict.fromkeys((*FALSE, "0"), False)}
UNSEEN = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff\u00ad"))
INFINITY = float("inf")
EXACT = 2**53  # whole numbers up to here are exact as float64
_WHOLE = re.compile(r"([+-]?\d+)\.0+")


class CellError(ValueError):
    """A value cannot be read as its column says; the message names the column and the remedy."""


@dataclass(frozen=True)
class Column:
    """One column and how to read its values.

    Attributes
    ----------
    name : str
        An identifier, under which every stage knows the column.
    original : str
        As the file spells it.
    kind : str
        One of `KINDS`.
    missing : tuple of str
        Words for a missing value, in lower case.
    decimal, thousands : str
        Marks within numbers.
    sign : str
        Around every number, such as ``"%"`` or ``"$"``; numbers stay as written (5 % is 5).
    fraction : bool
        Whether 5 % is 0.05 instead, as where ``0.05`` stands beside ``5%``.
    letters : bool
        Whether K, M and B after a number stand for thousands, millions and billions.
    forms : tuple of str
        The values of a category as they are kept; others that differ from one of them only in
        case and spaces are read as it.
    time : TimeFormat or None
    """

    name: str
    original: str
    kind: str
    missing: tuple[str, ...] = MISSING
    decimal: str = "."
    thousands: str = ""
    sign: str = ""
    forms: tuple[str, ...] = ()
    time: TimeFormat | None = None
    fraction: bool = False
    letters: bool = False

    def read_value(self, value: Any) -> Any:
        """Read one value of a request or a row.

        Parameters
        ----------
        value : str, int, float, bool, datetime or None
            A cell of CSV, or a JSON value.

        Returns
        -------
        float, bool, str, int or None
            By kind: a number is float, a boolean bool, a category or text str, a time int
            (microseconds since 1970 in UTC); None is a missing value.

        Raises
        ------
        CellError
            If the value is not what the column holds.
        """
        if value is None or value != value:  # NaN and NaT differ from themselves
            return None
        if isinstance(value, str):
            value = value.strip()
            if value.casefold() in self._missing:
                return None
        elif isinstance(value, list | dict):
            raise self._error(value, "send one value")
        elif not isinstance(value, bool) and value in self._stand_ins:
            return None
        return self._readers[self.kind](value)

    def read_series(self, values: "pd.Series") -> "pd.Series":
        """Read a whole column; gives what `read_value` gives of every value.

        Returns
        -------
        Series
            float64, boolean, str or datetime64[us, UTC], null where a value is missing.

        Raises
        ------
        CellError
            Naming the row of the first value that is not what the column holds.
        """
        import numpy as np
        import pandas as pd

        if self.kind == NUMBER and pd.api.types.is_float_dtype(values.dtype):
            numbers = values.astype("float64")
            return numbers.where(np.isfinite(numbers) & ~numbers.isin(self._stand_ins))
        if self.kind == TIME and pd.api.types.is_datetime64_any_dtype(values.dtype):
            times = native_times(values, self.form.zone)
            if times is not None:
                return times
        if self.kind == NUMBER and self._plain and isinstance(values.dtype, pd.StringDtype):
            numbers, rest = plain_numbers(values)
            numbers = numbers.mask(numbers.isin(self._stand_ins))
            if rest.any():
                numbers[rest] = self._read_distinct(values[rest], np.flatnonzero(rest))
            return numbers
        return self._read_distinct(values, range(len(values)))

    def _read_distinct(self, values: "pd.Series", rows: Any) -> "pd.Series":
        import numpy as np
        import pandas as pd

        codes, distinct = factorize(values)
        read = self._plain_times(distinct)
        for place, value in enumerate(distinct):
            if read[place] is not None:
                continue
            try:
                read[place] = self.read_value(value)
            except CellError as error:
                row = rows[int((codes == place).argmax())] + 1
                raise CellError(f"{error} (row {row:,})") from error
        if self.kind == TIME:
            gaps = np.array([x is None for x in read], dtype=bool)
            codes = np.where(np.append(gaps, True)[codes], -1, codes)
            return series([0 if x is None else x for x in read], codes, values.index)
        dtype = {NUMBER: "float64", BOOLEAN: "boolean"}.get(self.kind, "str")
        table = pd.array([*read, None], dtype=dtype)
        return pd.Series(table.take(codes), index=values.index)

    @property
    def form(self) -> TimeFormat:
        """How the times of a column of times are written.

        Raises
        ------
        ValueError
            If it is a column of another kind.
        """
        if self.time is None:
            raise ValueError(f"{self.original} is a column of kind {self.kind}, not of times")
        return self.time

    def _plain_times(self, distinct: Sequence) -> list[int | None]:
        """Read ISO strings all at once; None where `read_value` must decide."""
        if self.kind != TIME or any(re.search(PLAIN, word) for word in self._missing):
            return [None] * len(distinct)
        return plain_moments(distinct, self.form)

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset((*self.missing, ""))

    @cached_property
    def _stand_ins(self) -> frozenset[float]:
        return stand_ins(self.missing)

    @cached_property
    def _readers(self) -> dict[str, Callable]:
        return {
            NUMBER: self._number,
            BOOLEAN: self._boolean,
            CATEGORY: self._category,
            TIME: self._time,
            TEXT: lambda value: plain(value),
        }

    @property
    def _plain(self) -> bool:
        return (self.decimal, self.thousands) == (".", "")

    def _number(self, value: Any) -> float | None:
        if isinstance(value, str):
            if value.casefold() in INFINITE:
                return None
            token = bare(value)
            fits = number_pattern(self.decimal, self.thousands).fullmatch(token.number)
            if not fits or token.sign not in ("", self.sign) or (token.letter and not self.letters):
                raise self._error(value, self._wanted())
            value = self._of_token(token)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise self._error(value, self._wanted())
        if isinstance(value, int) and abs(value) > EXACT:
            raise self._error(value, "a whole number is read exactly up to 2^53")
        value = float(value)
        return value if abs(value) < INFINITY and value not in self._stand_ins else None

    def _of_token(self, token: Token) -> int | float:
        digits = token.number.replace(self.thousands, "") if self.thousands else token.number
        digits = digits.replace(self.decimal, ".")
        power = POWERS[token.letter] - 2 * (self.fraction and token.sign == "%")
        if power:  # an exponent of its own is rare
            exact = "e" not in digits.casefold()
            return float(f"{digits}e{power}") if exact else float(digits) * 10.0**power
        whole = re.fullmatch(r"([+-]?\d{1,400})(\.0*)?", digits)
        value = float(digits)  # of 9007199254740994.0, which is a float that a file wrote
        if whole and not (whole[2] and value == int(whole[1])):
            return int(whole[1])
        return value

    def _wanted(self) -> str:
        example = "1234" + self.decimal + "5"
        if self.thousands:
            example = "1" + self.thousands + example[1:]
        return f"send a number such as {example}{self.sign if self.sign == '%' else ''}, or null"

    def _boolean(self, value: Any) -> bool:
        truth = TRUTH.get(plain(value).casefold())
        if truth is None:
            raise self._error(value, "send true, false or null")
        return truth

    def _category(self, value: Any) -> str:
        text = plain(value)
        form = self._forms.get(spelling(text))
        if form is None and self._code and isinstance(value, int | float):
            raise self._error(value, f"it is a code, send it as a text such as {self._code!r}")
        return text if form is None else form

    @cached_property
    def _code(self) -> str:
        """One of the forms with zeros in front, which a number loses; "" if there is none."""
        return next((form for form in self.forms if re.fullmatch(r"0\d+", form)), "")

    @cached_property
    def _forms(self) -> dict[str, str]:
        return {spelling(form): form for form in self.forms}

    def _time(self, value: Any) -> int:
        moment = self.form.parse(value)
        if moment is None:
            raise self._error(value, f"send a time {self.form.describe()}, or null")
        return moment

    def _error(self, value: Any, remedy: str) -> CellError:
        return CellError(f"{self.original}: {str(value)[:60]!r} is no {self.kind}; {remedy}")

    def to_dict(self) -> dict:
        """Return what JSON can hold."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        content |= {"missing": list(self.missing), "forms": list(self.forms)}
        return content | {"time": self.time and self.time.to_dict()}

    @classmethod
    def from_dict(cls, content: dict) -> "Column":
        """Rebuild what `to_dict` returned."""
        changed = {"missing": tuple(content["missing"]), "forms": tuple(content["forms"])}
        time = content["time"] and TimeFormat.from_dict(content["time"])
        return cls(**{**content, **changed, "time": time})


@dataclass(frozen=True)
class TypedColumns:
    """The columns a model can use, and what became of the others.

    Attributes
    ----------
    columns : list of Column
        In the order of the file.
    left_out : dict of str to str
        The reason, by the name in the file.
    notes : dict of str to list of str
        What was decided or changed, by the name in the file.
    """

    columns: list[Column]
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def read(self, raw: "pd.DataFrame") -> "pd.DataFrame":
        """Return the typed values under the columns' identifiers, shape (n, len(columns))."""
        import pandas as pd

        typed = {column.name: column.read_series(raw[column.original]) for column in self.columns}
        return pd.DataFrame(typed, index=raw.index)

    def read_row(self, row: dict) -> list:
        """Return the values of one row given by column names, the file's or identifiers.

        Raises
        ------
        CellError
            If a column is missing or a value is not what it holds. Names that are no columns
            are the caller's to report (`unknown`).
        """
        files = {column.original for column in self.columns}
        ours = {column.name for column in self.columns} <= row.keys() and not files <= row.keys()
        values = []
        for column in self.columns:
            name = column.name if ours else column.original
            if name not in row and column.name not in files:  # else it is another column's name
                name = column.name
            if name not in row:
                raise CellError(f"{column.original}: is missing; add the column")
            values.append(column.read_value(row[name]))
        return values

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Return those names that are no column, neither in the file's spelling nor ours."""
        known = {x for column in self.columns for x in (column.original, column.name)}
        return [name for name in names if name not in known]

    def sentences(self) -> list[str]:
        """Return left-out columns and notes, a sentence each."""
        lines = [f"column {name!r} was left out: {why}" for name, why in self.left_out.items()]
        return lines + [
            f"column {name!r}: {note}" for name, notes in self.notes.items() for note in notes
        ]

    def to_dict(self) -> dict:
        """Return what JSON can hold."""
        columns = [column.to_dict() for column in self.columns]
        return {"columns": columns, "left_out": self.left_out, "notes": self.notes}

    @classmethod
    def from_dict(cls, content: dict) -> "TypedColumns":
        """Rebuild what `to_dict` returned."""
        columns = [Column.from_dict(column) for column in content["columns"]]
        return cls(columns, content["left_out"], content["notes"])


def stand_ins(missing: Iterable[str]) -> frozenset[float]:
    """Return the words for missing that are numbers, such as -999; they are missing as numbers."""
    plain_number = re.compile(r"[+-]?\d+(\.\d+)?")
    return frozenset(float(word) for word in missing if plain_number.fullmatch(word))


def plain(value: Any) -> str:
    """Return a value as a string: single spaces, and 1, 1.0 and "1" are all "1"."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT:
        value = int(value)
    text = " ".join(str(value).split())
    if text[-1:] == "0" and (match := _WHOLE.fullmatch(text)):
        return match[1]
    return text


def spelling(text: str) -> str:
    """Return what two spellings of one value share: case and spaces do not count."""
    if not text.isascii():  # letters may be composed or not; some characters are not seen
        text = unicodedata.normalize("NFC", text.translate(UNSEEN))
    return " ".join(text.split()).casefold()


def factorize(values: "pd.Series") -> Any:
    """Return codes and different values; 1, 1.0 and True stay apart, nulls have code -1."""
    import numpy as np
    import pandas as pd

    if values.dtype != object:
        codes, distinct = pd.factorize(values)
        if isinstance(distinct, pd.CategoricalIndex):
            distinct = distinct.astype(distinct.categories.dtype)
        if isinstance(distinct, pd.DatetimeIndex):
            return codes, distinct  # its items are made as they are needed: they take long
        return codes, distinct.tolist()
    places, distinct, codes = {}, [], np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        if value is None or (not _nested(value) and value != value) or value is pd.NA:
            codes[row] = -1
            continue
        key = (type(value), str(value) if _nested(value) else value)
        if key not in places:
            places[key] = len(distinct)
            distinct.append(value)
        codes[row] = places[key]
    return codes, distinct


def _nested(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def plain_numbers(values: "pd.Series") -> Any:
    """Read what needs no rule at once: returns float64 numbers, and which rows are left."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    strings = pa.array(values, pa.string(), from_pandas=True)
    # fractions of any length: one of 17 digits among a million must not slow all down
    fits = pc.match_substring_regex(
        strings, r"^[+-]?[0-9]{1,15}(\.[0-9]{1,30}([eE]-?[0-9]{1,2})?)?$"
    )
    fits = pc.fill_null(fits, False)
    plain_strings = strings if pc.all(fits).as_py() else pc.if_else(fits, strings, None)
    if pc.any(pc.starts_with(plain_strings, "+")).as_py():
        plain_strings = pc.replace_substring_regex(plain_strings, r"^\+", "")
    numbers = pc.cast(plain_strings, "float64")
    numbers = pd.Series(numbers.to_numpy(zero_copy_only=False).copy(), index=values.index)
    return numbers, ~fits.to_numpy(zero_copy_only=False)
