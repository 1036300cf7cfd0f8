"""Tables that are small on the disk and huge in memory, and what is no file at all."""

import contextlib
import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from diptych.core.data import readers
from diptych.core.data.readers import formats, parquet
from diptych.core.data.readers.arrow_size import unpacked_size
from diptych.core.data.sources import DataError


def write(path, table, **options):
    pa.parquet.write_table(table, path, **options)
    return str(path)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_a_text_that_is_said_once_and_meant_a_million_times_is_refused(tmp_path, kind):
    """Two megabytes of file, two terabytes of texts."""
    texts = pa.array(["x" * 2_000_000, "y"], kind)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000 + [1], pa.int32()), texts)
    table = pa.table({"text": column, "label": ["a"] * 1_000_001})
    location = write(tmp_path / "bomb.parquet", table, store_schema=False)
    assert os.path.getsize(location) < 3_000_000
    with pytest.raises(DataError, match=r"MB and would take 2,000\.\d GB here, .*give fewer rows"):
        readers.read_table(location)


def test_a_billion_gaps_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "LEAST", 10**6)
    monkeypatch.setattr(parquet.psutil, "virtual_memory", lambda: Memory)
    location = write(tmp_path / "gaps.parquet", pa.table({"a": pa.nulls(2_000_000, pa.int64())}))
    with pytest.raises(DataError, match="would take"):
        readers.read_table(location)


class Memory:
    available = 0


@pytest.mark.parametrize("form", ["plain", "coded", "typed"])
def test_texts_are_read_as_they_were_written(tmp_path, form):
    words = ["a", None, "naïve 日本", ""] * 50
    column = pa.array(words)
    column = column.dictionary_encode() if form == "typed" else column
    location = write(tmp_path / "t.parquet", pa.table({"text": column, "n": range(200)}),
                     use_dictionary=form != "plain")  # fmt: skip
    frame = readers.read_table(location).frame
    assert [None if value != value or value is None else value for value in frame["text"]] == words
    assert frame["n"].tolist() == list(range(200))


def arrow(path, table, packed="zstd"):
    options = pa.ipc.IpcWriteOptions(compression=packed)
    opened = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, opened(file, table.schema, options=options) as writer:
        writer.write_table(table)
    return str(path)


def of_one_text(kind):
    """A million rows that mean one text of two megabytes."""
    if kind == "coded":
        codes = pa.array(np.zeros(1_000_000, np.int8))
        return pa.DictionaryArray.from_arrays(codes, pa.array(["x" * 2_000_000]))
    if kind == "runs":
        ends = pa.array([999_999, 1_000_000], pa.int32())
        return pa.RunEndEncodedArray.from_arrays(ends, pa.array(["x" * 2_000_000, "y"]))
    text = pa.array(["x" * 2_000_000], pa.string_view()).buffers()
    view = text[1].to_pybytes() * 1_000_000
    return pa.Array.from_buffers(pa.string_view(), 1_000_000, [None, pa.py_buffer(view), text[2]])


@pytest.mark.parametrize("name", ["bomb.arrow", "bomb.arrows", "bomb.feather"])
@pytest.mark.parametrize("kind", ["coded", "runs", "views"])
def test_a_text_that_arrow_says_once_is_refused(tmp_path, name, kind):
    location = arrow(tmp_path / name, pa.table({"text": of_one_text(kind)}))
    assert os.path.getsize(location) < 3_000_000
    with pytest.raises(DataError, match=r"^task: \S+ has .* would take 2,0\d\d\.\d GB here"):
        readers.read_table(location)


@pytest.mark.parametrize("packed", ["zstd", "lz4", None])
@pytest.mark.parametrize("name", ["zeros.arrow", "zeros.arrows"])
def test_packed_zeros_are_counted_before_they_are_unpacked(tmp_path, monkeypatch, name, packed):
    table = pa.table({"a": np.zeros(1_000_000), "b": ["text"] * 1_000_000})
    location = arrow(tmp_path / name, table, packed)
    size = unpacked_size(Path(location).read_bytes())
    assert table.nbytes <= size <= 1.01 * table.nbytes
    assert readers.read_table(location).frame.shape == (1_000_000, 2)
    monkeypatch.setattr(parquet, "LEAST", 10**6)
    monkeypatch.setattr(parquet.psutil, "virtual_memory", lambda: Memory)
    with pytest.raises(DataError, match=r"^task: \S+ has .* would take 0.0 GB here"):
        readers.read_table(location)


def test_a_run_of_two_billion_numbers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet.psutil, "virtual_memory", lambda: Memory)
    column = pa.RunEndEncodedArray.from_arrays(pa.array([2**31 - 1]), pa.array([1.0]))
    with pytest.raises(DataError, match=r"^task: \S+ has 0.0 MB and would take 17.2 GB here"):
        readers.read_table(arrow(tmp_path / "run.arrow", pa.table({"a": column})))


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows"])
def test_a_damaged_arrow_file_is_a_sentence(tmp_path, name):
    location = arrow(tmp_path / name, pa.table({"a": range(1000), "b": ["x", "y"] * 500}))
    data, draw = Path(location).read_bytes(), random.Random(1)
    for _ in range(200):
        broken = bytearray(data)
        for _ in range(3):
            broken[draw.randrange(10, len(data))] = draw.randrange(256)
        end = draw.choice([len(data), draw.randrange(12, 999)])
        Path(location).write_bytes(bytes(broken[:end]))
        with contextlib.suppress(DataError):
            readers.read_table(location)


def test_too_many_columns_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MOST_COLUMNS", 5)
    path = tmp_path / "wide.csv"
    path.write_text("a,b,c,d,e,f\n1,2,3,4,5,6\n1,2,3,4,5,7\n")
    with pytest.raises(DataError, match=r"wide.csv has 6 columns, and at most 5 are read"):
        readers.read_table(str(path))


def test_a_pipe_and_a_link_to_itself_are_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(DataError, match=r"pipe.csv is no file"):
        readers.resolve(str(tmp_path / "pipe.csv"))
    with pytest.raises(DataError, match=r"loop.csv cannot be read"):
        readers.read_table(str(tmp_path / "loop.csv"))
