"""From rows to the matrix a model reads: TF-IDF of texts, standardised columns of tables."""

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from diptych.base.workspace import write_atomic

TOKEN = re.compile(r"[\w']+|[!?]")
GROUP = 4  # letters, with a space at a word's end, that say something without the whole word
CACHED, LONG = 1 << 14, 32  # words in the cache; a word of LONG letters or more is not cached


def terms(text: str) -> list[str]:
    """Return the words of a text, and its pairs of neighbouring words."""
    words = TOKEN.findall(text.lower())
    return words + [f"{word} {after}" for word, after in itertools.pairwise(words)]


def _cached(cut: Callable[[str], Sequence]) -> Callable[[str], Iterator]:
    """Return a function that applies `cut` to each word of a text.

    Texts repeat their words and cutting takes longest, so results are cached.
    """
    known = functools.lru_cache(CACHED)(cut)

    def words(text: str) -> Iterator:
        cuts = (known(word) if len(word) < LONG else cut(word) for word in text.lower().split())
        return itertools.chain.from_iterable(cuts)

    return words


def _cut(word: str) -> list[str]:
    """Return a word's character 2-5-grams, with a space at each end."""
    word = f" {word} "
    sizes = range(2, min(5, len(word)) + 1)
    return [word[at : at + n] for n in sizes for at in range(len(word) - n + 1)]


pieces = _cached(_cut)


def _finder(
    cut: Callable[[str], Iterable[str]], columns: dict[str, int], start: int = 0
) -> Callable[[str], list[int]]:
    """Return a function from a text to the columns of its terms, one for each occurrence."""
    return lambda text: [start + columns[term] for term in cut(text) if term in columns]


@runtime_checkable
class Encoder(Protocol):
    """What turns rows, texts or numbers, into the matrix that an estimator reads.

    Encoders of texts also have ``words``, the set of single words they know.
    """

    def fit_transform(self, rows):
        """Learn from the train rows and return their matrix, with one row each."""

    def transform(self, rows):
        """Return the matrix of other rows."""

    def save(self, folder: Path) -> None:
        """Write what was learnt, as files that hold no code."""

    @classmethod
    def load(cls, folder: Path) -> "Encoder":
        """Rebuild what `save` wrote."""


class TextFeatures:
    """TF-IDF of word 1-2-grams, and of character 2-5-grams inside words if `chars`.

    Characters carry word stems and misspellings, which helps linear models on small data;
    trees gain little from them and pay for every column.

    The values are scikit-learn's, bit for bit: its ``TfidfVectorizer`` fits, over words and over
    ``char_wb``. What is fitted is applied without it, as an endpoint does: its import takes longer
    than an endpoint's start, and its checks of one text longer than the work itself.
    """

    def __init__(self, chars: bool = False):
        self.chars = chars

    def fit_transform(self, texts: list[str]):
        """Learn the vocabulary and return the sparse matrix, shape (n, vocabulary)."""
        from scipy.sparse import hstack
        from sklearn.feature_extraction.text import TfidfVectorizer

        # min_df of 3 keeps the character vocabulary near 50,000 on 10,000 reviews
        kinds = [(terms, 2), (pieces, 3)] if self.chars else [(terms, 2)]
        options = {"sublinear_tf": True, "dtype": np.float32}
        parts = [TfidfVectorizer(analyzer=cut, min_df=least, **options) for cut, least in kinds]
        matrices = [part.fit_transform(texts) for part in parts]
        self._learnt([part.vocabulary_ for part in parts], [part.idf_ for part in parts])
        return matrices[0] if len(matrices) == 1 else hstack(matrices, format="csr")

    def _learnt(self, columns: list[dict[str, int]], idf: list) -> None:
        """Take the columns of each kind of term, and their inverse document frequencies."""
        self._columns = columns
        self._idf = [np.asarray(part, dtype=np.float32) for part in idf]
        self._scale = np.concatenate(self._idf)
        tells = [bool(re.search(r"\w", term)) for term in columns[0]]
        tells += [len(term) >= GROUP for part in columns[1:] for term in part]
        self._tells = np.array(tells, dtype=bool)
        words, *letters = columns
        self._find = [_finder(terms, words)]
        self._find += [_cached(_finder(_cut, part, len(words))) for part in letters]

    def transform(self, texts: list[str]):
        """Return the sparse matrix of `texts`, shape (n, vocabulary)."""
        from scipy.sparse import csr_matrix

        columns, ends = [], [0]
        for text in texts:
            for find in self._find:
                columns += find(text)
                ends.append(len(columns))
        # each kind's part of a text is a row of its own until it has length 1
        width, n = len(self._scale), len(self._find)
        counts = np.ones(len(columns), dtype=np.float32)
        cells = counts, np.asarray(columns, dtype=np.int32), ends
        parts = csr_matrix(cells, shape=(len(ends) - 1, width))
        parts.sum_duplicates()
        values = (np.log(parts.data) + 1) * self._scale[parts.indices]
        row = np.repeat(np.arange(len(ends) - 1), np.diff(parts.indptr))
        lengths = np.sqrt(np.bincount(row, weights=values * values))
        values = (values / lengths[row]).astype(np.float32)
        return csr_matrix((values, parts.indices, parts.indptr[::n]), shape=(len(texts), width))

    def has_basis(self, matrix) -> np.ndarray:
        """Return which rows of `transform` hold a known word, or part of one; shape (n,).

        Of characters, groups of `GROUP` count: shorter ones occur in any text.
        """
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        known = rows[self._tells[matrix.indices]]
        return np.bincount(known, minlength=matrix.shape[0]) > 0

    @property
    def names(self) -> list[str]:
        """What each column of the matrix holds: a word, a pair of words, or letters."""
        words, *letters = (sorted(part, key=part.get) for part in self._columns)
        return words + [f"letters {term!r}" for part in letters for term in part]

    @property
    def words(self) -> set[str]:
        """Single words the model knows."""
        return {term for term in self._columns[0] if " " not in term}

    def save(self, folder: Path) -> None:
        """Write terms in column order with their inverse document frequencies."""
        parts = [
            {
                "terms": sorted(columns, key=columns.get),
                # the shortest text that gives this float32 again
                "idf": [float(str(x)) for x in idf],
            }
            for columns, idf in zip(self._columns, self._idf, strict=True)
        ]
        content = {"chars": self.chars, "vectorizers": parts}
        write_atomic(folder / "features.json", json.dumps(content, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> "TextFeatures":
        """Rebuild what `save` wrote."""
        content = json.loads((folder / "features.json").read_text("utf-8"))
        features = cls(content["chars"])
        parts = content["vectorizers"]
        columns = [{term: i for i, term in enumerate(part["terms"])} for part in parts]
        features._learnt(columns, [part["idf"] for part in parts])
        return features


class TableFeatures:
    """Columns standardised to mean 0 and deviation 1; a missing value takes the mean."""

    def fit_transform(self, rows: np.ndarray) -> np.ndarray:
        """Learn means and deviations and return the standardised rows, shape (n, columns)."""
        rows = np.array(rows, dtype=np.float32)
        rows[:, np.isnan(rows).all(axis=0)] = 0  # a column without any value has no mean
        self.mean = np.nanmean(rows, axis=0, dtype=np.float64).astype(np.float32)
        deviation = np.nanstd(rows, axis=0, dtype=np.float64)
        self.deviation = np.where(deviation > 0, deviation, 1).astype(np.float32)
        return self.transform(rows)

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Return the standardised rows, shape (n, columns)."""
        rows = np.asarray(rows, dtype=np.float32)
        return np.nan_to_num((rows - self.mean) / self.deviation)

    def save(self, folder: Path) -> None:
        """Write means and deviations."""
        content = {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}
        write_atomic(folder / "features.json", json.dumps(content))

    @classmethod
    def load(cls, folder: Path) -> "TableFeatures":
        """Rebuild what `save` wrote."""
        content = json.loads((folder / "features.json").read_text("utf-8"))
        features = cls()
        features.mean = np.asarray(content["mean"], dtype=np.float32)
        features.deviation = np.asarray(content["deviation"], dtype=np.float32)
        return features
