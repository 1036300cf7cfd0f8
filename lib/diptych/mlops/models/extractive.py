"""Extractive summaries: a text's sentences are ranked, and the first of them is the summary.

To the rest of `mlops` this is a classifier: a class is the place of a sentence, from 1.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.base.workspace import write_atomic
from diptych.core.evaluation.text_metrics import sentences
from diptych.mlops.models.estimators import Logistic
from diptych.mlops.models.features import TextFeatures


@dataclass(frozen=True)
class Sentences:
    """The sentences of n texts, one below the other.

    Attributes
    ----------
    matrix : sparse matrix, shape (sentences, features)
    counts : ndarray of int, shape (n,)
        Sentences of each text.
    """

    matrix: object
    counts: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """As of a matrix with a row a text."""
        return len(self.counts), self.matrix.shape[1]

    @property
    def places(self) -> np.ndarray:
        """Place of each sentence in its text, from 0."""
        starts = np.repeat(np.cumsum(self.counts) - self.counts, self.counts)
        return np.arange(self.counts.sum()) - starts


class SentenceFeatures:
    """A sentence's words, its place and length, and how like the rest of the text it is.

    Place, length and likeness to the whole are what extractive summaries have always been ranked
    by: H. P. Edmundson, "New methods in automatic extracting" (1969); D. Radev et al.,
    "Centroid-based summarization of multiple documents" (2004).
    """

    def __init__(self):
        self.text = TextFeatures()

    def fit_transform(self, texts: Sequence[str]) -> Sentences:
        """Learn the vocabulary of the sentences and return their features."""
        self.text.fit_transform([one for text in texts for one in sentences(text)])
        return self.transform(texts)

    def transform(self, texts: Sequence[str]) -> Sentences:
        """Return the features of every sentence of the texts."""
        from scipy.sparse import csr_matrix, hstack

        split = [sentences(text) for text in texts]
        counts = np.array([len(parts) for parts in split])
        flat = [one for parts in split for one in parts]
        matrix = self.text.transform(flat)
        of = np.repeat(np.arange(len(counts)), counts)
        member = csr_matrix((np.ones(len(of), np.float32), (of, np.arange(len(of)))))
        centroid = (member @ matrix).multiply(1 / counts[:, None]).tocsr()
        likeness = np.asarray(matrix.multiply(centroid[of]).sum(axis=1)).ravel()
        place = Sentences(matrix, counts).places
        length = np.array([len(one.split()) for one in flat]) / 10
        last = place == counts[of] - 1
        extra = np.column_stack([place == 0, last, place / counts[of], length, likeness])
        return Sentences(
            hstack([matrix, csr_matrix(extra.astype(np.float32))], format="csr"), counts
        )

    @property
    def words(self) -> set[str]:
        """Single words the model knows."""
        return self.text.words

    def save(self, folder: Path) -> None:
        """Write the vocabulary."""
        self.text.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "SentenceFeatures":
        """Rebuild what `save` wrote."""
        features = cls()
        features.text = TextFeatures.load(folder)
        return features


class Lead:
    """The baseline: the first sentence."""

    def __init__(self, seed: int = 0):
        self.classes = 0

    def fit(self, matrix: Sentences, codes: np.ndarray, classes: int) -> None:
        """Note the number of places."""
        self.classes = classes

    def predict_proba(self, matrix: Sentences) -> np.ndarray:
        """Return 1 for the first place, shape (n, classes)."""
        return np.tile(np.eye(1, self.classes), (matrix.shape[0], 1))

    def save(self, folder: Path) -> None:
        """Write the number of places."""
        write_atomic(folder / "lead.json", json.dumps({"classes": self.classes}))

    @classmethod
    def load(cls, folder: Path) -> "Lead":
        """Rebuild what `save` wrote."""
        estimator = cls()
        estimator.classes = json.loads((folder / "lead.json").read_text("utf-8"))["classes"]
        return estimator


class Ranker:
    """Logistic regression over sentences: the one most likely to be a text's summary is chosen.

    Sentences beyond the last place seen in training are never chosen.
    """

    def __init__(self, strength: float = 1.0, seed: int = 0):
        self.classes, self.model = 0, Logistic(strength, seed)

    def fit(self, matrix: Sentences, codes: np.ndarray, classes: int) -> None:
        """Fit on every sentence: the one at its text's place in `codes` is the summary."""
        self.classes = classes
        worth = matrix.places == np.repeat(codes, matrix.counts)
        self.model.fit(matrix.matrix, worth.astype(int), 2)

    def predict_proba(self, matrix: Sentences) -> np.ndarray:
        """Return the share of each place, shape (n, classes)."""
        place, of = matrix.places, np.repeat(np.arange(matrix.shape[0]), matrix.counts)
        seen = place < self.classes
        worth = self.model.predict_proba(matrix.matrix)[:, 1]
        odds = np.zeros((matrix.shape[0], self.classes))
        odds[of[seen], place[seen]] = (worth / (1 - worth).clip(1e-12))[seen]
        return odds / odds.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write weights, bias and the number of places."""
        self.model.save(folder)
        write_atomic(folder / "ranker.json", json.dumps({"classes": self.classes}))

    @classmethod
    def load(cls, folder: Path) -> "Ranker":
        """Rebuild what `save` wrote."""
        estimator = cls()
        estimator.model = Logistic.load(folder)
        estimator.classes = json.loads((folder / "ranker.json").read_text("utf-8"))["classes"]
        return estimator


def sentences_at(texts: Sequence[str], places: Sequence[str]) -> list[str]:
    """Return the sentence at each text's place, its last where the text is shorter."""
    split = [sentences(text) for text in texts]
    return [
        parts[min(int(place), len(parts)) - 1] for parts, place in zip(split, places, strict=True)
    ]
