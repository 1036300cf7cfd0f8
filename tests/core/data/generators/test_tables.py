import numpy as np
import pandas as pd
import pytest

from diptych.core.data.generators import tables
from diptych.core.data.typing import infer

ALL = pytest.mark.parametrize("make", [tables.churn, tables.claims, tables.demand])


@ALL
def test_the_same_arguments_give_the_same_rows(make):
    assert make(300, seed=4).equals(make(300, seed=4))
    assert not make(300, seed=4).equals(make(300, seed=5))
    assert len(make(301)) == 301


@ALL
def test_rows_have_names_gaps_and_a_time_that_does_not_fall(make):
    frame = make(2_000)
    assert frame.isna().sum().sum() > 0
    times = frame.select_dtypes("datetimetz").iloc[:, 0]
    assert str(times.dtype) == "datetime64[us, UTC]"
    assert (times.diff().dt.days.dropna() > -32).all()
    assert all(frame[name].dtype != object for name in frame)


def test_kinds_are_recognised_and_ids_left_out():
    typed = infer(tables.claims(3_000), exclude=["fraud"])
    kinds = {column.original: column.kind for column in typed.columns}
    assert list(typed.left_out) == ["policy_id"]
    assert kinds["postcode"] == "category"
    assert kinds["description"] == "text"
    assert kinds["police_report"] == "boolean"
    typed = infer(tables.churn(3_000), exclude=["churned"])
    assert list(typed.left_out) == ["customer_id"]
    assert {column.kind for column in typed.columns} == {"time", "category", "boolean", "number"}


def test_a_quarter_of_customers_leave_and_monthly_ones_more_often_after_the_shift():
    frame = tables.churn(20_000)
    left = frame["churned"] == "yes"
    assert 0.18 < left.mean() < 0.32
    start = pd.Timestamp(tables.CHURN_START, tz="UTC")
    month = (frame["snapshot_date"] - start).dt.days / 30.4
    late, monthly = month >= tables.CHURN_SHIFT + 1, frame["contract"] == tables.CONTRACTS[0]
    assert left[late & monthly].mean() > left[~late & monthly].mean() + 0.05
    assert tables.NEW_PLAN[0] not in set(frame.loc[month < tables.CHURN_SHIFT, "plan"])
    assert (frame.loc[late, "plan"] == tables.NEW_PLAN[0]).mean() > 0.2
    assert (frame["signup_date"] <= frame["snapshot_date"]).all()


@pytest.mark.parametrize("seed", range(3))
def test_claims_are_as_rare_as_stated(seed):
    share = (tables.claims(12_000, seed)["fraud"] == "yes").mean()
    assert share == pytest.approx(tables.CLAIM_SHARE, abs=0.004)


def test_demand_follows_hour_and_weather_and_grows():
    frame = tables.demand()
    rentals, hour = frame["rentals"], frame["hour_start"].dt.hour
    assert (rentals >= 0).all()
    assert np.issubdtype(rentals.dtype, np.integer)
    working = frame["working_day"].to_numpy(dtype=bool)
    assert rentals[working & (hour == 8)].mean() > 5 * rentals[working & (hour == 3)].mean()
    dry, wet = frame["weather"] == "clear", frame["weather"] == "heavy rain"
    assert rentals[dry].mean() > 1.5 * rentals[wet].mean()
    assert frame["hour_start"].is_unique
    assert (frame["hour_start"].diff().dropna() == pd.Timedelta(hours=1)).all()
