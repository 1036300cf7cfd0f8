"""Models and metrics of one's own beside the families: compared, selected, saved and served."""

import json

import numpy as np
import pandas as pd
import pytest
from mlops.samples import fitted, reseal, sample
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from starlette.testclient import TestClient

from diptych.core.data import tasks
from diptych.core.evaluation.own_metrics import MetricError
from diptych.core.store.predictions import Predictions
from diptych.mlops import build, monitor, release
from diptych.mlops.leaderboard import Leaderboard
from diptych.mlops.models import model as models
from diptych.mlops.models.model import ModelError
from diptych.mlops.serving.app import create_app

NAMES = ["reviews", "tumours", "churn"]


class Answers:
    """A model that gives what it is told, whatever it reads."""

    def __init__(self, answers):
        self.answers = answers

    def predict(self, rows):
        """Return the answers, repeated for each row if there is one."""
        return self.answers * len(rows) if len(self.answers) == 1 else self.answers


def leaderboard(name="tumours") -> Leaderboard:
    """Return the board of a baseline."""
    task, data = tasks.get(name), sample(name)
    tuned, tried = build.tune_all(data, task, "baseline", 1, 0)
    return Leaderboard(tuned, tried, data, task)


def pipeline(name):
    """Return a scikit-learn pipeline as somebody fits it to a task's training rows."""
    task, train = tasks.get(name), build.part(sample(name), "train")
    if name == "reviews":
        model = make_pipeline(TfidfVectorizer(), LogisticRegression())
        return model.fit(train["text"], train["label"])
    if name == "tumours":
        model = DecisionTreeClassifier(max_depth=3, random_state=0)
        return model.fit(train[task.features], train["label"])
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="string")),
        (SimpleImputer(), make_column_selector(dtype_include="number")),
    )
    model = make_pipeline(encoded, LogisticRegression(max_iter=2000))
    return model.fit(train[task.features], train["label"])


@pytest.fixture(scope="module", params=NAMES)
def board(request):
    """Return a task's name and a board with a pipeline on it."""
    result = leaderboard(request.param)
    result.add("mine", pipeline(request.param))
    return request.param, result


@pytest.fixture(scope="module")
def saved(board, tmp_path_factory):
    """Return the board, and the folder of its pipeline."""
    name, result = board
    folder = tmp_path_factory.mktemp(name) / "model"
    return name, result, folder, build.save(result.models["mine"], folder)


def test_a_pipeline_is_ranked_with_intervals_and_selected(board):
    name, result = board
    table = result.table().set_index("name")
    assert set(table.index) == {"baseline", "mine"}
    assert table.loc["mine", "low"] < table.loc["mine", "value"] < table.loc["mine", "high"]
    test = build.part(sample(name), "test")
    given = test["text"] if name == "reviews" else test[tasks.get(name).features]
    right = pipeline(name).predict(given) == test["label"].to_numpy()
    assert table.loc["mine", "value"] == pytest.approx(right.mean())
    scores = result.tried.set_index("family")["validation"]
    assert result.best == scores.idxmax()
    assert result.tried.iloc[-1]["trial"] == "own"


def test_it_is_saved_without_pickle_and_loaded_alike(saved):
    name, result, folder, facts = saved
    assert facts["family"] == "mine"
    assert not [
        path for path in folder.iterdir() if "pickle" in path.suffix or path.suffix == ".pkl"
    ]
    test = build.part(sample(name), "test")
    before, after = result.models["mine"], models.load(folder)
    expected = before.predict_proba(before.rows_of(test))
    np.testing.assert_array_equal(after.predict_proba(after.rows_of(test)), expected)
    if after.typed:
        rows = models.plain_rows(test, after.columns.columns)
        np.testing.assert_array_equal(after.predict_proba(rows), expected)


def test_it_is_fitted_again_measured_and_watched(saved):
    name, _, folder, _ = saved
    task, data, model = tasks.get(name), sample(name), models.load(folder)
    again = build.refit(model, build.part(data, "train"), task, 0)
    test = build.part(data, "test")
    assert list(again.predict(again.rows_of(test))) == list(model.predict(model.rows_of(test)))
    curve = build.learning_curve(data, task, model, [0.5, 1.0], 0)
    assert curve["value"].notna().all()
    assert release.measure("m", model, folder, test.head(40), task.grader).latency_p95_ms > 0
    release.add_reference(model, folder, test, 0)
    assert "model confidence" in json.dumps(monitor.reference(folder).to_dict())


def test_it_is_served_as_the_families_are(saved, tmp_path):
    name, _, folder, _ = saved
    model, test = models.load(folder), build.part(sample(name), "test").head(5)
    columns = model.columns.columns if model.columns else ()
    bodies = models.requests(test, model.kind, model.features, columns)
    with Predictions(tmp_path / "ledger.db") as ledger:
        client = TestClient(create_app(model, ledger, endpoint="e"))
        answers = [client.post("/invocations", json=body).json() for body in bodies]
    labels = [answer["predictions"][0] for answer in answers]
    shown = [x["label"] if isinstance(x, dict) else x for x in labels]
    assert shown == list(model.predict(model.rows_of(test)))


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["good"], r"mine: it predicts 'good', and the labels of the training set are 'benign'"),
        (["benign"] * 3, r"mine: predict gave 3 for \d+ rows; give one label a row"),
        ([np.nan], r"mine: it gave no answer \(NaN\) for \d+ of \d+ rows"),
        ([["benign", "malignant"]], r"mine: predict gave an array of shape"),
    ],
    ids=["label", "length", "missing", "shape"],
)
def test_answers_that_do_not_fit_are_refused_in_a_sentence(answers, message):
    board = leaderboard()
    with pytest.raises(ModelError, match=message):
        board.add("mine", Answers(answers))
    assert list(board.models) == ["baseline"]
    assert list(board.tried["family"]) == ["baseline"]


def test_what_cannot_answer_is_refused(capsys):
    board, train = leaderboard(), build.part(sample("tumours"), "train")
    with pytest.raises(ModelError, match="mine: a str has no predict; give a fitted model"):
        board.add("mine", "pipeline")
    with pytest.raises(ModelError, match=r"mine: predict failed on .*: NotFittedError"):
        board.add("mine", LogisticRegression())
    with pytest.raises(ModelError, match="logistic: a family has this name"):
        board.add("logistic", pipeline("tumours"))
    other = DecisionTreeClassifier().fit(train[["mean_radius"]].to_numpy(), train["label"])
    with pytest.raises(ModelError, match="failed on a DataFrame of the columns: "):
        board.add("mine", other)


def test_one_that_reads_no_gaps_is_told_so_at_once():
    board, train = leaderboard(), build.part(sample("tumours"), "train")
    features = tasks.get("tumours").features
    model = LogisticRegression(max_iter=5000).fit(train[features], train["label"])
    with pytest.raises(ModelError, match=r"contains NaN.*such as by a SimpleImputer before it"):
        board.add("mine", model)
    assert list(board.models) == ["baseline"]
    filled = make_pipeline(SimpleImputer(), LogisticRegression(max_iter=5000))
    board.add("mine", filled.fit(train[features], train["label"]))


def test_a_pipeline_of_some_columns_reads_these(tmp_path):
    task, train = tasks.get("tumours"), build.part(sample("tumours"), "train")
    some = task.features[5:2:-1]
    model = make_pipeline(SimpleImputer(), LogisticRegression(max_iter=2000))
    board = leaderboard()
    board.add("mine", model.fit(train[some], train["label"]))
    mine, test = board.models["mine"], build.part(sample("tumours"), "test")
    expected = list(model.predict(test[some]))
    folder = mine.save(tmp_path / "model")
    assert list(mine.predict(test)) == list(models.load(folder).predict(test)) == expected
    build.refit(mine, train, task, 0)
    with pytest.raises(ModelError, match=r"fitted on id, which no row to predict has; fit it on "):
        board.add("mine", model.fit(train[[*some, "id"]].assign(id=0), train["label"]))


def test_whole_numbers_that_are_the_labels_are_read_as_these():
    task, data = tasks.get("tumours"), sample("tumours")
    data = data.assign(label=(data["label"] == "benign").astype(int).astype(str))
    train = build.part(data, "train")
    tuned, tried = build.tune_all(data, task, "baseline", 1, 0)
    board = Leaderboard(tuned, tried, data, task)
    model = DecisionTreeClassifier(max_depth=3, random_state=0)
    board.add("mine", model.fit(train[task.features], train["label"].astype(int)))
    assert board.tried["validation"].iloc[-1] > 0.85


def test_one_without_probabilities_counts_as_sure(capsys):
    board, train = leaderboard("reviews"), build.part(sample("reviews"), "train")
    model = make_pipeline(TfidfVectorizer(), LinearSVC()).fit(train["text"], train["label"])
    board.add("mine", model)
    assert "counts as sure of every answer" in capsys.readouterr().out
    scores = board.scores["mine"]
    assert set(scores.confidence) == {1.0}
    assert scores.calibration_error.value == pytest.approx(1 - scores.accuracy.value, abs=0.01)


def test_code_of_a_cell_is_compared_and_not_selected(capsys, tmp_path):
    board, train = leaderboard("reviews"), build.part(sample("reviews"), "train")
    shout = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    model = make_pipeline(shout, TfidfVectorizer(), LogisticRegression())
    board.add("mine", model.fit(train["text"].tolist(), train["label"]))
    assert "compared and cannot be selected: it cannot be saved without pickle" in (
        capsys.readouterr().out
    )
    assert board.table()["name"][0] == "mine"
    assert board.best == "baseline"
    with pytest.raises(ModelError, match=r"mine: .*because it holds .*lambda"):
        build.save(board.models["mine"], tmp_path)


def test_a_model_that_holds_other_code_is_not_loaded(board, tmp_path):
    from skops import io

    folder = tmp_path / "model"
    build.save(board[1].models["mine"], folder)
    card = json.loads((folder / "model.json").read_text())
    io.dump(Answers(["benign"]), folder / "model.skops")
    reseal(folder, files={name: models._checksums(folder)[name] for name in card["files"]})
    with pytest.raises(ModelError, match="which is not trusted"):
        models.load(folder)


def test_adding_again_replaces():
    board = leaderboard()
    board.add("mine", Answers(["malignant"]))
    first = board.scores["mine"].accuracy.value
    board.add("mine", pipeline("tumours"))
    assert list(board.tried["family"]) == ["baseline", "mine"]
    assert board.scores["mine"].accuracy.value > first


def test_metrics_of_ones_own_have_intervals_and_decide_nothing():
    board, best = leaderboard(), None
    board.models["logistic"] = fitted("table", "logistic")
    best = board.best
    board.add_metric("macro F1", lambda y, p: f1_score(y, p, average="macro"))
    board.add_metric("AUC", lambda y, p, shares: roc_auc_score(y == "malignant", shares[:, 1]))
    assert board.best == best
    test, logistic = build.part(sample("tumours"), "test"), board.scores["logistic"]
    expected = f1_score(test["label"], logistic.predicted, average="macro")
    measured = board.metrics()["own metric, macro F1 of logistic"]
    assert measured.value == pytest.approx(expected)
    assert measured.low < measured.value <= measured.high <= 1
    assert board.metrics()["own metric, AUC of baseline"].value == 0.5
    table = board.table().set_index("name")
    assert table.loc["logistic", "macro F1"].startswith(f"{expected:.3f} (")
    assert "macro F1" in board._repr_html_()


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (lambda y, p: 1 / 0, "m: the metric failed: ZeroDivisionError"),
        (lambda y, p: "high", "m: the metric failed: ValueError"),
        (lambda y, p: float("nan"), "m: the metric gave nan; it must give a number"),
    ],
)
def test_a_metric_that_gives_no_number_is_refused(metric, message):
    board = leaderboard()
    board.add_metric("m", metric)
    with pytest.raises(MetricError, match=message):
        board.table()


def test_a_metric_is_computed_once_and_anew_when_it_changes():
    board, calls = leaderboard(), []
    board.add_metric("m", lambda y, p: calls.append(1) or 0.5)
    board.table()
    often = len(calls)
    board.metrics()
    board._repr_html_()
    assert len(calls) == often > 0
    board.add_metric("m", lambda y, p: 0.25)
    assert {x.value for x in board.metrics().values()} == {0.25}


def test_the_model_of_a_run_comes_back_in_one_call(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    folder = tmp_path / "runs" / "20260101-000000-mlops-2_build-0"
    model = fitted("table", "logistic")
    facts = build.save(model, folder / "model")
    content = {"format": 2, "notebook": "mlops/2_build", "task": {}, "values": {},
               "facts": facts, "upstream": None, "complete": True}  # fmt: skip
    (folder / "result.json").write_text(json.dumps(content))
    back, test = build.load(folder.name), build.part(sample("tumours"), "test")
    pd.testing.assert_series_equal(
        pd.Series(back.predict(back.rows_of(test))), pd.Series(model.predict(model.rows_of(test)))
    )
