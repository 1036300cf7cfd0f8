"""What always gives the same answer: no model or prompt is worth more unless it beats this."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from diptych.core.evaluation.gate import Candidate
from diptych.core.evaluation.graders import LABEL, Scoring
from diptych.core.evaluation.scored import ScoredRows

NAME = "baseline"


def rows(train: Sequence, truth: Sequence, scoring: Scoring) -> ScoredRows | None:
    """Return what the constant answer is on some rows; None where answers are graded as texts.

    Of labels it is the most frequent one of the training set, with the shares of the classes there
    as probabilities; of numbers the mean.

    Parameters
    ----------
    train : array
        Labels, or numbers, of the training set.
    truth : array of shape (n,)
        Those of the rows.
    """
    if scoring.grader != LABEL:
        return None
    labels = pd.Series(train).dropna()
    if np.asarray(truth).dtype.kind == "f":
        return ScoredRows.of_numbers(truth, np.full(len(truth), labels.mean()))
    shares = labels.astype(str).value_counts(normalize=True).sort_index()
    probabilities = np.tile(shares.to_numpy(), (len(truth), 1))
    predicted = np.full(len(truth), shares.idxmax(), dtype=object)
    return scoring.metric.scored(truth, predicted, probabilities, list(shares.index))


def candidate(train: Sequence, truth: Sequence, scoring: Scoring) -> Candidate | None:
    """Return the constant answer as the gate compares with it, see `rows`."""
    scored = rows(train, truth, scoring)
    return None if scored is None else Candidate.of_rows(NAME, scoring.metric, scored)
