"""Which rows train, tune, test and arrive after release, so that every class can be in each.

A row's place depends on its content (or group) and the seed, as in `diptych.core.data.splits`.
Where a class would be absent from a split, the fewest rows possible change their place.

What holds
    Rows of equal content never straddle two splits (unless they repeat too often, see `assign`),
    nor do rows of one group. Every class with three different contents or groups is in train,
    valid and test.
What holds as far as it can
    New rows never move old ones, with two exceptions: a row that had changed its place for the
    sake of a rare class goes back when a new row of that class takes the place by itself; and
    where the time from which rows are live is not given, new rows move it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from diptych.core.data.splits import SHARES, SHARES_WITHOUT_TIME

NEEDED = ("train", "test", "valid")  # a class with fewer rows is in the first of these
LIVE = "live"
LIVE_SHARE = 0.5  # of rows with times, the latest
REPEATS = 0.5  # share of different rows below which a table's rows repeat by nature
WORDS = {
    "train": "train", "training": "train", "fit": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "eval": "valid",
    "test": "test", "testing": "test", "holdout": "test", "heldout": "test", "held-out": "test",
    "live": "live", "production": "live", "prod": "live", "stream": "live",
}  # fmt: skip


class SplitError(ValueError):
    """Rows cannot be split as asked; the message says what to change."""


@dataclass(frozen=True)
class Assignment:
    """Where each row belongs.

    Attributes
    ----------
    split : ndarray of str, shape (n,)
        ``train``, ``valid``, ``test`` or ``live``.
    live_from : Timestamp or None
        The time from which rows are live, for tables with times.
    together : bool
        Whether rows of equal content are in one split; if not, equal rows in two splits are no
        leak.
    notes : list of str
        What a user should know, such as a class too rare to be in every split.
    """

    split: np.ndarray
    live_from: pd.Timestamp | None = None
    together: bool = True
    notes: list[str] = field(default_factory=list)


def assign(
    content: np.ndarray,
    labels: Sequence[str],
    seed: int,
    *,
    times: pd.Series | None = None,
    live_from: pd.Timestamp | None = None,
    groups: Sequence | None = None,
    repeats: bool = False,
) -> Assignment:
    """Return each row's split.

    With times the latest rows are ``live`` and the rest is split 70/15/15; without, rows are
    split 60/10/15 and 15 % are live.

    Parameters
    ----------
    content : array of uint64, shape (n,)
        A hash of what a model reads of each row.
    labels : sequence of str, shape (n,)
        Classes; for a numeric target give one value for all.
    seed : int
        Not negative.
    times : Series of datetime64[us, UTC], shape (n,), optional
        Used if none is missing.
    live_from : Timestamp, optional
        By default the time of the middle row, so that one date far off moves nothing.
    groups : sequence, shape (n,), optional
        Rows of a group stay together in train, valid or test. Among live rows by time a group may
        come again, as it will after release.
    repeats : bool
        Whether equal rows may be different cases, as in a table of few categories: where fewer
        than `REPEATS` of the rows differ, each row then has a place of its own.

    Raises
    ------
    SplitError
        If there are no rows, or a group is missing.
    """
    label_of = np.asarray(labels, dtype=object)
    if not len(label_of):
        raise SplitError("splits: there are no rows; give rows")
    units, together, notes = _units(content, label_of, groups, repeats)
    timed = times is not None and bool(times.notna().all())
    shares = SHARES if timed else SHARES_WITHOUT_TIME
    place = positions(units, seed)
    edges = np.cumsum(list(shares.values()))[:-1]
    split = np.array(list(shares), dtype=object)[np.searchsorted(edges, place, side="right")]
    early = np.ones(len(label_of), dtype=bool)
    if timed:
        live_from = live_from or middle(times)
        early = (times < live_from).to_numpy()
        if not early.any():
            raise SplitError(f"splits: no row is before {live_from}; give an earlier time")
        if early.all():
            notes.append("all rows have one time, so none is live")
        split[~early] = LIVE
    split[early], rare = spread(units[early], label_of[early], split[early], place[early], shares)
    notes += rare + _late(label_of, early)
    if timed and groups is not None:
        notes += _again(np.asarray(groups, dtype=object), early)
    return Assignment(split, live_from if timed else None, together, notes)


def positions(units: np.ndarray, seed: int) -> np.ndarray:
    """Return where each unit lies between 0 and 1, by its hash and the seed alone."""
    # a second hash mixes the seed in; the first alone would ignore it
    return pd.util.hash_array(units ^ np.uint64(seed % 2**64)) / 2.0**64


def middle(times: pd.Series, share: float = LIVE_SHARE) -> pd.Timestamp:
    """Return the time from which the latest `share` of rows lie, at least after the first time.

    If all rows have one time, a moment after it.
    """
    known = times if times.dt.tz is None else times.dt.tz_convert(None)
    ordered = np.sort(known.to_numpy())
    moment = ordered[min(int(len(ordered) * (1 - share)), len(ordered) - 1)]
    if moment == ordered[0]:  # so many rows have the first time that none would be before it
        later = ordered[ordered > moment]
        moment = later[0] if len(later) else moment + np.timedelta64(1, "us")
    return pd.Timestamp(moment, tz="UTC")


def file_splits(values: Sequence, units: np.ndarray, seed: int) -> Assignment:
    """Return the splits that a file names itself.

    Where it names no validation set, 15 % of the train rows are one; where it names no live rows,
    there are none, which a note says.

    Parameters
    ----------
    values : sequence of str, shape (n,)
        Such as ``train``, ``validation``, ``test``; see `WORDS`.
    units : array of uint64, shape (n,)
        A hash of each row's content or group.

    Raises
    ------
    SplitError
        If a value is none of `WORDS`, or train or test rows are missing.
    """
    split = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        name = WORDS.get(str(value).strip().casefold())
        if name is None:
            known = ", ".join(dict.fromkeys(WORDS.values()))
            raise SplitError(f"split: row {row + 1} has {str(value)!r}; write one of {known}")
        split[row] = name
    notes = []
    for name in ("train", "test"):
        if not (split == name).any():
            raise SplitError(f"split: no row is {name!r}; name some, or leave the column out")
    if not (split == "valid").any():
        train = split == "train"
        split[train & (positions(units, seed) < SHARES["valid"])] = "valid"
        notes.append("split: no row is 'valid', so 15 % of the train rows are the validation set")
    if not (split == LIVE).any():
        notes.append("split: no row is 'live'; monitoring has nothing to look at")
    return Assignment(split, notes=notes)


def _units(content: np.ndarray, labels: np.ndarray, groups: Any, repeats: bool) -> Any:
    """Return what moves as one: a hash a row, whether equal rows share it, and notes."""
    if groups is not None:
        groups = pd.Series(np.asarray(groups, dtype=object))
        if groups.isna().any():
            row = int(groups.isna().to_numpy().argmax()) + 1
            raise SplitError(f"group_column: row {row} has no group; fill it or remove the row")
        units = pd.util.hash_array(groups.astype("str").to_numpy(dtype=object), categorize=False)
        return units, _together(content, units), []
    different = len(pd.unique(content))
    if not repeats or different >= REPEATS * len(content):
        return content, True, []
    # equal rows are numbered, so that rows added at the end move none before them
    codes = pd.factorize(labels)[0]
    number = pd.DataFrame({"content": content, "label": codes}).groupby(["content", "label"])
    number = number.cumcount().to_numpy().astype(np.uint64)
    words = pd.util.hash_array(labels.astype(str).astype(object), categorize=False)
    note = (
        f"only {different:,} of {len(content):,} rows differ, so equal rows are taken for "
        "different cases and may be in several splits"
    )
    return pd.util.hash_array(content ^ pd.util.hash_array(words + number)), False, [note]


def _together(content: np.ndarray, units: np.ndarray) -> bool:
    """Whether no content occurs in two units."""
    pairs = pd.DataFrame({"content": content, "unit": units}).drop_duplicates()
    return not pairs["content"].duplicated().any()


def spread(
    units: np.ndarray, labels: np.ndarray, split: np.ndarray, place: np.ndarray, shares: dict
) -> tuple[np.ndarray, list[str]]:
    """Move the fewest units that bring every class into train, test and valid.

    For a class absent from a split, the unit moves whose place is nearest to that split, taken
    from where it leaves no class absent.

    Returns
    -------
    split : ndarray of str, shape (n,)
    notes : list of str
        Classes that stay absent somewhere, and the remedy.
    """
    present = pd.crosstab(pd.Series(labels), pd.Series(split)).reindex(columns=list(NEEDED))
    if (present.fillna(0) > 0).all(axis=None):
        return split, []
    frame = pd.DataFrame({"unit": units, "label": labels, "split": split, "place": place})
    pairs = frame.drop_duplicates(["unit", "label"])
    sizes = pairs["label"].value_counts()
    counts = pairs.groupby(["label", "split"]).size().to_dict()
    ends = dict(zip(shares, np.cumsum(list(shares.values())), strict=True))
    moved: dict = {}
    absent = []
    # the rarest first: it has the least choice
    for label in sorted(sizes.index, key=lambda name: (sizes[name], str(name))):
        wanted = [name for name in NEEDED[: sizes[label]] if not counts.get((label, name))]
        for name in wanted:
            centre = ends[name] - shares[name] / 2
            unit = _nearest(pairs, label, centre, counts, moved, sizes)
            if unit is not None:
                _move(pairs, unit, name, counts, moved)
        missing = [name for name in NEEDED if not counts.get((label, name))]
        if missing:
            absent.append((label, sizes[label], missing))
    split = split.copy()
    for unit, name in moved.items():
        split[units == unit] = name
    return split, _absent_notes(absent)


def _nearest(pairs: Any, label: Any, centre: float, counts: dict, moved: dict, sizes: Any) -> Any:
    """Return the unit of a class that may move, nearest to a place; None if none may."""
    ours = pairs[pairs["label"] == label]
    for unit in ours.iloc[np.argsort((ours["place"] - centre).abs(), kind="stable")]["unit"]:
        if unit in moved:
            continue
        others = pairs[pairs["unit"] == unit]
        leaves = [
            counts[other, name] == 1 and name in NEEDED[: sizes[other]]
            for other, name in zip(others["label"], others["split"], strict=True)
        ]
        if not any(leaves):
            return unit
    return None


def _move(pairs: Any, unit: Any, name: str, counts: dict, moved: dict) -> None:
    others = pairs[pairs["unit"] == unit]
    for label, before in zip(others["label"], others["split"], strict=True):
        counts[label, before] -= 1
        counts[label, name] = counts.get((label, name), 0) + 1
    moved[unit] = name
    pairs.loc[pairs["unit"] == unit, "split"] = name


def _absent_notes(absent: list) -> list[str]:
    if not absent:
        return []
    names = ", ".join(
        f"{label!r} ({count} different {'row' if count == 1 else 'rows'}; none in "
        f"{' and '.join(missing)})"
        for label, count, missing in absent[:5]
    )
    more = f" and {len(absent) - 5} more classes" if len(absent) > 5 else ""
    return [
        f"too rare for every split: {names}{more}; merge such classes, leave them out, or add rows"
    ]


def _late(labels: np.ndarray, early: np.ndarray) -> list[str]:
    """Name classes that occur among live rows only."""
    late = sorted(set(labels[~early]) - set(labels[early]))
    names = ", ".join(map(repr, late[:5]))
    return [f"only among live rows, so no model can know them: {names}"] if late else []


def _again(groups: np.ndarray, early: np.ndarray) -> list[str]:
    both = len(set(groups[early]) & set(groups[~early]))
    return [f"{both:,} groups come again among the live rows, as after release"] if both else []
