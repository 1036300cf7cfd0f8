"""One way to write rows, so what holds of predictions holds of calls too."""

from datetime import UTC, datetime

import pytest

from diptych.core.store.calls import Calls
from diptych.core.store.predictions import Predictions

PREDICTION = {"endpoint": "e", "model": "m/1", "input": "a text"}
CALL = {**PREDICTION, "request": "h1"}


@pytest.fixture(params=["predictions", "calls"])
def ledger(request, tmp_path):
    """A table of the ledger and a row that it takes."""
    kind, row = (Calls, CALL) if request.param == "calls" else (Predictions, PREDICTION)
    with kind(tmp_path / "ledger.db") as table:
        yield table, row


def test_none_is_the_same_as_no_value(ledger):
    table, row = ledger
    before = datetime.now(UTC)
    table.log([{**row, "id": None, "time": None, "status": None, "latency_ms": None}, row])
    rows = table.table()
    assert rows["id"].is_unique
    assert rows["id"].str.len().eq(28).all()
    assert rows["time"].between(before, datetime.now(UTC)).all()
    assert rows["status"].eq("ok").all()
    assert rows["latency_ms"].isna().all()


def test_falsy_values_are_values(ledger):
    table, row = ledger
    table.log([{**row, "input": [], "latency_ms": 0.0}])
    (line,) = table.table().to_dict("records")
    assert (line["input"], line["latency_ms"]) == ([], 0.0)


@pytest.mark.parametrize("field", ["endpoint", "model", "input"])
def test_a_required_field_that_is_missing_or_none_is_named(ledger, field):
    table, row = ledger
    for wrong in ({**row, field: None}, {k: v for k, v in row.items() if k != field}):
        with pytest.raises(ValueError, match=f"^row 1: {field} missing in a (prediction|call)$"):
            table.log([row, wrong])
    assert table.table().empty


def test_an_unknown_field_is_named_beside_those_there_are(ledger):
    table, row = ledger
    with pytest.raises(
        ValueError, match=r"row 0: latency unknown in a .*; it has id, .*latency_ms"
    ):
        table.log([{**row, "latency": None}])
    assert table.table().empty


def test_ids_made_here_rise_with_time(ledger):
    table, row = ledger
    for _ in range(3):
        table.log([row] * 4)
    assert table.table()["id"].is_monotonic_increasing


def test_a_local_time_is_stored_in_utc(ledger):
    table, row = ledger
    table.log([{**row, "time": "2026-03-01T12:00:00+02:00"}])
    assert table.table()["time"].iloc[0].isoformat() == "2026-03-01T10:00:00+00:00"
