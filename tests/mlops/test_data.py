"""What the data stage shows of a table before anything learns from it."""

import pandas as pd
import pytest
from mlops.samples import sample

from diptych.mlops import data


def test_shares_of_a_month_add_up_and_the_shift_shows():
    found = data.class_share(sample("reviews"))
    assert found["period"].nunique() == 24
    assert found.groupby("period")["share"].sum().tolist() == pytest.approx([1] * 24)
    assert ((found["low"] <= found["share"]) & (found["share"] <= found["high"])).all()
    positive = found[found["label"] == "positive"].set_index("period")["share"]
    assert positive["2025-07":].mean() < positive[:"2025-06"].mean() - 0.1


def test_rows_without_time_are_shown_by_split():
    rows = sample("tumours")
    found = data.class_share(rows).set_index(["period", "label"])
    train = rows[rows["split"] == "train"]
    line = found.loc[("train", "malignant")]
    assert line["share"] == (train["label"] == "malignant").mean()
    assert line["n"] == len(train)
    assert set(found.index.get_level_values("period")) == set(rows["split"])


def test_a_row_without_time_among_timed_ones_is_left_out():
    rows = sample("reviews").head(200).copy()
    rows.loc[rows.index[:50], "time"] = pd.NaT
    assert data.class_share(rows).drop_duplicates("period")["n"].sum() == 150


@pytest.mark.parametrize(
    ("days", "first", "periods"), [(1, "2024-01-01", 40), (30, "2024-01", 40), (365, "1990", 39)]
)
def test_the_period_follows_the_span_and_not_one_date_far_off(days, first, periods):
    times = pd.date_range("2024-01-01" if days < 365 else "1990-01-01", periods=40, freq=f"{days}D")
    rows = pd.DataFrame({"time": times.tz_localize("UTC"), "label": ["a", "b"] * 20, "split": ""})
    rows.loc[39, "time"] = pd.Timestamp("2099-12-31", tz="UTC")
    found = data.class_share(rows)["period"].drop_duplicates()
    assert found.iloc[0] == first
    assert len(found) == pytest.approx(periods, abs=2)


def test_of_many_classes_the_most_frequent_are_shown():
    labels = [f"c{i}" for i in range(40) for _ in range(i + 1)]
    rows = pd.DataFrame({"time": pd.NaT, "label": labels, "split": "train"})
    found = data.class_share(rows)
    assert set(found["label"]) == {f"c{i}" for i in range(30, 40)}


def test_duplicates_count_the_repeats():
    rows = pd.DataFrame({"text": ["a", "b", "a", "a"], "label": ["x", "x", "y", "x"]})
    assert data.duplicates(rows, ["text"]) == 2
    assert data.duplicates(rows, ["text", "label"]) == 1
