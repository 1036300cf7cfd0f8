"""Rows of other splits that say what a train row says, in other words.

`splits.near_copies` sees shared words; these share a meaning. Each makes the score a little too
good: the model has been trained on its answer.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.core.data import embeddings
from diptych.core.evaluation import stats

ALIKE = 0.95  # cosine; of sentences that differ by one unimportant word
TRAIN, OTHERS = 2_000, 500  # rows at most: about 10 s on two cores, once
BLOCK = 500  # rows compared at once: the products stay small
COLUMNS = ("split", "id", "text", "cosine", "train_id", "train_text")


@dataclass(frozen=True)
class NearCopies:
    """The train row nearest to each row of the other splits that was looked at.

    Attributes
    ----------
    nearest : DataFrame
        `COLUMNS`, the nearest pairs first; empty if texts cannot be embedded here.
    note : str
        On how many rows it rests, or why it was not measured.
    """

    nearest: pd.DataFrame
    note: str

    @property
    def count(self) -> int | None:
        """How many rows nearly repeat a train row; None if that was not measured."""
        return None if self.nearest.empty else int((self.nearest["cosine"] >= ALIKE).sum())

    @property
    def pairs(self) -> pd.DataFrame:
        """The pairs that are alike, the nearest first."""
        return self.nearest[self.nearest["cosine"] >= ALIKE].reset_index(drop=True)

    @property
    def shares(self) -> pd.DataFrame:
        """Share of near copies by split: ``name``, ``value``, ``low``, ``high`` (Wilson), ``n``."""
        lines = []
        for name, cosines in self.nearest.groupby("split", sort=False)["cosine"]:
            share = stats.wilson(int((cosines >= ALIKE).sum()), len(cosines))
            lines.append((name, share.value, share.low, share.high, share.n))
        return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n"])


def by_meaning(frame: pd.DataFrame, seed: int = 0) -> NearCopies:
    """Look for rows whose text means what a train row's means.

    Parameters
    ----------
    frame : DataFrame
        Canonical rows; without a column ``text`` there is nothing to compare.
    seed : int
        Of more than `TRAIN` train rows, and of more than `OTHERS` others, so many are drawn.
    """
    nothing = pd.DataFrame(columns=COLUMNS)
    if "text" not in frame:
        return NearCopies(nothing, "Near copies by meaning: these rows have no text")
    if reason := embeddings.unavailable():
        return NearCopies(nothing, f"Near copies by meaning: not measured; {reason}")
    rows = frame[frame["text"].notna() & (frame["text"].str.strip() != "")]
    is_train = rows["split"] == "train"
    train, others = _some(rows[is_train], TRAIN, seed), _some(rows[~is_train], OTHERS, seed)
    if train.empty or others.empty:
        return NearCopies(nothing, "Near copies by meaning: only one split has texts")
    with bars.bar(len(train) + len(others), "text") as bar:
        known = embeddings.encode(train["text"].tolist(), progress=bar)
        vectors = embeddings.encode(others["text"].tolist(), progress=bar)
    places, cosines = _nearest(vectors, known)
    nearest = others[["split", "id", "text"]].assign(
        cosine=cosines,
        train_id=train["id"].to_numpy()[places],
        train_text=train["text"].to_numpy()[places],
    )
    nearest = nearest.sort_values("cosine", ascending=False, kind="stable")
    return NearCopies(nearest.reset_index(drop=True), _note(nearest, train, is_train.sum()))


def _some(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    return rows if len(rows) <= most else rows.sample(most, random_state=seed)


def _nearest(vectors: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place in `known` of the vector nearest to each, and the cosine; shapes (n,)."""
    places, cosines = [], []
    for start in range(0, len(vectors), BLOCK):
        products = vectors[start : start + BLOCK] @ known.T
        places.append(products.argmax(axis=1))
        cosines.append(products.max(axis=1))
    return np.concatenate(places), np.concatenate(cosines)


def _note(nearest: pd.DataFrame, train: pd.DataFrame, in_train: int) -> str:
    count = int((nearest["cosine"] >= ALIKE).sum())
    note = (
        f"Near copies by meaning: {count} of {len(nearest):,} rows have a train row "
        f"with a cosine of {ALIKE} or more"
    )
    if in_train > len(train):
        note += f"; {len(train):,} of {in_train:,} train rows were compared, so there may be more"
    return note
