"""The ledger of calls, in SQLite and in a real PostgreSQL: bill, cache and record of failures."""

import math
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pandas as pd
import postgres
import psycopg
import pytest

from diptych.core.store.calls import CALL, Calls, LedgerError, request_hash
from diptych.core.store.migrations import MIGRATIONS
from diptych.core.store.prices import Price
from diptych.core.store.sqlite import APPLICATION

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello \x00 \u2603"}]}
ROW = {"endpoint": "local", "model": "m", "request": "h1", "input": BODY}


@pytest.fixture(scope="session")
def server():
    if postgres.programs() is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """A path or URL of an empty ledger."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    url = request.getfixturevalue("server")
    with psycopg.connect(url) as db:
        db.execute("DROP TABLE IF EXISTS calls, diptych_schema")
    return url


@pytest.fixture
def calls(place):
    with Calls(place) as calls:
        yield calls


def test_a_call_is_read_as_it_was_logged(calls):
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    full = {
        **ROW, "id": "x", "time": moment, "run": "r", "prompt_version": "p1", "repeat": 2,
        "output": "hi \u2603", "response": {"choices": [{"logprobs": None}]}, "prompt_tokens": 7,
        "completion_tokens": 3, "usd": 0.25, "first_token_ms": 1.5, "latency_ms": 9.25,
        "retries": 1, "status": "ok", "error": "none", "caller": "ann", "step": 1, "outcome": "cut",
        "changes": {"temperature": None},
    }  # fmt: skip
    assert set(full) == set(CALL)
    calls.log([full])
    (found,) = calls.table().to_dict("records")
    assert found == full


def test_what_is_not_given_is_null_or_its_beginning(calls):
    calls.log([ROW, {**ROW, "status": "failed", "error": "down", "output": None}])
    found = calls.table()
    assert found["id"].is_unique
    assert found["status"].tolist() == ["ok", "failed"]
    assert found[["output", "response", "usd", "first_token_ms"]].isna().all(axis=None)
    assert found[["repeat", "retries", "step"]].eq(0).all(axis=None)
    assert found["caller"].eq("").all()


def test_an_empty_ledger_has_the_types_of_a_full_one(calls):
    empty = calls.table().dtypes
    calls.log([{**ROW, "usd": 1.0, "output": "x"}])
    pd.testing.assert_series_equal(calls.table().dtypes, empty)


def test_calls_of_a_run_an_endpoint_and_since_a_time(calls):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    calls.log([{**ROW, "run": f"r{i % 2}", "time": start + timedelta(days=i)} for i in (2, 0, 1)])
    calls.log([{**ROW, "endpoint": "openai", "run": "r0"}])
    assert len(calls.table(run="r0")) == 3
    assert len(calls.table(run="r0", endpoint="local")) == 2
    assert calls.table(endpoint="local")["time"].is_monotonic_increasing
    assert len(calls.table(since="2026-01-03")) == 2


def test_the_bill(calls):
    calls.log([{**ROW, "run": "r", "usd": 0.1, "prompt_tokens": 10, "completion_tokens": 2}] * 3)
    calls.log([{**ROW, "run": "r", "status": "failed"}, {**ROW, "usd": 5.0}])
    bill = calls.spent("r")
    assert math.isclose(bill.pop("usd"), 0.3)
    assert bill == {"calls": 4, "failed": 1, "prompt_tokens": 30, "completion_tokens": 6}
    assert calls.spent("nobody")["usd"] == 0
    assert math.isclose(calls.spent()["usd"], 5.3)


def test_the_bill_of_a_caller_since_a_time(calls):
    for day, caller in ((1, "ann"), (2, "ann"), (2, "ben")):
        moment = datetime(2026, 1, day, tzinfo=UTC)
        calls.log([{**ROW, "caller": caller, "time": moment, "prompt_tokens": 10 * day}])
    assert calls.spent(caller="ann")["prompt_tokens"] == 30
    assert calls.spent(caller="ann", since="2026-01-02")["prompt_tokens"] == 20
    assert calls.spent(caller="")["calls"] == 0


def test_the_cache_knows_answers_by_request_and_repeat(calls):
    calls.log([
        {**ROW, "output": "first", "response": {"a": 1}},
        {**ROW, "output": "second"},
        {**ROW, "output": "again", "repeat": 1},
        {**ROW, "request": "h2", "status": "failed"},
    ])  # fmt: skip
    assert calls.answered(["h1", "h2", "h3"]).keys() == {"h1"}
    assert calls.answered(["h1"])["h1"]["output"] == "first"
    assert calls.answered(["h1"])["h1"]["response"] == {"a": 1}
    assert calls.answered(["h1"], repeat=1)["h1"]["output"] == "again"
    assert calls.answered(["h1"], repeat=2) == calls.answered([]) == {}


def test_the_cache_looks_up_more_requests_than_fit_a_query(calls):
    calls.log([{**ROW, "request": f"h{i}", "output": str(i)} for i in range(1201)])
    found = calls.answered([f"h{i}" for i in range(1300)])
    assert {call["output"] for call in found.values()} == {str(i) for i in range(1201)}


def test_odd_text_is_kept_or_marked(calls):
    calls.log([{**ROW, "output": "a\x00b \ud83d c", "error": "\udfff"}])
    (found,) = calls.table()["output"]
    assert found.startswith("a")
    assert found.endswith("b ? c")


@pytest.mark.parametrize("row", [{"endpoint": "e", "model": "m", "input": {}}, {**ROW, "tokns": 1}])
def test_a_wrong_row_is_refused_and_none_of_its_batch_written(calls, row):
    with pytest.raises(ValueError, match=r"row 1: (request|tokns)"):
        calls.log([ROW, row])
    assert calls.table().empty


WRITER = """
import sys
from diptych.core.store.calls import Calls
with Calls(sys.argv[1]) as calls:
    for i in range(30):
        calls.log([{"endpoint": "e", "model": "m", "request": f"{i}-{j}", "input": {},
                    "run": sys.argv[2]} for j in range(5)])
"""


def test_several_processes_make_and_write_one_ledger_at_once(place):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, place, f"r{k}"]) for k in range(3)]
    assert [writer.wait(120) for writer in writers] == [0] * 3
    with Calls(place) as calls:
        assert calls.table().groupby("run").size().to_dict() == {f"r{k}": 150 for k in range(3)}


def test_a_closed_ledger_explains_itself(place):
    calls = Calls(place)
    calls.close()
    with pytest.raises(LedgerError, match="closed"):
        calls.log([ROW])


def test_a_newer_schema_in_postgresql_is_refused(server):
    import psycopg

    Calls(server).close()
    with psycopg.connect(server) as db:
        db.execute("UPDATE diptych_schema SET version = version + 1")
    with pytest.raises(LedgerError, match="update Diptych") as error:
        Calls(server)
    assert "ann" not in str(error.value)
    with psycopg.connect(server) as db:
        db.execute("DROP TABLE diptych_schema, calls")


def test_a_server_that_does_not_answer_is_named_without_its_password():
    with pytest.raises(LedgerError, match=r"127\.0\.0\.1:9/db failed") as error:
        Calls("postgresql://ann:hunter2@127.0.0.1:9/db")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_ledger_of_an_older_schema_is_brought_up_to_date(tmp_path, version):
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as db:
        for statement in (each for step in MIGRATIONS[:version] for each in step):
            db.execute(statement)
        db.execute("INSERT INTO predictions VALUES" + str(("id", "now", "e", "m", *"abcdefg")))
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    with Calls(path) as calls:
        calls.log([ROW])
        assert calls.table()["caller"].tolist() == [""]
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT id FROM predictions").fetchall() == [("id",)]
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    db.close()


def test_equal_requests_have_equal_hashes_and_others_do_not():
    turned = {"messages": BODY["messages"], "model": "m"}
    assert request_hash("u", BODY) == request_hash("u", turned)
    others = [("v", BODY), ("u", {**BODY, "model": "n"}), ("u", {**BODY, "seed": 1})]
    assert len({request_hash("u", BODY), *(request_hash(*other) for other in others)}) == 4


def test_prices():
    known = Price("openai", "gpt-4o")
    facts = known.facts()  # dollars per million tokens, in and out
    both = 2_000 * facts["input_usd"] + 300 * facts["output_usd"]
    assert math.isclose(known.usd(2_000, 300), both / 1e6)
    assert known.usd(1000, 200) == pytest.approx(0.0045)  # OpenAI's published price, 2024-10
    in_batch = Price("openai", "gpt-4o", batch=True)  # half, says OpenAI's Batch API FAQ
    assert in_batch.usd(1000, 200) == pytest.approx(0.00225)
    assert Price("free", "anything", batch=True).usd(10, 10) == 0
    assert Price("free", "anything").usd(10, 10) == 0
    assert Price("", "anything").usd(10, 10) is None
    assert Price("openai", "no-such-model").usd(10, 10) is None
