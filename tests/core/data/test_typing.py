import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.core.data.column import CellError, Column, TypedColumns
from diptych.core.data.facts import Conventions, KindError, LeftOutError
from diptych.core.data.typing import infer, infer_column, label_column

GAPS = ["", " ", "NA", "n/a", "NaN", "null", "None", "-", "?"]


def strings(values):
    return pd.Series([None if x is None else str(x) for x in values], dtype="str")


def plain(series):
    """The values of a typed column as `read_value` gives them."""
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        return [None if pd.isna(x) else x.value // 1000 for x in series]
    return [None if pd.isna(x) else x for x in series.tolist()]


def kinds(frame, **options):
    return {c.original: c.kind for c in infer(frame, **options).columns}


def assert_read_alike(column, raw):
    """Values of training and of service are the same, those of JSON and after a round trip too."""
    column = Column.from_dict(json.loads(json.dumps(column.to_dict())))
    values = [None if pd.isna(x) else x for x in raw.tolist()]
    served = [column.read_value(x) for x in values]
    assert plain(column.read_series(raw)) == served
    assert [type(x) for x in served if x is not None] == [
        {"number": float, "boolean": bool, "time": int}.get(column.kind, str)
        for x in served
        if x is not None
    ]


CELLS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(-1e6, 1e6).map(repr),
    st.floats(-1e4, 1e4).map(lambda x: f"{x:,.2f}"),
    st.floats(-1e4, 1e4).map(lambda x: f"{x:.2f}".replace(".", ",")),
    st.sampled_from(GAPS),
    st.sampled_from(["yes", "No", "TRUE", "false", "Y", "1", "0", "1.0"]),
    st.sampled_from(["red", "Red ", "a b", "2023-01-31", "31/01/2023 5 PM", "inf", "5 %", "$3"]),
    st.text(max_size=6),
)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_training_and_serving_read_the_same(data):
    makers = data.draw(st.lists(CELLS, min_size=1, max_size=30))
    some = data.draw(st.lists(st.sampled_from(makers), min_size=1, max_size=40))
    raw = strings(x for x in some)
    try:
        column, _ = infer_column(raw, "x y")
    except LeftOutError:
        return
    assert_read_alike(column, raw)


@settings(deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, width=64) | st.integers(-(2**53), 2**53), min_size=2),
    st.sampled_from(["float64", "object"]),
)
def test_native_numbers_are_read_alike(values, dtype):
    raw = pd.Series(values, dtype=dtype)
    try:
        column, _ = infer_column(raw, "x")
    except LeftOutError:
        return
    assert_read_alike(column, raw)


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 2)), min_size=3, unique=True),
    st.sampled_from([(".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (".", "'")]),
    st.sampled_from(["", "%", "$", "€"]),
    st.lists(st.sampled_from(GAPS), max_size=4),
)
def test_numbers_are_read_as_they_were_written(numbers, marks, sign, gaps):
    table = str.maketrans({",": marks[1], ".": marks[0]})
    written = [f"{x:,.2f}".translate(table) for x in numbers]
    written = [f"{sign}{x}" if sign == "$" else f"{x}{sign}" for x in written]
    raw = strings([*written, *gaps])
    column, _ = infer_column(raw, "x")
    assert column.kind == "number"
    assert column.read_series(raw).tolist()[: len(numbers)] == numbers
    assert column.read_series(raw).isna().sum() == len(gaps)
    assert_read_alike(column, raw)


def test_kinds_of_a_table_of_strings():
    frame = pd.DataFrame(
        {
            "plan": strings(["yearly", "monthly", None, "yearly"] * 30),
            "paid": strings(["True", "false", "NA", "TRUE"] * 30),
            "churn?": strings(["Yes", "no", "-", "yes "] * 30),
            "age (years)": strings(["1", "2.5", "?", " 3 "] * 30),
            "seen": strings([f"2023-01-{i % 28 + 1:02d}" for i in range(120)]),
            "remark": strings(f"the parcel number {i} came too late" for i in range(120)),
        }
    )
    typed = infer(frame)
    assert {c.original: c.kind for c in typed.columns} == {
        "plan": "category", "paid": "boolean", "churn?": "boolean", "age (years)": "number",
        "seen": "time", "remark": "text",
    }  # fmt: skip
    assert [c.name for c in typed.columns][2:4] == ["churn", "age_years"]
    read = typed.read(frame)
    assert [str(x) for x in read.dtypes] == [
        "str", "boolean", "boolean", "float64", "datetime64[us, UTC]", "str"
    ]  # fmt: skip
    row = dict(zip(frame, ["YEARLY", True, "no", 3, "2023-01-02", None], strict=True))
    assert typed.read_row(row) == ["yearly", True, False, 3.0, 1672617600000000, None]


@pytest.mark.parametrize("word", [*GAPS, "Null", "nil", "NaT", "#N/A", "…"])
def test_words_for_missing_are_the_same_for_all_kinds(word):
    for values in (
        ["1", "2", "3"],
        ["a", "b", "b"],
        ["yes", "no", "no"],
        ["2023-01-01", "2023-01-02"],
    ):
        raw = strings([*values, *values, word])
        column, notes = infer_column(raw, "x")
        assert column.read_series(raw).isna().tolist() == [False] * len(raw[:-1]) + [True]
        assert column.read_value(word) is None
        assert not word.strip() or "read as missing" in " ".join(notes)
    label, _ = label_column(strings(["a", "b", word]), "label")
    assert label.forms == ("a", "b")
    assert label.read_value(word) is None


def test_words_for_missing_can_be_set():
    conventions = Conventions(missing=("unknown",))
    column, _ = infer_column(strings(["NA", "DE", "unknown", "", "NA"]), "country", conventions)
    assert column.read_value("NA") == "NA"  # Namibia
    assert column.read_value("Unknown") is None
    assert column.read_value("") is None


def test_spellings_of_one_value_are_merged_with_a_note():
    raw = strings(["Yes", "Yes", "yes ", "YES", "maybe", "maybe", "a  b", "a b"])
    column, notes = infer_column(raw, "x")
    assert column.read_series(raw).tolist() == ["Yes"] * 4 + ["maybe"] * 2 + ["a b"] * 2
    assert "'YES' (1), 'yes' (1) became 'Yes'" in notes[0]
    assert column.read_value("yEs") == "Yes"
    assert column.read_value("other") == "other"


def test_labels_with_and_without_a_tail_are_one_class_with_a_note():
    label, notes = label_column(strings(["1", "0", "1.0", "0"]), "label")
    assert label.forms == ("0", "1")
    assert label.read_value(1.0) == label.read_value("1") == label.read_value(1) == "1"
    assert "(such as '1.0')" in notes[0]
    label, notes = label_column(strings([" Pos", "neg", "POS", "POS"]), "label")
    assert label.forms == ("POS", "neg")
    assert "'Pos' (1) became 'POS'" in notes[0]


@pytest.mark.parametrize(
    ("values", "decimal", "thousands", "first"),
    [
        (["-0,695", "0,825"], ",", "", -0.695),
        (["982,00", "1.392,00"], ",", ".", 982),
        (["6,950.00", "27,280.00"], ".", ",", 6950),
        (["6 950.5", "27 280.5"], ".", " ", 6950.5),
        (["6'950", "27'280"], ".", "'", 6950),
        (["1,234", "12,345"], ".", ",", 1234),
        (["0,234", "12,345"], ",", "", 0.234),
        (["1.234", "12.345"], ".", "", 1.234),
        (["(5.00)", "6.00"], ".", "", -5),
        (["\u22125.0", "6.0"], ".", "", -5),
    ],
)
def test_marks(values, decimal, thousands, first):
    raw = strings(values)
    column, _ = infer_column(raw, "x")
    assert (column.decimal, column.thousands) == (decimal, thousands)
    assert column.read_series(raw)[0] == column.read_value(values[0]) == first


def test_a_column_with_two_readings_follows_the_file():
    frame = pd.DataFrame({"a": strings(["0,5", "1,5"]), "b": strings(["1.234", "5.678"])})
    assert infer(frame).read(frame)["b"].tolist() == [1234, 5678]
    assert infer(frame[["b"]]).read(frame)["b"].tolist() == [1.234, 5.678]
    english = Conventions(decimal=".")
    assert infer(frame[["b"]], english).read(frame)["b"].tolist() == [1.234, 5.678]


def test_a_sign_is_taken_off_and_said_and_one_not_seen_is_refused():
    column, notes = infer_column(strings(["9.8%", "13.9 %"]), "share")
    assert column.read_value("9.8%") == column.read_value(9.8) == 9.8
    assert "% is taken off the numbers, which stay as written" in notes
    column, _ = infer_column(strings(["0.05", "0.1"]), "share")
    with pytest.raises(CellError, match=r"share: '5%' is no number; send a number such as 1234.5"):
        column.read_value("5%")
    assert kinds(pd.DataFrame({"x": strings(["$5", "€6", "$5"])})) == {"x": "category"}


def test_few_words_among_numbers_are_missing_with_a_note():
    raw = strings([*map(str, range(100)), "error", "error"])
    column, notes = infer_column(raw, "x")
    assert column.kind == "number"
    assert "'error' in 2 rows: read as missing" in notes
    assert column.read_value("Error") is None
    assert kinds(pd.DataFrame({"x": strings(["1", "2", "error"] * 9)})) == {"x": "category"}


def test_a_code_with_leading_zeros_is_no_number():
    column, notes = infer_column(strings(["01234", "98765", "01234"]), "zip")
    assert column.kind == "category"
    assert column.read_value("01234") == "01234"
    assert "leading zeros" in notes[0]


@pytest.mark.parametrize("as_strings", [False, True])
def test_large_whole_numbers_are_never_rounded(as_strings):
    values = [2**53 + 1, 2**53 + 2, 2**53 + 1]
    raw = strings(values) if as_strings else pd.Series(values)
    column, _ = infer_column(raw, "x")
    assert column.kind == "category"
    assert column.read_series(raw).tolist() == [str(x) for x in values]
    column, _ = infer_column(pd.Series([2**53, 1, 2]), "x")
    assert column.read_series(pd.Series([2**53])).tolist() == [float(2**53)]
    with pytest.raises(CellError, match="exactly up to"):
        column.read_value(2**53 + 1)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("x", [None, "", "NA"], "it is empty"),
        ("x", ["a", "a", "A "], "it never changes"),
        ("", ["a", "b", "a"], "it has no name"),
        ("customer_id", [f"C{i}" for i in range(10)], "it is an id, by its name"),
        ("PassengerId", list(range(1, 10)), "it is an id, by its name"),
        ("Unnamed: 0", list(range(30)), "it is an id, by its name"),
        ("row", list(range(30)), "it counts the rows"),
        ("code", [f"k{i * 7919 % 1000}" for i in range(30)], "it is an id: no value repeats"),
        ("u", [f"{i:08x}-0000-4000-8000-000000000000" for i in range(5)] * 2, "UUIDs"),
        ("tags", [["a"], ["b"], ["a"]], "lists or objects"),
        ("nested", [{"a": 1}, {"b": 1}], "lists or objects"),
    ],
)
def test_columns_without_use_are_left_out_with_a_reason(name, values, reason):
    values = (
        values if reason == "lists or objects" else [None if x is None else str(x) for x in values]
    )
    frame = pd.DataFrame({name: pd.Series(values)})
    typed = infer(frame)
    assert typed.columns == []
    assert reason in typed.left_out[name]
    assert typed.sentences()[0].startswith(f"column {name!r} was left out: ")


def test_numbers_and_groups_are_no_ids():
    frame = pd.DataFrame(
        {
            "price": strings(i * 1.7 for i in range(50)),
            "salary": strings(30_000 + i * i for i in range(50)),
            "customer_id": strings(i % 10 for i in range(50)),
            "day_seen": strings(f"2023-01-{i % 28 + 1}" for i in range(50)),
        }
    )
    assert set(kinds(frame)) == set(frame)


def test_a_kind_can_be_asked_for():
    frame = pd.DataFrame({"grade": strings(["1", "2", "3"] * 5), "id": strings(range(15))})
    asked = Conventions(kinds={"grade": "category", "id": "number"})
    assert kinds(frame, conventions=asked) == {"grade": "category", "id": "number"}
    with pytest.raises(KindError, match=r"column 'grade': .*no seconds"):
        infer(frame, Conventions(kinds={"grade": "time"}))
    with pytest.raises(ValueError, match="'date' is no kind; take one of number"):
        infer(frame, Conventions(kinds={"grade": "date"}))


def test_names_of_the_file_and_ours_are_both_known():
    names = ["a b", "__x__", "class", "price ($)", "😀", "Zeit (s)", "a_b", "a.b", "2nd", "label"]
    frame = pd.DataFrame({name: strings([0.5, 1.5, 2.5]) for name in names})
    typed = TypedColumns.from_dict(json.loads(json.dumps(infer(frame).to_dict())))
    ours = [c.name for c in typed.columns]
    assert len(set(ours)) == len(names)
    assert all(name.isidentifier() for name in ours)
    assert typed.read_row(dict.fromkeys(names, 1)) == typed.read_row(dict.fromkeys(ours, 1))
    assert typed.unknown(["price ($)", "price", "colour"]) == ["colour"]
    with pytest.raises(CellError, match="a b: is missing"):
        typed.read_row({"class": 1})


@pytest.mark.parametrize(
    ("kind", "raw", "bad", "message"),
    [
        ("number", ["1", "2"], "x", "age: 'x' is no number; send a number"),
        ("number", ["1", "2"], True, "age: 'True' is no number"),
        ("boolean", ["yes", "no"], "maybe", "age: 'maybe' is no boolean; send true, false or null"),
        ("time", ["2023-01-01", "2023-01-02"], "1/2/23", "age: '1/2/23' is no time; send a time"),
        ("category", ["a", "b"], ["a"], "is no category; send one value"),
    ],
)
def test_a_value_that_is_not_of_the_column_is_named(kind, raw, bad, message):
    column, _ = infer_column(strings(raw), "age")
    assert column.kind == kind
    with pytest.raises(CellError) as raised:
        column.read_value(bad)
    assert message in str(raised.value)


def test_the_row_of_a_bad_value_is_named_in_training():
    column, _ = infer_column(strings(["1", "2"]), "age")
    with pytest.raises(CellError, match=r"\(row 4\)"):
        column.read_series(strings(["1", None, "2", "x", "3"]))


def test_infinite_numbers_are_missing_with_a_note():
    for raw in (pd.Series([1.0, math.inf, 2.0]), strings(["1", "inf", "2"])):
        column, notes = infer_column(raw, "x")
        assert "infinite numbers in 1 rows: read as missing" in notes
        assert column.read_series(raw).isna().tolist() == [False, True, False]
        assert column.read_value("Infinity") is None


def test_a_stand_in_for_missing_is_named_and_kept():
    raw = strings([*range(1, 60), -999, -999])
    column, notes = infer_column(raw, "x")
    assert "-999 in 2 rows may stand for a missing value; it is kept" in notes[0]
    assert column.read_value("-999") == -999


def test_types_of_parquet():
    frame = pd.DataFrame(
        {
            "b": pd.array([True, None, False] * 9, "boolean"),
            "i": pd.array([1, None, 3] * 9, "Int64"),
            "c": pd.Categorical(["a", None, "b"] * 9),
            "n": pd.Categorical([1, None, 2] * 9),
            "t": pd.to_datetime(["2023-01-01", None, "2023-01-05"] * 9),
            "f": np.array([0.5, np.nan, 1.5] * 9, np.float32),
        }
    )
    typed = infer(frame)
    assert [c.kind for c in typed.columns] == [
        "boolean", "number", "category", "number", "time", "number"
    ]  # fmt: skip
    read = typed.read(frame)
    assert read.isna().sum().tolist() == [9] * 6
    for column in typed.columns:
        if column.kind != "time":
            assert_read_alike(column, frame[column.original])


def test_an_endpoint_reads_without_pandas():
    code = (
        "import sys; from diptych.core.data.column import Column; "
        "c = Column('x', 'x', 'number', decimal=','); "
        "print(c.read_value('1,5'), 'pandas' in sys.modules, 'pyarrow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout.split() == ["1.5", "False", "False"]


def test_a_number_that_stands_for_missing_is_missing_however_it_comes():
    conventions = Conventions(missing=("-999", "na"))
    csv = strings([-999, 1, 2.5, "-999.0", "NA"] * 5)
    for raw in (csv, pd.Series([-999, 1, 2, 4, 7] * 5), pd.Series([-999.0, 1.5, 2, 4, 7] * 5)):
        column, notes = infer_column(raw, "x", conventions)
        values = column.read_series(raw)
        assert values.min() == 1 or values.min() == 1.5
        assert column.kind == "number"
        assert any("'-999'" in note for note in notes)
        assert_read_alike(column, raw)
    assert column.read_value(-999) is None
    assert column.read_value("-999") is None


def test_a_lone_letter_of_a_pair_is_a_value_of_its_own():
    assert kinds(pd.DataFrame({"a": strings(["Y", "N", "T"] * 9)})) == {"a": "category"}
    assert kinds(pd.DataFrame({"a": strings(["T", "F", "N"] * 9)})) == {"a": "category"}
    column, notes = infer_column(strings(["Y", "N", "yes", "no", "1"] * 9), "a")
    assert column.kind == "boolean"
    assert notes == ["'1', 'y', 'yes' are read as true, 'n', 'no' as false"]


def test_part_numbers_and_versions_are_no_times():
    parts = strings([f"{i % 12 + 1:02d}-{3000 + i % 9 * 571}" for i in range(60)])
    versions = strings([f"3.{6 + i % 7}.{10 + i % 9}" for i in range(60)])
    assert kinds(pd.DataFrame({"a": parts, "b": versions})) == {"a": "category", "b": "category"}
    dates = strings([f"{i % 28 + 1}.{i % 12 + 1}.23" for i in range(60)])
    assert kinds(pd.DataFrame({"a": dates})) == {"a": "time"}


def test_large_whole_numbers_with_a_point_are_no_numbers():
    column, _ = infer_column(strings([f"90071992547409{i % 9 + 91}.0" for i in range(60)]), "x")
    assert column.kind == "category"
    assert column.read_series(strings(["9007199254740993"]))[0] == ("9007199254740993")
    with pytest.raises(CellError, match="2\\^53"):
        Column("x", "x", "number").read_value("9007199254740993.0")


def test_whole_numbers_that_trees_merge_are_named():
    _, notes = infer_column(strings([20_000_000 + i % 20 for i in range(60)]), "x")
    assert any("fall together" in note for note in notes)
    assert not infer_column(strings([10_000_000 + i % 20 for i in range(60)]), "x")[1]


def test_a_label_without_its_point_is_said():
    column, notes = label_column(strings(["1.0", "1.10", "2.0"] * 5), "version")
    assert column.forms == ("1", "1.10", "2")
    assert ".0" in notes[0]


def test_ids_that_a_gap_made_floats_are_ids():
    raw = pd.DataFrame({"customer_id": strings([f"{i * 3}.0" for i in range(60)])})
    assert list(infer(raw).left_out) == ["customer_id"]


def test_letters_that_look_alike_are_one_value():
    column, notes = label_column(
        strings(["café", "cafe\u0301", "b", "b\u200b", "\ufeffb"] * 5), "c"
    )
    assert len(column.forms) == 2
    assert "became" in notes[0]
    assert column.read_value("CAFE\u0301") == column.read_value("café")


def test_a_name_that_is_another_column_s_does_not_stand_in_for_a_missing_one():
    frame = pd.DataFrame({"a b": strings(range(9)), "a_b": strings(range(7, 16))})
    typed = infer(frame.assign(**{"a b": strings([3, 1, 4, 1, 5, 9, 2, 6, 5])}))
    with pytest.raises(CellError, match="a b: is missing"):
        typed.read_row({"a_b": 8})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1\u2019234.50", 1234.5), ("\u20133.5", -3.5), ("US$ 3.5", 3.5), ("1 234 kr", 1234),
        ("R$ 1.234,5", 1234.5),
    ],
)  # fmt: skip
def test_numbers_that_the_reader_knows_are_numbers(text, value):
    column, _ = infer_column(strings([text, text.replace("3", "4")] * 5), "x")
    assert column.kind == "number"
    assert column.read_value(text) == value


def test_a_value_that_keeps_a_column_from_numbers_is_named():
    column, notes = infer_column(strings(["<5", *range(1, 10)] * 5), "x")
    assert column.kind == "category"
    assert any("'<5'" in note and "45 of 50" in note for note in notes)


def test_a_value_that_keeps_a_column_from_times_is_named():
    days = [f"2023-01-{i:02d}" for i in range(1, 20)]
    raw = strings(["0000-00-00", *days] * 3)
    column, notes = infer_column(raw, "joined")
    assert column.kind == "category"
    assert any("'0000-00-00'" in note and "57 of 60" in note for note in notes)
    conventions = Conventions(missing=("0000-00-00",))
    assert infer_column(raw, "joined", conventions)[0].kind == "time"


def test_a_number_sent_for_a_code_with_zeros_in_front_is_refused():
    column, _ = infer_column(strings(["00031", "00500", "12345"] * 5), "zip")
    assert column.read_value("00031") == "00031"
    assert column.read_value(12345) == "12345"
    with pytest.raises(CellError, match="send it as a text such as '00031'"):
        column.read_value(31)


def test_codes_that_look_like_numbers_are_said():
    parts, sizes = ["5E3", "7E1", "12", "40"] * 5, ["1.5e-3", "2", "3", "4"] * 5
    notes = infer(pd.DataFrame({"part": parts, "size": sizes})).notes
    assert list(notes) == ["part"]
    assert "'5E3' is read as the number 5000" in notes["part"][0]


def column_of(name, values, **settled):
    """The column, its notes, and its values as training reads them (and service, likewise)."""
    raw = strings(values)
    column, notes = infer_column(raw, name, Conventions(**settled))
    assert_read_alike(column, raw)
    return column, " ".join(notes), plain(column.read_series(raw))


@pytest.mark.parametrize("name", ["zip", "ZIP Code", "plz", "billing_postcode", "country_code"])
def test_digits_that_a_name_calls_a_code_are_categories(name):
    column, notes, values = column_of(name, ["90210", "10115", "90210", None] * 5)
    assert (column.kind, values[0], values[3]) == ("category", "90210", None)
    assert "kept as a code, by the column's name" in notes
    assert column.read_value(90210) == "90210"  # from JSON
    kind, _, values = column_of(name, ["90210", "10115"], kinds={name: "number"})
    assert (kind.kind, values) == ("number", [90210.0, 10115.0])


def test_codes_with_zeros_stay_codes_beside_a_word():
    values = [f"{x:05d}" for x in range(1000, 12000, 400)] * 2 + ["unknown"]
    assert column_of("area", values)[0].kind == "category"


def test_telephone_numbers_are_left_out():
    with pytest.raises(LeftOutError, match="a code, by its name, and hardly repeats"):
        column_of("phone", range(5551000, 5552000, 20))


@pytest.mark.parametrize("name", ["time", "ts", "epoch", "when_at"])
def test_whole_numbers_of_a_time_are_no_years(name):
    column, notes, values = column_of(name, [1500, 1730, 2000, 2299])
    assert (column.kind, values[0]) == ("number", 1500.0)
    assert "not as years" in notes
    assert column_of(name, [1730, 2000], kinds={name: "time"})[0].kind == "time"


def test_whole_numbers_of_a_date_are_years():
    column, notes, values = column_of("date", [2019, 2020, 2021])
    assert (column.kind, values[1]) == ("time", 1577836800 * 10**6)
    assert "times are like 2026" in notes


def test_fractions_beside_percent():
    _, notes, values = column_of("rate", ["5%", "0.05", "12.5 %", "0.4", "1"])
    assert values == [0.05, 0.05, 0.125, 0.4, 1.0]
    assert "'5%' is read as 0.05" in notes
    assert "percent=number" in notes
    _, _, values = column_of("rate", ["5%", "0.05", "12.5 %"], percent="number")
    assert values == [5.0, 0.05, 12.5]


def test_percent_beside_larger_numbers_stays_as_written():
    _, notes, values = column_of("rate", ["5%", "7", "0.5"])
    assert values == [5.0, 7.0, 0.5]
    assert "percent=fraction" in notes
    assert column_of("rate", ["5%", "7%"], percent="fraction")[2] == [0.05, 0.07]


def test_minus_behind_the_number():
    _, notes, values = column_of("amount", ["12,50-", "3,25", "1.200,00-", "7,10- €"])
    assert values == [-12.5, 3.25, -1200.0, -7.1]
    assert "'12,50-' is read as -12.5" in notes
    assert column_of("price", ["12.-", "12.50", "3.--"])[2] == [12.0, 12.5, 3.0]  # francs
    assert column_of("grade", ["2-", "2+", "1-"])[0].kind == "category"


def test_digits_grouped_as_in_india():
    _, notes, values = column_of(
        "income", ["1,23,456", "12,34,567.50", "45,000", "999", "-2,00,000"]
    )
    assert values == [123456.0, 1234567.5, 45000.0, 999.0, -200000.0]
    assert "as in India (such as" in notes


def test_letters_for_thousands_and_millions():
    _, notes, values = column_of("installs", ["20K", "3M", "1.5B", "$2.5k", "700", "1.2 M"])
    assert values == [20e3, 3e6, 1.5e9, 2.5e3, 700.0, 1.2e6]
    assert "'20K' is read as 20,000" in notes
    column, notes, _ = column_of("screen", ["4K", "8K", "4K"])
    assert column.kind == "category"
    assert "are names here, not thousands" in notes
    assert column_of("screen", ["4K", "8K"], kinds={"screen": "number"})[2] == [4e3, 8e3]
    column, _ = infer_column(strings(["1.5", "2"]), "size")
    with pytest.raises(CellError, match="'3K' is no number"):  # training saw no letter
        column.read_value("3K")


def test_days_that_are_none_are_named():
    values = ["30/02/2024", "31/04/2024", "15/01/2024", "30/02/2023"] * 3
    column, notes, _ = column_of("visit", values)
    assert column.kind == "category"
    assert "9 of 12 values are written as dates but name no day (such as '30/02/2024')" in notes
    good = ["15/01/2024", "16/01/2024", "30/02/2024"] * 4
    column, notes, values = column_of("visit", good, kinds={"visit": "time"})
    assert (column.kind, values[2]) == ("time", None)
    assert "'30/02/2024' in 4 rows: read as missing" in notes


def test_what_a_requested_number_does_not_read_is_missing_and_said():
    _, notes, values = column_of(
        "price", ["1,5", "2,5", "n.v.", "3-4"], decimal=",", kinds={"price": "number"}
    )
    assert values == [1.5, 2.5, None, None]
    assert "'3-4', 'n.v.' in 2 rows: read as missing" in notes


def test_a_zone_of_the_file():
    _, notes, values = column_of("seen", ["2024-01-01 12:00", "2024-07-01 12:00"],
                                      zone="Europe/Berlin")  # fmt: skip
    hours = [x // (3600 * 10**6) % 24 for x in values]
    assert hours == [11, 10]
    assert "in Europe/Berlin where no zone is written" in notes


def test_several_choices_in_one_value_are_said():
    values = ["Price, Quality", "Price", "Quality, Service", "Price, Service", "Service"] * 4
    column, notes, _ = column_of("why", values)
    assert column.kind == "category"
    assert "'Price, Quality' seem several choices at once, of 3" in notes
    assert "choices" not in column_of("place", ["Paris, FR", "Rome, IT", "Bonn, DE"] * 4)[1]


@pytest.mark.parametrize("decimal", ["", ","])
def test_numbers_that_count_the_rows_are_left_out_in_any_file(decimal):
    frame = pd.DataFrame({"key": strings(range(1000, 1040)), "size": strings([1.5, 2.5] * 20)})
    assert "counts the rows" in infer(frame, Conventions(decimal=decimal)).left_out["key"]
