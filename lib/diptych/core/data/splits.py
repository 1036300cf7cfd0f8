"""Split rows into train, validation, test and live rows: once, by content."""

import hashlib

import numpy as np
import pandas as pd

from diptych.core.data import periods

SHARES = {"train": 0.70, "valid": 0.15, "test": 0.15}
SHARES_WITHOUT_TIME = {"train": 0.60, "valid": 0.10, "test": 0.15, "live": 0.15}
GRAM = 5  # words
HASHES, BAND = 32, 4
ALIKE = 0.8  # resemblance of a near copy


def content_hash(frame: pd.DataFrame, features: list[str]) -> np.ndarray:
    """Return a hash of what a model reads of each row, uint64, shape (n,).

    Texts are compared in lower case with single spaces, so that copies that differ only in that
    count as the same. Columns of a table may be numbers, booleans, strings or times.
    """
    if features == ["text"]:
        normal = frame["text"].str.lower().str.split().str.join(" ")
        return pd.util.hash_array(normal.to_numpy(dtype=object), categorize=False)
    values = {name: _comparable(frame[name]) for name in features}
    values = pd.DataFrame(values, index=frame.index)
    return pd.util.hash_pandas_object(values, index=False).to_numpy()


def _comparable(values: pd.Series) -> pd.Series:
    """Return a column whose equal values have one hash, however it is stored."""
    types = pd.api.types
    if types.is_float_dtype(values.dtype) and not types.is_extension_array_dtype(values.dtype):
        return values + 0.0  # -0.0 is 0.0 here
    if types.is_bool_dtype(values.dtype):
        return values.astype("boolean").astype("Float64").astype("float64")
    if types.is_numeric_dtype(values.dtype):
        return values.astype("float64") + 0.0
    return values


def assign(
    frame: pd.DataFrame, features: list[str], seed: int, live_from: pd.Timestamp | None = None
) -> pd.Series:
    """Return each row's split: train, valid, test or live.

    With times, the rows from `live_from` on are ``live`` and the rest is split 70/15/15; without,
    rows are split 60/10/15 and 15 % are live. Among the rows before `live_from` the split depends
    on content and seed alone: duplicates never straddle, and new rows never move old ones.

    Parameters
    ----------
    frame : DataFrame
        With ``time`` and the features, shape (n, ...).
    features : list of str
        Columns a model reads.
    seed : int
        Not negative.
    live_from : Timestamp, optional
        By default the middle of the time span.
    """
    # a second hash mixes the seed in; the content hash alone would ignore it
    mixed = pd.util.hash_array(content_hash(frame, features) ^ np.uint64(seed % 2**64))
    timed = frame["time"].notna().all() and len(frame) > 0
    shares = SHARES if timed else SHARES_WITHOUT_TIME
    edges = np.cumsum(list(shares.values()))[:-1]
    names = np.array(list(shares), dtype=object)
    split = names[np.searchsorted(edges, mixed / 2.0**64, side="right")]
    if timed:
        if live_from is None:
            first, last = frame["time"].min(), frame["time"].max()
            live_from = first + (last - first) / 2
        split[(frame["time"] >= live_from).to_numpy()] = "live"
    return pd.Series(split, index=frame.index, name="split", dtype="str")


def near_copies(texts: pd.Series, of: np.ndarray) -> np.ndarray:
    """Return which texts outside `of` nearly repeat a text in it, bool, shape (n,).

    Resemblance is the share of common word 5-grams (Jaccard), estimated from `HASHES` minima and
    found by banding: A. Broder, "On the resemblance and containment of documents" (1997). Texts
    under five words are never near copies.

    Parameters
    ----------
    texts : Series of str, shape (n,)
        Compared by their words alone: case, digits and punctuation do not count.
    of : array of bool, shape (n,)
        Such as the train rows.
    """
    words = texts.str.lower().str.findall(r"[^\W\d_]+")
    lengths = words.str.len().to_numpy()
    long = np.flatnonzero(lengths >= GRAM)
    near = np.zeros(len(texts), dtype=bool)
    if not long.size:
        return near
    spelled = np.concatenate([np.asarray(x, dtype=object) for x in words.iloc[long]])
    words = pd.util.hash_array(pd.factorize(spelled)[0].astype(np.uint64))
    ends = np.cumsum(lengths[long])
    last = len(words) - GRAM + 1
    grams = sum(words[k : last + k] * np.uint64(2 * k + 3) for k in range(GRAM))
    whole = np.ones(last, dtype=bool)
    for k in range(1, GRAM):  # no 5-gram reaches over the end of a text
        whole[ends[:-1] - k] = False
    starts = np.concatenate([[0], ends[:-1]]) - np.arange(len(long)) * (GRAM - 1)
    grams = grams[whole]
    minima = np.stack(
        [
            np.minimum.reduceat(pd.util.hash_array(grams ^ np.uint64(k)), starts)
            for k in range(HASHES)
        ]
    )
    inside = of[long]
    for band in range(0, HASHES, BAND):
        keys = pd.util.hash_array(sum(minima[band + k] * np.uint64(2 * k + 1) for k in range(BAND)))
        known = pd.Series(np.flatnonzero(inside), index=keys[inside])
        match = known[~known.index.duplicated()].reindex(keys[~inside]).to_numpy()
        hits = np.flatnonzero(~np.isnan(match))
        rows, others = np.flatnonzero(~inside)[hits], match[hits].astype(int)
        alike = (minima[:, rows] == minima[:, others]).mean(axis=0) >= ALIKE
        near[long[rows[alike]]] = True
    return near


def shuffled(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return rows in an order that depends on their ids and the seed alone."""
    keys = [hashlib.sha256(f"{seed} {name}".encode()).digest() for name in rows["id"]]
    return rows.iloc[sorted(range(len(rows)), key=keys.__getitem__)]


def stream(
    live: pd.DataFrame, count: int, most: int, seed: int, window: str = periods.AUTO
) -> pd.DataFrame:
    """Return the live rows in the order they arrive, at most `most` a window, with ``window``.

    Parameters
    ----------
    live : DataFrame
        Canonical rows.
    count, window
        Batches, and what a window is; see `diptych.core.data.periods.cut`.
    most : int
        Rows a window; of a larger one, these are drawn at random.
    seed : int
        Of both.

    Raises
    ------
    ValueError
        If there are no live rows, or `window` does not suit them.
    """
    if live.empty:
        raise ValueError(
            "split: the data hold no live rows to serve; name some 'live' in the column split, or "
            "leave that column out"
        )
    windows = periods.cut(live, count, window, seed)
    ordered = live.assign(window=windows.names).iloc[windows.order].reset_index(drop=True)
    parts = [
        group.sample(min(most, len(group)), random_state=seed).sort_index()
        for _, group in ordered.groupby("window", sort=True)
    ]
    return pd.concat(parts, ignore_index=True)
