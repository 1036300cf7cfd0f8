"""Windows suit the rows: hours to years, or batches; dates far off are named and change nothing."""

import io

import numpy as np
import pandas as pd
import pytest

from diptych.core.data import splits
from diptych.core.data.periods import cut


def arrivals(first, last, n, extra=()):
    span = pd.Timestamp(last) - pd.Timestamp(first)
    times = list(pd.Timestamp(first) + span * np.linspace(0, 1, n))
    times = pd.Series([*times, *map(pd.Timestamp, extra)]).dt.tz_localize("UTC")
    ids = [f"r{i:05d}" for i in range(len(times))]
    frame = pd.DataFrame({"id": ids, "time": times.astype("datetime64[us, UTC]")})
    return frame.sample(frac=1, random_state=0)  # rows come in no order


def named(live, *options):
    return cut(live, 6, *options).names.sort_index()


@pytest.mark.parametrize(
    ("first", "last", "n", "windows", "name"),
    [
        ("2023-01-01 00:00", "2023-01-01 07:59", 300, 8, "2023-01-01 07:00"),
        ("2023-01-01", "2023-01-08", 9_327, 8, "2023-01-04"),
        ("2022-12-25", "2023-02-20", 800, 10, "2022-W51"),
        ("2025-01-01", "2025-12-31", 12_000, 12, "2025-09"),
        ("2023-01-01", "2025-06-30", 900, 10, "2023-Q4"),
        ("2015-01-01", "2024-12-31", 900, 10, "2017"),
        ("2023-01-01", "2023-01-02 09:00", 100, 6, "1 from 2023-01-01 00:00"),
        ("2023-01-01", "2024-12-31", 45, 6, "1 from 2023-01-01 00:00"),
    ],
)
def test_a_handful_of_windows_of_a_usable_size_come_out(first, last, n, windows, name):
    live = arrivals(first, last, n)
    names = named(live)
    assert names.nunique() == windows
    assert name in set(names)
    by_time = names[live.sort_values(["time", "id"]).index]
    assert by_time.is_monotonic_increasing  # names sort in the order of time


def test_every_unit_can_be_asked_for_and_its_names_sort_in_time():
    live = arrivals("2022-11-20", "2023-02-20", 500)
    order = live.sort_values(["time", "id"]).index
    counts = {}
    for unit in ("day", "week", "month", "quarter", "year", "rows"):
        names = named(live, unit)[order]
        assert names.is_monotonic_increasing, unit
        counts[unit] = names.nunique()
    assert counts == {"day": 93, "week": 15, "month": 4, "quarter": 2, "year": 2, "rows": 6}
    assert named(live, "rows").value_counts().between(83, 84).all()


@pytest.mark.parametrize("far", ["1970-01-01", "2099-12-31"])
def test_a_date_far_off_is_named_and_changes_no_window(far):
    live = arrivals("2025-01-01", "2025-12-31", 600)
    spoilt = arrivals("2025-01-01", "2025-12-31", 600, [far])
    windows = cut(spoilt, 6)
    assert set(windows.names) == set(cut(live, 6).names)
    assert windows.names[600] == ("2025-01" if far < "2025" else "2025-12")
    (note,) = windows.notes
    assert far in note
    assert "1 of 601 live rows" in note
    assert cut(live, 6).notes == ()


def test_a_busy_month_after_quiet_ones_is_not_far_off():
    quiet = pd.date_range("2025-01-01", "2025-09-01", freq="7D")
    assert cut(arrivals("2025-09-02", "2025-10-01", 300, quiet), 6).notes == ()


@pytest.mark.parametrize(
    ("step", "name"), [("MS", "2025-03"), ("QS", "2025-Q3"), ("YS", "2027"), ("D", "2025-01-03")]
)
def test_rows_dated_by_their_month_are_months_and_not_days(step, name):
    dates = pd.date_range("2025-01-01", periods=6, freq=step, tz="UTC").repeat(20)
    live = pd.DataFrame({"id": [f"{i:03d}" for i in range(120)], "time": dates})
    assert name in set(cut(live, 6).names)


def test_rows_at_one_instant_are_batches():
    live = arrivals("2025-01-01", "2025-01-01", 60)
    assert named(live).value_counts().tolist() == [10] * 6


def test_one_live_row_is_one_window():
    stream = splits.stream(arrivals("2025-03-01", "2025-03-01", 1), 6, 400, 0)
    assert stream["window"].tolist() == ["1 from 2025-03-01 00:00"]


def test_rows_without_a_time_arrive_in_random_order_and_that_is_said():
    live = arrivals("2025-01-01", "2025-12-31", 100)
    live.loc[7, "time"] = pd.NaT
    windows = cut(live, 4)
    assert sorted(windows.names.unique()) == [f"batch {i:02d}" for i in range(1, 5)]
    assert windows.notes[0].startswith("1 of 100 live rows have no time")
    assert cut(live.assign(time=pd.NaT), 4).notes == ()


@pytest.mark.parametrize(
    ("unit", "match"),
    [
        ("fortnight", "'fortnight' is none of auto, hour"),
        ("hour", "'hour' makes 501 windows of the 501 live rows.*window=auto"),
    ],
)
def test_a_unit_that_does_not_suit_is_refused_with_the_remedy(unit, match):
    with pytest.raises(ValueError, match=match):
        cut(arrivals("2023-01-01", "2025-01-01", 501), 6, unit)


def test_a_calendar_needs_times():
    live = arrivals("2023-01-01", "2025-01-01", 50).assign(time=pd.NaT)
    with pytest.raises(ValueError, match="50 of 50 live rows lack; take -p window=rows"):
        cut(live, 6, "day")


def test_the_stream_draws_rows_of_each_window_in_order():
    stream = splits.stream(arrivals("2023-01-01", "2023-01-08", 900), 6, 20, 0, "rows")
    assert stream.groupby("window").size().tolist() == [20] * 6
    assert stream["time"].is_monotonic_increasing


def test_two_days_of_rows_are_six_windows():
    """One month held all of it (shared case one-month-windows)."""
    times = pd.date_range("2023-01-01", periods=200, freq="10min")
    table = io.StringIO(pd.DataFrame({"when": times}).to_csv(index=False))
    when = pd.to_datetime(pd.read_csv(table)["when"], utc=True)
    live = pd.DataFrame({"id": [f"{i:03d}" for i in range(200)], "time": when}).iloc[100:]
    assert 4 <= splits.stream(live, 6, 400, 0)["window"].nunique() <= 14
