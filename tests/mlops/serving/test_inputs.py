"""Reading requests: each form gives the same rows, and each fault is named with its remedy."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.mlops.serving import inputs
from diptych.mlops.serving.inputs import InputError, Reader

BOX = Reader("table", ["width", "height"])
TEXT = Reader("text", ["text"])
JSON, CSV = "application/json", "text/csv"


def as_json(**content):
    return json.dumps(content).encode()


ROWS = [[1.0, -2.5], [3e5, None]]
NAMED = [{"height": h, "width": w} for w, h in ROWS]
TURNED = [[h, w] for w, h in ROWS]
BOXES = {
    "inputs": as_json(inputs=ROWS),
    "inputs of columns": as_json(inputs={"height": [-2.5, None], "width": [1.0, 3e5]}),
    "inputs named": as_json(inputs=NAMED),
    "instances": as_json(instances=ROWS),
    "instances named": as_json(instances=NAMED, params={}),
    "records": as_json(dataframe_records=NAMED),
    "split": as_json(dataframe_split={"columns": ["width", "height"], "data": ROWS}),
    "split turned": as_json(
        dataframe_split={"columns": ["height", "width"], "data": TURNED, "index": [0, 1]}
    ),
    "csv": b"1.0,-2.5\n300000,\n",
    "csv with header": b"\xef\xbb\xbfheight,width\r\n-2.5,1\r\n,3e5\r\n",
}
TEXTS = ['It said "fine, good"\nand more', "größe 良い 🙂"]
CELLS = "\n".join('"' + text.replace('"', '""') + '"' for text in TEXTS)
REVIEWS = {
    "inputs": as_json(inputs=TEXTS),
    "inputs of columns": as_json(inputs={"text": TEXTS}),
    "inputs of lists": as_json(inputs=[[text] for text in TEXTS]),
    "instances": as_json(instances=TEXTS),
    "records": as_json(dataframe_records=[{"text": text} for text in TEXTS]),
    "split": as_json(dataframe_split={"columns": ["text"], "data": [[text] for text in TEXTS]}),
    "not escaped": json.dumps({"inputs": TEXTS}, ensure_ascii=False).encode(),
    "csv": CELLS.encode(),
    "csv with header": f"text\n{CELLS}\n".encode(),
}


def kind_of(name: str) -> str:
    return CSV if name.startswith("csv") else JSON


@pytest.mark.parametrize("name", BOXES)
def test_each_form_gives_the_same_numbers(name):
    assert BOX.parse(BOXES[name], kind_of(name)) == (ROWS, [None, None])


@pytest.mark.parametrize("name", REVIEWS)
def test_each_form_gives_the_same_texts(name):
    assert TEXT.parse(REVIEWS[name], kind_of(name)) == (TEXTS, [None, None])


@pytest.mark.parametrize("kind", ["Application/JSON", 'application/json; charset="UTF-8"'])
def test_json_by_any_spelling(kind):
    assert TEXT.parse(as_json(inputs=["a"]), kind) == (["a"], [None])


def test_ids_are_texts_or_whole_numbers():
    assert TEXT.parse(as_json(inputs=["a"] * 3, ids=["x", 7, None]))[1] == ["x", "7", None]


DEEP = b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
SPLIT = {"columns": ["width", "height"], "data": [[1, 2]]}
# body, what the message starts with, a part of its remedy
BAD_BOXES = {
    "empty": (b"", "body: is not JSON", "check it"),
    "no JSON": (b"{inputs}", "body: is not JSON", "check it"),
    "not UTF-8": (b'{"inputs": ["\xff"]}', "body: is not UTF-8", "send it as UTF-8"),
    "deep": (DEEP, "body: is nested too deeply", "list of rows"),
    "a list": (b"[[1, 2]]", "body: is no object", "inputs, instances"),
    "nothing": (b"{}", "body: one of inputs", "found none"),
    "two forms": (as_json(inputs=[[1, 2]], instances=[[1, 2]]), "body: one of", "instances"),
    "misspelt": (as_json(input=[[1, 2]]), "input: is no known field", "did you mean inputs?"),
    "params": (as_json(inputs=[[1, 2]], params={"a": 1}), "params:", "leave the field out"),
    "no list": (as_json(inputs="1, 2"), "inputs: is a text", "a list of rows"),
    "no rows": (as_json(instances=[]), "instances: 0 rows", "1 to 1,000"),
    "many rows": (as_json(inputs=[[1, 2]] * 1001), "inputs: 1,001 rows", "1 to 1,000"),
    "one row flat": (as_json(inputs=[1, 2]), "inputs: row 0 is a number", "2 numbers: width"),
    "short row": (as_json(inputs=[[1, 2], [1]]), "inputs: row 1 has 1", "2 numbers: width"),
    "NaN": (b'{"inputs": [[1, NaN]]}', "body: NaN is not JSON", "send null"),
    "Infinity": (b'{"inputs": [[1, -Infinity]]}', "body: -Infinity is not JSON", "send null"),
    "overflow": (b'{"inputs": [[1, 1e999]]}', "height: row 0 has Infinity", "up to 3.4e+38"),
    "large": (b'{"inputs": [[1e39, 1]]}', "width: row 0 has 1e+39", "up to 3.4e+38"),
    "long number": (b'{"inputs": [[1' + b"0" * 400 + b", 1]]}", "width: row 0 has 1000", "3.4e+38"),
    "number as text": (as_json(inputs=[["1", 2]]), "width: row 0 has 1;", "send a number"),
    "truth value": (as_json(inputs=[[True, 2]]), "width: row 0 has true;", "send a number"),
    "list as number": (as_json(inputs=[[[1], 2]]), "width: row 0 has a list;", "send a number"),
    "unknown column": (
        as_json(inputs=[{"width": 1, "hight": 2}]),
        "height: is missing in row 0", "did you mean it by 'hight'?",
    ),
    "missing column": (as_json(instances=[{"width": 1}]), "height: is missing in row 0", "add"),
    "column twice in a row": (
        b'{"inputs": [{"width": 1, "height": 2, "width": 3}]}', "width: stands twice", "object",
    ),
    "split: no object": (as_json(dataframe_split=[[1, 2]]), "dataframe_split: send", "columns"),
    "split: no data": (as_json(dataframe_split={"columns": []}), "dataframe_split:", "data"),
    "split: more": (
        as_json(dataframe_split={**SPLIT, "dtype": 1}), "dataframe_split: dtype", "leave it out",
    ),
    "split: columns": (as_json(dataframe_split={**SPLIT, "columns": 2}), "dataframe_", "lists"),
    "split: column twice": (
        as_json(dataframe_split={"columns": ["width", "height", "width"], "data": [[1, 2, 3]]}),
        "width: stands 2 times in columns", "name it once",
    ),
    "split: no name": (as_json(dataframe_split={**SPLIT, "columns": [1, 2]}), "columns: 1", "name"),
    "split: short row": (
        as_json(dataframe_split={**SPLIT, "data": [[1, 2], [1]]}), "data: row 1", "list of 2",
    ),
    "columns: unequal": (
        as_json(inputs={"width": [1, 2], "height": [1]}), "height: is not a list", "as long as",
    ),
    "ids: too few": (as_json(inputs=ROWS, ids=["a"]), "ids: are not a list of 2", "leave them out"),
    "ids: object": (as_json(inputs=[[1, 2]], ids=[{}]), "ids: row 0 has an object", "send a text"),
    "ids: long": (as_json(inputs=[[1, 2]], ids=["a" * 257]), "ids: row 0 has 257", "1 to 256"),
    "ids: empty": (as_json(inputs=[[1, 2]], ids=[""]), "ids: row 0 has 0", "1 to 256"),
    "ids: half": (as_json(inputs=[[1, 2]], ids=["\ud800"]), "ids: row 0 has half", "whole"),
    "csv: cells": (b"1,2\n1,2,3\n", "csv: row 1 has 3 cells", "quote"),
    "csv: word": (b"1,two\n", "height: row 0 has two", "send a number"),
    "csv: nan": (b"nan,2\n", "width: row 0 has nan", "empty cell"),
    "csv: inf": (b"1,-inf\n", "height: row 0 has -inf", "empty cell"),
    "csv: large": (b"1e39,1\n", "width: row 0 has 1e+39", "3.4e+38"),
    "csv: quotes": (b'"1,2\n', "body: is no CSV", "quote"),
    "csv: header": (b"width,hight\n1,2\n", "height: is missing in header", "by 'hight'?"),
    "csv: header twice": (b"width,height,width\n1,2,3\n", "width: stands 2 times", "once"),
    "csv: only a header": (b"width,height\n", "csv: 0 rows", "1 to 1,000"),
    "csv: empty": (b"", "csv: 0 rows", "1 to 1,000"),
    "csv: not UTF-8": (b"\xff,1\n", "body: is not UTF-8", "send it as UTF-8"),
}  # fmt: skip
BAD_TEXTS = {
    "number": (as_json(inputs=[1]), "inputs: row 0 is a number", "send a text"),
    "null": (as_json(instances=["a", None]), "instances: row 1 is null", "send a text"),
    "two": (as_json(inputs=[["a", "b"]]), "inputs: row 0 is a list", "send a text"),
    "named number": (as_json(inputs=[{"text": 1}]), "inputs: row 0 is a number", "send a text"),
    "other name": (as_json(inputs=[{"texts": "a"}]), "text: is missing in row 0", "by 'texts'?"),
    "no text": (as_json(inputs=["a", ""]), "text: row 1 is empty", "send a text"),
    "blanks": (as_json(instances=[{"text": " \n"}]), "text: row 0 is empty", "send a text"),
    "csv: other header": (b"message\nGood, I think\n", "csv: the first line, 'message'", "'text'"),
    "csv: long header": (b"the review\nGood\n", "csv: the first line, 'the review'", "absent"),
    "csv: empty text": (b'text\nfine\n""\n', "text: row 1 is empty", "send a text"),
    "long": (as_json(inputs=["a" * 100_001]), "text: row 0 has 100,001", "up to 100,000"),
    "half": (as_json(inputs=["a \ud83d"]), "text: row 0 has half a surrogate", "whole"),
    "csv: commas": (b"Good, really good\n", "csv: row 0 has 2 cells", "quote cells with commas"),
}


def refusal(reader, body, kind) -> InputError:
    with pytest.raises(InputError) as found:
        reader.parse(body, kind)
    return found.value


@pytest.mark.parametrize(
    ("reader", "name", "case"),
    [
        *((BOX, name, case) for name, case in BAD_BOXES.items()),
        *((TEXT, name, case) for name, case in BAD_TEXTS.items()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_is_named_with_its_remedy(reader, name, case):
    body, start, remedy = case
    error = refusal(reader, body, kind_of(name))
    assert error.status == 400
    assert str(error).startswith(start)
    assert remedy in str(error)
    assert len(str(error)) < 300


def test_further_columns_are_left_out_and_named():
    reader = Reader("table", ["width", "height"])
    assert reader.parse(as_json(inputs=[{**NAMED[0], "z": "x"}]))[0] == ROWS[:1]
    assert reader.ignored == {"z"}
    assert reader.parse(b"z,height,width\nx,-2.5,1\n", CSV)[0] == ROWS[:1]
    assert reader.ignored == {"z"}
    reader.parse(as_json(inputs=ROWS))
    assert reader.ignored == set()


def test_a_client_can_say_whether_the_first_line_is_a_header():
    words = b"great\nawful\n"
    assert TEXT.parse(words, "text/csv; header=absent")[0] == ["great", "awful"]
    assert TEXT.parse(b"text\nfine\n", "text/csv; charset=utf-8; header=absent")[0][0] == "text"
    with pytest.raises(InputError, match="text: is missing in header"):
        TEXT.parse(words, "text/csv; header=present")
    assert TEXT.parse(b"great\n", CSV)[0] == ["great"]


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("application/x-www-form-urlencoded", "send application/json or text/csv"),
        ("text/plain", "send application/json or text/csv"),
        ("", "is missing; send application/json or text/csv"),
        ("application/json; charset=latin-1", "send UTF-8"),
    ],
)
def test_another_content_type_is_refused(kind, named):
    error = refusal(TEXT, as_json(inputs=["a"]), kind)
    assert error.status == 415
    assert str(error).startswith("Content-Type: ")
    assert named in str(error)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*inputs.FORMS, "ids", "columns", "data", "width", "height", "text"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES | st.dictionaries(st.sampled_from(inputs.FORMS), VALUES, max_size=1))
def test_any_json_is_read_or_refused(content):
    for reader in (BOX, TEXT):
        try:
            rows, ids = reader.parse(json.dumps(content).encode())
        except InputError:
            continue
        assert len(rows) == len(ids) >= 1
        wide = [len(row) for row in rows] if reader is BOX else [2] * len(rows)
        assert set(wide) == {2}


@given(st.binary(max_size=60), st.sampled_from([JSON, CSV]))
def test_any_bytes_are_read_or_refused(body, kind):
    for reader in (BOX, TEXT):
        with suppress(InputError):
            reader.parse(body, kind)
