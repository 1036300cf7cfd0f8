"""The ledger: what is logged is there, whoever writes at once, and each error says what to do."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from diptych.core.store.predictions import MIGRATIONS, LedgerError, Predictions

ROW = {"endpoint": "e", "model": "m/1", "input": [1.5, None, 2]}


@pytest.fixture
def ledger(tmp_path):
    with Predictions(tmp_path / "deep" / "ledger.db") as ledger:
        yield ledger


def test_a_prediction_is_read_as_it_was_logged(ledger):
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    full = {
        **ROW, "id": "x", "time": moment, "row_id": "r1", "prediction": "yes",
        "probability": 0.75, "probabilities": [0.25, 0.75], "latency_ms": 1.5, "status": "ok",
    }  # fmt: skip
    ledger.log([full])
    (found,) = ledger.table().to_dict("records")
    assert {name: found[name] for name in full} == full
    assert pd.isna(found["label"])


def test_what_is_not_given_is_filled_in_or_null(ledger):
    before = datetime.now(UTC)
    ledger.log([ROW, {**ROW, "input": "a text"}])
    found = ledger.table()
    assert found["id"].is_unique
    assert found["time"].between(before, datetime.now(UTC)).all()
    assert found["status"].eq("ok").all()
    assert found["input"].tolist() == [[1.5, None, 2], "a text"]
    assert found[["row_id", "prediction", "probability", "latency_ms"]].isna().all(axis=None)


def test_predictions_of_one_endpoint_and_since_a_time(ledger):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [{**ROW, "row_id": str(i), "time": start + timedelta(days=i)} for i in (2, 0, 1)]
    ledger.log([*rows, {**ROW, "endpoint": "other"}])
    assert ledger.table("e")["row_id"].tolist() == ["0", "1", "2"]
    assert ledger.table("e", since="2026-01-02")["row_id"].tolist() == ["1", "2"]
    assert ledger.table("e", since=start + timedelta(days=2))["row_id"].tolist() == ["2"]
    assert ledger.table("nobody").empty


def test_an_empty_ledger_has_the_types_of_a_full_one(ledger):
    empty = ledger.table().dtypes
    ledger.log([{**ROW, "row_id": "a", "prediction": "b", "probability": 1.0, "latency_ms": 1.0}])
    pd.testing.assert_series_equal(ledger.table().dtypes, empty)


def test_late_labels_join_their_predictions(ledger):
    ledger.log([{**ROW, "row_id": str(i)} for i in range(3)])
    ledger.log([{**ROW, "endpoint": "other", "row_id": "0"}, ROW])
    ledger.label("e", {"0": "wrong", 1: "no", "later": "yes"})
    ledger.label("e", {"0": "yes"})
    ledger.log([{**ROW, "row_id": "later"}])
    found = ledger.table("e").set_index("row_id")["label"]
    assert found[["0", "1", "later"]].tolist() == ["yes", "no", "yes"]
    assert found.isna().sum() == 2
    assert ledger.table("other")["label"].isna().all()


@pytest.mark.parametrize("row", [{"endpoint": "e", "model": "m"}, {**ROW, "modell": "m"}])
def test_a_wrong_row_is_refused_and_none_of_its_batch_written(ledger, row):
    with pytest.raises(ValueError, match=r"row 1: (input|modell)"):
        ledger.log([ROW, row])
    assert ledger.table().empty


def test_a_batch_is_written_whole_or_not_at_all(ledger):
    ledger.log([{**ROW, "id": "taken"}])
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger.log([ROW, {**ROW, "id": "taken"}])
    assert len(ledger.table()) == 1
    ledger.log([ROW])  # and the next one is


def test_promotions_are_only_ever_added(ledger):
    ledger.promote("m", None, "1", "ann", "first", {"pass": True})
    ledger.promote("m", "1", "2", "ben", "better", {})
    found = ledger.promotions("m")
    assert found["to_version"].tolist() == ["1", "2"]
    assert found["gate"].tolist() == [{"pass": True}, {}]
    assert ledger.promotions("other").empty
    with sqlite3.connect(ledger.path) as db:
        for change in ("UPDATE promotions SET who = 'eve'", "DELETE FROM promotions"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
                db.execute(change)
    db.close()


@pytest.mark.parametrize("field", ["who", "why"])
def test_a_promotion_names_who_and_why(ledger, field):
    given = {"who": "ann", "why": "better", field: " "}
    with pytest.raises(ValueError, match=field):
        ledger.promote("m", None, "1", gate={}, **given)


WRITER = """
import sys
from diptych.core.store.predictions import Predictions
with Predictions(sys.argv[1]) as ledger:
    for i in range(40):
        ledger.log([{"endpoint": sys.argv[2], "model": "m", "input": i, "row_id": f"{i}-{j}"}
                    for j in range(5)])
        ledger.label(sys.argv[2], {f"{i}-0": "yes"})
"""


def test_several_processes_make_and_write_one_file_at_once(tmp_path):
    path = tmp_path / "ledger.db"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"e{k}"]) for k in range(4)
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    with Predictions(path) as ledger:
        found = ledger.table()
    assert found.groupby("endpoint").size().to_dict() == {f"e{k}": 200 for k in range(4)}
    assert found["label"].notna().sum() == 4 * 40


def test_a_url_names_a_file(tmp_path):
    with Predictions(f"sqlite:///{tmp_path}/a.db") as ledger:
        assert ledger.path == tmp_path / "a.db"
    with pytest.raises(LedgerError, match=r"postgresql.*give a path"):
        Predictions("postgresql://host/db")


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, just text\n" * 100)
    with pytest.raises(LedgerError, match="is not a ledger; give another path"):
        Predictions(path)
    assert path.read_text().startswith("not a database")


def test_the_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="another program; give another path"):
        Predictions(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    Predictions(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(LedgerError, match=f"schema {len(MIGRATIONS) + 1}.*update Diptych"):
        Predictions(path)


def test_a_damaged_file_says_so(tmp_path):
    path = tmp_path / "ledger.db"
    with Predictions(path) as ledger:
        ledger.log([{**ROW, "input": "x" * 500} for _ in range(200)])
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="damaged; restore a copy"), Predictions(path) as ledger:
        ledger.table()


def test_a_folder_where_the_file_should_be(tmp_path):
    with pytest.raises(LedgerError, match="cannot be opened"):
        Predictions(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="cannot be opened"):
        Predictions(tmp_path / "file" / "ledger.db")


@contextmanager
def nobody():
    """Act as a user without rights, where this one may write anywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_file_that_may_only_be_read():
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "ledger.db"
        Predictions(path).close()
        path.chmod(0o444)
        folder.chmod(0o555)
        with nobody(), pytest.raises(LedgerError, match=r"cannot be (written|opened); check the"):
            Predictions(path)
        folder.chmod(0o755)


def test_a_closed_ledger_explains_itself(tmp_path):
    ledger = Predictions(tmp_path / "ledger.db")
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.log([ROW])


def test_a_new_ledger_is_its_users_alone(tmp_path):
    before = os.umask(0)
    try:
        with Predictions(tmp_path / "ledger.db") as ledger:
            ledger.promote("m", None, "1", who="me", why="first", gate={})
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}, modes
