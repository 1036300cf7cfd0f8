import numpy as np
import pandas as pd
import pytest

from diptych.core.data import schema
from diptych.core.data.sources import DataError


def table(**more):
    """Return raw columns as a CSV gives them: strings."""
    raw = {
        "text": ["good film", "bad film", "fine", "poor"],
        "label": ["1", "0", "1", "0"],
        **more,
    }
    return pd.DataFrame(raw).astype(dict.fromkeys(raw, "str"))


def interpret(raw, text="text", label="label", time=""):
    return schema.interpret(raw, text, label, time)


def test_texts():
    rows = interpret(table())
    assert (rows.kind, rows.features, rows.notes) == ("text", ["text"], [])
    assert list(rows.frame) == ["id", "time", "text", "label", "slice"]
    assert rows.frame["text"].tolist() == ["good film", "bad film", "fine", "poor"]
    assert rows.frame["time"].isna().all()


def test_other_names_are_taken():
    raw = table(when=["2024-01-01"] * 4).rename(columns={"text": "the review", "label": "größe"})
    rows = interpret(raw, "the review", "größe", "when")
    assert rows.frame["label"].tolist() == ["1", "0", "1", "0"]
    assert rows.frame["time"].dt.year.eq(2024).all()


def test_without_text_every_numeric_column_is_a_feature():
    raw = pd.DataFrame(
        {
            "Mean radius (cm)": ["1.5", "NA", " 2e3 ", "-1"],
            "mean radius cm": ["1", "2", "3", "4"],
            "1st": ["1", "2", "3", "inf"],
            "flag": ["True", "False", "true", "FALSE"],
            "größe": ["1", "2", "3", "4"],
            "time": ["9", "8", "7", "6"],
            "colour": ["red", "1", "2", "3"],
            "nothing": [None] * 4,
            "": ["0", "1", "2", "3"],
            "y": ["a", "b", "a", "b"],
        }
    )
    rows = interpret(raw, text="", label="y")
    assert rows.kind == "table"
    assert rows.features == [
        "Mean_radius_cm", "mean_radius_cm_2", "x_1st", "flag", "größe", "x_time",
    ]  # fmt: skip
    assert all(name.isidentifier() for name in rows.features)
    values = rows.frame[rows.features]
    assert (values.dtypes == np.float32).all()
    np.testing.assert_array_equal(values["Mean_radius_cm"], [1.5, np.nan, 2000, -1])
    assert values["flag"].tolist() == [1, 0, 1, 0]
    assert np.isinf(values["x_1st"].iloc[3])
    assert len(rows.notes) == 3
    for name, reason in (("colour", "'red' in row 1"), ("nothing", "empty"), ("''", "no name")):
        assert any(name in note and reason in note for note in rows.notes)


def test_typed_columns_mean_what_their_strings_mean():
    raw = pd.DataFrame(
        {
            "a": [1, 2, 3, 4],
            "b": [True, False, True, True],
            "c": pd.Categorical(["1", "2", "1", "2"]),
            "d": pd.to_datetime(["2024-01-01"] * 4),
            "label": [1.0, 0.0, 1.0, 0.0],
        }
    )
    typed = interpret(raw)
    written = interpret(raw.drop(columns="d").astype("str"))
    pd.testing.assert_frame_equal(typed.frame, written.frame)
    assert typed.notes == ["column 'd' was left out: it holds times"]
    assert typed.frame["label"].tolist() == ["1", "0", "1", "0"]


def test_a_given_id_is_kept_and_one_that_repeats_is_not():
    assert interpret(table(id=["a", "b", "c", "d"])).frame["id"].tolist() == ["a", "b", "c", "d"]
    rows = interpret(table(id=["a", "a", "c", "d"]))
    assert rows.frame["id"].is_unique
    assert not rows.frame["id"].isin(["a", "c", "d"]).any()
    assert "'id' was left out" in rows.notes[0]


def test_made_ids_follow_the_row_and_not_its_place():
    raw = pd.concat([table(), table().iloc[:1]], ignore_index=True)  # one row twice
    rows, turned = interpret(raw).frame, interpret(raw.iloc[::-1].reset_index(drop=True)).frame
    assert rows["id"].is_unique
    assert set(rows["id"]) == set(turned["id"])
    merged = rows.merge(turned, on="id")
    assert (merged["text_x"] == merged["text_y"]).all()


def test_a_slice_column_is_kept_unless_it_names_no_groups():
    assert interpret(table(slice=["x", "", "y", "x"])).frame["slice"].tolist() == [
        "x",
        "",
        "y",
        "x",
    ]
    raw = pd.concat([table()] * 20, ignore_index=True).assign(slice=[str(i) for i in range(80)])
    rows = interpret(raw)
    assert rows.frame["slice"].eq("").all()
    assert rows.notes == ["column 'slice' was left out: it holds 80 different values"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["2024-01-02", "2024-12-31"], ["2024-01-02", "2024-12-31"]),
        (["2024-01-02", "2024-12-31T10:00:00Z"], ["2024-01-02", "2024-12-31T10:00"]),
        (["2024-01-02T00:30:00+02:00", "2024-01-03"], ["2024-01-01T22:30", "2024-01-03"]),
        (["1/2/2024", "12/31/2024"], ["2024-01-02", "2024-12-31"]),
        (["1/2/2024", "31/12/2024"], ["2024-02-01", "2024-12-31"]),
        (["31/12/2024", "1/2/2024"], ["2024-12-31", "2024-02-01"]),
        (["31.12.2024 10:30", "01.02.2024 00:00"], ["2024-12-31T10:30", "2024-02-01"]),
        (["Jan 3, 2024", "Dec 31, 2024"], ["2024-01-03", "2024-12-31"]),
        (["20240102", "20241231"], ["2024-01-02", "2024-12-31"]),
    ],
)
def test_times(written, meant):
    raw = table(when=written * 2)
    found = interpret(raw, time="when").frame["time"]
    assert found.dtype == "datetime64[us, UTC]"
    assert found.tolist() == [pd.Timestamp(x, tz="UTC") for x in meant * 2]


def test_typed_times_without_a_zone_are_utc():
    raw = table().assign(when=pd.to_datetime(["2024-01-01"] * 4))
    assert interpret(raw, time="when").frame["time"].iloc[0] == pd.Timestamp("2024-01-01", tz="UTC")


NOT_CLASSES = [f"c{i}" for i in range(51)]


@pytest.mark.parametrize(
    ("raw", "chosen", "message"),
    [
        (table(), {"label": "labl"}, r"^label_column: .*'labl'; the columns are 'text', 'label'\. "
                                     r"Did you mean 'label'\?"),
        (table(), {"text": "txt"}, "^text_column: .*'txt'.*Did you mean 'text'"),
        (table(), {"time": "when"}, "^time_column: there is no column 'when'"),
        (table(), {"text": "label"}, "^label_column and text_column: both name .*'label'"),
        (table(), {"text": ""}, "^text_column: there is no numeric column"),
        (table().rename(columns={"text": "review"}).replace("fine", "fine to me all in all, yes"),
         {}, "there is no column 'text'.*Did you mean 'review'"),
        (table(label=["1"] * 4), {}, "'label' holds one class only, '1'"),
        (table(label=list("abcd")), {}, "holds 4 different values in 4 rows"),
        (pd.DataFrame({"text": ["x"] * 102, "label": NOT_CLASSES * 2}), {}, "holds 51 different"),
        (table(label=["1", None, "0", None]), {}, "'label' is empty in 2 of 4 .* in row 2"),
        (table(text=["a", "b", " ", "c"]), {}, "'text' is empty in 1 of 4 rows, first in row 3"),
        (table().assign(text=[1, 2, 3, 4]), {}, "'text' holds int64, not text"),
        (table(when=["2024-01-01", "2024-01-02", "soon", "later"]), {"time": "when"},
         "'when' holds 'soon' in row 3"),
        (table(when=["1/2/2024", "13/13/2024", "1/2/2024", "3/4/2024"]), {"time": "when"},
         "'when' holds '13/13/2024' in row 2"),
        (table(when=["1700000000"] * 4), {"time": "when"}, "holds '1700000000' in row 1"),
        (table(when=["2024-01-01", None, "2024-01-02", ""]), {"time": "when"},
         "^time_column: column 'when' is empty in 2 of 4 rows"),
    ],
)  # fmt: skip
def test_wrong_columns_are_refused(raw, chosen, message):
    with pytest.raises(DataError, match=message):
        interpret(raw, **chosen)


def test_many_columns_are_not_all_listed():
    raw = table(**{f"column {i}": ["1"] * 4 for i in range(30)})
    with pytest.raises(DataError, match="'column 17' and 12 more"):
        interpret(raw, label="none")
