"""Where the validation set is too small to choose by, settings are compared in folds."""

import numpy as np
import pandas as pd
import pytest
import xgboost
from mlops.samples import sample
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diptych.core.data import tasks
from diptych.core.monitoring.windows import WindowSplit
from diptych.mlops import build, folds, improve
from diptych.mlops.folds import Folds
from diptych.mlops.leaderboard import Leaderboard
from diptych.mlops.models import model as models


@pytest.fixture(scope="module")
def rare():
    """Rows of which 1.5 % are fraud, the task, and what was tuned on them."""
    task = tasks.get("claims", metric="average_precision:yes")
    data = sample("claims")
    tuned, tried = build.tune_all(data, task, "logistic", 1, 0)
    return data, task, tuned, tried


def test_a_validation_set_with_rows_enough_decides():
    assert Folds.of(sample("reviews"), tasks.get("reviews"), 0) is None


def test_few_rows_of_the_rare_class_are_counted_only_where_they_count(rare):
    data, task = rare[:2]
    few = Folds.of(data, task, 0)
    n = int((build.part(data, "valid")["label"] == "yes").sum())
    assert f"the validation set has {n} rows of 'yes'" in few.reason
    assert Folds.of(data, tasks.get("claims", metric="accuracy"), 0) is None


def test_every_row_is_held_out_once_and_no_test_row_is_used(rare):
    data, task = rare[:2]
    parts = Folds.of(data, task, 0).parts()
    held_out = pd.concat([build.part(rows, "valid") for rows in parts])["id"]
    assert held_out.is_unique
    used = data.loc[data["split"].isin(["train", "valid"]), "id"]
    assert set(held_out) == set(used)


def test_rows_of_a_group_are_in_one_fold(tmp_path):
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame({"person": rng.integers(0, 60, n), "x": rng.normal(size=n)})
    frame["label"] = np.where(frame["x"] + rng.normal(size=n) > 0, "yes", "no")
    frame.to_csv(tmp_path / "people.csv", index=False)
    task = tasks.get(str(tmp_path / "people.csv"), group_column="person")
    found = Folds.of(task.load(), task, 0)
    person = task.beside().set_index("id")["person"].reindex(found.rows["id"]).to_numpy()
    assert all(len(set(found.fold[person == one])) == 1 for one in set(person))


def test_the_model_is_fitted_to_both_sets_and_judged_by_rows_it_has_not_seen(rare, tmp_path):
    data, task, tuned, tried = rare
    model = tuned["logistic"]
    assert model.folds == folds.COUNT
    held_out = build.held_out(model, data, task)
    assert len(held_out) == data["split"].isin(["train", "valid"]).sum()
    number = Folds.of(data, task, 0).fold
    areas = [
        average_precision_score(held_out.is_positive[number == one], held_out.score[number == one])
        for one in range(model.folds)
    ]
    assert tried["validation"].iloc[-1] == pytest.approx(np.mean(areas))
    assert models.load(model.save(tmp_path / "model")).folds == model.folds
    curve = build.learning_curve(data, task, model, [1.0], 0)
    assert curve["rows"].tolist() == [len(held_out)]


def test_the_page_says_how_it_was_chosen(rare, capsys):
    data, task, tuned, tried = rare
    board = Leaderboard(tuned, tried, data, task)
    assert board.compared_on == "5-fold cross-validation"
    assert "over 1900 rows (5-fold cross-validation)" in board.evidence()
    build.tune(data, task, "baseline", 1, 0)
    assert "Chosen by 5-fold cross-validation" in capsys.readouterr().out


def test_a_model_of_your_own_is_compared_in_the_same_folds(rare, capsys):
    data, task, tuned, tried = rare
    board = Leaderboard(dict(tuned), tried, data, task)
    train = build.part(data, "train")
    names = ["vehicle_age", "driver_age", "days_to_report", "witnesses"]
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    board.add("mine", pipeline.fit(train[names], train["label"]))
    assert "on rows of 5 folds" in capsys.readouterr().out
    assert len(board.models["mine"].held_out) == len(build.held_out(tuned["logistic"], data, task))


def test_boosting_stops_where_the_metric_is_best_on_the_held_out_rows():
    task = tasks.get("churn", metric="average_precision:yes")
    data = sample("churn").query("split != 'valid' or label == 'yes' or index % 2")
    data = pd.concat([data, build.part(data, "valid").assign(id=lambda x: x["id"] + "-again")])
    assert Folds.of(data, task, 0) is None
    model, tried = build.tune(data, task, "xgboost", 1, 0)
    valid = build.part(data, "valid")
    whole = models.fit(
        build.task_rows(build.part(data, "train"), task), build.part(data, "train")["label"],
        family="xgboost", kind="table", features=task.features, columns=task.columns,
        parameters={name: values.default for name, values in build.space("xgboost", True).items()},
    )  # fmt: skip
    matrix = whole.encoder.transform(build.task_rows(valid, task))
    booster: xgboost.Booster = whole.estimator.model
    by_rounds = {
        rounds: average_precision_score(
            valid["label"] == "yes", booster.inplace_predict(matrix, iteration_range=(0, rounds))
        )
        for rounds in range(25, 251, 25)
    }
    assert model.parameters["rounds"] == max(by_rounds, key=by_rounds.get)
    assert tried["validation"].iloc[0] == pytest.approx(max(by_rounds.values()))


def test_retraining_learns_the_rows_that_the_champion_learnt(rare):
    data, task, tuned, _ = rare
    live = build.part(data, "live")
    windows = pd.Series(np.where(np.arange(len(live)) < 500, "1", "2"), index=live["id"])
    plan = WindowSplit("1", ["1"], ["2"], [])
    challenger = improve.retrain(tuned["logistic"], data, windows, plan, task, 0)
    rows = data[data["split"].isin(["train", "valid"]) | data["id"].isin(windows.index[:500])]
    expected = build.refit(tuned["logistic"], rows, task, 0)
    test = build.part(data, "test")
    np.testing.assert_allclose(
        challenger.predict_proba(test), expected.predict_proba(test), atol=1e-3
    )
    assert challenger.threshold == tuned["logistic"].threshold
