"""What the columns of a table mean: each one's kind and how to read it, or why it is left out.

`infer` looks at a raw table and returns one `Column` for each that a model can use, with all that
is needed to read one value again: words for missing, decimal mark, the spellings of a category,
the form of a time. Nothing is changed silently: what was left out, merged or read as missing is a
note.
"""

import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from diptych.core.data.column import (
    BOOLEAN,
    CATEGORY,
    EXACT,
    FALSE,
    KINDS,
    NUMBER,
    TEXT,
    TIME,
    TRUE,
    TRUTH,
    CellError,
    Column,
    TypedColumns,
    plain,
    spelling,
)  # fmt: skip
from diptych.core.data.facts import Conventions, Facts, KindError, LeftOutError, is_strings
from diptych.core.data.numerals import (
    INFINITE,
    MARKS,
    Token,
    bare,
    choose_marks,
    fitting,
    is_below,
    number_pattern,
)
from diptych.core.data.times import (
    LAYOUTS,
    NUMERIC,
    TimeError,
    TimeFormat,
    decide,
    far_times,
    series,
)

if TYPE_CHECKING:
    import pandas as pd

# a single letter is true or false only beside the other letter of its pair, or that word
LONELY = {
    "t": {"f", "false"}, "f": {"t", "true"}, "y": {"n", "no"}, "n": {"y", "yes"},
}  # fmt: skip
PAIRS = tuple({true, false} for true, false in zip(TRUE, FALSE, strict=True))
# names of canonical rows, and of what stages add to them
RESERVED = ("id", "time", "label", "slice", "split", "text", "reference", "window")
TEXT_WORDS = 3  # a column with so many words on average is text, if its values rarely repeat
FEW_TEXTS, MANY_TEXTS = 20, 200  # different long values of a category: always, and at most
FEW_VALUES = 200  # different values looked at first
MOST_FORMS = 1_000  # different values among which spellings are merged
POWER = re.compile(r"\d+[eE]\d+")  # a number, or a code that looks like one
NARROW = 2**24  # whole numbers up to here are exact as float32
ODD_SHARE, ODD_WORDS = 0.05, 3  # words among numbers that are read as missing, with a note
ID_NAME = re.compile(
    r"(?i:(^|[\W_])(id|uuid|guid|index|rownum|row_number|nr|nummer)|[\W_]no)\.?$|[a-z](Id|ID)$"
    r"|^Unnamed: \d+$"
)
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
CODE_NAME = re.compile(
    r"(?i)(^|[\W_])(zip|zip5|plz|postleitzahl|post(al)?[\W_]?code|postcode|zipcode|code|fips|naics|"
    r"ean|gtin|isbn|upc|phone|telephone|telefon|mobile)$"
)
DATE_NAME = re.compile(r"(?i)(^|[\W_])(date|day|when)$")  # whole numbers may be years
TIME_NAME = re.compile(r"(?i)(^|[\W_])(date|time|timestamp|datetime|day|when|epoch|at|ts)$")
YEARS = (1500, 2299)  # whole numbers that a column of times could mean as years
FEW_LETTERS = 5  # different numbers from which K, M and B multiply: 4K and 8K are names
READABLE = 0.5  # share of values that must read as the kind that was asked for
STAND_INS = frozenset((-1, -9, -99, -999, -9999, -99999, 999, 9999, 99999, 999999))


def infer(
    raw: "pd.DataFrame",
    conventions: Conventions | None = None,
    exclude: Iterable[str] = (),
    decimals: "Decimals | None" = None,
) -> TypedColumns:
    """Decide what each column means.

    Parameters
    ----------
    raw : DataFrame
        As read from a file: strings, or the types of Parquet. Shape (n, columns).
    conventions : Conventions, optional
    exclude : iterable of str
        Columns with a part of their own, such as the label.
    decimals : Decimals, optional
        Of the same table, where it was looked at before.

    Returns
    -------
    TypedColumns
        Constant and empty columns, ids, lists and objects are left out, each with a reason.

    Raises
    ------
    KindError
        If a column cannot be of the kind that `conventions` asks for.
    """
    conventions = conventions or Conventions()
    names = [name for name in raw.columns if name not in set(exclude)]
    decimals = decimals or Decimals(raw, conventions)
    conventions = replace(conventions, decimal=decimals.common(names))
    columns, left_out, notes = [], {}, {}
    taken: set[str] = set()
    for name in names:
        try:
            column, remarks = infer_column(raw[name], str(name), conventions, taken)
        except LeftOutError as reason:
            left_out[str(name)] = str(reason)
            continue
        except KindError as error:
            raise KindError(f"column {str(name)!r}: {error}") from error
        taken.add(column.name.casefold())
        columns.append(column)
        if remarks:
            notes[str(name)] = remarks
    return TypedColumns(columns, left_out, notes)


def infer_column(
    values: "pd.Series",
    original: str,
    conventions: Conventions | None = None,
    taken: Iterable[str] = (),
) -> tuple[Column, list[str]]:
    """Return one feature column and what was decided about it.

    Raises
    ------
    LeftOutError
        With the reason, if a model can learn nothing from it.
    KindError
        If it cannot be of the kind that `conventions` asks for.
    """
    conventions = conventions or Conventions()
    name = identifier(original, taken)
    wanted = conventions.kinds.get(original, "")
    if wanted not in ("", *KINDS):
        raise ValueError(f"{original}: {wanted!r} is no kind; take one of {', '.join(KINDS)}")
    facts = Facts.of(values, original, conventions, numbers=wanted in ("", NUMBER))
    _refuse(facts, bool(wanted))
    makers = [MAKERS[wanted]] if wanted else list(MAKERS.values())
    if not wanted and _is_named_code(facts):
        facts = Facts.of(values, original, conventions, numbers=False)
        makers = [_as_code]
    elif not wanted and facts.native != "number" and TIME_NAME.search(original):
        makers.insert(0, _as_time)  # numbers under such a name may be seconds since 1970
    for make in makers:
        reading = make(facts, conventions, bool(wanted))
        if reading:
            settings, notes = reading
            column = Column(name, original, missing=facts.missing, **settings)
            return column, facts.notes() + notes
    raise KindError(f"it cannot be read as {wanted}, as kinds asks ({facts.example})")


def label_column(
    values: "pd.Series", original: str, conventions: Conventions | None = None
) -> tuple[Column, list[str]]:
    """Return how to read labels: categories always, by the same words for missing.

    ``1``, ``1.0`` and ``"1"`` are one class; classes that differ only in case and spaces are
    merged to the most frequent spelling, with a note.

    Raises
    ------
    LeftOutError
        If the column holds lists or objects, or nothing.
    """
    conventions = conventions or Conventions()
    facts = Facts.of(values, original, conventions, numbers=False)
    settings, notes = _category(facts, conventions, True)
    return Column("label", original, missing=facts.missing, **settings), facts.notes() + notes


def number_label(
    values: "pd.Series", original: str, conventions: Conventions | None = None, wanted: bool = False
) -> tuple[Column, list[str]] | None:
    """Return how to read labels as numbers, None where they are none.

    Parameters
    ----------
    wanted : bool
        Whether the user asks for numbers: then codes count as numbers, and values that cannot be
        read as missing.

    Raises
    ------
    LeftOutError
        If the column holds lists or objects, or counts the rows.
    """
    conventions = conventions or Conventions()
    facts = Facts.of(values, original, conventions)
    if not wanted and _is_named_code(facts):
        return None
    reading = _as_number(facts, conventions, wanted)
    if reading is None:
        return None
    if not wanted and (reason := _id(facts)):
        raise LeftOutError(reason)
    settings, notes = reading
    return Column("label", original, missing=facts.missing, **settings), facts.notes() + notes


def _refuse(facts: Facts, requested: bool) -> None:
    """Leave out what carries nothing: empty, constant and unnamed columns, and ids."""
    if not len(facts.values):
        raise LeftOutError("it is empty")
    if not facts.original.strip():
        raise LeftOutError(f"it has no name ({facts.example}); give it one in the header")
    one = len({spelling(plain(x)) for x in facts.values[:4]}) == 1
    if one and (facts.present == facts.rows or facts.present < 2):
        what = "it never changes" if facts.present == facts.rows else "it has a single value"
        raise LeftOutError(f"{what} ({plain(facts.values[0])[:30]!r})")
    if not requested and (reason := _id(facts)):
        raise LeftOutError(reason)


def _id(facts: Facts) -> str:
    """Return why a column is an id, "" if it is none."""
    distinct, present = len(facts.values), facts.present
    named = bool(ID_NAME.search(facts.original))
    whole = facts.native == "number" and all(float(x).is_integer() for x in facts.values)
    if facts.native in ("boolean", "time") or (facts.native == "number" and not whole):
        return ""
    if named and distinct >= 0.95 * present and present > 2:
        return "it is an id, by its name and its values, which hardly repeat"
    if facts.native == "number":
        return ""
    if facts.native == "whole":
        counts = distinct == present >= FEW_TEXTS
        counts = counts and max(facts.values) - min(facts.values) == distinct - 1
        return "it counts the rows" if counts else ""
    if distinct == present >= FEW_TEXTS and all(map(str.isdecimal, facts.texts)):
        numbers = [int(x) for x in facts.texts if len(x) < 16]
        if len(numbers) == distinct == max(numbers) - min(numbers) + 1:
            return "it counts the rows"
    if distinct > 1 and all(UUID.fullmatch(x) for x in facts.texts[:100]):
        return "it is an id (UUIDs)"
    if distinct < present or present < FEW_TEXTS or _mean_words(facts) >= TEXT_WORDS:
        return ""
    few = replace(facts, values=facts.values[:FEW_VALUES], counts=facts.counts[:FEW_VALUES])
    if _as_number(few, Conventions(), False) or _as_time(few, Conventions(), True, quiet=True):
        return ""
    return f"it is an id: no value repeats ({facts.example})"


def _mean_words(facts: Facts) -> float:
    words = sum(len(x.split()) * c for x, c in zip(facts.texts, facts.counts, strict=True))
    return words / facts.present


def _as_boolean(facts: Facts, conventions: Conventions, requested: bool) -> Any:
    if facts.native == "boolean":
        return {"kind": BOOLEAN}, []
    if facts.native and not (requested and set(facts.values) <= {0, 1}):
        return None
    words = {x.casefold() for x in facts.texts}
    allowed = words <= TRUTH.keys()
    paired = any(words & pair for pair in PAIRS)
    if not allowed or not (paired or requested):
        return None
    if not requested and any(x in words and not words & y for x, y in LONELY.items()):
        return None  # of Y, N and T, or of T, F and N, the last is a value of its own
    named: dict[bool, list[str]] = {True: [], False: []}
    for word in sorted(words):
        named[TRUTH[word]].append(repr(word))
    if max(map(len, named.values())) < 2:
        return {"kind": BOOLEAN}, []
    return {"kind": BOOLEAN}, [
        f"{', '.join(named[True])} are read as true, {', '.join(named[False])} as false"
    ]


def _is_named_code(facts: Facts) -> bool:
    """Whether whole numbers are codes by the column's name, such as post codes."""
    whole = re.compile(r"\d+(\.0+)?")
    return bool(CODE_NAME.search(facts.original)) and all(map(whole.fullmatch, facts.strings))


def _as_code(facts: Facts, conventions: Conventions, requested: bool) -> Any:
    """Keep digits as categories; those that hardly repeat, as telephone numbers, are left out."""
    if len(facts.values) >= 0.95 * facts.present >= FEW_TEXTS:
        raise LeftOutError(f"it is a code, by its name, and hardly repeats ({facts.example})")
    settings, notes = _category(facts, conventions, True)
    if not _is_code(facts.texts):  # else the notes say so
        notes.insert(0, "digits are kept as a code, by the column's name")
    return settings, notes


def _as_number(facts: Facts, conventions: Conventions, requested: bool) -> Any:
    if facts.native in ("number", "whole"):
        if facts.native == "whole" and max(map(abs, facts.values)) > EXACT:
            return None
        notes = _infinite(facts) + _stand_ins(facts.values, facts.counts)
        return {"kind": NUMBER}, notes + _narrowed(facts.values) + _year_note(facts, requested)
    reading = None if facts.native else _reads(facts, conventions, requested)
    if not reading:
        return None
    marks, odd, notes = reading
    tokens = {x: bare(x) for x in facts.strings if x not in odd}
    if not requested and (_is_code(tokens) or _is_name(tokens)):
        return None
    signs = Counter(token.sign for token in tokens.values())
    if len(signs.keys() - {""}) > 1:  # dollars beside euros, or beside percent, are no one number
        return None
    sign = next(filter(None, signs), "")
    settings = {"kind": NUMBER, "decimal": marks[0], "thousands": marks[1], "sign": sign}
    settings["letters"] = any(token.letter for token in tokens.values())
    column = Column("", facts.original, missing=facts.missing, **settings)
    settings["fraction"], sign_notes = _percent(column, tokens, signs, conventions)
    column = replace(column, fraction=settings["fraction"])
    try:
        numbers = [None if x in odd else column.read_value(x) for x in facts.strings]
    except CellError:  # too large to be exact
        return None
    notes = [*notes, *sign_notes, *_odd_note(facts, odd), *_infinite(facts)]
    notes += _written_notes(column, tokens)
    return settings, notes + _stand_ins(numbers, facts.counts)


def _year_note(facts: Facts, requested: bool) -> list[str]:
    low, high = YEARS
    years = TIME_NAME.search(facts.original) and all(low <= x <= high for x in facts.values)
    return ["whole numbers are read as numbers, not as years"] if years and not requested else []


def _is_name(tokens: dict[str, Token]) -> bool:
    """Whether letters after few different numbers are no thousands, as in 4K and 8K."""
    return 0 < len(tokens) < FEW_LETTERS and any(token.letter for token in tokens.values())


def _percent(
    column: Column, tokens: dict[str, Token], signs: Counter, conventions: Conventions
) -> tuple[bool, list[str]]:
    """Decide whether 5% is 0.05, as where 0.05 stands beside it, and say what became of signs."""
    sign = column.sign
    if sign != "%" or not signs[""]:
        return sign == "%" and conventions.percent == "fraction", _sign_note(sign, signs)
    sizes: dict[bool, list[float]] = {True: [], False: []}
    for text, token in tokens.items():
        sizes[token.sign == "%"].append(abs(column.read_value(text) or 0))
    if conventions.percent:
        fraction = conventions.percent == "fraction"
    else:
        fraction = max(sizes[False]) <= 1 < max(sizes[True])
    if not fraction:
        return False, _sign_note(sign, signs)
    example = next(x for x, token in tokens.items() if token.sign)
    return True, [
        f"{example!r} is read as {replace(column, fraction=True).read_value(example):g}, for "
        "numbers up to 1 stand beside it without a sign; to read it as written: read_options "
        "percent=number"
    ]


def _written_notes(column: Column, tokens: dict[str, Token]) -> list[str]:
    """Say what is read of numbers that could be something else."""
    notes = _power_note(list(tokens))
    letter = next((x for x, token in tokens.items() if token.letter), "")
    below = next((x for x in tokens if is_below(x)), "")
    if letter:
        notes.append(f"{letter!r} is read as {column.read_value(letter):,.0f}")
    if below:
        notes.append(f"{below!r} is read as {column.read_value(below):g}")
    return notes


def _power_note(strings: list[str]) -> list[str]:
    """Say that codes such as 5E3 are numbers here; 1.5e-3 could be nothing else."""
    codes = [text for text in strings if POWER.fullmatch(text.strip())]
    if not codes:
        return []
    return [
        f"{codes[0]!r} is read as the number {float(codes[0]):g}; if it is a code, write it with "
        "another letter"
    ]


def _narrowed(numbers: Sequence) -> list[str]:
    """Say how many whole numbers fall together for models that read float32, as trees do."""
    import numpy as np

    known = np.array(numbers, dtype=np.float64)
    size = np.abs(known)
    large = np.unique(known[(size > NARROW) & (size <= EXACT) & (known == np.floor(known))])
    merged = len(large) - len(np.unique(large.astype(np.float32)))
    if not merged:
        return []
    return [
        f"{merged:,} of {len(large):,} different whole numbers above {NARROW:,} fall together with "
        "another one in trees, which read seven digits; write codes with a letter"
    ]


def _sign_note(sign: str, signs: Counter) -> list[str]:
    mixed = f", {signs['']:,} different values without it too" if signs[""] else ""
    if mixed and sign == "%":
        mixed += " (if those are fractions: read_options percent=fraction)"
    return [f"{sign} is taken off the numbers, which stay as written{mixed}"] if sign else []


def _odd_note(facts: Facts, odd: set[str]) -> list[str]:
    """Take the few words among numbers for words for missing, and say so."""
    if not odd:
        return []
    rows = sum(c for x, c in zip(facts.strings, facts.counts, strict=True) if x in odd)
    facts.missing = (*facts.missing, *sorted({x.casefold() for x in odd}))
    shown = ", ".join(map(repr, sorted(odd)[:ODD_WORDS])) + ", ..." * (len(odd) > ODD_WORDS)
    return [f"{shown} in {rows:,} rows: read as missing"]


def _infinite(facts: Facts) -> list[str]:
    """Say how many numbers are infinite."""
    import numpy as np

    if facts.native:
        endless = np.flatnonzero(np.isinf(np.asarray(facts.values, dtype=np.float64))).tolist()
    else:
        endless = [i for i, text in enumerate(facts.strings) if text.casefold() in INFINITE]
    rows = sum(facts.counts[i] for i in endless)
    return [f"infinite numbers in {rows:,} rows: read as missing"] if rows else []


def _reads(facts: Facts, conventions: Conventions, requested: bool = False) -> Any:
    """Return the marks that read all values (bar a few odd words), those words, and notes."""
    if requested:
        return _reads_most(facts, conventions)
    first = [bare(x).number for x in facts.strings[:FEW_VALUES] if re.search(r"\d", x)]
    if not fitting(first):  # most columns that are no numbers show it at once
        return None
    tokens = {x: bare(x).number for x in facts.strings if x.casefold() not in INFINITE}
    distinct = set(tokens.values())
    if not distinct:
        return None
    digits = [x for x in distinct if re.search(r"\d", x)]
    odd = set()
    if len(digits) < len(distinct):
        odd = {x for x, token in tokens.items() if not re.search(r"\d", token)}
        count = sum(c for x, c in zip(facts.strings, facts.counts, strict=True) if x in odd)
        if len(odd) > ODD_WORDS or count > ODD_SHARE * facts.present or len(digits) < FEW_TEXTS:
            return None
    candidates = fitting(digits)
    if not candidates:
        return None
    marks, notes = choose_marks(candidates, digits, conventions.decimal)
    return marks, odd, notes


def _reads_most(facts: Facts, conventions: Conventions) -> Any:
    """Return the marks that read most values, those that they do not read, and notes.

    None if they read fewer than `READABLE` of the rows.
    """
    tokens = {x: bare(x).number for x in facts.strings if x.casefold() not in INFINITE}
    unread = {
        marks: {x for x, token in tokens.items() if not number_pattern(*marks).fullmatch(token)}
        for marks in MARKS
    }
    fewest = min(map(len, unread.values()), default=0)
    candidates = [marks for marks in MARKS if len(unread[marks]) == fewest]
    odd = unread[candidates[0]]
    count = sum(c for x, c in zip(facts.strings, facts.counts, strict=True) if x in odd)
    if not tokens or count > READABLE * facts.present:
        return None
    digits = list({token for x, token in tokens.items() if x not in odd})
    marks, notes = choose_marks(candidates, digits, conventions.decimal)
    return marks, unread[marks], notes


class Decimals:
    """The decimal marks of a raw table, whose columns are each looked at once.

    Parameters
    ----------
    raw : DataFrame
    conventions : Conventions
        Its ``decimal``, where it has one, is that of every column.
    """

    def __init__(self, raw: "pd.DataFrame", conventions: Conventions):
        self.raw, self.conventions = raw, conventions
        self._shown: dict[Hashable, str] = {}

    def common(self, names: Iterable[Hashable]) -> str:
        """Return the mark that columns with one reading only show; "" if they show none.

        A column whose numbers can be read with either mark (1.234) follows the others.
        """
        if self.conventions.decimal:
            return self.conventions.decimal
        marks = {mark for name in names if (mark := self._of(name))}
        return marks.pop() if len(marks) == 1 else ""  # else each column decides for itself

    def _of(self, name: Hashable) -> str:
        if name not in self._shown:
            self._shown[name] = _shown_decimal(self.raw[name], self.conventions)
        return self._shown[name]


def _shown_decimal(values: "pd.Series", conventions: Conventions) -> str:
    """Return the only decimal mark by which a column's strings can be read, "" if none or both."""
    if not is_strings(values):
        return ""
    try:
        facts = Facts.of(_first_distinct(values), "", conventions)
    except LeftOutError:
        return ""
    tokens = [bare(x).number for x in facts.strings]
    marks = {x[0] for x in fitting(tokens)} if tokens else set()
    return marks.pop() if len(marks) == 1 else ""


def _first_distinct(values: "pd.Series", most: int = 5_000) -> "pd.Series":
    """Return the first different values; of columns that hardly repeat, few rows show them."""
    few = values.iloc[: 4 * most].drop_duplicates()
    return (few if len(few) >= most else values.drop_duplicates()).head(most)


def _is_code(texts: Collection[str]) -> bool:
    """Whether digits are a code, such as a post code: some begin with 0."""
    zeros = any(re.fullmatch(r"0\d+", x) for x in texts)
    return zeros and all(re.fullmatch(r"\d+", x) for x in texts)


def _stand_ins(numbers: Sequence, counts: list[int]) -> list[str]:
    """Name numbers far from the others that often stand for a missing one, such as -999."""
    import numpy as np

    suspect = np.isin(np.array(numbers, dtype=np.float64), list(STAND_INS))
    rows = {numbers[i]: counts[i] for i in np.flatnonzero(suspect).tolist() if counts[i] > 1}
    if not rows:
        return []
    notes = []
    for value, count in rows.items():
        others = [x for x in numbers if x is not None and x != value]
        if len(others) < 3:
            continue
        low, high = min(others), max(others)
        if (value < 0 <= low) or not low - 2 * (high - low) <= value <= high + 2 * (high - low):
            notes.append(f"{value:g} in {count:,} rows may stand for a missing value; it is kept")
    return notes


def _as_time(facts: Facts, conventions: Conventions, requested: bool, quiet: bool = False) -> Any:
    if facts.native == "boolean":
        return None
    if facts.native == "time":
        form = TimeFormat("iso", zone=conventions.zone)
        return {"kind": TIME, "time": form}, []
    named = requested or bool(TIME_NAME.search(facts.original))
    try:
        form, notes = decide(facts.values, conventions.order, conventions.zone)
    except TimeError as error:
        if requested and not quiet:
            raise KindError(str(error)) from error
        return None
    if form.layout in NUMERIC and not named:
        return None
    if form.layout == "year" and not requested and not DATE_NAME.search(facts.original):
        return None
    moments = form.parse_all(facts.values)
    if requested and not quiet:
        notes += _odd_note(facts, _odd_times(facts, moments))
    elif None in moments or (not named and _is_version(form, facts.strings)):
        return None
    import numpy as np

    known = [(x, n) for x, n in zip(moments, facts.counts, strict=True) if x is not None]
    codes = np.repeat(np.arange(len(known)), [n for _, n in known])
    times = series([x for x, _ in known], codes, None)
    return {"kind": TIME, "time": form}, notes + far_times(times)


def _odd_times(facts: Facts, moments: list[int | None]) -> set[str]:
    """Return values that are no times, where a column of times was asked for.

    Raises
    ------
    KindError
        If more than half of the rows are none.
    """
    odd = [at for at, moment in enumerate(moments) if moment is None]
    if sum(facts.counts[at] for at in odd) > READABLE * facts.present:
        shown = facts.strings[odd[0]][:30]
        raise KindError(f"it cannot be read as time, as kinds asks: {shown!r} is none")
    return {facts.strings[at] for at in odd}


def _is_version(form: TimeFormat, strings: list[str]) -> bool:
    """Whether values such as 3.9.18 are versions: with points, two digits of a year, no zeros."""
    short = re.compile(r"\d{1,2}\.\d{1,2}\.\d{2}")
    if form.layout != "numeric" or not all(map(short.fullmatch, strings)):
        return False
    parts = [x.split(".")[:2] for x in strings]
    return any(len(p) == 1 for x in parts for p in x) and len({x[0] for x in parts}) < 3


def _as_text(facts: Facts, conventions: Conventions, requested: bool) -> Any:
    if facts.native:
        return None
    rare = len(facts.values) > max(FEW_TEXTS, min(0.2 * facts.present, MANY_TEXTS))
    if not requested and (_mean_words(facts) < TEXT_WORDS or not rare):
        return None
    return {"kind": TEXT}, []


def _nearly_numbers(facts: Facts) -> list[str]:
    """Say what keeps a column from being one of numbers where most of its values are some."""
    if facts.native or not facts.values:
        return []
    others = [i for i, x in enumerate(facts.strings) if not fitting([bare(x).number])]
    if not others and any(bare(x).letter for x in facts.strings):
        return [f"values such as {facts.strings[0]!r} are names here, not thousands or millions"]
    return _nearly(facts, others, "numbers")


def _nearly_times(facts: Facts, conventions: Conventions) -> list[str]:
    """Say what keeps a column from being one of times where most of its values are some."""
    try:
        form, _ = decide(facts.values, conventions.order, conventions.zone)
    except TimeError:
        return []
    if facts.native or form.layout in NUMERIC:
        return []
    others = [i for i, x in enumerate(facts.values) if form.parse(x) is None]
    formed = [i for i in others if LAYOUTS[form.layout].fullmatch(facts.strings[i])]
    if (notes := _nearly(facts, others, "times")) or not formed or len(formed) < len(others):
        return notes
    rows = sum(facts.counts[i] for i in formed)
    return [
        f"{rows:,} of {facts.present:,} values are written as dates but name no day (such as "
        f"{facts.strings[formed[0]]!r}), so all are categories; correct those, or read them as "
        f"missing: read_options {kind_option(facts.original, TIME)}"
    ]


def _nearly(facts: Facts, others: list[int], what: str) -> list[str]:
    """Name the few different values, by their places, that are not `what` most others are."""
    rows = sum(facts.counts[i] for i in others)
    if not others or rows > 0.3 * facts.present or len(facts.values) - len(others) < 3:
        return []
    shown = ", ".join(repr(facts.strings[i]) for i in others[:3])
    return [
        f"{facts.present - rows:,} of {facts.present:,} values are {what}, but not {shown}, so all "
        "are categories; correct those, or read them as missing: read_options "
        + kind_option(facts.original, NUMBER if what == "numbers" else TIME)
    ]


def _choices(counts: Counter) -> list[str]:
    """Say that values such as 'Price, Quality' are several choices of one question."""
    for mark in ";,|":
        joined = [text for text in counts if mark in text]
        parts = {part.strip() for text in counts for part in text.split(mark)}
        words = sum(bool(re.search(r"[^\W\d_]", part)) for part in parts)
        few = 2 * len(joined) > len(counts) > len(parts)
        if len(joined) >= 3 and few and 2 * words > len(parts):
            return [
                f"values such as {joined[0][:40]!r} seem several choices at once, of "
                f"{len(parts):,}; each combination is a category, so make a column for each choice"
            ]
    return []


def _category(facts: Facts, conventions: Conventions, requested: bool) -> Any:
    """Keep the different values; those that differ in case and spaces only become one."""
    counts: Counter[str] = Counter()
    for text, count in zip(facts.texts, facts.counts, strict=True):
        counts[text] += count
    if len(counts) > MOST_FORMS:
        return {"kind": CATEGORY}, [f"it holds {len(counts):,} different values"]
    groups: dict[str, list[str]] = {}
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
    tails = [x for x in facts.values if isinstance(x, str) and plain(x) != " ".join(x.split())]
    if {plain(x) for x in tails} & set(facts.strings):
        notes.append(f"whole numbers with and without .0 are one value (such as {tails[0]!r})")
    elif tails:
        notes.append(f"whole numbers are written without .0 (such as {tails[0]!r})")
    notes += _nearly_numbers(facts) or _nearly_times(facts, conventions) or _choices(counts)
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


def identifier(name: str, taken: Iterable[str] = ()) -> str:
    """Return a column name of letters, digits and underscores that is not in `taken`."""
    base = re.sub(r"\W+", "_", name).strip("_") or "column"
    base = f"x_{base}" if base[0].isdigit() or base.lower() in RESERVED else base
    used, unique, count = {x.casefold() for x in taken}, base, 1
    while unique.casefold() in used:
        count += 1
        unique = f"{base}_{count}"
    return unique


def kind_option(original: str, kind: str) -> str:
    """Return what to give as `read_options` so that a column is of a kind."""
    option = f"kinds={original}:{kind}"
    return f'"{option}"' if re.search(r"\s", original) else option
