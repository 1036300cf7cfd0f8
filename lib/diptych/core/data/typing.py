"""What the columns of a table mean, decided once and read alike in training and in service.

`infer` looks at a raw table and returns one `Column` for each that a model can use: its kind and
all that is needed to read one value again (words for missing and for true, decimal mark, the
spellings of a category, the form of a time). `Column.read_value` reads one cell of a request,
without pandas; `Column.read_series` reads a whole column and gives the same values, for it reads
every different value with `read_value`. The typed columns are stored in the model's folder.

Nothing is changed silently: what was left out, merged or read as missing is a note.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from diptych.core.data.times import NUMERIC, TimeError, TimeFormat, decide, far_times, series

if TYPE_CHECKING:  # an endpoint reads values without pandas
    import pandas as pd

NUMBER, BOOLEAN, CATEGORY, TIME, TEXT = KINDS = ("number", "boolean", "category", "time", "text")
# compared in lower case; spaces around do not count
MISSING = ("", "na", "n/a", "#n/a", "nan", "<na>", "nat", "null", "none", "nil", "missing",
           "-", "--", "?", ".", "…", "...")  # fmt: skip
INFINITE = ("inf", "+inf", "-inf", "infinity", "-infinity")
TRUE, FALSE = ("true", "yes", "y", "t", "on"), ("false", "no", "n", "f", "off")
TRUTH = {**dict.fromkeys((*TRUE, "1"), True), **dict.fromkeys((*FALSE, "0"), False)}
PAIRS = tuple({true, false} for true, false in zip(TRUE, FALSE, strict=True))
CURRENCIES = ("$", "€", "£", "¥", "₹", "usd", "eur", "gbp", "chf", "jpy")
RESERVED = ("id", "time", "label", "slice", "split", "text")
INFINITY = float("inf")
EXACT = 2**53  # whole numbers up to here are exact as float64
TEXT_WORDS = 3  # a column with so many words on average is text, if its values rarely repeat
FEW_TEXTS, MANY_TEXTS = 20, 200  # different long values of a category: always, and at most
MOST_FORMS = 1_000  # different values among which spellings are merged
ODD_SHARE, ODD_WORDS = 0.05, 3  # words among numbers that are read as missing, with a note
ID_NAME = re.compile(
    r"(?i:(^|[\W_])(id|uuid|guid|index|rownum|row_number))$|[a-z](Id|ID)$|^Unnamed: \d+$"
)
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
TIME_NAME = re.compile(r"(?i)(^|[\W_])(date|time|timestamp|datetime|day|when|epoch|at|ts)$")
STAND_INS = (-1, -9, -99, -999, -9999, -99999, 999, 9999, 99999, 999999)

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


class CellError(ValueError):
    """A value cannot be read as its column says; the message names the column and the remedy."""


@dataclass(frozen=True)
class Conventions:
    """What the user settles for a whole file; what is left open is decided from the values.

    Attributes
    ----------
    decimal : str
        ``"."`` or ``","``; "" decides by the columns.
    missing : tuple of str
        Words for a missing value, in place of `MISSING`; the empty cell is always one.
    order : str
        ``"dmy"`` or ``"mdy"`` for dates such as 1/2/2023; "" decides by the column.
    zone : str
        Of times that name none.
    kinds : dict of str to str
        The kind of a column by its name in the file, such as ``{"zip": "category"}``.
    """

    decimal: str = ""
    missing: tuple[str, ...] = MISSING
    order: str = ""
    zone: str = "UTC"
    kinds: dict[str, str] = field(default_factory=dict)


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

    def read_value(self, value):
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
            return numbers.where(np.isfinite(numbers))
        if self.kind == NUMBER and self._plain and pd.api.types.is_string_dtype(values.dtype):
            numbers, rest = _plain_numbers(values)
            if rest.any():
                numbers[rest] = self._read_distinct(values[rest], np.flatnonzero(rest))
            return numbers
        return self._read_distinct(values, range(len(values)))

    def _read_distinct(self, values: "pd.Series", rows) -> "pd.Series":
        import numpy as np
        import pandas as pd

        codes, distinct = factorize(values)
        read = []
        for place, value in enumerate(distinct):
            try:
                read.append(self.read_value(value))
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

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset((*self.missing, ""))

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

    def _number(self, value) -> float | None:
        if isinstance(value, str):
            if value.casefold() in INFINITE:
                return None
            token, sign = bare(value)
            fits = number_pattern(self.decimal, self.thousands).fullmatch(token)
            if not fits or sign not in ("", self.sign):
                raise self._error(value, self._wanted())
            token = token.replace(self.thousands, "") if self.thousands else token
            token = token.replace(self.decimal, ".")
            value = int(token) if re.fullmatch(r"[+-]?\d{1,400}", token) else float(token)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise self._error(value, self._wanted())
        if isinstance(value, int) and abs(value) > EXACT:
            raise self._error(value, "a whole number is read exactly up to 2^53")
        value = float(value)
        return value if abs(value) < INFINITY else None

    def _wanted(self) -> str:
        example = "1234" + self.decimal + "5"
        if self.thousands:
            example = "1" + self.thousands + example[1:]
        return f"send a number such as {example}{self.sign if self.sign == '%' else ''}, or null"

    def _boolean(self, value) -> bool:
        truth = TRUTH.get(plain(value).casefold())
        if truth is None:
            raise self._error(value, "send true, false or null")
        return truth

    def _category(self, value) -> str:
        return self._forms.get(spelling(text := plain(value)), text)

    @cached_property
    def _forms(self) -> dict[str, str]:
        return {spelling(form): form for form in self.forms}

    def _time(self, value) -> int:
        moment = self.time.parse(value)
        if moment is None:
            raise self._error(value, f"send a time {self.time.describe()}, or null")
        return moment

    def _error(self, value, remedy: str) -> CellError:
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
        values = []
        for column in self.columns:
            if column.original not in row and column.name not in row:
                raise CellError(f"{column.original}: is missing; add the column")
            name = column.original if column.original in row else column.name
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


def infer(
    raw: "pd.DataFrame", conventions: Conventions | None = None, exclude: Iterable[str] = ()
) -> TypedColumns:
    """Decide what each column means.

    Parameters
    ----------
    raw : DataFrame
        As read from a file: strings, or the types of Parquet. Shape (n, columns).
    conventions : Conventions, optional
    exclude : iterable of str
        Columns with a part of their own, such as the label.

    Returns
    -------
    TypedColumns
        Constant and empty columns, ids, lists and objects are left out, each with a reason.
    """
    conventions = conventions or Conventions()
    names = [name for name in raw.columns if name not in set(exclude)]
    if not conventions.decimal:
        strings = (raw[name] for name in names if _is_strings(raw[name]))
        conventions = _replaced(conventions, decimal=file_decimal(strings, conventions))
    columns, left_out, notes, taken = [], {}, {}, set()
    for name in names:
        try:
            column, remarks = infer_column(raw[name], str(name), conventions, taken)
        except LeftOut as reason:
            left_out[str(name)] = str(reason)
            continue
        taken.add(column.name.casefold())
        columns.append(column)
        if remarks:
            notes[str(name)] = remarks
    return TypedColumns(columns, left_out, notes)


class LeftOut(ValueError):
    """A column is of no use to a model; the message is the reason."""


def infer_column(
    values: "pd.Series",
    original: str,
    conventions: Conventions | None = None,
    taken: Iterable[str] = (),
) -> tuple[Column, list[str]]:
    """Return one feature column and what was decided about it.

    Raises
    ------
    LeftOut
        With the reason, if a model can learn nothing from it.
    """
    conventions = conventions or Conventions()
    name = identifier(original, taken)
    facts = Facts.of(values, original, conventions)
    wanted = conventions.kinds.get(original)
    _refuse(facts, bool(wanted))
    if wanted and wanted not in KINDS:
        raise ValueError(f"{original}: {wanted!r} is no kind; take one of {', '.join(KINDS)}")
    makers = [MAKERS[wanted]] if wanted else list(MAKERS.values())
    if not wanted and facts.native != "number" and TIME_NAME.search(original):
        makers.insert(0, _as_time)  # numbers under such a name may be seconds since 1970
    for make in makers:
        found = make(facts, conventions, bool(wanted))
        if found:
            settings, notes = found
            column = Column(name, original, missing=facts.missing, **settings)
            return column, facts.notes() + notes
    raise LeftOut(f"it cannot be read as {wanted}, as asked ({facts.example})")


def label_column(
    values: "pd.Series", original: str, conventions: Conventions | None = None
) -> tuple[Column, list[str]]:
    """Return how to read labels: categories always, by the same words for missing.

    ``1``, ``1.0`` and ``"1"`` are one class; classes that differ only in case and spaces are
    merged to the most frequent spelling, with a note.

    Raises
    ------
    LeftOut
        If the column holds lists or objects, or nothing.
    """
    conventions = conventions or Conventions()
    facts = Facts.of(values, original, conventions)
    settings, notes = _category(facts, conventions, True)
    return Column("label", original, missing=facts.missing, **settings), facts.notes() + notes


@dataclass
class Facts:
    """What is counted once of a raw column: its different values and how often each occurs."""

    original: str
    values: list  # different ones, missing ones left out
    counts: list[int]
    rows: int
    words: Counter  # spelled-out words for missing
    missing: tuple[str, ...]
    native: str  # "number", "whole", "boolean", "time" or "" for strings and objects

    @classmethod
    def of(cls, values: "pd.Series", original: str, conventions: Conventions) -> "Facts":
        """Count the values of a column."""
        import numpy as np

        missing = tuple(dict.fromkeys(("", *(x.strip().casefold() for x in conventions.missing))))
        native, words = _native(values), Counter()
        if _is_strings(values) and conventions.decimal != ",":
            values, native, words = _numbers_of(values, missing)
        codes, distinct = factorize(values)
        counts = np.bincount(codes[codes >= 0], minlength=len(distinct)).tolist()
        if native:
            return cls(original, distinct, counts, len(values), words, missing, native)
        known, tally = [], []
        for value, count in zip(distinct, counts, strict=True):
            if isinstance(value, list | dict | set | tuple | np.ndarray):
                raise LeftOut(
                    f"it holds lists or objects ({str(value)[:40]}); give each part a column"
                )
            if isinstance(value, str) and value.strip().casefold() in missing:
                words[value.strip()] += count
                continue
            known.append(value)
            tally.append(count)
        return cls(original, known, tally, len(values), words, missing, "")

    @cached_property
    def texts(self) -> list[str]:
        """The different values as strings."""
        return [plain(value) for value in self.values]

    @property
    def present(self) -> int:
        """Rows with a value."""
        return sum(self.counts)

    @property
    def example(self) -> str:
        """One value, quoted."""
        return f"such as {str(self.values[0])[:30]!r}" if self.values else "no value"

    def notes(self) -> list[str]:
        """Say which words were read as missing."""
        said = [f"{word!r} ({count:,})" for word, count in self.words.most_common(4) if word]
        return [f"read as missing: {', '.join(said)}"] if said else []


def _refuse(facts: Facts, asked: bool) -> None:
    """Leave out what carries nothing: empty, constant and unnamed columns, and ids."""
    if not facts.values:
        raise LeftOut("it is empty")
    if not facts.original.strip():
        raise LeftOut(f"it has no name ({facts.example}); give it one in the header")
    one = len({spelling(plain(x)) for x in facts.values[:4]}) == 1
    if one and (facts.present == facts.rows or facts.present < 2):
        what = "it never changes" if facts.present == facts.rows else "it has a single value"
        raise LeftOut(f"{what} ({plain(facts.values[0])[:30]!r})")
    if not asked and (reason := _id(facts)):
        raise LeftOut(reason)


def _id(facts: Facts) -> str:
    """Return why a column is an id, "" if it is none."""
    distinct, present = len(facts.values), facts.present
    named = bool(ID_NAME.search(facts.original))
    if facts.native in ("number", "boolean", "time"):
        return ""
    if named and distinct >= 0.95 * present and present > 2:
        return "it is an id, by its name and its values, which hardly repeat"
    if facts.native == "whole":
        counts = distinct == present >= FEW_TEXTS
        counts = counts and max(facts.values) - min(facts.values) == distinct - 1
        return "it counts the rows" if counts else ""
    if distinct > 1 and all(UUID.fullmatch(x) for x in facts.texts[:100]):
        return "it is an id (UUIDs)"
    if distinct < present or present < FEW_TEXTS or _mean_words(facts) >= TEXT_WORDS:
        return ""
    if _as_number(facts, Conventions(), False) or _as_time(facts, Conventions(), True, quiet=True):
        return ""
    return f"it is an id: no value repeats ({facts.example})"


def _mean_words(facts: Facts) -> float:
    words = sum(len(x.split()) * c for x, c in zip(facts.texts, facts.counts, strict=True))
    return words / facts.present


def _as_boolean(facts: Facts, conventions: Conventions, asked: bool):
    words = {x.casefold() for x in facts.texts}
    if facts.native == "boolean":
        return {"kind": BOOLEAN}, []
    allowed = words <= TRUTH.keys()
    paired = any(words & pair for pair in PAIRS)
    if facts.native or not allowed or not (paired or asked):
        return None
    return {"kind": BOOLEAN}, []


def _as_number(facts: Facts, conventions: Conventions, asked: bool):
    if facts.native in ("number", "whole"):
        if facts.native == "whole" and max(map(abs, facts.values)) > EXACT:
            return None
        return {"kind": NUMBER}, _infinite(facts) + _stand_ins(facts.values, facts.counts)
    if facts.native:
        return None
    marks, odd, notes = _reads(facts, conventions) or ((".", ""), None, [])
    if odd is None:
        return None
    signs = Counter(bare(x)[1] for x in facts.texts if x not in odd)
    money = {s for s in signs if s not in ("", "%")}
    if len(money) > 1 or (signs["%"] and money):
        return None
    if _is_code(facts.texts):
        return None
    sign = next((s for s in signs if s), "")
    if odd:
        count = sum(c for x, c in zip(facts.texts, facts.counts, strict=True) if x in odd)
        facts.missing = (*facts.missing, *sorted({x.casefold() for x in odd}))
        notes.append(f"{', '.join(map(repr, sorted(odd)))} in {count:,} rows: read as missing")
    if sign:
        mixed = f", some without ({signs['']:,} different values)" if signs[""] else ""
        notes.append(f"{sign} around numbers is taken off; they stay as written{mixed}")
    settings = {"kind": NUMBER, "decimal": marks[0], "thousands": marks[1], "sign": sign}
    column = Column("", facts.original, missing=facts.missing, **settings)
    try:
        numbers = [column.read_value(x) for x in facts.values]
    except CellError:  # too large to be exact
        return None
    if infinite := sum(
        c for x, c in zip(numbers, facts.counts, strict=True) if x is None and not odd
    ):
        notes.append(f"infinite numbers in {infinite:,} rows: read as missing")
    return settings, notes + _stand_ins(numbers, facts.counts)


def _infinite(facts: Facts) -> list[str]:
    if facts.native == "whole":
        return []
    rows = sum(c for x, c in zip(facts.values, facts.counts, strict=True) if abs(x) == INFINITY)
    return [f"infinite numbers in {rows:,} rows: read as missing"] if rows else []


def _reads(facts: Facts, conventions: Conventions):
    """Return the marks that read all values (bar a few odd words), those words, and notes."""
    tokens = {x: bare(x)[0] for x in facts.texts if x.casefold() not in INFINITE}
    distinct = set(tokens.values())
    if not distinct:
        return None
    digits = [x for x in distinct if re.search(r"\d", x)]
    odd = set()
    if len(digits) < len(distinct):
        odd = {x for x, token in tokens.items() if not re.search(r"\d", token)}
        count = sum(c for x, c in zip(facts.texts, facts.counts, strict=True) if x in odd)
        if len(odd) > ODD_WORDS or count > ODD_SHARE * facts.present or len(digits) < FEW_TEXTS:
            return None
    fitting = _fitting(digits)
    if not fitting:
        return None
    marks, notes = _marks(fitting, digits, conventions.decimal)
    return marks, odd, notes


def _marks(fitting: list, digits: list[str], decimal: str) -> tuple[tuple[str, str], list[str]]:
    """Choose among the marks that read a column, the file's decimal mark first."""
    marks = next((x for x in fitting if x[0] == decimal), fitting[0])
    if marks == (",", "") and decimal != "," and (".", ",") in fitting:
        example = next(x for x in digits if "," in x)  # each comma has three digits after it
        return (".", ","), [f"the comma is taken for the mark of thousands (such as {example})"]
    if marks == (".", "") or not any(mark in x for x in digits for mark in ",.' "):
        return marks, []
    thousands = {"": "none", " ": "a space"}.get(marks[1], repr(marks[1]))
    return marks, [f"the decimal mark is {marks[0]!r}, the mark of thousands {thousands}"]


def _fitting(tokens: list[str]) -> list[tuple[str, str]]:
    """Return the pairs of marks under which all tokens are numbers."""
    return [marks for marks in MARKS if all(map(number_pattern(*marks).fullmatch, tokens))]


def file_decimal(columns: Iterable["pd.Series"], conventions: Conventions) -> str:
    """Return the decimal mark that columns with one reading only show; "" if they show none.

    A column whose numbers can be read with either mark (1.234) follows the others.
    """
    shown = Counter()
    for values in columns:
        try:
            facts = Facts.of(values.drop_duplicates().head(5_000), "", conventions)
        except LeftOut:
            continue
        tokens = [bare(x)[0] for x in facts.texts]
        marks = {x[0] for x in _fitting(tokens)} if tokens else set()
        if len(marks) == 1:
            shown[marks.pop()] += 1
    if len(shown) != 1:
        return ""  # the columns differ, or none shows it: each decides for itself
    return next(iter(shown))


def _is_code(texts: list[str]) -> bool:
    """Whether digits are a code, such as a post code: some begin with 0."""
    zeros = sum(bool(re.fullmatch(r"0\d+", x)) for x in texts)
    return zeros > 0 and all(re.fullmatch(r"\d+", x) for x in texts)


def _stand_ins(numbers: list, counts: list[int]) -> list[str]:
    """Name numbers far from the others that often stand for a missing one, such as -999."""
    known = [(x, c) for x, c in zip(numbers, counts, strict=True) if x is not None]
    notes = []
    for value in STAND_INS:
        count = sum(c for x, c in known if x == value)
        others = [x for x, _ in known if x != value]
        if count < 2 or len(others) < 3:
            continue
        low, high = min(others), max(others)
        if (value < 0 <= low) or not low - 2 * (high - low) <= value <= high + 2 * (high - low):
            notes.append(f"{value} in {count:,} rows may stand for a missing value; it is kept")
    return notes


def _as_time(facts: Facts, conventions: Conventions, asked: bool, quiet: bool = False):
    if facts.native == "boolean":
        return None
    if facts.native == "time":
        form = TimeFormat("iso", zone=conventions.zone)
        return {"kind": TIME, "time": form}, []
    named = asked or bool(TIME_NAME.search(facts.original))
    try:
        form, notes = decide(facts.values, conventions.order, conventions.zone)
    except TimeError as error:
        if asked and not quiet:
            raise LeftOut(str(error)) from error
        return None
    if form.layout in NUMERIC and not named:
        return None
    moments = [form.parse(x) for x in facts.values]
    if None in moments:
        return None
    import numpy as np

    times = series(moments, np.repeat(np.arange(len(moments)), facts.counts), None)
    return {"kind": TIME, "time": form}, notes + far_times(times)


def _as_text(facts: Facts, conventions: Conventions, asked: bool):
    if facts.native:
        return None
    rare = len(facts.values) > max(FEW_TEXTS, min(0.2 * facts.present, MANY_TEXTS))
    if not asked and (_mean_words(facts) < TEXT_WORDS or not rare):
        return None
    return {"kind": TEXT}, []


def _category(facts: Facts, conventions: Conventions, asked: bool):
    """Keep the different values; those that differ in case and spaces only become one."""
    counts = Counter()
    for text, count in zip(facts.texts, facts.counts, strict=True):
        counts[text] += count
    if len(counts) > MOST_FORMS:
        return {"kind": CATEGORY}, [f"it holds {len(counts):,} different values"]
    groups = {}
    for text in counts:
        groups.setdefault(spelling(text), []).append(text)
    forms, merged = [], []
    for texts in groups.values():
        texts.sort(key=lambda text: (-counts[text], text))
        forms.append(texts[0])
        if len(texts) > 1:
            others = ", ".join(f"{x!r} ({counts[x]:,})" for x in texts[1:4])
            merged.append(f"{others} became {texts[0]!r}")
    notes = [f"spellings of one value: {'; '.join(merged[:3])}"] if merged else []
    if _is_code(facts.texts):
        notes.append("digits with leading zeros are kept as a code, not as numbers")
    return {"kind": CATEGORY, "forms": tuple(sorted(forms))}, notes


# in this order each is tried; the last takes all
MAKERS = {
    BOOLEAN: _as_boolean,
    NUMBER: _as_number,
    TIME: _as_time,
    TEXT: _as_text,
    CATEGORY: _category,
}


def plain(value) -> str:
    """Return a value as a string: single spaces, and 1, 1.0 and "1" are all "1"."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT:
        value = int(value)
    text = " ".join(str(value).split())
    if text[-1:] == "0" and (match := _WHOLE.fullmatch(text)):
        return match[1]
    return text


_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def spelling(text: str) -> str:
    """Return what two spellings of one value share: case and spaces do not count."""
    return " ".join(text.split()).casefold()


def bare(text: str) -> tuple[str, str]:
    """Return a number without what stands around it, and that sign ("" if there is none).

    Parentheses and a minus of its own character mean below zero.
    """
    text = text.strip().replace("\u2212", "-").replace("\u00a0", " ").replace("\u202f", " ")
    if match := _PARENTHESES.fullmatch(text):
        text = "-" + match[1].strip()
    if text.endswith("%"):
        return text[:-1].rstrip(), "%"
    if match := _MONEY.fullmatch(text):
        sign = match["before"] or match["after"]
        if sign:
            return f"{match['minus']}{match['number']}", sign.upper()
    return text, ""


_PARENTHESES = re.compile(r"\(([^()-]+)\)")
_SIGNS = "|".join(re.escape(x) for x in CURRENCIES)
_MONEY = re.compile(
    rf"(?P<minus>[+-]?)\s*(?P<before>{_SIGNS})?\s*(?P<number>[+-]?[\d.,' ]*\d[\d.,]*)"
    rf"\s*(?P<after>{_SIGNS})?",
    re.IGNORECASE,
)


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


def identifier(name: str, taken: Iterable[str] = ()) -> str:
    """Return a column name of letters, digits and underscores that is not in `taken`."""
    base = re.sub(r"\W+", "_", name).strip("_") or "column"
    base = f"x_{base}" if base[0].isdigit() or base.lower() in RESERVED else base
    used, unique, count = {x.casefold() for x in taken}, base, 1
    while unique.casefold() in used:
        count += 1
        unique = f"{base}_{count}"
    return unique


def factorize(values: "pd.Series"):
    """Return codes and different values; 1, 1.0 and True stay apart, nulls have code -1."""
    import numpy as np
    import pandas as pd

    if values.dtype != object:
        codes, distinct = pd.factorize(values)
        if isinstance(distinct, pd.CategoricalIndex):
            distinct = distinct.astype(distinct.categories.dtype)
        return codes, list(distinct)
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


def _nested(value) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def _is_strings(values: "pd.Series") -> bool:
    import pandas as pd

    return bool(pd.api.types.is_string_dtype(values.dtype))


def _native(values: "pd.Series") -> str:
    import pandas as pd

    types = pd.api.types
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return ""
    if types.is_bool_dtype(dtype):
        return "boolean"
    if types.is_float_dtype(dtype):
        return "number"
    if types.is_integer_dtype(dtype):
        return "whole"
    return "time" if types.is_datetime64_any_dtype(dtype) else ""


def _plain_numbers(values: "pd.Series"):
    """Read what needs no rule at once: returns float64 numbers, and which rows are left."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    strings = pa.array(values, pa.string(), from_pandas=True)
    fits = pc.match_substring_regex(strings, r"^[+-]?([0-9]{1,15}|[0-9]{1,15}\.[0-9]{1,15})$")
    fits = pc.fill_null(fits, False)
    numbers = pc.cast(
        pc.replace_substring_regex(pc.if_else(fits, strings, None), r"^\+", ""), "float64"
    )
    numbers = pd.Series(numbers.to_numpy(zero_copy_only=False).copy(), index=values.index)
    return numbers, ~fits.to_numpy(zero_copy_only=False)


def _numbers_of(values: "pd.Series", missing: tuple[str, ...]):
    """Return strings that are plain numbers or words for missing as numbers, others as they are.

    A shortcut for large columns; also returns the native type ("" for strings) and the words.
    """
    import numpy as np

    numbers, rest = _plain_numbers(values)
    words = values[rest].dropna().str.strip()
    codes = values.str.fullmatch(r"\s*[+-]?0\d+\s*").fillna(False)
    if not words.str.casefold().isin(missing).all() or numbers.isna().all() or codes.any():
        return values, "", Counter()
    known = numbers.dropna()
    whole = np.array_equal(known, known.round()) and not values.str.contains(".", regex=False).any()
    if whole:
        numbers = numbers.astype("Int64")
    return numbers, "whole" if whole else "number", Counter(words.tolist())


def _replaced(conventions: Conventions, **changes) -> Conventions:
    return Conventions(**{**conventions.__dict__, **changes})
