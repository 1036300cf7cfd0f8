"""Building: a seeded search, honest comparisons, and the figures the notebook shows."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from mlops.samples import TASKS, fitted, sample
from sklearn.model_selection import StratifiedKFold

from diptych.base.workspace import repo_root
from diptych.core.data import readers, schema, tasks
from diptych.core.evaluation import leaderboard
from diptych.execution.declaration import read_parameters
from diptych.mlops import build, fitting
from diptych.mlops.models import fits
from diptych.mlops.models import model as models
from diptych.mlops.models.model import ModelError
from diptych.mlops.models.search import Search

SHOWN = ("test", "handwritten")
UCI = repo_root().parent / "shared" / "data" / "uci_sentiment_labelled_sentences.csv"


@pytest.fixture(scope="module")
def tumours():
    return tasks.get("tumours"), sample("tumours")


@pytest.fixture(scope="module")
def scored():
    """The test rows of `reviews` and two models' scores on them."""
    rows = build.part(sample("reviews"), "test")
    return rows, {
        name: build.evaluate(fitted("text", name), rows, "label")
        for name in ("logistic", "xgboost")
    }


@pytest.mark.parametrize("kind", models.FAMILIES)
def test_auto_compares_families_that_suit(kind):
    task = tasks.get(TASKS[kind])
    found = build.families("auto", task)
    assert found[0] == "baseline"
    assert set(found) <= set(models.FAMILIES[kind])
    assert all(build.families(name, task)[-1] == name for name in models.FAMILIES[kind])


def test_a_family_that_does_not_suit_is_refused_with_those_that_do(tumours):
    with pytest.raises(ModelError, match="'cnn' does not suit table data; take auto, baseline"):
        build.families("cnn", tumours[0])


def test_the_notebook_offers_every_family_of_a_kind_and_no_other():
    notebook = repo_root() / "notebooks" / "mlops" / "2_build.ipynb"
    (family,) = (one for one in read_parameters(notebook) if one.name == "family")
    named = {choice for choice in family.choices if not choice.startswith("+")}  # "+": plugins
    assert named == {"auto"}.union(*models.FAMILIES.values(), models.NUMBERS)


def test_every_family_has_a_space():
    assert set(build.SPACE) == {*models.ESTIMATORS, *models.NUMBERS}


@pytest.mark.parametrize("family", ["xgboost", "logistic"])
def test_tuning_again_gives_the_same_model(tumours, family, tmp_path):
    task, data = tumours
    found = [build.tune(data, task, family, trials=3, seed=5) for _ in range(2)]
    pd.testing.assert_frame_equal(found[0][1], found[1][1])
    digests = {models.digest(model.save(tmp_path / str(i))) for i, (model, _) in enumerate(found)}
    assert len(digests) == 1


def test_tuning_keeps_the_setting_that_does_best_on_the_validation_set(tumours):
    task, data = tumours
    model, tried = build.tune(data, task, "logistic", trials=5, seed=0)
    assert len(tried) == 5
    held_out = build.held_out(model, data, task)
    assert (held_out.predicted == held_out.truth).mean() == tried["validation"].max()
    best = tried.loc[tried["validation"].idxmax(), "setting"]
    assert best == f"strength {model.parameters['strength']}"


INTERRUPT = """
import signal, sys
from mlops.samples import sample
from diptych.core.data import tasks
from diptych.mlops import build, fitting

class Bar:
    n = 0
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def update(self, n=1):
        self.n += n
        if self.n == int(sys.argv[1]):
            signal.raise_signal(signal.SIGINT)

build.bars.bar = lambda *_: Bar()
tuned, tried = build.tune_all(sample("tumours"), tasks.get("tumours"), "auto", 4, 0)
print(list(tuned), build.finished(tried))
print(tried["validation"].count(), tried["reason"].iloc[-1])
"""


def interrupted(after: int, **environment) -> subprocess.CompletedProcess:
    """Tune in a process that gets the signal of Ctrl-C after some trials."""
    places = [str(repo_root() / "lib"), str(repo_root() / "tests")]
    return subprocess.run(
        [sys.executable, "-c", INTERRUPT, str(after)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places), **environment},
        capture_output=True,
        text=True,
    )


def test_an_interrupt_keeps_what_was_fitted():
    # the baseline has one setting; XGBoost's third is the last
    _, *lines = interrupted(4).stdout.splitlines()  # the first says how settings are compared
    assert lines[0].startswith("Interrupted: 3 of 4 settings of xgboost were tried")
    assert lines[1] == (
        "['baseline', 'xgboost'] {'baseline': '1 of 1', 'xgboost': '3 of 4', 'logistic': '0 of 4'}"
    )
    assert lines[2] == "4 interrupted before it was tried"


def test_an_interrupt_ends_a_run_of_the_runner(tmp_path):
    stopped = interrupted(4, DIPTYCH_RUN=str(tmp_path))
    assert stopped.returncode != 0
    assert "KeyboardInterrupt" in stopped.stderr


def test_a_fit_that_was_stored_gives_the_same_result(tumours, monkeypatch, tmp_path):
    task, data = tumours
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    monkeypatch.setattr(fits, "WORTH_S", 0.0)
    models_, tables = zip(*(build.tune(data, task, "xgboost", 3, 5) for _ in range(2)), strict=True)
    stored = len(list((tmp_path / "cache" / "fits").iterdir()))
    assert stored == 3 * (models_[0].folds + 1)  # of each setting the folds and all rows
    pd.testing.assert_frame_equal(*tables)
    saved = {models.digest(m.save(tmp_path / str(i))) for i, m in enumerate(models_)}
    assert len(saved) == 1


def test_settings_of_many_rows_are_compared_on_a_sample_and_the_best_is_fitted_on_all(
    monkeypatch, capsys
):
    task, data = tasks.get("digits"), sample("digits")
    rows = len(build.part(data, "train"))
    monkeypatch.setattr(fitting, "SAMPLE", rows // 3)
    model, tried = build.tune(data, task, "logistic", 2, 0)
    assert f"compared on {rows // 3:,} of {rows:,} train rows" in capsys.readouterr().out
    assert len(tried) == 2
    whole = build.refit(model, build.part(data, "train"), task, 0)
    inputs = build.task_rows(build.part(data, "test"), task)
    whole.temperature = model.temperature
    np.testing.assert_allclose(whole.predict_proba(inputs), model.predict_proba(inputs))
    build.tune(data, task, "logistic", 1, 0)  # one setting is compared with none
    assert "compared" not in capsys.readouterr().out


def test_tuning_never_reads_the_test_rows(tumours, tmp_path):
    task, data = tumours
    fewer = data[data["split"].isin(["train", "valid"])]
    digests = [
        models.digest(build.tune(rows, task, "logistic", 2, 0)[0].save(tmp_path / str(i)))
        for i, rows in enumerate((data, fewer))
    ]
    assert digests[0] == digests[1]


def test_a_valid_row_of_an_unknown_class_does_not_stop_tuning(tumours):
    task, data = tumours
    data = data.copy()
    strange = data.index[data["split"] == "valid"][0]
    data.loc[strange, "label"] = "unheard of"
    model, _ = build.tune(data, task, "logistic", 1, 0)
    assert model.classes == ["benign", "malignant"]


def test_an_empty_validation_set_is_refused(tumours):
    task, data = tumours
    with pytest.raises(ModelError, match="validation set is empty"):
        build.tune(data[data["split"] != "valid"], task, "logistic", 1, 0)


def test_one_class_in_the_train_rows_is_said(tumours):
    task, data = tumours
    benign = data[(data["split"] != "train") | (data["label"] == "benign")]
    with pytest.raises(ModelError, match="the class 'benign' only"):
        build.tune(benign, task, "logistic", 1, 0)


def test_scores_are_those_of_the_rows(tumours):
    task, data = tumours
    test = build.part(data, "test")
    model = fitted("table", "logistic")
    found = build.evaluate(model, test, "label")
    shares = model.predict_proba(build.task_rows(test, task))
    right = model.predict(build.task_rows(test, task)) == test["label"].to_numpy()
    np.testing.assert_array_equal(found.correct, right)
    np.testing.assert_array_equal(found.confidence, shares.max(axis=1))
    assert found.accuracy.value == right.mean()
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high
    assert found.accuracy.n == len(test)


def test_a_label_the_model_never_saw_is_an_error(tumours):
    test = build.part(tumours[1], "test")
    strange = test.assign(label="unheard of")
    assert build.evaluate(fitted("table", "logistic"), strange, "label").accuracy.value == 0


def test_the_leaderboard_ranks_and_compares_in_pairs(scored):
    _, scores = scored
    board = build.leaderboard(scores, margin=0.01).set_index("name")
    assert board["value"].is_monotonic_decreasing
    assert ((board["low"] < board["value"]) & (board["value"] < board["high"])).all()
    assert board["verdict"].tolist() == ["best", "worse"]
    lost = board["value"].iloc[1] - board["value"].iloc[0]
    assert board["against the best"].iloc[1].startswith(f"{lost:.3f} (")
    assert board["p (Holm)"].iloc[1] < 0.001


def test_what_each_model_says_of_every_row_is_told_for_the_other_panel(scored):
    rows, scores = scored
    found = build.predictions({name: fitted("text", name) for name in scores}, rows, "label")
    assert set(found["family"]) == set(scores)
    for name, own in found.groupby("family"):
        assert own["id"].tolist() == rows["id"].tolist()
        right = own["predicted"].to_numpy() == rows["label"].to_numpy()
        assert (own["correct"].to_numpy() == right).all()
        assert own["correct"].mean() == scores[name].accuracy.value


def test_a_model_against_itself_is_a_tie(scored):
    own = scored[1]["logistic"]
    board = build.leaderboard({"one": own, "two": own}, margin=0.02)
    assert board["verdict"].tolist() == ["best", "tie"]
    assert board["p (Holm)"].iloc[1] == 1


def test_one_model_alone_has_a_leaderboard(scored):
    board = build.leaderboard({"only": scored[1]["logistic"]}, margin=0.01)
    assert board["verdict"].tolist() == ["best"]


def test_the_learning_curve_ends_at_the_model_itself_and_climbs():
    task, data = tasks.get("reviews"), sample("reviews")
    model = fitted("text", "logistic")
    curve = build.learning_curve(data, task, model, [0.05, 0.3, 1.0], seed=0)
    assert curve["rows"].tolist() == [75, 450, 1_500]
    whole = build.evaluate(model, build.part(data, "test"), "label").accuracy
    assert curve.iloc[-1][["value", "low", "high"]].tolist() == [whole.value, whole.low, whole.high]
    assert curve["value"].iloc[0] < curve["value"].iloc[-1]
    again = build.learning_curve(data, task, model, [0.05, 0.3, 1.0], seed=0)
    pd.testing.assert_frame_equal(curve, again)


@pytest.mark.parametrize("kind", models.FAMILIES)
def test_a_share_too_small_to_learn_from_is_a_line_with_its_reason(kind):
    task = tasks.get(TASKS[kind])
    model = fitted(kind, "logistic")
    curve = build.learning_curve(sample(task.name), task, model, [0.0, 0.001, 1.0], seed=0)
    assert curve["value"].notna().tolist() == [False, False, True]
    assert "at least two are needed" in curve["reason"][0]
    assert curve["reason"][2] == ""
    whole = build.learning_curve(sample(task.name), task, model, [1.0], seed=0)
    assert list(whole) == ["rows", "value", "low", "high"]


def test_slices_add_up_to_all_rows(scored):
    rows, scores = scored
    found = build.slices(rows, scores["logistic"]).set_index("name")
    assert found["value"].is_monotonic_increasing
    for names in (found.index.str.startswith("slice "), found.index.str.endswith(" words")):
        part = found[names]
        assert part["n"].sum() == len(rows)
        whole = (part["value"] * part["n"]).sum() / len(rows)
        assert whole == pytest.approx(scores["logistic"].accuracy.value)
    domain = rows["slice"].iloc[0]
    here = (rows["slice"] == domain).to_numpy()
    assert found.loc[f"slice {domain}", "value"] == scores["logistic"].correct[here].mean()


def test_rows_without_slices_are_shown_by_class():
    rows = build.part(sample("digits"), "test")
    found = build.slices(rows, build.evaluate(fitted("image", "logistic"), rows, "label"))
    assert set(found["name"]) == {f"class {digit}" for digit in range(10)}
    assert found["n"].sum() == len(rows)


def test_estimates_are_the_lines_of_the_table(scored):
    rows, _ = scored
    tuned = {name: fitted("text", name) for name in ("baseline", "logistic")}
    table = build.by_model(tuned, rows, "label")
    found = leaderboard.estimates(table, "here, ")
    assert found == {
        f"here, {name}": build.evaluate(model, rows, "label").accuracy
        for name, model in tuned.items()
    }
    assert leaderboard.estimates(build.by_model(tuned, rows.head(0), "label"), "here, ") == {}


def test_what_is_saved_is_told(tmp_path):
    model = fitted("table", "logistic")
    told = build.save(model, tmp_path / "model")
    assert told["sha256"] == models.digest(tmp_path / told["model"])
    assert (told["family"], told["setting"]) == (model.family, model.parameters)


def test_tumours_reach_95_percent(tumours):
    task, data = tumours
    test = build.part(data, "test")
    tuned = {name: build.tune(data, task, name, 2, 0)[0] for name in build.families("auto", task)}
    found = {
        name: build.evaluate(model, test, "label").accuracy.value for name, model in tuned.items()
    }
    assert max(found.values()) >= 0.95, found


def test_boosted_trees_reach_90_percent_on_the_generated_reviews_and_far_less_on_written_ones():
    task = tasks.get("reviews")
    data = task.load()
    model, _ = build.tune(data, task, "xgboost", 1, 0)
    found = {
        name: build.evaluate(model, build.part(data, name), "label").accuracy for name in SHOWN
    }
    assert found["test"].value >= 0.90, found
    # the datasheet warns of it, and the notebook shows both
    assert found["handwritten"].high < found["test"].low, found


@pytest.mark.skipif(not UCI.exists(), reason="the UCI sentences are not beside this repository")
def test_on_real_sentences_linear_models_beat_trees():
    """Five folds, each fitted on the other four: short texts, few rows, many rare words."""
    rows = schema.interpret(readers.read_table(str(UCI)).frame, "text", "label", "").frame
    task = dataclasses.replace(tasks.get("reviews"), labels=())
    right = {"logistic": [], "xgboost": []}
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for train, test in folds.split(rows, rows["label"]):
        for family, found in right.items():
            model = models.fit(
                build.task_rows(rows.iloc[train], task),
                rows["label"].iloc[train],
                family=family,
                kind="text",
                features=task.features,
                parameters=Search(build.space(family), 1, 0).ask(),
            )
            found.extend(build.evaluate(model, rows.iloc[test], "label").correct)
    shown = {family: round(float(np.mean(found)), 3) for family, found in right.items()}
    assert len(right["logistic"]) == len(rows)
    assert shown["logistic"] >= 0.83, shown
    assert shown["xgboost"] < shown["logistic"], shown
