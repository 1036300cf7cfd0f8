import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.core.data import times
from diptych.core.data.times import TimeError, TimeFormat, read_times

MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2060, 1, 1)).map(
    lambda x: x.replace(second=0, microsecond=0)
)
FORMS = {
    "%Y-%m-%d %H:%M": "minute", "%Y-%m-%dT%H:%M:%SZ": "minute", "%Y/%m/%d": "day",
    "%d.%m.%Y %H:%M": "minute", "%m/%d/%Y %I:%M %p": "minute", "%m/%d/%y": "day",
    "%d %b %Y": "day", "%B %d, %Y": "day", "%b %d %Y %I:%M%p": "minute", "%d-%b-%y": "day",
    "%a %b %d %H:%M:%S +0000 %Y": "minute", "%a, %d %b %Y %H:%M:%S GMT": "minute",
    "%Y%m%d": "day", "%G-W%V-%u": "day", "%Y-%m-%d %H:%M:%S PST": "pst",
}  # fmt: skip


def first(values, **options):
    return read_times(pd.Series(values), **options)[0].iloc[0].isoformat()


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2023-01-31", "2023-01-31T00:00:00"),
        ("2023-1-5 7:05", "2023-01-05T07:05:00"),
        ("2015-02-24T11:35:52.123456Z", "2015-02-24T11:35:52.123456"),
        ("2015-02-24 11:35:52+05:30", "2015-02-24T06:05:52"),
        ("01/31/23", "2023-01-31T00:00:00"),
        ("01/31/2023 12:00 AM", "2023-01-31T00:00:00"),
        ("01/31/2023 12:30 PM", "2023-01-31T12:30:00"),
        ("31.01.2023 14:00", "2023-01-31T14:00:00"),
        (1672531200, "2023-01-01T00:00:00"),
        (1672531200.5, "2023-01-01T00:00:00.500000"),
        ("1672531200000", "2023-01-01T00:00:00"),
        ("1672531200000000", "2023-01-01T00:00:00"),
        (1672531200000000000, "2023-01-01T00:00:00"),
        ("2023Q1", "2023-01-01T00:00:00"),
        ("Q4 2023", "2023-10-01T00:00:00"),
        ("2023-W05", "2023-01-30T00:00:00"),
        ("2023-07", "2023-07-01T00:00:00"),
        ("Jul 2023", "2023-07-01T00:00:00"),
        ("20230131", "2023-01-31T00:00:00"),
        ("20230131T1405", "2023-01-31T14:05:00"),
        ("2023", "2023-01-01T00:00:00"),
        ("Tue Feb 24 11:35:52 +0000 2015", "2015-02-24T11:35:52"),
        ("Tue Feb 24 11:35:52 PST 2015", "2015-02-24T19:35:52"),
        ("Sun Jan  1 00:00:00 2023", "2023-01-01T00:00:00"),
        ("2023-01-01 00:00:00 PST", "2023-01-01T08:00:00"),
        ("2023-07-01 00:00:00 CEST", "2023-06-30T22:00:00"),
        ("2023-07-01 00:00:00 Europe/Berlin", "2023-06-30T22:00:00"),
        ("5. März 2020", "2020-03-05T00:00:00"),
        ("24 février 2015", "2015-02-24T00:00:00"),
        ("March 5th, 2020 3 PM", "2020-03-05T15:00:00"),
        ("1969-12-31 23:59:59.5", "1969-12-31T23:59:59.500000"),
        (datetime(2023, 1, 31, 14, tzinfo=timezone(timedelta(hours=2))), "2023-01-31T12:00:00"),
    ],
)
def test_the_usual_forms(value, moment):
    assert first([value]) == moment + "+00:00"


@settings(deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.lists(MOMENTS, min_size=1, max_size=8))
def test_what_is_written_is_read_again_in_training_and_service(form, moments):
    # a day over 12 shows which number is the day
    moments = [*moments, datetime(2023, 5, 28)]
    if FORMS[form] != "minute":
        moments = [x.replace(hour=0, minute=0) for x in moments]
    written = [x.strftime(form) for x in moments]
    read, decided, _ = read_times(pd.Series(written))
    offset = timedelta(hours=8) if FORMS[form] == "pst" else timedelta()
    assert read.tolist() == [pd.Timestamp(x + offset, tz="UTC") for x in moments]
    again = TimeFormat.from_dict(decided.to_dict())
    assert [again.parse(x) for x in written] == read.astype("int64").tolist()


def test_native_times_and_their_iso_strings_are_one():
    values = pd.Series(pd.to_datetime(["2023-01-31 14:00", None, "1969-05-05"], format="ISO8601"))
    read, decided, notes = read_times(values, zone="Europe/Berlin")
    assert "times without a zone are taken for Europe/Berlin" in notes
    assert read.isna().tolist() == [False, True, False]
    assert decided.parse("2023-01-31T14:00:00") * 1000 == read.iloc[0].value


def test_a_missing_time_stays_missing():
    read, _, _ = read_times(pd.Series(["2023-01-01", None, "2023-02-01"]))
    assert read.isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("values", "order", "why"),
    [
        (["1/2/2023", "31/1/2023"], "dmy", "'31/1/2023' shows"),
        (["1/2/2023", "1/31/2023"], "mdy", "'1/31/2023' shows"),
        (["1/1/2023", "2/1/2023", "1/2/2023", "2/2/2023"], "dmy", "in order of time"),
        (["1/1/2023", "1/2/2023", "2/1/2023", "2/2/2023"], "mdy", "in order of time"),
        (["1/2/2023", "2/1/2023", "2/2/2023", "1/1/2023"], "mdy", "check this"),
        (["1.2.2023", "2.1.2023", "2.2.2023", "1.1.2023"], "dmy", "check this"),
    ],
)
def test_day_or_month_first_is_decided_from_the_whole_column_and_said(values, order, why):
    read, decided, notes = read_times(pd.Series(values))
    assert decided.order == order
    assert any(why in note for note in notes)
    day, month = map(int, values[0].replace(".", "/").split("/")[:2])
    assert read.iloc[0].month == (month if order == "dmy" else day)


def test_day_first_can_be_asked_for():
    assert first(["1/2/2023"], order="dmy") == "2023-02-01T00:00:00+00:00"


def test_a_column_that_is_both_day_first_and_month_first_is_refused():
    with pytest.raises(TimeError, match="'31/1/2023' can only be day first and '1/31/2023' only"):
        read_times(pd.Series(["31/1/2023", "1/31/2023"]))


def test_the_row_that_is_no_time_is_named():
    with pytest.raises(TimeError, match="'soon' in row 3") as raised:
        read_times(pd.Series(["2023-01-01", "2023-01-02", "soon"]))
    assert raised.value.row == 2


@pytest.mark.parametrize("values", [["abc"], [1, 2, 3], ["0", "700"], [True], [], [None]])
def test_what_is_no_time_is_refused(values):
    with pytest.raises(TimeError):
        read_times(pd.Series(values, dtype=object))


@pytest.mark.parametrize("value", ["2023-02-30", "2023-13-01", "2023-01-01 24:00", "13:00 PM"])
def test_a_day_that_does_not_exist_is_refused(value):
    assert TimeFormat("iso").parse(value) is None


@pytest.mark.parametrize("far", ["1970-01-01", "2099-12-31", "1900-01-01"])
def test_a_date_far_from_all_others_is_named(far):
    near = pd.date_range("2015-01-01", "2024-12-31", periods=60).strftime("%Y-%m-%d").tolist()
    assert far in " ".join(read_times(pd.Series([*near, far]))[2])
    assert "far" not in " ".join(read_times(pd.Series(near))[2])


def test_ambiguous_names_of_zones_are_said_and_unknown_ones_refused():
    _, _, notes = read_times(pd.Series(["2023-01-01 10:00 IST"]))
    assert "IST is taken for India (+5.5 h)" in notes
    with pytest.raises(TimeError, match="'Mars/Base' is no known zone"):
        read_times(pd.Series(["2023-01-01"]), zone="Mars/Base")
    assert TimeFormat("iso").parse("2023-01-01 10:00 XYZ") is None


def test_the_unit_of_an_epoch_is_decided_by_most_of_its_values():
    read, decided, _ = read_times(pd.Series([1672531200000, 0, 1672531201000]))
    assert decided.unit == "ms"
    assert read.iloc[1] == pd.Timestamp(0, tz="UTC")


def test_numbers_of_parquet_with_gaps_are_an_epoch_too():
    read, _, _ = read_times(pd.Series([1672531200.0, np.nan]))
    assert read.iloc[0] == pd.Timestamp("2023-01-01", tz="UTC")
    assert read.isna().tolist() == [False, True]


def test_no_warning_is_raised_and_no_pandas_is_needed_for_one_value():
    code = (
        "import sys; from diptych.core.data.times import TimeFormat; "
        "print(TimeFormat('numeric', 'mdy').parse('01/31/2023 12:00 AM'), 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout.split() == ["1675123200000000", "False"]


def test_iso_gives_a_moment_that_is_read_again():
    moment = TimeFormat("iso").parse("2023-01-31 14:00:00.25")
    assert TimeFormat("epoch", unit="s").parse(times.iso(moment)) == moment
    assert datetime.fromisoformat(times.iso(moment)).tzinfo == UTC


def test_plain_times_read_at_once_are_those_read_one_by_one():
    plain = ["2023-01-31", "2024-02-29 23:59:59", "1969-07-20T20:17:40", "2999-12-31"]
    times, form, _ = read_times(pd.Series(plain))
    assert times.astype("int64").tolist() == [form.parse(text) for text in plain]
    with pytest.raises(TimeError, match="2023-02-30"):
        read_times(pd.Series([*plain, "2023-02-30"]))


def test_a_year_of_two_digits_may_stand_first():
    days = pd.Series([f"24-{i % 12 + 1:02d}-{i % 28 + 1:02d}" for i in range(40)], dtype="str")
    times, form, notes = read_times(days)
    assert form.order == "ymd"
    assert any("the year stands first" in note for note in notes)
    assert times[13] == pd.Timestamp("2024-02-14", tz="UTC")
    assert form.parse("24-02-14") == times[13].value // 1000
    ends = pd.Series(["31-01-22", "28-02-23", "30-04-24", "31-05-25", "30-06-26"], dtype="str")
    assert read_times(ends)[1].order == "dmy"


def test_seconds_beside_milliseconds_are_refused():
    mixed = [1_700_000_000 + i if i % 2 else (1_700_000_000 + i) * 1000 for i in range(20)]
    with pytest.raises(TimeError, match="two units"):
        read_times(pd.Series(mixed))
    births = pd.Series([10**9 * 20 * i for i in range(-5, 60)])  # ms, around 1970
    assert read_times(births)[1].unit == "ms"


def test_native_times_of_a_zone_are_read_as_a_request_is():
    # the first does not exist (clocks go forward), the second comes twice
    values = pd.Series(pd.to_datetime(["2024-03-31 02:30", "2024-10-27 02:30", "2024-07-01 12:00"]))
    times, form, notes = read_times(values, zone="Europe/Berlin")
    assert [form.parse(str(x)) for x in values] == times.astype("int64").tolist()
    assert notes == ["times without a zone are taken for Europe/Berlin"]
