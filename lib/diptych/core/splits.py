"""Which rows train, tune, test, and arrive after release: decided once, by content."""

import numpy as np
import pandas as pd


def content_hash(frame: pd.DataFrame, features: list[str]) -> np.ndarray:
    """Return a hash of what a model reads of each row, uint64, shape (n,).

    Texts are compared in lower case with single spaces, so that copies that differ only in that
    count as the same.
    """
    if features == ["text"]:
        normal = frame["text"].str.lower().str.split().str.join(" ")
        return pd.util.hash_array(normal.to_numpy(dtype=object))
    return pd.util.hash_pandas_object(frame[features], index=False).to_numpy()


def assign(frame: pd.DataFrame, features: list[str], seed: int) -> pd.Series:
    """Return each row's split: train, valid, test or live.

    With times, the later half of the time span is ``live`` and the rest is split 70/15/15;
    without, rows are split 60/10/15 and 15 % are live. A row's split depends on its content and
    the seed alone: duplicates never straddle, and new rows never move old ones.
    """
    # a second hash mixes the seed in; the content hash alone would ignore it
    mixed = pd.util.hash_array(content_hash(frame, features) ^ np.uint64(seed))
    share = mixed / 2.0**64
    timed = frame["time"].notna().all()
    edges = [0.70, 0.85, 1.0] if timed else [0.60, 0.70, 0.85]
    names = np.array(["train", "valid", "test", "live"], dtype=object)
    split = names[np.searchsorted(edges, share, side="right")]
    if timed:
        first, last = frame["time"].min(), frame["time"].max()
        split[(frame["time"] >= first + (last - first) / 2).to_numpy()] = "live"
    return pd.Series(split, index=frame.index, name="split")
