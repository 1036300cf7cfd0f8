"""From rows to the matrix a model reads: TF-IDF of texts, standardised columns of tables."""

import json
from pathlib import Path

import numpy as np

from diptych.run.workspace import write_atomic


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
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, **options)
        self.chars = chars
        self.vectorizers = [words, letters] if chars else [words]

    def fit_transform(self, texts: list[str]):
        """Learn the vocabulary and return the sparse matrix, shape (n, vocabulary)."""
        return self._stack([vectorizer.fit_transform(texts) for vectorizer in self.vectorizers])

    def transform(self, texts: list[str]):
        """Return the sparse matrix of `texts`, shape (n, vocabulary)."""
        return self._stack([vectorizer.transform(texts) for vectorizer in self.vectorizers])

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
                "idf": [round(float(x), 6) for x in v.idf_],
            }
            for v in self.vectorizers
        ]
        content = {"chars": self.chars, "vectorizers": parts}
        write_atomic(folder / "features.json", json.dumps(content, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> "TextFeatures":
        """Rebuild what `save` wrote."""
        content = json.loads((folder / "features.json").read_text())
        features = cls(content["chars"])
        for vectorizer, part in zip(features.vectorizers, content["vectorizers"], strict=True):
            vectorizer.vocabulary = {term: i for i, term in enumerate(part["terms"])}
            vectorizer.idf_ = np.asarray(part["idf"], dtype=np.float32)
        return features


class TableFeatures:
    """Columns standardised to mean 0 and deviation 1; a missing value takes the mean."""

    def fit_transform(self, rows: np.ndarray) -> np.ndarray:
        """Learn means and deviations and return the standardised rows, shape (n, columns)."""
        rows = np.asarray(rows, dtype=np.float32)
        self.mean = np.nan_to_num(np.nanmean(rows, axis=0, dtype=np.float64)).astype(np.float32)
        deviation = np.nan_to_num(np.nanstd(rows, axis=0, dtype=np.float64))
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
        content = json.loads((folder / "features.json").read_text())
        features = cls()
        features.mean = np.asarray(content["mean"], dtype=np.float32)
        features.deviation = np.asarray(content["deviation"], dtype=np.float32)
        return features
