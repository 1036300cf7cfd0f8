"""What is counted once of a raw column, before its kind is decided."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from diptych.core.data.column import MISSING, factorize, plain, plain_numbers, stand_ins

if TYPE_CHECKING:
    import pandas as pd


FIRST = 1_000  # rows that show most columns to be no numbers


class LeftOutError(ValueError):
    """A column is of no use to a model; the message is the reason."""


class KindError(ValueError):
    """A column cannot be of the kind that the user asks for; the message is the reason."""


@dataclass(frozen=True)
class Conventions:
    """What a file shows, or the user settles, for all of its columns.

    What is left open is decided from a column's values.

    Attributes
    ----------
    decimal : str
        ``"."`` or ``","``; "" decides by the columns.
    thousands : str
        As a reader saw it: "", ",", ".", "'" or " " (any kind of space). "" where digits are not
        grouped, and where columns contradict each other, so that no number is read wrongly.
    missing : tuple of str
        Words for a missing value, in place of `MISSING`; the empty cell is always one.
    order : str
        ``"dmy"`` or ``"mdy"`` for dates such as 1/2/2023; "" decides by the column.
    zone : str
        Of times that name none.
    percent : str
        ``"fraction"`` reads 5% as 0.05, ``"number"`` as 5; "" decides by the column.
    kinds : dict of str to str
        The kind of a column by its name in the file, such as ``{"zip": "category"}``.
    labels : dict of str to str
        What a class is called, by its value in the file, such as ``{"1": "positive"}``.
    """

    decimal: str = ""
    missing: tuple[str, ...] = MISSING
    order: str = ""
    zone: str = "UTC"
    percent: str = ""
    kinds: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    thousands: str = ""


@dataclass
class Facts:
    """What is counted once of a raw column: its different values and how often each occurs."""

    original: str
    values: Sequence  # different ones, missing ones left out
    counts: list[int]
    rows: int
    words: Counter  # spelled-out words for missing
    missing: tuple[str, ...]
    native: str  # "number", "whole", "boolean", "time" or "" for strings and objects

    @classmethod
    def of(
        cls, values: "pd.Series", original: str, conventions: Conventions, numbers: bool = True
    ) -> "Facts":
        """Count the values of a column; strings of plain numbers as numbers unless told not to."""
        import numpy as np

        missing = tuple(dict.fromkeys(("", *(x.strip().casefold() for x in conventions.missing))))
        native, words = _native(values), Counter[str]()
        if numbers and is_strings(values) and conventions.decimal != ",":
            values, native, words = _numbers_of(values, missing)
        codes, distinct = factorize(values)
        counts = np.bincount(codes[codes >= 0], minlength=len(distinct)).tolist()
        if native in ("number", "whole") and (absent := stand_ins(missing)):
            words.update(
                {f"{x:g}": n for x, n in zip(distinct, counts, strict=True) if x in absent}
            )
            known = [(x, n) for x, n in zip(distinct, counts, strict=True) if x not in absent]
            distinct, counts = [x for x, _ in known], [n for _, n in known]
        if native:
            return cls(original, distinct, counts, len(values), words, missing, native)
        known, tally = [], []
        for value, count in zip(distinct, counts, strict=True):
            if isinstance(value, list | dict | set | tuple | np.ndarray):
                raise LeftOutError(
                    f"it holds lists or objects ({str(value)[:40]}); give each part a column"
                )
            if isinstance(value, str) and value.strip().casefold() in missing:
                words[value.strip()] += count
                continue
            known.append(value)
            tally.append(count)
        return cls(original, known, tally, len(values), words, missing, "")

    @cached_property
    def strings(self) -> list[str]:
        """The different values as they are written."""
        return [str(value).strip() for value in self.values]

    @cached_property
    def texts(self) -> list[str]:
        """The different values as a category knows them."""
        return [plain(value) for value in self.values]

    @cached_property
    def present(self) -> int:
        """Rows with a value."""
        return sum(self.counts)

    @property
    def example(self) -> str:
        """One value, quoted."""
        return f"such as {str(self.values[0])[:30]!r}" if len(self.values) else "no value"

    def notes(self) -> list[str]:
        """Say which words were read as missing."""
        words = [f"{word!r} ({count:,})" for word, count in self.words.most_common(4) if word]
        hint = "if one of these is a value, set read_options to missing=''"
        return [f"read as missing: {', '.join(words)}; {hint}"] if words else []


def is_strings(values: "pd.Series") -> bool:
    """Whether a raw column holds strings, as all of a CSV do."""
    import pandas as pd

    return isinstance(values.dtype, pd.StringDtype)


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


def _may_be_numbers(first: "pd.Series", missing: tuple[str, ...]) -> bool:
    """Whether the first rows hold only plain numbers and words for missing."""
    _, rest = plain_numbers(first)
    return _are_all(_words(first, rest), missing)


def _words(values: "pd.Series", rest: Any) -> "pd.Series | None":
    """Return what is there beside numbers; None, at once, where nothing is."""
    return values[rest].dropna().str.strip() if rest.any() else None


def _are_all(words: "pd.Series | None", missing: tuple[str, ...]) -> bool:
    return words is None or bool(words.str.casefold().isin(missing).all())


def _with_zeros(strings: Any) -> Any:
    """Return the strings that may begin with a zero: a pattern over all of them takes long."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # spaces and signs come before 0 in the order of characters, and letters after it
    first = pc.binary_slice(strings.cast(pa.binary()), 0, 1)
    return strings.filter(pc.less_equal(first, pa.scalar(b"0")))


def _numbers_of(values: "pd.Series", missing: tuple[str, ...]) -> Any:
    """Return strings that are plain numbers or words for missing as numbers, others as they are.

    A shortcut for large columns; also returns the native type ("" for strings) and the words.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _may_be_numbers(values.iloc[:FIRST], missing):
        return values, "", Counter()
    numbers, rest = plain_numbers(values)
    words = _words(values, rest)
    if numbers.isna().all() or not _are_all(words, missing):
        return values, "", Counter()
    strings = pa.array(values, pa.string(), from_pandas=True)
    if pc.any(pc.match_substring_regex(_with_zeros(strings), r"^\s*[+-]?0[0-9]")).as_py():
        return values, "", Counter()  # leading zeros: a code
    known = numbers.dropna()
    whole = np.array_equal(known, known.round())
    whole = whole and not pc.any(pc.match_substring(strings.filter(pa.array(~rest)), ".")).as_py()
    if whole:
        numbers = numbers.astype("Int64")
    return numbers, "whole" if whole else "number", Counter(() if words is None else words)
