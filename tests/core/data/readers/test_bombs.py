"""Tables that are small on the disk and huge in memory, and what is no file at all."""

import os

import pyarrow as pa
import pyarrow.parquet
import pytest

from diptych.core.data import readers
from diptych.core.data.readers import formats, parquet
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
