"""Stage 4: a real server answers the live rows, and every answer is on record."""

import pytest
from mlops.samples import TASKS, fitted, sample

from diptych.core.data import tasks
from diptych.core.store.predictions import Predictions
from diptych.mlops import serve
from diptych.mlops.models import model as models
from diptych.mlops.serving.process import EndpointError

CASES = [("text", "logistic"), ("table", "xgboost")]


def rows_and_bodies(kind: str, n: int):
    subject = tasks.get(TASKS[kind])
    rows = sample(subject.name).head(n)
    return rows, models.requests(rows, kind, subject.features)


@pytest.mark.parametrize(("kind", "family"), CASES)
def test_what_was_served_is_on_record_under_its_row(kind, family, tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    model = fitted(kind, family)
    rows, bodies = rows_and_bodies(kind, 20)
    served = serve.serve(model.save(tmp_path / "model"), bodies, run="r1", name="m 3")
    assert [served.alone.summary()["ok"], served.load.summary()["ok"]] == [10, 10]
    assert served.failed == 0
    service = served.service_ms()
    assert 0 < service["service_p50_ms"] <= service["service_p95_ms"]
    assert service["queueing_p50_ms"] >= 0
    assert served.cpu_s > 0
    assert served.memory_mb > 1
    log = serve.log("r1").set_index("row_id")
    expected = model.predict(models.rows_of(rows, kind, model.features))
    assert log["prediction"].reindex(rows["id"]).tolist() == list(expected)
    assert set(log["model"]) == {"m 3"}


def test_only_what_this_run_answered_is_read(tmp_path):
    folder = fitted("table", "xgboost").save(tmp_path / "model")
    ledger = tmp_path / "ledger.db"
    for run in ("a", "b"):
        serve.serve(folder, rows_and_bodies("table", 3)[1], run=run, ledger=ledger)
    assert len(serve.log("a", ledger=ledger)) == 3
    with Predictions(ledger) as book:
        assert len(book.table()) == 6


def test_a_folder_without_a_model_is_an_error_that_says_so(tmp_path):
    with pytest.raises(EndpointError, match="did not start"):
        serve.serve(tmp_path, [{"instances": [["a"]]}], run="r", ledger=tmp_path / "ledger.db")
