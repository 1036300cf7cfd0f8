import numpy as np
import pandas as pd
import pytest

from diptych.core.data import schema, typing
from diptych.core.data.facts import Conventions
from diptych.core.data.sources import DataError


def table(**more):
    """Return raw columns as a CSV gives them: strings."""
    raw = {
        "text": ["good film", "bad film", "fine", "poor"],
        "label": ["1", "0", "1", "0"],
        **more,
    }
    return pd.DataFrame(raw).astype(dict.fromkeys(raw, "str"))


def interpret(raw, text="text", label="label", time="", target=""):
    return schema.interpret(raw, text, label, time, target=target)


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


def test_without_text_every_column_a_model_can_use_is_a_feature():
    raw = pd.DataFrame(
        {
            "Mean radius (cm)": ["1.5", "NA", " 2e3 ", "-1"],
            "mean radius cm": ["1", "2", "3", "5"],
            "1st": ["1", "2", "3", "inf"],
            "flag": ["True", "False", "true", "FALSE"],
            "größe": ["1", "2", "3", "7"],
            "time": ["9", "8", "7", "6"],
            "colour": ["red", "blue", "blue", "red "],
            "nothing": [None] * 4,
            "same": ["x"] * 4,
            "reference": ["1", "2", "2", "1"],
            "": ["0", "1", "2", "3"],
            "y": ["a", "b", "a", "b"],
        }
    )
    rows = interpret(raw, text="", label="y")
    assert rows.kind == "table"
    assert rows.features == [column.name for column in rows.columns]
    kinds = {column.name: column.kind for column in rows.columns}
    assert kinds == {
        "Mean_radius_cm": "number", "mean_radius_cm_2": "number", "x_1st": "number",
        "flag": "boolean", "größe": "number", "x_time": "number", "colour": "category",
        "x_reference": "number",
    }  # fmt: skip
    assert all(name.isidentifier() for name in rows.features)
    np.testing.assert_array_equal(rows.frame["Mean_radius_cm"], [1.5, np.nan, 2000, -1])
    assert rows.frame["Mean_radius_cm"].dtype == np.float64
    assert rows.frame["flag"].tolist() == [True, False, True, False]
    assert rows.frame["colour"].tolist() == ["red", "blue", "blue", "red"]
    assert rows.frame["x_1st"].isna().tolist() == [False, False, False, True]
    for name, reason in (
        ("'nothing'", "empty"), ("''", "no name"), ("'same'", "never changes"),
        ("'1st'", "infinite numbers in 1 rows: read as missing"),
    ):  # fmt: skip
        assert any(name in note and reason in note for note in rows.notes), rows.notes


def test_columns_have_the_types_of_their_kinds():
    raw = pd.DataFrame(
        {
            "n": ["1", "2", "", "4"],
            "b": ["yes", "no", "", "no"],
            "c": ["u", "v", "", "v"],
            "t": ["2024-01-01", "2024-01-02", "", "2024-01-05"],
            "label": ["1", "0", "1", "0"],
        }
    )
    rows = interpret(raw, text="")
    types = schema.schema(rows.features, columns=rows.columns)
    assert [str(types.field(x).type) for x in "nbct"] == [
        "double", "bool", "string", "timestamp[us, tz=UTC]",
    ]  # fmt: skip
    assert rows.frame[rows.features].isna().to_numpy().tolist() == [
        [False] * 4, [False] * 4, [True] * 4, [False] * 4,
    ]  # fmt: skip
    assert rows.frame["t"].dtype == "datetime64[us, UTC]"


def test_large_whole_numbers_stay_apart():
    raw = table(text=["16777217", "16777216", "16777218", "16777217"])
    numbers = interpret(raw.rename(columns={"text": "n"}), text="").frame["n"]
    assert numbers.tolist() == [16777217, 16777216, 16777218, 16777217]


def test_typed_columns_mean_what_their_strings_mean():
    raw = pd.DataFrame(
        {
            "a": [1, 2, 3, 5],
            "b": [True, False, True, True],
            "c": pd.Categorical(["u", "v", "u", "v"]),
            "d": pd.to_datetime(["2024-01-01", "2024-01-03", "2024-01-04", "2024-01-04"]),
            "label": [1.0, 0.0, 1.0, 0.0],
        }
    )
    typed = interpret(raw)
    written = interpret(raw.astype("str"))
    pd.testing.assert_frame_equal(typed.frame, written.frame)
    assert [column.kind for column in typed.columns] == ["number", "boolean", "category", "time"]
    assert typed.frame["label"].tolist() == ["1", "0", "1", "0"]


def test_rows_without_label_text_or_time_are_left_out_and_counted():
    raw = table(
        text=["good film", "bad film", " ", "poor", "fine", "awful"],
        label=["1", "0", "1", "0", "NaN", "0"],
        when=["2024-01-01", "2024-01-02", "2024-01-03", None, "2024-01-05", "2024-01-06"],
    )
    rows = interpret(raw, time="when")
    assert rows.frame["text"].tolist() == ["good film", "bad film", "awful"]
    assert rows.frame.index.tolist() == [0, 1, 2]
    counted = [note for note in rows.notes if "were left out" in note]
    assert [note.split(" were")[0] for note in counted] == ["1 of 6 rows"] * 3
    assert "no label (column 'label', first in row 5)" in counted[0]
    assert "no text (column 'text', first in row 3)" in counted[1]
    assert any("'NaN' (1); if one of these is a value" in note for note in rows.notes)


def test_spellings_of_one_class_are_merged_and_said():
    raw = table(text=list("abcdef"), label=["POS", "POS", "Pos", "neg", "neg ", "1.0"])
    rows = interpret(raw)
    assert rows.frame["label"].tolist() == ["POS", "POS", "POS", "neg", "neg", "1"]
    assert any("'Pos' (1) became 'POS'" in note for note in rows.notes)


def test_what_a_text_task_does_not_read_is_named():
    (note,) = interpret(table(stars=["1", "2", "3", "4"])).notes
    assert "only the text is read, not 'stars'" in note


def test_fifty_and_more_classes_are_classes():
    labels = [f"c{i}" for i in range(60)] * 20
    rows = interpret(pd.DataFrame({"text": map(str, range(1200)), "label": labels}).astype("str"))
    assert rows.frame["label"].nunique() == 60


def test_splits_and_groups_of_the_file_are_kept_apart():
    raw = table(split=["train", "Test", "dev", "train"], who=["u", "u", "v", "v"])
    rows = schema.interpret(raw, "text", "label", "", "who")
    assert rows.named_splits.tolist() == ["train", "Test", "dev", "train"]
    assert rows.groups.tolist() == ["u", "u", "v", "v"]
    assert "split" not in rows.frame
    raw = table(split=["left", "right", "left", "left"])
    rows = interpret(raw.rename(columns={"text": "z"}), text="")
    assert rows.named_splits is None
    assert "x_split" in rows.features


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
AMOUNTS = [f"{i}.5" for i in range(60)]
REVIEWS = [
    "fine to me all in all",
    "not at all what I wanted",
    "a waste of time",
    "poor in the end",
]


@pytest.mark.parametrize(
    ("raw", "chosen", "message"),
    [
        (table(), {"label": "labl"}, r"^label_column: .*'labl'; the columns are 'text', 'label'\. "
                                     r"Did you mean 'label'\?"),
        (table(), {"text": "txt"}, "^text_column: .*'txt'.*Did you mean 'text'"),
        (table(), {"time": "when"}, "^time_column: .* no column 'when'.* Set time_column to one"),
        (table(), {"text": "label"}, "^label_column and text_column: both name .*'label'"),
        (table(text=["x"] * 4), {"text": ""}, "^text_column: there is no other column a model can"),
        (table(text=REVIEWS).rename(columns={"text": "review"}), {},
         "there is no column 'text'.*Did you mean 'review'"),
        (table(label=["1"] * 4), {}, "'label' holds one class only, '1'"),
        (table(label=list("abcd")), {}, "holds 4 different values in 4 rows"),
        (pd.DataFrame({"text": ["x"] * 102, "label": NOT_CLASSES * 2}), {}, "holds 51 different"),
        (pd.DataFrame({"text": ["x"] * 600, "label": AMOUNTS * 10}), {"target": "classes"},
         "an amount and no class"),
        (table(label=[None, None, "", " "]), {}, "^label_column: column 'label' is empty"),
        (table(text=["", "", " ", None]), {}, "no row of 4 can be used: column 'text' is empty"),
        (table().assign(label=[["a"], ["a", "b"], ["b"], ["a"]]), {}, "several classes a row"),
        (table().assign(text=[1, 2, 3, 4]), {}, "'text' holds int64, not text"),
        (table(when=["2024-01-01", "2024-01-02", "soon", "later"]), {"time": "when"},
         "'when': it holds 'soon' in row 3"),
        (table(when=["1/2/2024", "13/13/2024", "1/2/2024", "3/4/2024"]), {"time": "when"},
         "'13/13/2024'"),
        (table(when=["12", "13", "14", "15"]), {"time": "when"}, "^time_column: column 'when'"),
    ],
)  # fmt: skip
def test_wrong_columns_are_refused(raw, chosen, message):
    with pytest.raises(DataError, match=message):
        interpret(raw, **chosen)


def test_many_columns_are_not_all_listed():
    raw = table(**{f"column {i}": ["1"] * 4 for i in range(30)})
    with pytest.raises(DataError, match="'column 17' and 12 more"):
        interpret(raw, label="none")


def test_a_split_column_is_found_whatever_its_case_and_one_that_only_may_be_is_named():
    words = ["Train", "Dev", "Holdout", "train"]
    rows = interpret(table(Split=words))
    assert rows.named_splits.tolist() == words
    assert "Split" not in rows.frame
    rows = interpret(table(subset=["train", "test", "train", "test"]))
    assert rows.named_splits is None
    assert any("call it 'split'" in note for note in rows.notes)
    rows = interpret(table(split=["1", "2", "1", "2"]))
    assert rows.named_splits is None
    assert any("names no splits" in note for note in rows.notes)


def test_groups_that_differ_in_case_and_spaces_are_one():
    raw = table(g=["A1", "a1 ", "B2", "B2"])
    groups = schema.interpret(raw, "text", "label", "", "g").groups
    assert groups.nunique() == 2


@pytest.mark.parametrize(
    ("labels", "words"),
    [(["a|b", "a", "b", "a"], "several classes"), (["True", "1", "0", "1"], "different classes")],
)
def test_classes_that_are_several_or_the_same_are_said(labels, words):
    assert any(words in note for note in interpret(table(label=labels)).notes)
    assert not interpret(table(label=["a|b", "c", "a|b", "c"])).notes


def test_the_decimal_mark_of_each_column_is_looked_for_once(monkeypatch):
    """A table of 10,000 columns takes long enough with one look at each."""
    looked, look = [], typing._shown_decimal
    monkeypatch.setattr(
        typing,
        "_shown_decimal",
        lambda values, *rest: looked.append(values.name) or look(values, *rest),
    )
    raw = pd.DataFrame({f"c{i}": ["1.234", "5.678", "9.012"] for i in range(5)}, dtype="str")
    raw = raw.assign(shows=["1,5", "2,5", "3,75"], label=["4,5", "5,5", "6,25"]).astype("str")
    rows = interpret(raw, "", "label", "", target="number")
    assert sorted(looked) == sorted(raw.columns)
    assert rows.frame["c0"].tolist() == [1234, 5678, 9012], "as the others show"
    assert rows.frame["label"].tolist() == [4.5, 5.5, 6.25]


def called(raw, **names):
    return schema.interpret(raw, "text", "label", "", conventions=Conventions(labels=names))


def test_classes_are_called_what_the_user_calls_them():
    raw = table(label=[0, 1, 1, 0])
    rows = called(raw, **{"0": "bad", "1": "good"})
    assert list(rows.frame["label"]) == ["bad", "good", "good", "bad"]
    assert "label column 'label': 0 is called bad, 1 is called good" in rows.notes
    swapped = called(table(label=["a", "b", "b", "a"]), a="b", b="a")
    assert list(swapped.frame["label"]) == ["b", "a", "a", "b"]
    stars = called(table(label=[1, 2, 3, 1]), **{"1": "bad", "2": "bad", "3": "good"})
    assert list(stars.frame["label"]) == ["bad", "bad", "good", "bad"]


def test_names_of_classes_that_are_not_there_are_refused():
    with pytest.raises(DataError, match=r"labels: '2' is no class of column 'label'; .* '0', '1'"):
        called(table(label=[0, 1, 1, 0]), **{"2": "good"})
    one = {"0": "same", "1": "same"}
    with pytest.raises(DataError, match="one class only, 'same'"):
        called(table(label=[0, 1, 1, 0]), **one)
    with pytest.raises(DataError, match="metric asks for a number"):
        schema.interpret(table(label=[0, 1, 1, 0]), "text", "label", "", target="number",
                         conventions=Conventions(labels={"0": "bad"}))  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "bare"),
    [
        (["0", "1"], True), (["-1.5", "+2"], True), (["a", "b"], True), (["yes", "No"], True),
        (["True", "false"], True), (["positive", "0"], False), (["spam", "ham"], False),
        ([], False),
    ],
)  # fmt: skip
def test_labels_that_are_no_names_are_known(labels, bare):
    assert schema.are_bare(labels) == bare
