"""A label that is a number: typed, learnt, measured, saved and answered with its interval."""

import asyncio
import json
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, root_mean_squared_error
from xgboost import XGBRegressor

from diptych.core.data import tasks, validation, versions
from diptych.core.data.sources import DataError
from diptych.core.store.predictions import Predictions
from diptych.mlops import build, monitor
from diptych.mlops.leaderboard import Leaderboard
from diptych.mlops.models import model as models
from diptych.mlops.serving.batcher import Batcher


@pytest.fixture(scope="module")
def demand(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIPTYCH_HOME", str(tmp_path_factory.mktemp("home")))
        task = tasks.get("demand")
        versions.ingest(task, why="test")
        data = versions.read(task.name)
        tuned, tried = build.tune_all(data, task, "auto", 1, 0)
        yield task, data, Leaderboard(tuned, tried, data, task)


def test_figures_are_scikit_learns_and_xgboost_is_as_good_as_a_plain_one(demand):
    task, data, leaderboard = demand
    train, test = build.part(data, "train"), build.part(data, "test")
    scores = leaderboard.scores["xgboost"]
    expected = root_mean_squared_error(test["label"], scores.predicted)
    assert scores.score.value == pytest.approx(expected)
    both = pd.get_dummies(pd.concat([train, test])[task.features], dtype=float).astype(float)
    plain = XGBRegressor().fit(both[: len(train)], train["label"])
    least = r2_score(test["label"], plain.predict(both[len(train) :])) - 0.01
    assert r2_score(test["label"], scores.predicted) >= least
    assert leaderboard.best == "xgboost"


def test_rows_are_checked_as_numbers(demand):
    task, data, _ = demand
    report = validation.validate(data, task)
    assert report.ok
    assert {"label range", "label outliers"} <= set(report.table["check"])
    assert "class balance" not in set(report.table["check"])


def test_intervals_cover_and_survive_saving(demand, tmp_path):
    _, data, leaderboard = demand
    model, scores = leaderboard.models["xgboost"], leaderboard.scores
    covered = build.coverage(leaderboard.models, scores).set_index("name").loc["xgboost"]
    assert covered["low"] < 0.93
    assert covered["high"] > 0.87
    loaded = models.load(model.save(tmp_path))
    assert loaded.interval == model.interval
    rows = loaded.rows_of(build.part(data, "test"))
    assert np.array_equal(loaded.predict(rows), scores["xgboost"].predicted)


def test_a_regression_of_your_own_takes_part(demand):
    _, data, leaderboard = demand
    train = build.part(data, "train")

    class Hours(LinearRegression):
        def fit(self, rows, numbers):
            return super().fit(rows[["hour"]].fillna(0), numbers)

        def predict(self, rows):
            return super().predict(rows[["hour"]].fillna(0))

    mine = Leaderboard(dict(leaderboard.models), leaderboard.tried, data, leaderboard.task)
    mine.add("hours", Hours().fit(train, train["label"]))
    assert "hours" in set(mine.table()["name"])


def test_the_endpoint_answers_the_number_with_its_interval(demand, tmp_path):
    _, data, leaderboard = demand
    model, rows = leaderboard.models["ridge"], build.part(data, "test").head(2)
    inputs = models.plain_rows(rows, model.columns.columns)
    with Predictions(tmp_path / "ledger.db") as ledger:
        batcher = Batcher(model, ledger, "run", "demand/1", 8)
        answer = json.loads(asyncio.run(batcher.submit(inputs, ["a", "b"], perf_counter())))
        batcher.close()
        log = ledger.table("run")
    assert answer["predictions"] == pytest.approx(model.predict(inputs).tolist())
    low, high = answer["intervals"][0]
    assert high - low == pytest.approx(2 * model.half_width)
    assert log["prediction"].astype(float).tolist() == answer["predictions"]
    assert "probabilities" not in answer
    described = monitor.describe(model, model.rows_of(rows))
    assert "model confidence" not in described


@pytest.mark.parametrize(
    ("label", "metric", "regression"),
    [("price", "", True), ("stars", "", False), ("stars", "mae", True)],
)
def test_your_own_label_is_a_number_by_its_values_or_the_metric(
    tmp_path, label, metric, regression
):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"size": draw.normal(size=90), "stars": draw.integers(1, 6, 90)})
    frame["price"] = [f"€ {x:.2f}" for x in 900 + 100 * frame["size"]]
    frame.to_csv(tmp_path / "homes.csv", index=False)
    task = tasks.get(str(tmp_path / "homes.csv"), text_column="", label_column=label, metric=metric)
    assert task.regression == regression
    assert pd.api.types.is_float_dtype(task.load()["label"].dtype) == regression


def test_a_metric_of_the_other_kind_is_refused():
    with pytest.raises(DataError, match="'f1' does not suit the labels of demand"):
        tasks.get("demand", metric="f1")
    with pytest.raises(DataError, match="'rmse' does not suit the labels of reviews"):
        tasks.get("reviews", metric="rmse")
