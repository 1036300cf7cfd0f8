"""Pipelines of the notebook: unchanged they agree with the families, edited they run."""

import ast
import json
import urllib.request

import numpy as np
import pytest
from mlops.samples import sample
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline
from xgboost import XGBClassifier

from diptych.base import workspace
from diptych.core.data import tasks
from diptych.mlops import build
from diptych.mlops.leaderboard import Leaderboard
from diptych.mlops.models import model as models
from diptych.mlops.models import pipelines as known
from diptych.mlops.models.model import ModelError
from diptych.mlops.serving.process import Endpoint

QUICK = {"reviews": 250, "tumours": 300, "churn": 300, "demand": 300}


def cells() -> list[str]:
    """Return the cells of 2_build in which pipelines and spaces stand."""
    path = workspace.repo_root() / "notebooks/mlops/2_build.ipynb"
    sources = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"]]
    setup = next(text for text in sources if "from sklearn" in text)
    imports = [
        node for node in ast.parse(setup).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    spelled = next(text for text in sources if "pipelines = {" in text)
    spaces = next(text for text in sources if "spaces = {" in text).partition("\nstudy = ")[0]
    return ["\n".join(map(ast.unparse, imports)), spelled, spaces]


def spelled_out(task: str) -> tuple:
    """Return the task, and what its cells in the notebook define."""
    namespace = {"subject": tasks.get(task)}
    for source in cells():
        exec(source, namespace)
    return namespace["subject"], namespace["pipelines"], namespace["spaces"]


@pytest.mark.parametrize("name", ["reviews", "tumours", "churn", "digits", "demand"])
def test_what_stands_in_the_notebook_is_fitted_by_the_families(name):
    task, pipelines, spaces = spelled_out(name)
    read = build.candidates(pipelines, spaces, task)
    linear = "ridge" if task.regression else "logistic"
    images = {"cnn"} if task.kind == "image" else set()
    assert set(read) == {linear, "xgboost"} | images
    assert all(one.family == key for key, one in read.items())
    assert set(read["xgboost"].settings) >= {"rounds", "max_depth", "learning_rate"}
    strength = read[linear].settings["strength"]
    assert strength.default == (1.0 if task.regression else 0.1 if task.columns else 3.0)


@pytest.mark.parametrize("name", ["reviews", "tumours"])
def test_cell_and_helper_agree(name):
    task, pipelines, _ = spelled_out(name)
    data = sample(name)
    train, test = build.part(data, "train").head(QUICK[name]), build.part(data, "test").head(80)
    read = "text" if task.kind == "text" else task.features
    by_hand = clone(pipelines["logistic"]).fit(train[read], train["label"])
    candidate = build.candidates(pipelines, {}, task)["logistic"]
    setting = {key: values[0] for key, values in candidate.settings.items()}
    helper = models.fit(build.task_rows(train, task), train["label"], family="logistic",
                        kind=task.kind, features=task.features, parameters=setting)  # fmt: skip
    assert list(by_hand.classes_) == helper.classes
    np.testing.assert_allclose(
        by_hand.predict_proba(test[read]), helper.predict_proba(test), atol=2e-4
    )
    trees = clone(pipelines["xgboost"]).set_params(
        trees__early_stopping_rounds=None, trees__n_estimators=15, trees__n_jobs=1,
        trees__max_bin=known.SPARSE_BINS if task.kind == "text" else 256,
    )  # fmt: skip
    codes = models.encode(train["label"], helper.classes)
    by_hand = trees.fit(train[read], codes)
    setting = trees[-1].get_params()
    setting = {key: setting[key] for key in ("max_depth", "learning_rate", "colsample_bytree")}
    helper = models.fit(build.task_rows(train, task), train["label"], family="xgboost",
                        kind=task.kind, features=task.features,
                        parameters=setting | {"rounds": 15})  # fmt: skip
    np.testing.assert_allclose(
        by_hand.predict_proba(test[read]), helper.predict_proba(test), atol=0.02
    )


def test_an_added_and_an_edited_pipeline_are_tuned_and_saved(tmp_path):
    task, pipelines, spaces = spelled_out("reviews")
    data = sample("reviews")
    data = data[data.groupby("split").cumcount() < 400]
    words = TfidfVectorizer(ngram_range=(1, 1))
    pipelines["bayes"] = make_pipeline(words, ComplementNB())
    spaces["bayes"] = {"complementnb__alpha": FloatDistribution(0.1, 10, log=True)}
    pipelines["logistic"] = make_pipeline(words, LogisticRegression(max_iter=500))
    pipelines["xgboost"] = make_pipeline(words, XGBClassifier(n_estimators=20, max_depth=2,
                                                              early_stopping_rounds=3))  # fmt: skip
    spaces["xgboost"] = {"xgbclassifier__max_depth": IntDistribution(1, 3)}
    read = build.candidates(pipelines, spaces, task)
    assert not any(one.family for one in read.values())
    tuned, tried = build.tune_all(data, task, "auto", 2, 0, candidates=read)
    assert list(tuned) == ["baseline", "xgboost", "logistic", "bayes"]
    assert list(tried.groupby("family", sort=False).size()) == [1, 2, 2, 2]
    board = Leaderboard(tuned, tried, data, task)
    assert board.best in read
    assert tuned["xgboost"].estimator.model[-1].n_estimators <= 20
    test = build.part(data, "test")
    for name in read:
        build.save(tuned[name], tmp_path / name)
        loaded = models.load(tmp_path / name)
        assert set(loaded.predict(test)) == {"negative", "positive"}
        assert list(loaded.predict(test)) == list(tuned[name].predict(test))
    with Endpoint(tmp_path / "bayes", ledger=tmp_path / "ledger.db") as server:
        texts = test["text"].head(3).tolist()
        body = json.dumps({"inputs": texts}).encode()
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.url}/invocations", body, kind)
        answer = json.load(urllib.request.urlopen(request, timeout=30))
    assert answer["predictions"] == list(tuned["bayes"].predict(test.head(3)))
    again = build.refit(tuned["xgboost"], build.part(data, "train").head(200), task, 0)
    assert set(again.predict(test)) <= {"negative", "positive"}


def test_an_edited_network_is_fitted_saved_and_loaded_as_it_stands(tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    task, data = tasks.get("digits"), sample("digits")
    data = data[data.groupby("split").cumcount() < 200]
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, 10))
    read = build.candidates({"cnn": network}, {}, task)
    read["cnn"].settings["learning_rate"] = [0.01]
    tuned, _ = build.tune_all(data, task, "cnn", 1, 0, candidates=read)
    assert str(tuned["cnn"].estimator.network) == str(network)
    build.save(tuned["cnn"], tmp_path / "cnn")
    test = build.part(data, "test")
    again = models.load(tmp_path / "cnn")
    assert list(again.predict(test)) == list(tuned["cnn"].predict(test))
    with pytest.raises(ModelError, match="holds a Local; give one nn"):
        build.candidates({"cnn": nn.Sequential(type("Local", (nn.Module,), {})())}, {}, task)
    wrong = build.candidates({"cnn": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))}, {}, task)
    with pytest.raises(ModelError, match="let its last layer give 10 numbers"):
        build.tune_all(data, task, "cnn", 1, 0, candidates=wrong)


class Constant(ClassifierMixin, BaseEstimator):
    """An estimator of one's own."""

    def fit(self, rows, labels):
        self.classes_ = np.unique(labels)
        return self

    def predict(self, rows):
        return np.repeat(self.classes_[:1], len(rows))


def test_a_class_of_a_cell_is_compared_and_not_released(monkeypatch, tmp_path):
    monkeypatch.setattr(Constant, "__module__", "__main__")
    monkeypatch.setitem(__import__("sys").modules["__main__"].__dict__, "Constant", Constant)
    task = tasks.get("tumours")
    data = sample("tumours")
    read = build.candidates({"mine": Constant()}, {}, task)
    tuned, tried = build.tune_all(data, task, "auto", 1, 0, candidates=read)
    assert Leaderboard(tuned, tried, data, task).best == "baseline"
    with pytest.raises(ModelError, match=r"mine: .* defined in a cell; move it into a module") as e:
        build.save(tuned["mine"], tmp_path / "mine")
    assert "plugin" in str(e.value)


def test_a_removed_pipeline_takes_no_part():
    task, pipelines, spaces = spelled_out("tumours")
    del pipelines["xgboost"], spaces["xgboost"]
    read = build.candidates(pipelines, spaces, task)
    assert build.families("auto", task, read) == ["baseline", "logistic"]


@pytest.mark.parametrize(
    ("pipelines", "spaces", "message"),
    [
        ({"a": 3}, {}, "'a' is a int; give an unfitted estimator"),
        ({}, {"a": {}}, "'a' is none of the pipelines"),
        ({"a": Ridge()}, {"a": {"beta": [1]}}, "'a' has no parameter 'beta'"),
        ({"a": Ridge()}, {"a": {"alpha": FloatDistribution(2, 3)}}, "is 1.0 in its pipeline, out"),
        ({"a": Ridge()}, {"a": {"alpha": []}}, "no value to try"),
    ],
)
def test_what_is_no_pipeline_is_refused_with_the_way_out(pipelines, spaces, message):
    with pytest.raises(ModelError, match=message):
        known.candidates(pipelines, spaces, "text", numbers=True)


def test_a_list_and_a_choice_try_the_pipelines_own_value_first():
    read = known.candidates(
        {"a": Ridge(), "b": Ridge()},
        {"a": {"alpha": [3, 1.0]}, "b": {"solver": CategoricalDistribution(["svd", "auto"])}},
        "table", numbers=True,
    )  # fmt: skip
    assert read["a"].settings == {"alpha": [1.0, 3]}
    assert read["b"].settings == {"solver": ["auto", "svd"]}
