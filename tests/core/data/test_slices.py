"""Groups of rows by columns that models do and do not read."""

import numpy as np
import pandas as pd
import pytest

from diptych.core.data import slices, tasks
from diptych.core.data.sources import DataError


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "income": rng.normal(30, 5, 200).round(2), "age": rng.integers(18, 80, 200),
        "sex": rng.choice(["f", "m", ""], 200), "label": rng.choice(["yes", "no"], 200),
    })  # fmt: skip
    frame.loc[3, "label"] = ""  # a row that is left out
    path = tmp_path / "people.csv"
    frame.to_csv(path, index=False)
    return path, frame


def test_a_sensitive_column_that_no_model_reads_is_a_group(place):
    path, frame = place
    task = tasks.get(str(path), read_options="kinds=sex:drop")
    rows = task.load()
    assert "sex" not in rows
    groups = slices.groups(task, rows, "sex")
    # rows are known by what the model reads of them
    sex = frame.assign(label=frame["label"].replace("", None)).dropna(subset="label")
    by_income = sex.drop_duplicates(["income", "age"], keep=False).set_index("income")["sex"]
    shown = rows.set_index("id").join(groups)
    shown = shown[shown["income"].isin(by_income.index)]
    expected = shown["income"].map(by_income[~by_income.index.duplicated(keep=False)])
    known = expected.notna()
    assert (shown["sex"][known] == expected[known].replace("", slices.MISSING)).all()
    assert known.sum() > 150


def test_numbers_of_many_values_are_cut_at_quartiles(place):
    path, _ = place
    task = tasks.get(str(path))
    rows = task.load()
    sizes = slices.groups(task, rows, "age")["age"].value_counts()
    assert len(sizes) == 4
    assert sizes.min() > 0.2 * len(rows)
    first = rows.set_index("id")["age"]
    for name, part in slices.groups(task, rows, "age").groupby("age"):
        low, high = (float(x) for x in name.split(" to "))
        assert first[part.index].between(low, high).all()


def test_an_unknown_column_names_those_there_are(place):
    task = tasks.get(str(place[0]))
    with pytest.raises(DataError, match=r"no column 'sx'\. Did you mean 'sex'"):
        slices.groups(task, task.load(), "sx")
    assert slices.groups(task, task.load(), "").shape[1] == 0


def test_rows_that_the_table_no_longer_holds_are_an_error(place):
    path, frame = place
    task = tasks.get(str(path), read_options="kinds=sex:drop")
    rows = task.load()
    frame.tail(50).to_csv(path, index=False)
    again = tasks.get(str(path), read_options="kinds=sex:drop")
    with pytest.raises(DataError, match="no longer in the table"):
        slices.groups(again, rows, "sex")


def test_too_many_groups_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({
        "a": np.arange(300) % 7, "who": [f"w{i % 100}" for i in range(300)],
        "label": ["x", "y", "x"] * 100,
    }).to_csv(path, index=False)  # fmt: skip
    task = tasks.get(str(path))
    with pytest.raises(DataError, match="100 different values"):
        slices.groups(task, task.load(), "who")
