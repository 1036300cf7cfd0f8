"""A model of typed columns: fitted on a frame, saved, served by the same reading."""

import json

import numpy as np
import pytest

from diptych.core.data.generators import tables
from diptych.core.data.typing import infer, label_column
from diptych.core.store.predictions import Predictions
from diptych.mlops.models import model as models
from diptych.mlops.serving import app
from diptych.mlops.serving.batcher import Batcher
from diptych.mlops.serving.typed_inputs import TypedReader


@pytest.fixture(scope="module")
def churn():
    raw = tables.churn(800)
    typed = infer(raw, exclude=["churned"])
    label, _ = label_column(raw["churned"], "churned")
    return raw, typed, typed.read(raw), label.read_series(raw["churned"])


def fitted(churn, family):
    _, typed, frame, labels = churn
    names = [column.name for column in typed.columns]
    parameters = {"rounds": 20} if family == "xgboost" else {}
    return models.fit(
        frame, labels, family=family, kind="table", features=names, parameters=parameters,
        columns=typed.columns,
    )  # fmt: skip


@pytest.mark.parametrize("family", models.FAMILIES["table"])
def test_a_saved_model_answers_requests_as_it_answers_the_frame(churn, family, tmp_path):
    raw, typed, frame, _ = churn
    model = fitted(churn, family)
    loaded = models.load(model.save(tmp_path / "model"))
    expected = model.predict_proba(frame)
    assert loaded.predict_proba(frame).tobytes() == expected.tobytes()
    reader = app._reader(loaded)
    assert isinstance(reader, TypedReader)
    csv, _ = reader.parse(raw.to_csv(index=False).encode(), "text/csv")
    assert reader.ignored == {"customer_id", "churned"}
    rows = frame.assign(id=[str(i) for i in range(len(frame))])
    bodies = models.requests(rows, "table", model.features, typed.columns)
    one_by_one = [reader.parse(json.dumps(body).encode())[0][0] for body in bodies]
    assert csv == one_by_one
    assert loaded.predict_proba(loaded.inputs(csv)).tobytes() == expected.tobytes()


def test_the_endpoint_records_and_answers_typed_rows(churn, tmp_path):
    raw, _, frame, _ = churn
    model = fitted(churn, "logistic")
    app._try_out(model)
    rows, _ = app._reader(model).parse(raw.head(5).to_csv(index=False).encode(), "text/csv")
    with Predictions(tmp_path / "ledger.db") as ledger:
        batcher = Batcher(model, ledger, "endpoint", "churn", most=10)
        predicted = [label for label, *_ in batcher._predict(rows)]
    assert predicted == model.predict(frame.head(5)).tolist()
    json.dumps(rows)  # what the ledger stores


def test_models_learn_what_a_table_says(churn):
    _, _, frame, labels = churn
    for family in ("xgboost", "logistic"):
        correct = fitted(churn, family).predict(frame) == labels.to_numpy(dtype=object)
        assert correct.mean() > (labels == "no").mean()


def test_a_text_model_keeps_the_name_of_its_column(tmp_path):
    texts = ["the lamp was lovely", "the lamp was awful"] * 20
    model = models.fit(
        texts, ["pos", "neg"] * 20, family="logistic", kind="text", features=["text"],
        parameters={},
    )  # fmt: skip
    before = json.loads((model.save(tmp_path / "before") / "model.json").read_text())
    assert not {"typed", "text_column"} & set(before)  # models of before keep their bytes
    assert model.columns is None
    model.text_column = "message"
    loaded = models.load(model.save(tmp_path / "after"))
    rows, _ = app._reader(loaded).parse(b"message\nthe lamp was lovely\n", "text/csv")
    assert rows == ["the lamp was lovely"]
    assert np.array_equal(loaded.predict_proba(rows), model.predict_proba(rows))
