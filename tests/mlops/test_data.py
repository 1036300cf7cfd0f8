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


def test_duplicates_count_the_repeats():
    rows = pd.DataFrame({"text": ["a", "b", "a", "a"], "label": ["x", "x", "y", "x"]})
    assert data.duplicates(rows, ["text"]) == 2
    assert data.duplicates(rows, ["text", "label"]) == 1
