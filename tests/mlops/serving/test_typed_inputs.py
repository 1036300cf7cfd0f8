import json

import numpy as np
import pandas as pd
import pytest

from diptych.core.data.column import Column, TypedColumns
from diptych.core.data.typing import infer
from diptych.mlops.serving.inputs import InputError
from diptych.mlops.serving.typed_inputs import TypedReader

RAW = pd.DataFrame(
    {
        "member": ["True", "False", "NA", "True"] * 5,
        "price ($)": ["1", " 2 ", "?", "3.5"] * 5,
        "plan": ["yearly", "monthly", "Yearly", ""] * 4 + ["yearly"] * 4,
        "since": ["2023-01-31", "2023-02-01", "null", "2023-03-01"] * 5,
    },
    dtype="str",
)
NAMES = list(RAW)


@pytest.fixture(scope="module")
def typed():
    return infer(RAW)


@pytest.fixture
def reader(typed):
    return TypedReader("table", [column.name for column in typed.columns], typed)


def trained(typed):
    """The rows as training has them, in plain values."""
    frame = typed.read(RAW)
    frame["since"] = frame["since"].astype("int64").where(frame["since"].notna()).astype(object)
    return frame.astype(object).where(frame.notna(), None).to_numpy().tolist()


def body(**content):
    return json.dumps(content).encode()


def test_the_rows_of_training_are_read_alike_in_every_form(reader, typed):
    cells = RAW.to_numpy().tolist()
    records = RAW.to_dict("records")
    ours = RAW.set_axis([column.name for column in typed.columns], axis=1).to_dict("records")
    forms = [
        body(inputs=cells), body(instances=records), body(dataframe_records=ours),
        body(dataframe_split={"columns": NAMES[::-1], "data": [row[::-1] for row in cells]}),
        body(inputs=RAW.to_dict("list")),
    ]  # fmt: skip
    expected = trained(typed)
    for form in forms:
        assert reader.parse(form)[0] == expected
    assert reader.parse(RAW.to_csv(index=False).encode(), "text/csv")[0] == expected
    assert reader.ignored == set()


def test_json_has_types_of_its_own(reader):
    rows, _ = reader.parse(body(inputs=[[True, 3, "YEARLY", "2023-01-31T00:00:00Z"], [None] * 4]))
    assert rows == [[True, 3.0, "yearly", 1675123200000000], [None] * 4]


def test_unknown_columns_are_left_out_and_named(reader):
    record = dict.fromkeys(NAMES) | {"colour": "red", "id": 5}
    assert reader.parse(body(inputs=[record]))[0] == [[None] * 4]
    assert reader.ignored == {"colour", "id"}
    csv = ",".join(["colour", *NAMES, ""]) + "\n" + "red,True,1,yearly,2023-01-01,\n"
    assert reader.parse(csv.encode(), "text/csv")[0][0][:3] == [True, 1.0, "yearly"]
    assert reader.ignored == {"colour", ""}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"member": "perhaps"},
            "member: 'perhaps' is no boolean; send true, false or null (row 0)",
        ),
        ({"price ($)": "dear"}, "price ($): 'dear' is no number; send a number such as 1234.5"),
        ({"since": "31/01/2023"}, "since: '31/01/2023' is no time"),
        ({"plan": ["a"]}, "plan: \"['a']\" is no category; send one value"),
    ],
)
def test_what_training_would_not_read_is_refused_by_name(reader, record, message):
    with pytest.raises(InputError) as raised:
        reader.parse(body(inputs=[dict.fromkeys(NAMES) | record]))
    assert message in str(raised.value)


def test_a_missing_column_is_named_with_what_was_meant(reader):
    record = {name: None for name in NAMES if name != "plan"}
    with pytest.raises(InputError, match="plan: is missing in row 0; add the column"):
        reader.parse(body(inputs=[record]))
    with pytest.raises(InputError, match="plan: is missing in row 0; did you mean it by 'plans'"):
        reader.parse(body(inputs=[{**record, "plans": "x"}]))
    with pytest.raises(InputError, match="row 0 has 2; send 4 values: member, price"):
        reader.parse(body(inputs=[[1, 2]]))


def test_csv_without_a_header_is_refused_where_a_header_could_be_a_row(reader):
    with pytest.raises(InputError, match="the first line names no column; begin with member,price"):
        reader.parse(b"True,1,yearly,2023-01-01\n", "text/csv")
    numbers = TypedColumns([Column("a", "a", "number"), Column("b", "b", "number")])
    plain = TypedReader("table", ["a", "b"], numbers)
    assert plain.parse(b"1,2\nNA,3\n", "text/csv")[0] == [[1.0, 2.0], [None, 3.0]]


def test_csv_is_read_with_the_separator_of_the_file(typed, reader):
    expected = trained(typed)
    for separator in (";", "\t", "|"):
        csv = RAW.to_csv(index=False, sep=separator).encode()
        assert reader.parse(csv, "text/csv")[0] == expected
    price = Column("price", "price", "number", decimal=",")
    decimal = TypedReader("table", ["price"], TypedColumns([price]))
    assert decimal.parse(b'price\n"1,5"\n', "text/csv")[0] == [[1.5]]
    assert decimal.parse(b"price;shop\n1,5;A\n", "text/csv")[0] == [[1.5]]


def test_an_identifier_that_is_another_columns_name_in_the_file_is_that_column():
    raw = pd.DataFrame({"a b": ["1", "2"] * 5, "a_b": ["3", "4"] * 5}, dtype="str")
    columns = infer(raw)
    assert [column.original for column in columns.columns] == ["a b", "a_b"]
    reader = TypedReader("table", [column.name for column in columns.columns], columns)
    assert reader.parse(b"a_b,a b\n3,1\n", "text/csv")[0] == [[1.0, 3.0]]
    ours = ",".join(column.name for column in columns.columns)
    with pytest.raises(InputError, match="a b: is missing in header"):
        reader.parse(f"{ours}\n1,3\n".encode(), "text/csv")


def test_the_text_column_is_known_by_the_name_it_has_in_the_file():
    reader = TypedReader("text", ["text"], TypedColumns([Column("text", "message", "text")]))
    texts = ["the lamp was lovely", "the lamp was awful"]
    csv = "message\n" + "\n".join(texts) + "\n"
    assert reader.parse(csv.encode(), "text/csv")[0] == texts
    assert reader.parse(csv.replace("message", "text").encode(), "text/csv")[0] == texts
    assert reader.parse("\n".join(texts).encode(), "text/csv")[0] == texts
    assert reader.parse(body(dataframe_records=[{"message": x} for x in texts]))[0] == texts
    with pytest.raises(InputError, match="the first line has 'mesage'; did you mean 'message'"):
        reader.parse(csv.replace("message", "mesage").encode(), "text/csv")
    for empty in ("", "  "):
        with pytest.raises(InputError, match="message: row 0 is empty; send a text"):
            reader.parse(body(inputs=[empty]))


def test_random_rows_are_read_as_in_training(reader, typed):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.choice(RAW[name], 200) for name in RAW}, dtype="str")
    expected = typed.read(frame)
    rows, _ = reader.parse(frame.to_csv(index=False).encode(), "text/csv")
    for i, name in enumerate(expected):
        served = pd.Series([row[i] for row in rows], dtype=object)
        if name == "since":
            served = pd.to_datetime(served.astype("Int64"), unit="us", utc=True)
        assert served.isna().equals(expected[name].isna())
        assert (served == expected[name].astype(object))[expected[name].notna()].all()
