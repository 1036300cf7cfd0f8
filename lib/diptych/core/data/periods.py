"""Windows of live rows: hours to years, or batches of equal size, whichever suits the rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

FORMATS = {
    "hour": "%Y-%m-%d %H:00",
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
    "quarter": "%Y-Q",  # and its number, which strftime does not know
    "year": "%Y",
}
AUTO, ROWS = "auto", "rows"
UNITS = (AUTO, *FORMATS, ROWS)
FEWEST, MOST = 4, 14  # windows of a calendar unit that is chosen by itself
LEAST = 10  # rows of its median window
LIMIT = 500  # windows in all
TAIL = 0.01  # share of the rows at either end that may be far off
BULK = 10  # rows from which one can be far off


@dataclass(frozen=True)
class Periods:
    """The window of each live row.

    Attributes
    ----------
    names : Series of str, shape (n,)
        By the rows' index; names sort in the order of time.
    order : array of int, shape (n,)
        Positions of the rows in the order of their arrival.
    notes : tuple of str
        Sentences on what a reader would not expect: dates far off, rows without a time.
    """

    names: pd.Series
    order: np.ndarray
    notes: tuple[str, ...] = ()


def cut(live: pd.DataFrame, count: int, unit: str = AUTO, seed: int = 0) -> Periods:
    """Name the window of each live row.

    By itself ("auto") a window is the shortest calendar unit of which there are `FEWEST` to `MOST`
    with `LEAST` rows each (a longer one, if it makes as many), and else one of `count` batches of
    equal size. Dates far from all
    others, such as 1970 or 2099, neither choose the unit nor make windows: their rows join the
    first or the last one.

    Parameters
    ----------
    live : DataFrame, n rows
        With ``time`` and ``id``.
    count : int
        Batches, where they are batches; at most one for two rows.
    unit : str
        One of `UNITS`.
    seed : int
        Of the order in which rows without times arrive.

    Raises
    ------
    ValueError
        If the unit is unknown, needs times that rows lack, or makes over `LIMIT` windows.
    """
    if unit not in UNITS:
        raise ValueError(f"window: {unit!r} is none of {', '.join(UNITS)}")
    count = max(1, min(count, len(live) // 2))
    without = int(live["time"].isna().sum())
    if without:
        return _untimed(live, count, unit, without, seed)
    order = np.lexsort((live["id"].to_numpy(str), live["time"].to_numpy()))
    times = live["time"].iloc[order]
    first, last = _bulk(times)
    notes = _far(times, first, last)
    times = times.clip(first, last)
    if unit == AUTO:
        unit = _fitting(times)
    names = _batches(times, count) if unit == ROWS else _calendar(times, unit)
    if (windows := names.nunique()) > LIMIT:
        raise ValueError(
            f"window: {unit!r} makes {windows:,} windows of the {len(live):,} live rows, more than "
            f"{LIMIT}; take a longer one (-p window=auto chooses)"
        )
    return Periods(names.reindex(live.index), order, notes)


def _untimed(live: pd.DataFrame, count: int, unit: str, without: int, seed: int) -> Periods:
    """Cut rows in random order."""
    if unit not in (AUTO, ROWS):
        raise ValueError(
            f"window: {unit!r} needs a time, which {without:,} of {len(live):,} live rows lack; "
            "take -p window=rows, or name the column with the times by time_column"
        )
    order = pd.Series(np.arange(len(live))).sample(frac=1, random_state=seed).to_numpy()
    batches = [f"batch {i * count // len(live) + 1:02d}" for i in range(len(live))]
    names = pd.Series(batches, index=live.index[order], dtype="str").reindex(live.index)
    some = f"{without:,} of {len(live):,} live rows have no time: all come in random order"
    return Periods(names, order, (some,) if without < len(live) else ())


def _bulk(times: pd.Series) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and the last of sorted times that is not far off.

    Far off is a time, among the `TAIL` at either end, that is farther from the rest than the rest
    is long.
    """
    tail = max(1, int(len(times) * TAIL))
    if len(times) < BULK:
        return times.iloc[0], times.iloc[-1]
    low, high = times.iloc[tail], times.iloc[-1 - tail]
    near = times[(times >= low - (high - low)) & (times <= high + (high - low))]
    return (near.iloc[0], near.iloc[-1]) if high > low else (times.iloc[0], times.iloc[-1])


def _far(times: pd.Series, first: pd.Timestamp, last: pd.Timestamp) -> tuple[str, ...]:
    far = times[(times < first) | (times > last)]
    if far.empty:
        return ()
    dates = far.dt.strftime("%Y-%m-%d").unique()
    shown = ", ".join(dates[:3]) + (", …" if len(dates) > 3 else "")
    return (
        f"{len(far):,} of {len(times):,} live rows lie far from all others ({shown}; the rest: "
        f"{first:%Y-%m-%d} to {last:%Y-%m-%d}). They are counted in the nearest window; "
        "correct or remove them if they are mistakes",
    )


def _fitting(times: pd.Series) -> str:
    chosen, windows = ROWS, 0
    for unit in FORMATS:
        sizes = np.unique(_count(times, unit), return_counts=True)[1]
        suits = FEWEST <= len(sizes) <= MOST and np.median(sizes) >= LEAST
        # rows dated by the first of their month are as many days as months: months they are
        if suits and windows in (0, len(sizes)):
            chosen, windows = unit, len(sizes)
    return chosen


def _count(times: pd.Series, unit: str) -> np.ndarray:
    """Return the number of each time's hour, day ... since 1970."""
    instants = times.to_numpy("datetime64[us]")  # UTC
    code, of, start = {
        "hour": ("h", 1, 0),
        "day": ("D", 1, 0),
        "week": ("D", 7, 3),  # from Monday; 1970 began on a Thursday
        "month": ("M", 1, 0),
        "quarter": ("M", 3, 0),
        "year": ("Y", 1, 0),
    }[unit]
    return (instants.astype(f"datetime64[{code}]").astype(np.int64) + start) // of


def _calendar(times: pd.Series, unit: str) -> pd.Series:
    _, first, window = np.unique(_count(times, unit), return_index=True, return_inverse=True)
    firsts = times.iloc[first].dt  # written once a window: it takes long
    names = firsts.strftime(FORMATS[unit])
    if unit == "quarter":
        names = names + firsts.quarter.astype("str")
    return pd.Series(names.to_numpy()[window], times.index, dtype="str")


def _batches(times: pd.Series, count: int) -> pd.Series:
    """Cut sorted times into batches of equal size, each named by its number and first time."""
    number = np.arange(len(times)) * count // len(times)
    starts = times.groupby(number).transform("first").dt.strftime("%Y-%m-%d %H:%M")
    width = len(str(count))
    return pd.Series([f"{n + 1:0{width}d}" for n in number], times.index).str.cat(starts, " from ")
