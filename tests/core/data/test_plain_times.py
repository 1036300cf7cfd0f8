"""Times that are read all at once are those that are read one by one."""

import pandas as pd
import pytest

from diptych.core.data.column import MISSING, TIME, CellError, Column
from diptych.core.data.times import TimeFormat

VALUES = ["2024-02-29", "2024-03-01 23:59:59", " 2024-03-02", "NA", "1599-01-01", "2024-1-5"]


def column(missing=MISSING, zone="UTC"):
    return Column("due", "due", TIME, missing=missing, time=TimeFormat("iso", zone=zone))


def one_by_one(reader, values):
    moments = [reader.read_value(x) for x in values]
    return [None if x is None else pd.Timestamp(x, unit="us", tz="UTC") for x in moments]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_strings_are_read_as_single_values_are(zone):
    reader = column(zone=zone)
    read = reader.read_series(pd.Series(VALUES, dtype="str"))
    assert [None if pd.isna(x) else x for x in read] == one_by_one(reader, VALUES)


def test_a_date_that_stands_for_missing_is_missing():
    read = column(("", "2024-02-29")).read_series(pd.Series(VALUES, dtype="str").drop(3))
    assert read.isna().tolist() == [True, False, False, False, False]


def test_a_day_that_is_none_is_named_with_its_row():
    with pytest.raises(CellError, match=r"2023-02-30.*row 2"):
        column().read_series(pd.Series(["2023-02-28", "2023-02-30"], dtype="str"))


@pytest.mark.parametrize("unit", ["s", "ns"])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
@pytest.mark.parametrize("default", ["UTC", "Europe/Berlin"])
def test_native_times_are_read_as_single_values_are(unit, zone, default):
    moments = pd.to_datetime(["2024-07-01 10:00:00.123456789", "1969-12-31 23:59:59.9", None])
    values = pd.Series(moments.as_unit(unit)).dt.tz_localize(zone)
    reader = column(zone=default)
    read = reader.read_series(values)
    expected = one_by_one(reader, list(values))
    assert [None if pd.isna(x) else x for x in read] == expected
