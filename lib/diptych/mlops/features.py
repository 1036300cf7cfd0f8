"""From rows to the matrix a model reads: TF-IDF of texts, standardised columns of tables."""

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from diptych.run.workspace import write_atomic

KEPT, LONG = 1 << 14, 32  # words whose pieces are kept, and letters of one that is not


def _kept(cut: Callable[[str], Sequence]) -> Callable[[str], Iterator]:
    """Return what cuts each word of a text: texts repeat their words, and cutting takes longest."""
    known = functools.lru_cache(KEPT)(cut)

    def words(text: str) -> Iterator:
        found = text.lower().split()
        cuts = (known(word) if len(word) < LONG else cut(word) for word in found)
        return itertools.chain.from_iterable(cuts)

    return words


@functools.cache
def _cutter() -> Callable[[str], Iterator[str]]:
    from sklearn.feature_extraction.text import CountVectorizer

    return _kept(CountVectorizer(analyzer="char_wb", ngram_range=(2, 5)).build_analyzer())


def pieces(text: str) -> Iterator[str]:
    """Return the character 2-5-grams inside the words of a text: scikit-learn's ``char_wb``."""
    return _cutter()(text)


def _columns(vectorizer, column_of: dict[str, int]) -> Callable[[str], Iterable[int]]:
    """Return what finds the columns of a text's terms, one for each time a term occurs."""
    analyze = vectorizer.build_analyzer()

    def find(text: str) -> list[int]:
        return [column_of[term] for term in analyze(text) if term in column_of]

    return _kept(find) if vectorizer.analyzer is pieces else find


class TextFeatures:
    """TF-IDF of word 1-2-grams, and of character 2-5-grams inside words if `chars`.

    Characters carry word stems and misspellings, which helps linear models on small data;
    trees gain little from them and pay for every column.
    """

    def __init__(self, chars: bool = False):
        from sklearn.feature_extraction.text import TfidfVectorizer

        options = {"sublinear_tf": True, "dtype": np.float32}
        words = TfidfVectorizer(
            ngram_range=(1, 2), min_df=2, token_pattern=r"[\w']+|[!?]", **options
        )
        # min_df of 3 keeps the character vocabulary near 50,000 on 10,000 reviews
        letters = TfidfVectorizer(analyzer=pieces, min_df=3, **options)
        self.chars = chars
        self.vectorizers = [words, letters] if chars else [words]
        self._terms = None

    def fit_transform(self, texts: list[str]):
        """Learn the vocabulary and return the sparse matrix, shape (n, vocabulary)."""
        self._terms = None
        return self._stack([vectorizer.fit_transform(texts) for vectorizer in self.vectorizers])

    def transform(self, texts: list[str]):
        """Return the sparse matrix of `texts`, shape (n, vocabulary).

        The values are those of the vectorizers' own ``transform``, whose checks of types and
        shapes cost several times the work itself when there is one text.
        """
        from scipy.sparse import csr_matrix
        from sklearn.utils.sparsefuncs_fast import inplace_csr_row_normalize_l2

        if self._terms is None:
            self._prepare()
        columns, ends = [], [0]
        for text in texts:
            for columns_of in self._terms:
                columns += columns_of(text)
                ends.append(len(columns))
        # each vectorizer's part of a text is a row of its own until it has length 1
        width, n = len(self._idf), len(self.vectorizers)
        found = np.ones(len(columns), dtype=np.float32), np.asarray(columns, dtype=np.int32), ends
        parts = csr_matrix(found, shape=(len(ends) - 1, width))
        parts.sum_duplicates()
        parts.data = (np.log(parts.data) + 1) * self._idf[parts.indices]
        inplace_csr_row_normalize_l2(parts)
        return csr_matrix((parts.data, parts.indices, parts.indptr[::n]), shape=(len(texts), width))

    def _prepare(self) -> None:
        """Look up once what `transform` needs of the vectorizers, their columns side by side."""
        self._terms, start = [], 0
        for vectorizer in self.vectorizers:
            columns = {term: start + at for term, at in vectorizer.vocabulary_.items()}
            self._terms.append(_columns(vectorizer, columns))
            start += len(columns)
        self._idf = np.concatenate([v.idf_.astype(np.float32) for v in self.vectorizers])

    @staticmethod
    def _stack(parts):
        from scipy.sparse import hstack

        return parts[0] if len(parts) == 1 else hstack(parts, format="csr")

    @property
    def words(self) -> set[str]:
        """Single words the model knows."""
        return {term for term in self.vectorizers[0].vocabulary_ if " " not in term}

    def save(self, folder: Path) -> None:
        """Write terms in column order with their inverse document frequencies."""
        parts = [
            {
                "terms": sorted(v.vocabulary_, key=v.vocabulary_.get),
                # the shortest text that gives this float32 again
                "idf": [float(str(x)) for x in v.idf_],
            }
            for v in self.vectorizers
        ]
        content = {"chars": self.chars, "vectorizers": parts}
        write_atomic(folder / "features.json", json.dumps(content, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> "TextFeatures":
        """Rebuild what `save` wrote."""
        content = json.loads((folder / "features.json").read_text("utf-8"))
        features = cls(content["chars"])
        for vectorizer, part in zip(features.vectorizers, content["vectorizers"], strict=True):
            vectorizer.vocabulary_ = {term: i for i, term in enumerate(part["terms"])}
            vectorizer.idf_ = np.asarray(part["idf"], dtype=np.float32)
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
