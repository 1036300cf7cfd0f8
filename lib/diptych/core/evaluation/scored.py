"""Rows with their truth and with what a model said of them, as metrics take them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

MOST_KNOWN = 0.9  # share of answers whose probabilities must be known, else there are none


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Labelled rows and one model's predictions of them, row by row.

    Attributes
    ----------
    truth : ndarray, shape (n,)
        Labels (str), numbers of a regression, or the ids of rows that were graded.
    predicted : ndarray, shape (n,)
        Labels, None where there was no answer; or numbers, NaN where there was none.
    probabilities : ndarray of float, shape (n, len(classes)), optional
    classes : tuple of str
        In the order of the probabilities; () of a regression.
    positive : str
        The class that binary metrics look for; "" where no class is special.
    grades : ndarray of float, shape (n,), optional
        How good each answer is, from 0 to 1, where answers are graded.
    """

    truth: np.ndarray = field(repr=False)
    predicted: np.ndarray = field(repr=False)
    probabilities: np.ndarray | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()
    positive: str = ""
    grades: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of_labels(
        cls,
        truth: ArrayLike,
        predicted: ArrayLike | Sequence[str | None],
        probabilities: ArrayLike | None = None,
        classes: Sequence[str] = (),
        positive: str = "",
    ) -> "ScoredRows":
        """Check and keep labels and their predictions.

        Parameters
        ----------
        classes : sequence of str, optional
            By default all labels of the truth, sorted.
        positive : str, optional
            By default the rarer of two classes; "" of more than two.

        Raises
        ------
        ValueError
            If lengths differ, a true label is missing, a probability is outside 0..1 or missing,
            or `positive` is no class.
        """
        truth, predicted = np.asarray(truth, object), np.asarray(predicted, object)
        _same_length(truth, predicted)
        if pd.isna(truth).any():
            raise ValueError("truth has missing labels: leave these rows out, and count them.")
        classes = tuple(classes) or tuple(sorted(set(truth.tolist())))
        if probabilities is not None:
            probabilities = _shares(probabilities, len(truth), len(classes))
        if positive and positive not in classes:
            raise ValueError(f"positive is {positive!r}: take one of {', '.join(classes)}.")
        if not positive and len(classes) == 2:
            positive = min(classes, key=lambda name: np.count_nonzero(truth == name))
        return cls(truth, predicted, probabilities, classes, positive)

    @classmethod
    def of_numbers(cls, truth: ArrayLike, predicted: ArrayLike) -> "ScoredRows":
        """Check and keep numbers and their predictions.

        Raises
        ------
        ValueError
            If lengths differ, or a true number is missing or infinite.
        """
        truth, predicted = np.asarray(truth, float), np.asarray(predicted, float)
        _same_length(truth, predicted)
        if not np.isfinite(truth).all():
            raise ValueError("truth has missing numbers: leave these rows out, and count them.")
        return cls(truth, predicted)

    @classmethod
    def of_grades(cls, grades: ArrayLike, ids: ArrayLike | None = None) -> "ScoredRows":
        """Check and keep how good each answer is: right (1) or wrong (0), or a grade between.

        Parameters
        ----------
        ids : sequence, optional
            What tells the rows apart; by default their position.

        Raises
        ------
        ValueError
            If a grade is missing or outside 0..1, or lengths differ.
        """
        grades = np.asarray(grades, float)
        ids = np.arange(len(grades)) if ids is None else np.asarray(ids)
        _same_length(ids, grades)
        if not ((grades >= 0) & (grades <= 1)).all():
            raise ValueError("grades holds values outside 0..1, or missing ones: a failed answer "
                             "is no grade.")  # fmt: skip
        return cls(ids.astype(object), grades.astype(object), grades=grades)

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: np.ndarray | slice) -> "ScoredRows":
        """Return some of the rows, by a mask or by positions; the positive class stays."""
        shares = None if self.probabilities is None else self.probabilities[rows]
        grades = None if self.grades is None else self.grades[rows]
        return replace(
            self, truth=self.truth[rows], predicted=self.predicted[rows], probabilities=shares,
            grades=grades,
        )  # fmt: skip

    def answering(self, codes: np.ndarray) -> "ScoredRows":
        """Return the same rows with other predicted labels, given as `predicted_codes` are."""
        names = np.array([*self.classes, None], object)
        rows = replace(self, predicted=names[codes])
        vars(rows).update(true_codes=self.true_codes, predicted_codes=codes)
        return rows

    def followed_by(self, other: "ScoredRows") -> "ScoredRows":
        """Return these rows and then others of the same kind; a class of either is one of both.

        Raises
        ------
        ValueError
            If only one of them has probabilities or grades.
        """
        for name in ("probabilities", "grades"):
            if (getattr(self, name) is None) != (getattr(other, name) is None):
                raise ValueError(f"{name}: only one of both has them.")
        classes = tuple(dict.fromkeys((*self.classes, *other.classes)))
        shares = grades = None
        if self.probabilities is not None:
            shares = np.concatenate([_spread(rows, classes) for rows in (self, other)])
        if self.grades is not None:
            grades = np.concatenate([self.grades, other.grades])
        return replace(
            self, truth=np.concatenate([self.truth, other.truth]), classes=classes, grades=grades,
            predicted=np.concatenate([self.predicted, other.predicted]), probabilities=shares,
        )  # fmt: skip

    @cached_property
    def true_codes(self) -> np.ndarray:
        """Place of the true label in `classes`, int of shape (n,); len(classes) if in none."""
        return _codes(self.truth, self.classes)

    @cached_property
    def predicted_codes(self) -> np.ndarray:
        """Place of the predicted label in `classes`, int of shape (n,); len(classes) if in none."""
        return _codes(self.predicted, self.classes)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether the predicted label is the true one, bool of shape (n,)."""
        if (self.true_codes < len(self.classes)).all():
            return self.true_codes == self.predicted_codes
        return np.asarray(self.truth == self.predicted, bool)

    def code(self, name: str) -> int:
        """Return the place of a class in `classes`, -1 of none."""
        return self.classes.index(name) if name in self.classes else -1

    @property
    def is_positive(self) -> np.ndarray:
        """Whether the true label is the positive one, bool of shape (n,)."""
        return self.true_codes == self.code(self.positive)

    @property
    def says_positive(self) -> np.ndarray:
        """Whether the predicted label is the positive one, bool of shape (n,)."""
        return self.predicted_codes == self.code(self.positive)

    @property
    def shares(self) -> np.ndarray:
        """The probabilities; a metric that needs them refuses rows without.

        Raises
        ------
        ValueError
            If there are none.
        """
        if self.probabilities is None:
            raise ValueError("probabilities: these rows have none.")
        return self.probabilities

    @property
    def score(self) -> np.ndarray:
        """Probability of the positive class, shape (n,)."""
        return self.shares[:, self.classes.index(self.positive)]

    @property
    def errors(self) -> np.ndarray:
        """Predicted minus true number, shape (n,)."""
        return self.predicted - self.truth


def class_shares(
    predicted: np.ndarray, classes: Sequence[str], confidence: Sequence[float],
    probabilities: Sequence[Sequence[float] | None],
) -> np.ndarray | None:  # fmt: skip
    """Return answers' probabilities of the classes, None where fewer than `MOST_KNOWN` have them.

    A row without them favours no class. Where the classes are two, the confidence tells both.

    Parameters
    ----------
    predicted : ndarray, shape (n,)
        Labels, None where an answer has none.
    confidence : sequence of float, shape (n,)
        The probability of the predicted label, NaN where it is not known.
    probabilities : sequence, shape (n,)
        Those of the classes in their order, or none.

    Returns
    -------
    ndarray of float, shape (n, len(classes)), or None
    """
    count, answered = len(classes), np.array([one is not None for one in predicted], bool)
    none = np.full(count, 1 / max(count, 1))
    rows, known = [], 0
    for label, is_answer, sure, listed in zip(
        predicted, answered, confidence, probabilities, strict=True
    ):
        if listed is not None and np.size(listed) == count > 1:
            row = np.asarray(listed, float)
        elif count == 2 and is_answer and np.isfinite(sure):
            row = np.array([sure, 1 - sure] if label == classes[0] else [1 - sure, sure])
        else:
            row = none
        known += bool(is_answer and row is not none)
        rows.append(row)
    if not known or known < MOST_KNOWN * answered.sum():
        return None
    return np.vstack(rows)


def _codes(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    places = {name: place for place, name in enumerate(classes)}
    none = len(classes)
    return np.fromiter((places.get(label, none) for label in labels), int, len(labels))


def _spread(rows: ScoredRows, classes: Sequence[str]) -> np.ndarray:
    """Return the probabilities in the order of more classes, 0 of those that are not its own."""
    shares = np.zeros((len(rows), len(classes)))
    shares[:, [classes.index(name) for name in rows.classes]] = rows.probabilities
    return shares


def _same_length(truth: np.ndarray, predicted: np.ndarray) -> None:
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(
            f"truth has shape {truth.shape} and predicted {predicted.shape}: give one true value "
            "and one prediction a row."
        )


def _shares(probabilities: ArrayLike, n: int, k: int) -> np.ndarray:
    shares = np.asarray(probabilities, float)
    if shares.shape != (n, k):
        raise ValueError(
            f"probabilities has shape {shares.shape}: give one row for each of {n} rows and one "
            f"column for each of {k} classes."
        )
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError("probabilities holds values outside 0..1, or missing ones.")
    return shares
