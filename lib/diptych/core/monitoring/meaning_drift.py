"""Do texts of a window mean other things than those of before? A test on their embeddings.

Drift of words misses what is said in known words, and rings for new words of the same meaning. The
distance is the maximum mean discrepancy (MMD) of the embeddings under a Gaussian kernel whose width
is the median distance; its chance level comes from permutations of both samples: A. Gretton et al.,
"A kernel two-sample test", Journal of Machine Learning Research 13 (2012), 723-773.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.base import notebook_progress as bars
from diptych.core.data import embeddings

ALPHA = 0.001  # as drift of columns: one false alarm in a thousand windows without drift
PERMUTATIONS = 1999  # the least p-value is 1 / (this + 1)
BEFORE, NOW = 300, 100  # texts at most, of before and of each window: about 5 s for 12 windows
COLUMNS = ("window", "distance", "threshold", "p", "alarm", "n")


@dataclass(frozen=True)
class Discrepancy:
    """How far two samples of vectors are apart.

    Attributes
    ----------
    distance : float
        MMD², unbiased: about 0 without drift, and below 0 as often as above.
    threshold : float
        The distance from which `p` is at most `alpha`.
    p : float
        Probability of such a distance without drift.
    """

    distance: float
    threshold: float
    p: float


def discrepancy(
    before: np.ndarray,
    now: np.ndarray,
    alpha: float = ALPHA,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Discrepancy:
    """Compare two samples of vectors, float, shapes (n, width) and (m, width).

    An alarm at p <= `alpha` is false with at most that probability, whatever the distribution: the
    permutations are exact.

    Raises
    ------
    ValueError
        If a sample has fewer than two vectors, or no permutation could be so rare as `alpha`.
    """
    n, m = len(before), len(now)
    if min(n, m) < 2:
        raise ValueError(f"texts: {n} before and {m} now; at least two of each are needed")
    if (permutations + 1) * alpha < 1:
        raise ValueError(f"permutations: {permutations} cannot show a p-value of {alpha:g}")
    kernel = _kernel(np.concatenate([before, now]).astype(np.float64))
    rng = np.random.default_rng(seed)
    inside = np.zeros((permutations + 1, n + m))
    inside[0, :n] = 1  # the first is the one that was observed
    inside[1:] = rng.permuted(np.broadcast_to(inside[0], (permutations, n + m)), axis=1)
    distances = _distances(kernel, inside, n, m)
    # ties by rounding count as far as the one observed
    p = (distances >= distances[0] - 1e-12).mean()
    threshold = np.sort(distances)[-int(alpha * len(distances) + 1e-9)]  # reached where p <= alpha
    return Discrepancy(float(distances[0]), float(threshold), float(p))


def _kernel(vectors: np.ndarray) -> np.ndarray:
    """Return the Gaussian kernel between vectors, with 0 between each and itself."""
    squares = (vectors**2).sum(axis=1)
    squared = np.maximum(squares[:, None] + squares - 2 * vectors @ vectors.T, 0)
    width = np.median(squared[np.triu_indices_from(squared, 1)])
    kernel = np.exp(-squared / max(width, 1e-12))
    np.fill_diagonal(kernel, 0)
    return kernel


def _distances(kernel: np.ndarray, inside: np.ndarray, n: int, m: int) -> np.ndarray:
    """Return MMD² for each row of `inside`, which marks the texts of before by 1."""
    to_before = inside @ kernel
    within = (to_before * inside).sum(axis=1)
    across = to_before.sum(axis=1) - within
    outside = kernel.sum() - within - 2 * across
    return within / (n * (n - 1)) + outside / (m * (m - 1)) - 2 * across / (n * m)


def by_window(
    before: pd.Series, texts: pd.Series, windows: pd.Series, seed: int = 0
) -> pd.DataFrame:
    """Compare the texts of each window with those of before.

    Parameters
    ----------
    before : Series of str
        Texts without drift, such as the test rows; `BEFORE` of them at random.
    texts, windows : Series of str, shape (n,)
        Live texts and their windows, in one order; `NOW` of each window at random.

    Returns
    -------
    DataFrame
        `COLUMNS`, one row a window; without lines if texts cannot be embedded here, and a line says
        what to do. A window with fewer than two texts is left out.
    """
    if reason := embeddings.unavailable():
        print(f"Drift by meaning: not measured; {reason}")
        return pd.DataFrame(columns=COLUMNS)
    texts = pd.Series(texts.to_numpy(), index=windows.to_numpy())
    samples = {
        name: part.sample(min(NOW, len(part)), random_state=seed).tolist()
        for name, part in texts.groupby(level=0)
        if len(part) > 1
    }
    first = before.sample(min(BEFORE, len(before)), random_state=seed).tolist()
    total = len(first) + sum(map(len, samples.values()))
    with bars.bar(total, "text") as bar:
        reference = embeddings.encode(first, progress=bar)
        vectors = {name: embeddings.encode(part, progress=bar) for name, part in samples.items()}
    lines = []
    for name, part in vectors.items():
        seen = discrepancy(reference, part, seed=seed)
        lines.append((name, seen.distance, seen.threshold, seen.p, seen.p <= ALPHA, len(part)))
    return pd.DataFrame(lines, columns=COLUMNS)


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return distance / threshold of `by_window`, as `plots.drift_plot` takes it; at least 0."""
    shares = (table["distance"] / table["threshold"]).clip(lower=0)
    return pd.DataFrame([shares.to_numpy()], index=["meaning"], columns=table["window"])


def first_alarm(table: pd.DataFrame) -> str | None:
    """Return the first window of `by_window` whose alarm rang, or None."""
    return next(iter(table.loc[table["alarm"].astype(bool), "window"]), None)
