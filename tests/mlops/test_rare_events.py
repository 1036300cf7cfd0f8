"""On the rare events of `claims` no constant is selected; how the choice ranks beside XGBoost."""

import os

import numpy as np
import pytest
import xgboost
from mlops.samples import sample
from sklearn.metrics import average_precision_score

from diptych.core.data import stratify, tasks
from diptych.core.data.column import CATEGORY, TEXT, TIME
from diptych.mlops import build
from diptych.mlops.leaderboard import CONSTANT, Leaderboard

LONG = os.environ.get("DIPTYCH_LONG")
MARGIN = 0.02  # of average precision
SPLITS = 3  # a test set holds about 25 claims, so one split alone decides nothing


def test_the_constant_is_never_selected_though_its_accuracy_is_the_highest():
    task = tasks.get("claims", metric="average_precision:yes")
    data = sample("claims")
    tuned, tried = build.tune_all(data, task, "logistic", 1, 0)
    board = Leaderboard(tuned, tried, data, task)
    assert board.best != CONSTANT
    rates = build.accuracies(board.scores).set_index("name")["value"]
    assert rates[CONSTANT] >= rates[board.best]  # accuracy would have selected it
    scores = board.scores[board.best]
    flagged = scores.rows.score >= tuned[board.best].threshold
    assert (scores.rows.says_positive == flagged).all()


def area(rows, model) -> float:
    shares = model.predict_proba(model.rows_of(rows))[:, model.classes.index("yes")]
    return average_precision_score(rows["label"] == "yes", shares)


def reference(task, data, trials: int, seed: int) -> float:
    """Return the test rows' area of an XGBoost tuned at random on the validation set."""
    features = data[task.features].copy()
    for column in task.columns:
        values = features[column.name]
        if column.kind in (CATEGORY, TEXT):
            features[column.name] = values.astype("category")
        else:
            seconds = values.astype("int64") / 8.64e10 if column.kind == TIME else values
            features[column.name] = seconds.astype("float64")
    parts = {}
    for name in ("train", "valid", "test"):
        rows = (data["split"] == name).to_numpy()
        yes = (data["label"][rows] == "yes").to_numpy().astype(int)
        parts[name] = xgboost.DMatrix(features[rows], yes, enable_categorical=True), yes
    rng, scored = np.random.default_rng(seed), []
    for _ in range(trials):
        settings = {
            "objective": "binary:logistic", "eval_metric": "aucpr", "seed": 0, "nthread": 1,
            "max_depth": int(rng.integers(2, 8)), "eta": 10 ** rng.uniform(-2, -0.5),
            "min_child_weight": rng.uniform(1, 20), "subsample": rng.uniform(0.5, 1),
            "colsample_bytree": rng.uniform(0.3, 1), "reg_lambda": 10 ** rng.uniform(-1, 1),
        }  # fmt: skip
        booster = xgboost.train(
            settings, parts["train"][0], 600, evals=[(parts["valid"][0], "valid")],
            early_stopping_rounds=50, verbose_eval=False,
        )  # fmt: skip
        ends = (0, booster.best_iteration + 1)
        scored.append([
            average_precision_score(yes, booster.predict(matrix, iteration_range=ends))
            for matrix, yes in (parts["valid"], parts["test"])
        ])  # fmt: skip
    return max(scored)[1]


@pytest.mark.long
@pytest.mark.xfail(
    reason="open: families are selected on some 25 claims; of two splits the gap was +0.01, -0.11"
)
def test_the_selected_model_ranks_as_a_tuned_xgboost_does():
    task = tasks.get("claims", metric="average_precision:yes")
    rows, gaps = task.load(), []
    for seed in range(SPLITS):
        units = np.random.default_rng(seed).permutation(len(rows)).astype(np.uint64)
        split = stratify.assign(units, rows["label"].to_numpy(object), seed).split
        data = rows.assign(split=split)
        tuned, tried = build.tune_all(data, task, "auto", 6, 0)
        board = Leaderboard(tuned, tried, data, task)
        ours = area(build.part(data, "test"), tuned[board.best])
        gaps.append(ours - reference(task, data, 12, seed))
    assert np.mean(gaps) >= -MARGIN, gaps
