"""From typed columns to the matrix a model reads, the same in training and in service.

Every column is encoded by its kind. What is fitted is plain JSON and applied with numpy alone, so
that an endpoint starts without pandas or scikit-learn. Linear models get standardised values, an
indicator of what is missing and cyclic pairs of times; trees get numbers as they are, with NaN.

`benchmarks/tables.py` compares with skrub's ``TableVectorizer`` (figures in
``benchmarks/RESULTS.md``): no area under the ROC curve is more than 0.01 below, and skrub would
add two seconds to an import and a pickle to a model's folder.

For trees a category is one-hot columns below `MANY_ROWS` train rows and one column of codes from
there on, which XGBoost splits itself: in few rows that gains nothing that repeats
(``benchmarks/tables.py``), in many it is several times faster and finds groups of values, which
one-hot columns take many splits to make (``benchmarks/large_table.py``). The codes are stored with
the model; a value that no train row has gets the code of rare ones, in training as in service.
"""

import functools
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.base.workspace import write_atomic
from diptych.core.data.column import BOOLEAN, CATEGORY, NUMBER, TEXT, TIME, Column

MOST_LEVELS = 40  # of a category that becomes one column a level
FEWEST = 2  # rows of a level that has a column of its own; rarer ones share one
MANY_ROWS = 50_000  # train rows from which trees read categories as codes
MOST_CODES, FEWEST_CODED = 250, 20  # levels with a code of their own, and the rows of each
COVERED = 0.99  # share of the values that have a code; of fewer, letters are read too
DIMENSIONS = 30  # of texts and of categories with many levels
GRAMS = (2, 3, 4)  # characters
MOST_GRAMS = 3_000  # the most frequent ones, a bound on the size of a model's folder
MOST_FITTED = 20_000  # different texts that the dimensions are learnt from
DAY_US = 86_400_000_000
YEAR_DAYS = 365.2425
# of a time: its share of the period, then the period's name
CYCLES = ("year", "week", "day")


class Encoded(np.ndarray):
    """A matrix some of whose columns are codes of categories.

    Attributes
    ----------
    types : list of str
        ``"c"`` for a column of codes, ``"q"`` for one of numbers, as XGBoost has them.
    """

    types: list[str]


def coded(matrix) -> dict:
    """Return what XGBoost is told of columns that hold codes of categories."""
    types = getattr(matrix, "types", None)
    return {"feature_types": types, "enable_categorical": True} if types else {}


@dataclass(frozen=True)
class Words:
    """A column of categories or texts.

    Attributes
    ----------
    codes : ndarray of int, shape (n,)
        The place of each row's value in `values`, -1 for a missing one.
    values : list of str
        Rows of a request are listed one by one, so values may repeat.
    """

    codes: np.ndarray
    values: list[str]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def counts(self) -> Counter:
        """How many rows have each value."""
        counts = Counter()
        rows = np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))
        for value, count in zip(self.values, rows.tolist(), strict=True):
            if count:
                counts[value] += count
        return counts

    @property
    def gaps(self) -> bool:
        """Whether a row has no value."""
        return bool((self.codes < 0).any())


class ColumnFeatures:
    """Encodes rows of typed values (see `diptych.core.data.column.Column.read_value`).

    Parameters
    ----------
    columns : sequence of Column
        In the order of a row's values.
    linear : bool
        Whether a linear model reads the matrix, or trees.
    """

    def __init__(self, columns: Sequence[Column], linear: bool = False):
        self.columns, self.linear = list(columns), linear
        self.encoders: list = []

    def fit_transform(self, rows) -> np.ndarray:
        """Learn from rows and return their matrix, as `transform` does."""
        by_column = self._by_column(rows)
        self.encoders = [
            ENCODERS[column.kind](self.linear).fit(values)
            for column, values in zip(self.columns, by_column, strict=True)
        ]
        return self._matrix(by_column)

    def transform(self, rows) -> np.ndarray:
        """Return the matrix of rows.

        Parameters
        ----------
        rows : DataFrame, or list of lists
            Typed columns as `Column.read_series` returns them, or values as `Column.read_value`
            does, in the order of `columns`. Shape (n, columns).

        Returns
        -------
        ndarray of float32, shape (n, len(names))
        """
        return self._matrix(self._by_column(rows))

    @property
    def names(self) -> list[str]:
        """What each column of the matrix holds, such as ``plan=yearly`` or ``age``."""
        return [
            f"{column.name}{suffix}"
            for column, encoder in zip(self.columns, self.encoders, strict=True)
            for suffix in encoder.suffixes()
        ]

    @property
    def sources(self) -> list[str]:
        """The table's column behind each column of the matrix."""
        return [
            column.name
            for column, encoder in zip(self.columns, self.encoders, strict=True)
            for _ in encoder.suffixes()
        ]

    def words(self, name: str) -> set[str]:
        """Return the words of a text column that are known, in lower case."""
        names = [column.name for column in self.columns]
        return {term.strip() for term in self.encoders[names.index(name)].terms if _is_word(term)}

    def _by_column(self, rows) -> list:
        if hasattr(rows, "columns"):
            return [_values(rows[column.name], column.kind) for column in self.columns]
        values = list(zip(*rows, strict=True)) or [()] * len(self.columns)
        return [_array(x, column.kind) for x, column in zip(values, self.columns, strict=True)]

    def _matrix(self, by_column: list) -> np.ndarray:
        rows = len(by_column[0]) if by_column else 0
        widths = [len(encoder.suffixes()) for encoder in self.encoders]
        matrix = np.empty((rows, sum(widths)), dtype=np.float32)
        at = 0
        for encoder, values, width in zip(self.encoders, by_column, widths, strict=True):
            encoder.write(values, matrix[:, at : at + width])
            at += width
        coded = [encoder for encoder in self.encoders if getattr(encoder, "coded", False)]
        if coded:
            matrix = matrix.view(Encoded)
            matrix.types = self.types
        return matrix

    @property
    def types(self) -> list[str]:
        """``"c"`` for each column of the matrix that holds codes, ``"q"`` for the others."""
        return [
            "c" if getattr(encoder, "coded", False) and not suffix else "q"
            for encoder in self.encoders
            for suffix in encoder.suffixes()
        ]

    def save(self, folder: Path) -> None:
        """Write columns and what was learnt of each."""
        content = {
            "linear": self.linear,
            "columns": [column.to_dict() for column in self.columns],
            "encoders": [encoder.to_dict() for encoder in self.encoders],
        }
        write_atomic(folder / "features.json", json.dumps(content, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> "ColumnFeatures":
        """Rebuild what `save` wrote."""
        content = json.loads((folder / "features.json").read_text("utf-8"))
        columns = [Column.from_dict(column) for column in content["columns"]]
        features = cls(columns, content["linear"])
        features.encoders = [
            ENCODERS[column.kind](features.linear).from_dict(learnt)
            for column, learnt in zip(columns, content["encoders"], strict=True)
        ]
        return features


def _values(values, kind: str):
    """Return a typed pandas column as what the encoders read; no import of pandas is needed."""
    if kind == TIME:
        missing = values.isna().to_numpy()
        moments = values.dt.tz_convert(None).dt.as_unit("us").to_numpy().view(np.int64)
        return np.where(missing, np.nan, moments.astype(np.float64))
    if kind in (NUMBER, BOOLEAN):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    codes, distinct = values.factorize()
    return Words(codes, distinct.tolist())


def _array(values: Sequence, kind: str):
    """Return one column of plain values as what the encoders read."""
    if kind in (CATEGORY, TEXT):
        codes = [-1 if x is None else place for place, x in enumerate(values)]
        return Words(np.array(codes, dtype=np.int64), list(values))
    return np.array([math.nan if x is None else x for x in values], dtype=np.float64)


class NumberEncoder:
    """A number: as it is for trees; standardised, with an indicator if it had gaps, if linear.

    A missing number takes the mean; an infinite one is missing (`Column` reads it so).
    """

    def __init__(self, linear: bool):
        self.linear = linear

    def fit(self, values: np.ndarray) -> "NumberEncoder":
        """Learn mean and deviation."""
        known = values[~np.isnan(values)]
        # numbers near the largest would overflow when squared
        scale = float(np.abs(known).max()) if known.size else 1.0
        scale = scale if scale > 1e100 else 1.0
        self.mean = float((known / scale).mean() * scale) if known.size else 0.0
        self.deviation = float((known / scale).std() * scale) if known.size else 1.0
        self.deviation = self.deviation if self.deviation > 0 else 1.0
        self.gaps = bool(known.size < values.size)
        return self

    def suffixes(self) -> list[str]:
        """Name the columns of the matrix."""
        return ["", " is missing"] if self.linear and self.gaps else [""]

    def write(self, values: np.ndarray, out: np.ndarray) -> None:
        """Fill columns of the matrix."""
        if not self.linear:
            with np.errstate(over="ignore"):
                narrow = values.astype(np.float32)
            largest = np.finfo(np.float32).max  # XGBoost takes no infinite number
            out[:, 0] = np.clip(narrow, -largest, largest)
            return
        missing = np.isnan(values)
        out[:, 0] = np.where(missing, 0, (values - self.mean) / self.deviation)
        if self.gaps:
            out[:, 1] = missing

    def to_dict(self) -> dict:
        """Return what JSON can hold."""
        return {"mean": self.mean, "deviation": self.deviation, "gaps": self.gaps}

    def from_dict(self, content: dict) -> "NumberEncoder":
        """Rebuild what `to_dict` returned."""
        self.mean, self.deviation = content["mean"], content["deviation"]
        self.gaps = content["gaps"]
        return self


class CategoryEncoder:
    """A category: a column a level, one for rare and unseen values, one for missing ones.

    Above `MOST_LEVELS`, values are read by their letters, as texts are, with the frequent ones
    still a column each: unseen values then lie near those they resemble. For trees over
    `MANY_ROWS` all of these columns are one of codes, and letters are read only where more values
    are rare than `COVERED` leaves.
    """

    def __init__(self, linear: bool):
        self.linear, self.letters, self.coded = linear, None, False

    def fit(self, words: Words) -> "CategoryEncoder":
        """Learn the levels."""
        counts, self.gaps = words.counts, words.gaps
        self.coded = not self.linear and len(words.codes) >= MANY_ROWS
        most, fewest = (MOST_CODES, FEWEST_CODED) if self.coded else (MOST_LEVELS, FEWEST)
        often = [level for level, count in counts.items() if count >= fewest]
        often.sort(key=lambda level: (-counts[level], level))
        often = often[:most]
        covered = sum(counts[level] for level in often) >= COVERED * counts.total()
        if len(counts) > MOST_LEVELS and not (self.coded and covered):
            self.letters = LettersEncoder(self.linear).fit(words)
        self._learnt(often)
        return self

    def _learnt(self, levels: list[str]) -> None:
        self.levels = levels
        self._places = {level: place for place, level in enumerate(levels)}

    def suffixes(self) -> list[str]:
        """Name the columns of the matrix."""
        letters = self.letters.suffixes() if self.letters else []
        if self.coded:
            return ["", *letters]
        names = [f"={level}" for level in self.levels] + [" is rare or unseen"]
        names += [" is missing"] if self.gaps else []
        return names + letters

    def write(self, words: Words, out: np.ndarray) -> None:
        """Fill columns of the matrix."""
        unseen = len(self.levels)
        missing = unseen + 1 if self.gaps else unseen
        places = [self._places.get(value, unseen) for value in words.values]
        places = np.array([*places, missing])[words.codes]
        width = 1 if self.coded else missing + 1
        if self.coded:
            out[:, 0] = places
        else:
            out[:, :width] = 0
            out[np.arange(len(places)), places] = 1
        if self.letters:
            self.letters.write(words, out[:, width:])

    def to_dict(self) -> dict:
        """Return what JSON can hold."""
        letters = self.letters and self.letters.to_dict()
        content = {"levels": self.levels, "gaps": self.gaps, "letters": letters}
        return content | ({"coded": True} if self.coded else {})

    def from_dict(self, content: dict) -> "CategoryEncoder":
        """Rebuild what `to_dict` returned."""
        self.gaps, self.coded = content["gaps"], content.get("coded", False)
        if content["letters"]:
            self.letters = LettersEncoder(self.linear).from_dict(content["letters"])
        self._learnt(content["levels"])
        return self


class LettersEncoder:
    """A text: TF-IDF of words and of their character 2-4-grams, reduced by truncated SVD.

    This is latent semantic analysis (Deerwester et al. 1990, "Indexing by latent semantic
    analysis"), of at most `DIMENSIONS` dimensions. A missing text is all zeros.
    """

    def __init__(self, linear: bool):
        self.linear = linear

    def fit(self, words: Words) -> "LettersEncoder":
        """Learn terms, their inverse document frequencies, and the dimensions."""
        distinct = sorted({words.values[code] for code in np.unique(words.codes) if code >= 0})
        distinct = distinct[:: -(-len(distinct) // MOST_FITTED) or 1]
        counts = Counter(term for text in distinct for term in set(_terms(text)))
        frequent = [(term, count) for term, count in counts.items() if count >= FEWEST]
        frequent.sort(key=lambda pair: (-pair[1], pair[0]))
        frequent = frequent[:MOST_GRAMS]
        idf = [math.log((1 + len(distinct)) / (1 + count)) + 1 for _, count in frequent]
        self._learnt([term for term, _ in frequent], np.array(idf, np.float32), None)
        rank = min(DIMENSIONS, len(frequent) - 1, len(distinct) - 1)
        if rank > 0:
            self.projection = self._reduce(distinct, rank)
        return self

    def _reduce(self, texts: list[str], rank: int) -> np.ndarray:
        """Return the projection, shape (terms, rank), scaled so that trees see values near 1."""
        from scipy.sparse import csr_matrix

        rows = [self._weights(text) for text in texts]
        starts = np.cumsum([0, *(len(places) for places, _ in rows)])
        places = np.concatenate([x for x, _ in rows])
        weights = np.concatenate([x for _, x in rows]).astype(np.float64)
        matrix = csr_matrix((weights, places, starts), shape=(len(texts), len(self.terms)))
        sizes, right = _truncated_svd(matrix, rank)
        signs = np.sign(right[np.arange(rank), np.abs(right).argmax(axis=1)])
        scale = math.sqrt(len(texts)) / max(float(sizes.max()), 1e-9)
        return np.ascontiguousarray((right * signs[:, None]).T * scale, dtype=np.float32)

    def _learnt(self, terms: list[str], idf: np.ndarray, projection: np.ndarray | None) -> None:
        self.terms, self.idf = terms, idf
        self.projection = (
            np.zeros((len(terms), 0), np.float32) if projection is None else projection
        )
        self._places = {term: place for place, term in enumerate(terms)}

    def _weights(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a text's terms (places) and their TF-IDF, of length 1 together."""
        counts = Counter(self._places[x] for x in _terms(text) if x in self._places)
        places = np.fromiter(counts, np.int64, len(counts))
        weights = np.fromiter(counts.values(), np.float32, len(counts)) * self.idf[places]
        size = float(np.sqrt((weights * weights).sum()))
        return places, weights / size if size else weights

    def suffixes(self) -> list[str]:
        """Name the columns of the matrix."""
        return [f" letters {i + 1}" for i in range(self.projection.shape[1])]

    def write(self, words: Words, out: np.ndarray) -> None:
        """Fill columns of the matrix."""
        if not out.shape[1]:
            return
        rows = np.zeros((len(words.values) + 1, out.shape[1]), np.float32)  # a gap is the last
        for place, text in enumerate(words.values):
            if text is not None:
                places, weights = self._weights(text)
                rows[place] = weights @ self.projection[places]
        out[:] = rows[words.codes]

    def to_dict(self) -> dict:
        """Return what JSON can hold."""
        projection = [[float(str(x)) for x in row] for row in self.projection]
        return {
            "terms": self.terms,
            "idf": [float(str(x)) for x in self.idf],  # the shortest text of this float32
            "projection": projection,
        }

    def from_dict(self, content: dict) -> "LettersEncoder":
        """Rebuild what `to_dict` returned."""
        terms = content["terms"]
        projection = np.array(content["projection"], np.float32)
        projection = projection.reshape(len(terms), -1 if len(terms) else 0)
        self._learnt(terms, np.array(content["idf"], np.float32), projection)
        return self


class TimeEncoder:
    """A time: how long since 1970, and where in the year, the week and the day it lies.

    Trees get month, day, weekday and hour as numbers; linear models get sine and cosine of each
    cycle. A part that never changes is left out.
    """

    def __init__(self, linear: bool):
        self.linear = linear

    def fit(self, moments: np.ndarray) -> "TimeEncoder":
        """Learn mean and deviation in days, and which parts change."""
        days = moments / DAY_US
        self.days = NumberEncoder(self.linear).fit(days)
        parts = _parts(moments[~np.isnan(moments)])
        self.parts = [name for name, x in parts.items() if x.size and x.min() < x.max()]
        return self

    def suffixes(self) -> list[str]:
        """Name the columns of the matrix."""
        names = [f" in days{suffix}" for suffix in self.days.suffixes()]
        ways = ("sine", "cosine") if self.linear else ("",)
        return names + [f" {part} {way}".rstrip() for part in self._cycles() for way in ways]

    def _cycles(self) -> list[str]:
        if not self.linear:
            return self.parts
        cycles = {"year": "month", "week": "weekday", "day": "hour"}
        return [name for name in CYCLES if cycles[name] in self.parts]

    def write(self, moments: np.ndarray, out: np.ndarray) -> None:
        """Fill columns of the matrix."""
        width = len(self.days.suffixes())
        self.days.write(moments / DAY_US, out[:, :width])
        missing = np.isnan(moments)
        known = np.where(missing, 0, moments)
        if not self.linear:
            parts = _parts(known)
            for at, name in enumerate(self.parts, width):
                out[:, at] = np.where(missing, np.nan, parts[name])
            return
        days = known / DAY_US
        shares = {"year": days / YEAR_DAYS, "week": days / 7, "day": days}
        for at, name in enumerate(self._cycles()):
            angle = 2 * np.pi * (shares[name] % 1)
            out[:, width + 2 * at] = np.where(missing, 0, np.sin(angle))
            out[:, width + 2 * at + 1] = np.where(missing, 0, np.cos(angle))

    def to_dict(self) -> dict:
        """Return what JSON can hold."""
        return {"days": self.days.to_dict(), "parts": self.parts}

    def from_dict(self, content: dict) -> "TimeEncoder":
        """Rebuild what `to_dict` returned."""
        self.days = NumberEncoder(self.linear).from_dict(content["days"])
        self.parts = content["parts"]
        return self


def _parts(moments: np.ndarray) -> dict[str, np.ndarray]:
    """Return parts of the calendar (UTC) of moments in microseconds."""
    times = moments.astype(np.int64).view("M8[us]")
    months, days = times.astype("M8[M]"), times.astype("M8[D]")
    return {
        "month": months.astype(np.int64) % 12 + 1,
        "day": (days - months.astype("M8[D]")).astype(np.int64) + 1,
        "weekday": (days.astype(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday; Monday is 0
        "hour": (times - days).astype(np.int64) / (DAY_US / 24),
    }


def _truncated_svd(matrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest singular values and their right vectors, shape (rank, columns).

    By random projection with power iterations (Halko, Martinsson and Tropp 2011, "Finding
    structure with randomness"), algorithm 4.4; the same matrix gives the same bytes, which
    ARPACK's restarts do not.
    """
    random = np.random.default_rng(0).standard_normal((matrix.shape[1], rank + 10))
    basis, _ = np.linalg.qr(matrix @ random)
    for _ in range(4):
        basis, _ = np.linalg.qr(matrix.T @ basis)
        basis, _ = np.linalg.qr(matrix @ basis)
    _, sizes, right = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    return sizes[:rank], right[:rank]


def _terms(text: str) -> list[str]:
    """Return a text's words and their character n-grams, a space at each end."""
    return [term for word in text.casefold().split() for term in _grams(word[:64])]


def _is_word(term: str) -> bool:
    return term[:1] == " " == term[-1:]


@functools.lru_cache(1 << 14)
def _grams(word: str) -> tuple[str, ...]:
    padded = f" {word} "
    grams = [padded[at : at + n] for n in GRAMS for at in range(len(padded) - n + 1)]
    return (padded, *(gram for gram in grams if gram != padded))


ENCODERS = {
    NUMBER: NumberEncoder,
    BOOLEAN: NumberEncoder,
    CATEGORY: CategoryEncoder,
    TEXT: LettersEncoder,
    TIME: TimeEncoder,
}
