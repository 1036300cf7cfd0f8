"""One file of each format, and what is wrong with some."""

import bz2
import datetime
import decimal
import gzip
import json
import lzma
import sqlite3
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from deltalake import write_deltalake

from diptych.core.data import readers, sources
from diptych.core.data.sources import DataError

from . import tables

CSV = b"text,label\ngood film,1\nbad film,0\n"
LARGE = 2**53 + 1


def read(path, options=""):
    return readers.read_table(str(path), readers.parse_options(options))


def refused(path, options=""):
    with pytest.raises(DataError) as raised:
        read(path, options)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.csv.gz", gzip.compress), ("a.csv.bz2", bz2.compress), ("a.csv.xz", lzma.compress)],
)
def test_packed_files_are_unpacked(tmp_path, name, pack):
    path = tmp_path / name
    path.write_bytes(pack(CSV))
    assert list(read(path).frame["label"]) == ["1", "0"]
    path.write_bytes(pack(CSV)[:-6])
    assert "is not a whole" in refused(path)
    path.write_bytes(b"no such thing")
    assert "is not a whole" in refused(path)


def test_a_zip_holds_one_file(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.tsv", CSV.replace(b",", b"\t"))
        archive.writestr("__MACOSX/._a.tsv", b"x")
    assert list(read(path).frame.columns) == ["text", "label"]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", CSV)
    message = refused(path)
    assert "2 files ('a.tsv', 'b.csv')" in message


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", b"a,b\n" * 2**20)
    assert "larger than 1 MB" in refused(tmp_path / "a.zip")


def test_a_sheet_keeps_its_types(tmp_path):
    path = tmp_path / "a.xlsx"
    rows = [
        ["id", "x", "new", "name", "mixed"],
        [1, 0.5, True, "Ä", 1],
        [None, 2, False, None, "b"],
    ]
    path.write_bytes(tables.workbook({"first": rows, "My second": [["y"], [1], [2]]}))
    raw = read(path)
    assert [str(kind) for kind in raw.frame.dtypes] == ["Int64", "float64", "bool", "str", "str"]
    assert raw.frame.astype("object").where(raw.frame.notna(), None).values.tolist() == [
        [1, 0.5, True, "Ä", "1"],
        [None, 2.0, False, None, "b"],
    ]
    assert "'mixed'" in raw.notes[0]
    assert raw.guesses[0].override == 'sheet="My second"'
    assert list(read(path, raw.guesses[0].override).frame["y"]) == [1, 2]
    assert list(read(path, "sheet=2").frame["y"]) == [1, 2]
    assert "its sheets are 'first', 'My second'" in refused(path, "sheet=third")


def test_a_sheet_with_a_title_and_totals(tmp_path):
    path = tmp_path / "a.xlsx"
    rows = [["Sales of 2023"], [], ["region", "sales"], ["north", 1], ["south", 2], ["Total", 3]]
    path.write_bytes(tables.workbook({"first": rows}))
    raw = read(path)
    assert raw.frame.values.tolist() == [["north", 1], ["south", 2]]
    assert [guess.what for guess in raw.guesses][:3] == [
        "rows above the table",
        "header",
        "totals row",
    ]


def test_a_sheet_called_csv_is_read_and_said(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(tables.workbook({"first": [["x", "y"], [1, 2], [3, 4]]}))
    assert read(path).guesses[0].what == "format"
    path.write_bytes(tables.workbook({"first": [["x", "y"], [1, 2], [3, 4]]})[:300])
    assert "task: " in refused(path)


def test_records_keep_every_value(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"id": LARGE, "when": "2023-01-01", "x": 1}, {"id": None, "x": 0.5, "b": True}]
    path.write_text("\n".join(map(json.dumps, rows)))
    frame = read(path).frame
    assert list(frame.columns) == ["id", "when", "x", "b"]
    assert frame["id"].iloc[0] == LARGE
    assert frame["when"].iloc[0] == "2023-01-01"
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pd.testing.assert_frame_equal(read(tmp_path / "a.json").frame, frame)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": ', "line 2"),
        ('{"a": 1, "a": 2}\n', "'a' stands twice"),
        ('{"a": [1, 2]}\n{"a": []}', "lists in the column 'a'"),
        ('{"x": 1, "a": [1, 2]}\n', "lists in the column 'a'.*leave_out=a"),
        ('{"x": 1, "my tags": {"b": 1}}\n', 'records in the column .*leave_out="my tags"'),
        ("[1, 2]", "holds 1 as record 1"),
        ('{\n "a": {"0": 1},\n "b": {"0": 2}\n}', 'orient="records"'),
        ("[]", "empty"),
        ('[{"a": 1}', "not well-formed JSON"),
    ],
)
def test_records_that_are_none_are_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.json")


def test_columns_can_be_left_out(tmp_path):
    (tmp_path / "a.json").write_text('{"x": 1, "a": [1]}\n{"x": 2, "a": [1]}\n')
    assert list(read(tmp_path / "a.json", "leave_out=a").frame.columns) == ["x"]
    assert "no such column" in refused(tmp_path / "a.json", "leave_out=b")
    pa.parquet.write_table(pa.table({"x": [1], "a": [[1]]}), tmp_path / "a.parquet")
    assert list(read(tmp_path / "a.parquet", "leave_out=a").frame.columns) == ["x"]


def test_typed_columns_stay_exact(tmp_path):
    day = datetime.date(2023, 1, 1)
    written = pa.table(
        {
            "id": pa.array([LARGE, None], pa.int64()),
            "u": pa.array([2**64 - 1, None], pa.uint64()),
            "b": pa.array([True, None]),
            "c": pa.array(["x", None]).dictionary_encode(),
            "d": pa.array([decimal.Decimal("0.10"), None], pa.decimal128(38, 2)),
            "e": pa.array([decimal.Decimal("12345678901234567890.12"), None]),
            "day": pa.array([day, None]),
            "t": pa.array(
                [datetime.datetime(2023, 1, 1), None], pa.timestamp("ns", "Europe/Berlin")
            ),
            "f": pa.array([0.1, None], pa.float32()),
            "none": pa.nulls(2),
        }
    )
    pa.parquet.write_table(written, tmp_path / "a.parquet")
    frame = read(tmp_path / "a.parquet").frame
    assert frame.loc[0, "id"] == LARGE
    assert frame.loc[0, "u"] == 2**64 - 1
    assert frame.loc[0, "d"] == 0.1
    assert frame.loc[0, "e"] == decimal.Decimal("12345678901234567890.12")
    assert frame.loc[0, "day"] == pd.Timestamp(day)
    assert str(frame["c"].dtype) == "str"
    assert frame.loc[1].isna().all()


@pytest.mark.parametrize(
    ("column", "what"), [([[1]], "lists"), ([{"a": 1}], "records"), ([b"x"], "bytes")]
)
def test_nested_columns_are_refused_by_name(tmp_path, column, what):
    pa.parquet.write_table(pa.table({"x": [1], "tags": column}), tmp_path / "a.parquet")
    message = refused(tmp_path / "a.parquet")
    assert f"{what} in the column 'tags'" in message
    assert "leave_out=tags" in message


def test_repeated_names_of_a_typed_file_are_refused(tmp_path):
    written = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pa.parquet.write_table(written, tmp_path / "a.parquet")
    assert "'a' twice" in refused(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.arrow", "a.xlsx", "a.xls", "a.ods"])
def test_damaged_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"PAR1 and nothing more")
    assert "not a whole" in refused(tmp_path / name) or "cannot be read" in refused(tmp_path / name)
    (tmp_path / name).write_bytes(b"something else")
    assert "task: " in refused(tmp_path / name)


def test_a_folder_of_parquet_files_with_partitions(tmp_path):
    for zone, value in (("01234", 1), ("a b", 2)):
        folder = tmp_path / "t" / f"zone={zone.replace(' ', '%20')}"
        folder.mkdir(parents=True)
        pa.parquet.write_table(pa.table({"x": [value]}), folder / "part.parquet")
    (tmp_path / "t" / "_SUCCESS").touch()
    raw = read(tmp_path / "t")
    assert raw.frame.to_dict("records") == [{"x": 1, "zone": "01234"}, {"x": 2, "zone": "a b"}]
    assert raw.guesses[0].what == "partitions"
    pa.parquet.write_table(pa.table({"x": [1]}), tmp_path / "t" / "loose.parquet")
    assert "different partitions" in refused(tmp_path / "t")


def test_files_of_a_folder_that_differ(tmp_path):
    pa.parquet.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    pa.parquet.write_table(pa.table({"x": [0.5], "y": ["z"]}), tmp_path / "b.parquet")
    raw = read(tmp_path)
    assert list(raw.frame["x"]) == [1, 0.5]
    assert "a.parquet the column 'y'" in raw.notes[1]
    pa.parquet.write_table(pa.table({"x": ["text"]}), tmp_path / "c.parquet")
    assert "not one table" in refused(tmp_path)


def test_delta_with_names_mapped_to_others(tmp_path):
    names = {"x": "col-1", "label": "col-2"}
    fields = [
        {
            "name": name,
            "type": "double" if name == "x" else "string",
            "nullable": True,
            "metadata": {"delta.columnMapping.id": i, "delta.columnMapping.physicalName": physical},
        }
        for i, (name, physical) in enumerate(names.items(), 1)
    ]
    (tmp_path / "_delta_log").mkdir()
    pa.parquet.write_table(
        pa.table({"col-1": [0.5, 1.5], "col-2": ["a", "b"]}), tmp_path / "p.parquet"
    )
    log = [
        {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}},
        {
            "metaData": {
                "id": "0",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps({"type": "struct", "fields": fields}),
                "partitionColumns": [],
                "configuration": {
                    "delta.columnMapping.mode": "name",
                    "delta.columnMapping.maxColumnId": "2",
                },
                "createdTime": 1,
            }
        },
        {
            "add": {
                "path": "p.parquet",
                "partitionValues": {},
                "size": (tmp_path / "p.parquet").stat().st_size,
                "modificationTime": 1,
                "dataChange": True,
            }
        },
    ]
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("\n".join(map(json.dumps, log)))
    assert read(tmp_path).frame.values.tolist() == [[0.5, "a"], [1.5, "b"]]


def test_delta_with_deletion_vectors_declared_and_partitions(tmp_path):
    written = pa.table({"x": [1, 2], "part": ["a", "b"]})
    write_deltalake(
        str(tmp_path / "t"),
        written,
        partition_by=["part"],
        configuration={"delta.enableDeletionVectors": "true"},
    )
    frame = read(tmp_path / "t").frame
    assert sorted(map(tuple, frame.values.tolist())) == [(1, "a"), (2, "b")]


def test_a_database_by_table_and_query(tmp_path):
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("create table sales (id integer, price real, name text)")
        database.execute(f"insert into sales values ({LARGE}, 0.5, 'a'), (null, null, null)")
    database.close()
    address = f"sqlite:///{path}"
    raw = read(address)
    assert raw.frame.loc[0, "id"] == LARGE
    assert raw.guesses[0].what == "table"
    assert list(read(address + "?query=select name from sales").frame.columns) == ["name"]
    assert list(read(address, "query=select id as a from sales where id > 1").frame["a"]) == [LARGE]
    assert "'id' twice" in refused(address, "query=select id, id from sales")
    assert "has no table nope" in refused(address, "table=nope")
    assert "no such column" in refused(address, "query=select nope from sales")
    assert "readonly" in refused(address, "query=delete from sales")
    assert "gives no rows" in refused(address, "query=select 1 where 0")
    assert "readonly" in refused(address, "query=drop table sales")
    assert len(read(address, "table=sales").frame) == 2
    assert read(address + "?query=select id+1 as a from sales").frame.loc[0, "a"] == LARGE + 1
    assert len(read(address + "?table=sales").frame) == 2
    assert "sqlite:///" in refused(path)
    assert "no file" in refused("sqlite:///" + str(tmp_path / "nope.db"))
    assert not (tmp_path / "nope.db").exists()


def test_a_password_is_in_no_message():
    message = refused("postgresql+psycopg://me:s3cret@127.0.0.1:1/shop?query=select 1")
    assert "s3cret" not in message
    assert "127.0.0.1:1/shop" in message
    assert "s3cret" not in refused("mysql+nodriver://me:s3cret@127.0.0.1:1/shop", "query=select 1")


def test_a_dvc_pointer_stands_for_its_file(tmp_path):
    pointer = tmp_path / "a.csv.dvc"
    pointer.write_text("outs:\n- md5: 0\n  path: a.csv\n")
    assert "dvc pull a.csv.dvc" in refused(pointer)
    (tmp_path / "a.csv").write_bytes(CSV)
    assert len(read(pointer).frame) == 2
    pointer.write_text("nothing: here")
    assert "no DVC pointer" in refused(pointer)


@pytest.mark.parametrize(
    ("location", "shown", "stem"),
    [
        ("https://me:pw@host/a%20b.csv.gz?token=1", "https://host/a%20b.csv.gz", "a b"),
        ("postgresql://me:pw@host/shop?table=sales", "postgresql://host/shop", "sales"),
        ("sqlite:///dir/shop.db?query=select 1", "sqlite:///dir/shop.db", "shop"),
        ("hf:acme/films:test", "hf:acme/films:test", "acme/films:test"),
        ("/data/Films.CSV.dvc", "/data/Films.CSV.dvc", "Films"),
        ("/data/folder", "/data/folder", "folder"),
    ],
)
def test_what_a_location_is_called(location, shown, stem):
    assert readers.resolve(location) == location
    assert readers.shown(location) == shown
    assert readers.stem(location) == stem


def test_a_data_set_of_the_hub(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme" / "films").mkdir(parents=True)
    (tmp_path / "acme" / "films" / "train.csv").write_bytes(CSV)
    (tmp_path / "acme" / "films" / "test.csv").write_bytes(CSV)
    assert list(read("hf:acme/films").frame["split"]) == ["train"] * 2 + ["test"] * 2
    assert len(read("hf:acme/films:test").frame) == 2
    assert "cannot be loaded" in refused("hf:acme/films:nope")


def test_an_address_of_the_hub_needs_its_package_and_form():
    assert "hf:owner/name" in refused("hf:nothing")


def test_where_there_is_no_table(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    assert "of no supported format" in refused(tmp_path / "notes.md")
    assert "holds neither" in refused(tmp_path)
    assert "Did you mean 'notes.md'" in refused(tmp_path / "notes.mdd")


def test_the_rows_of_a_delta_table_come_in_the_same_order_each_time(tmp_path):
    for part in range(8):
        rows = pa.table({"x": range(part * 20_000, (part + 1) * 20_000)})
        write_deltalake(str(tmp_path / "t"), rows, mode="append")
    first = read(tmp_path / "t").frame
    assert all(read(tmp_path / "t").frame.equals(first) for _ in range(5))
