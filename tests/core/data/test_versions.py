import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from diptych.base import workspace
from diptych.core.data import schema, versions
from diptych.core.data.sources import DataError
from diptych.core.data.tasks import Task


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    folder = tmp_path / "a home, größer & 日本"
    monkeypatch.setenv("DIPTYCH_HOME", str(folder))
    return folder


def frame(numbers, label="a"):
    numbers = list(numbers)
    index = pd.RangeIndex(len(numbers))
    return pd.DataFrame(
        {
            "id": [f"row-{i:03d}" for i in numbers],
            "time": schema.no_times(index),
            "size": np.array(numbers, dtype=np.float32),
            "label": label,
            "slice": "",
            "split": "train",
        }
    )


def table(rows):
    return Task("sizes", "table", ["size"], "", lambda seed: rows.copy())


def ingest(rows, why="test", who="somebody"):
    return versions.ingest(table(rows), why=why, who=who)


def test_the_first_version_is_0_and_reads_back_as_loaded():
    rows = frame(range(5)).assign(time=pd.Timestamp("2024-01-01 10:00:00.000001", tz="UTC"))
    rows.loc[2, "size"] = np.nan
    version = ingest(rows)
    assert (version.number, version.rows, version.new) == (0, 5, True)
    pd.testing.assert_frame_equal(versions.read("sizes", 0), table(rows).load())


def test_unchanged_rows_in_any_order_make_no_version():
    first = ingest(frame(range(50)))
    again = ingest(frame(reversed(range(50))))
    assert (again.number, again.digest, again.new) == (0, first.digest, False)
    assert len(versions.history("sizes")) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [("id", "row-999"), ("size", 7.5), ("label", "b"), ("slice", "s"), ("split", "test")],
)
def test_any_changed_value_makes_a_version(column, value):
    first = ingest(frame(range(5)))
    changed = frame(range(5))
    changed.loc[3, column] = value
    second = ingest(changed)
    assert (second.number, second.new) == (1, True)
    assert second.digest != first.digest


def test_values_that_swap_rows_make_a_version():
    first = ingest(frame(range(2)))
    assert ingest(frame(range(2)).assign(size=np.float32([1, 0]))).digest != first.digest


def test_time_travel_reads_every_version_as_it_was():
    states = [frame(range(n), label) for n, label in ((3, "a"), (4, "a"), (4, "b"))]
    for state in states:
        ingest(state)
    for number, state in enumerate(states):
        pd.testing.assert_frame_equal(versions.read("sizes", number), table(state).load())
    pd.testing.assert_frame_equal(versions.read("sizes"), table(states[-1]).load())


def test_history_tells_who_when_and_why():
    before = pd.Timestamp.now("UTC").floor("ms")
    made = ingest(frame(range(3)), "first rows", "ada")
    versions.append("sizes", frame([7]), why="a late row", who="grace")
    told = versions.history("sizes")
    assert told["version"].tolist() == [0, 1]
    assert told["who"].tolist() == ["ada", "grace"]
    assert told["why"].tolist() == ["first rows", "a late row"]
    assert told["rows"].tolist() == [3, 4]
    assert told["operation"].tolist() == ["ingest", "append"]
    assert told["digest"][0] == made.digest
    assert told["time"].between(before, pd.Timestamp.now("UTC")).all()


def test_who_is_the_user_by_default(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOGNAME", "ada")
    versions.ingest(table(frame(range(3))), why="test")
    assert versions.history("sizes")["who"].tolist() == ["ada"]


@pytest.mark.parametrize("why", ["", "  "])
def test_why_is_needed(why, home):
    with pytest.raises(DataError, match=r"^why: it is empty"):
        ingest(frame(range(3)), why)
    assert versions.meaning("sizes") is None


def test_appended_rows_are_added_and_old_versions_stay():
    ingest(frame(range(3)))
    added = versions.append("sizes", frame([9, 7]), why="late rows")
    assert (added.number, added.rows, added.new) == (1, 5, True)
    assert versions.read("sizes")["size"].tolist() == [0, 1, 2, 7, 9]
    assert len(versions.read("sizes", 0)) == 3
    assert versions.difference("sizes", 0, 1) == {"added": 2, "removed": 0, "changed": 0}


def test_an_unchanged_source_does_not_undo_what_was_appended():
    rows = frame(range(3))
    ingest(rows)
    versions.append("sizes", frame([9]), why="a late row")
    assert ingest(rows).number == 0
    assert len(versions.read("sizes")) == 4


def test_difference_counts_rows_by_id():
    ingest(frame(range(10)))
    changed = frame(range(2, 13))
    changed.loc[changed["id"].isin(["row-004", "row-005"]), "label"] = "b"
    ingest(changed)
    assert versions.difference("sizes", 0, 1) == {"added": 3, "removed": 2, "changed": 2}
    assert versions.difference("sizes", 1, 0) == {"added": 2, "removed": 3, "changed": 2}
    assert versions.difference("sizes", 1, 1) == {"added": 0, "removed": 0, "changed": 0}


NEW = frame([9])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (NEW.drop(columns="label"), "^label: the rows have no such column, sizes expects it"),
        (NEW.assign(colour="red"), "^colour: sizes has no such column"),
        (NEW.assign(size="9"), "^size: the rows have .*string, sizes expects float"),
        (NEW.astype({"size": "float64"}), "^size: the rows have double, sizes expects float"),
        (NEW.assign(label=1), "^label: the rows have int64, sizes expects string"),
        (NEW.assign(time=pd.Timestamp("2024-01-01")), r"^time: .*timestamp.* expects .*tz=UTC"),
        (NEW.assign(label=[["a"]]), "^label: the rows have list"),
        (pd.concat([NEW, frame([8])]).assign(label=["a", 1]), "^label: the rows have values of se"),
        (NEW.assign(label=pd.Series([None], dtype="str")), "^label: 1 rows have no value"),
        (frame([2]), "^id: 'row-002' occurs twice"),
        (frame([9, 9]), "^id: 'row-009' occurs twice"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_is_touched(home, rows, message):
    ingest(frame(range(3)))
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=message):
        versions.append("sizes", rows, why="test")
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_source_that_lost_a_column_is_refused():
    ingest(frame(range(3)))
    other = Task("sizes", "table", ["weight"], "", lambda seed: frame([1]).rename(
        columns={"size": "weight"}))  # fmt: skip
    with pytest.raises(DataError, match=r"^size: the rows have no such column"):
        versions.ingest(other, why="test")
    assert len(versions.history("sizes")) == 1


@pytest.mark.parametrize("odd", "#%?[]^|")
def test_a_home_that_delta_cannot_read_is_refused(odd, tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / f"a{odd}20"))
    with pytest.raises(DataError, match=r"^DIPTYCH_HOME: .* use a folder without"):
        ingest(frame(range(3)))


def test_what_is_not_there_is_named():
    for call in (versions.read, versions.history):
        with pytest.raises(DataError, match="there is no table sizes yet; run mlops/1_data"):
            call("sizes")
    with pytest.raises(DataError, match="there is no table sizes yet"):
        versions.append("sizes", frame([1]), why="test")
    assert versions.meaning("sizes") is None
    ingest(frame(range(3)))
    with pytest.raises(DataError, match="no version 4 of sizes; it has only version 0"):
        versions.read("sizes", 4)
    ingest(frame(range(4)))
    with pytest.raises(DataError, match=r"^data_version: .*no version -2 .*it has versions 0 to 1"):
        versions.read("sizes", -2)
    assert versions.meaning("sizes").names == list(frame([1]))


def test_a_write_that_was_cut_short_leaves_the_table_as_it_was():
    """What a killed writer leaves: a data file that no commit names."""
    folder = workspace.tables() / "sizes"
    folder.mkdir()
    (folder / "part-00000-cut.snappy.parquet").write_bytes(b"PAR1")
    assert versions.meaning("sizes") is None
    ingest(frame(range(3)))
    (folder / "part-00001-cut.snappy.parquet").write_bytes(b"PAR1")
    assert len(versions.read("sizes")) == 3
    assert ingest(frame(range(4))).number == 1


WRITER = """
    import os, sys, time
    from pathlib import Path
    from test_versions import frame, table
    from diptych.core.data import versions
    from diptych.core.data.sources import DataError

    me, folder = int(sys.argv[1]), Path(sys.argv[2])
    (folder / f"ready-{me}").touch()
    while len(list(folder.glob("ready-*"))) < 2:
        time.sleep(0.001)
    made = versions.ingest(table(frame(range(3))), why="the same rows")
    print("new" if made.new else "found", made.number)
    for i in range(5):
        versions.append("sizes", frame([10 + 10 * i + me]), why=f"{me} adds {i}")
    try:
        versions.append("sizes", frame([99]), why="both add this")
        print("won")
    except DataError as error:
        print(error)
    sys.stdout.flush()
    os._exit(0)  # deltalake's threads can abort a Python that takes its time to end
"""


def test_two_processes_that_write_at_once_neither_lose_nor_double(home, tmp_path):
    script = tmp_path / "writer.py"
    script.write_text(textwrap.dedent(WRITER))
    here = workspace.repo_root() / "tests" / "core" / "data"
    writers = [
        subprocess.Popen(
            [sys.executable, str(script), str(me), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(here), "DIPTYCH_HOME": str(home), "LOGNAME": f"writer {me}"},
            cwd=workspace.repo_root(),
        )
        for me in (1, 2)
    ]
    told = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], told
    lines = [out.splitlines() for out, _ in told]
    assert sorted(x[0] for x in lines) == ["found 0", "new 0"]
    last = sorted(x[1] for x in lines)
    assert last[1] == "won"
    assert "id: 'row-099' occurs twice" in last[0]
    expected = [0, 1, 2, 99] + [10 + 10 * i + me for i in range(5) for me in (1, 2)]
    assert sorted(versions.read("sizes")["size"]) == sorted(expected)
    history = versions.history("sizes")
    assert history["version"].tolist() == list(range(12))
    assert history["rows"].tolist() == list(range(3, 15))
    assert history["who"].value_counts().max() <= 7
