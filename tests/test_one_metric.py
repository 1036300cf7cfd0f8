"""One metric all the way: selection, threshold, gate, monitor and improvement of both panels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from diptych.core.data import tasks
from diptych.core.evaluation import gate
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.metrics import parse
from diptych.core.monitoring import sequential
from diptych.core.store.registry import decided_on
from diptych.llmops import improve as llmops_improve
from diptych.llmops import monitor as llmops_monitor
from diptych.llmops import release as llmops_release
from diptych.mlops import build, improve, monitor, release
from diptych.mlops.registry import ModelRegistry

LIMITS = gate.Limits(floor=None, max_calibration_error=None, max_latency_ms=None, max_size_mb=None,
                     question=gate.BETTER, margin=0.02)  # fmt: skip
ALARM = "2025-07"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))


def customers(rows: int, rare: float, signal: float, seed: int = 0) -> pd.DataFrame:
    """Return rows in which a rare class lies `signal` deviations apart."""
    rng = np.random.default_rng(seed)
    yes = rng.random(rows) < rare
    return pd.DataFrame({
        "days": rng.gamma(2, 25, rows).round(),
        "price": (rng.normal(40, 20, rows) + 20 * signal * yes).round(1),
        "age": rng.normal(40, 12, rows).round(),
        "claim": np.where(yes, "yes", "no"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def rare_task(tmp_path_factory):
    """Return the task of rows like those of a file in which 2 % have a claim that nothing tells."""
    place = tmp_path_factory.mktemp("rare") / "claims.csv"
    customers(900, 0.02, 0.0).to_csv(place, index=False)
    task = tasks.get(str(place), text_column="", label_column="claim")
    data = task.load()
    spec, reason = task.settle_metric("", data)
    assert spec == "average_precision:yes"
    assert "always answering the other would reach" in reason
    return tasks.get(str(place), text_column="", label_column="claim", metric=spec), data


@pytest.mark.parametrize("family", ["baseline", "logistic"])
def test_a_constant_model_is_never_promoted(rare_task, family, tmp_path):
    task, data = rare_task
    tuned, _ = build.tune_all(data, task, family, 1, 0)
    test = build.part(data, "test")
    model = tuned[family]
    measured = release.measure("candidate", model, model.save(tmp_path / "m"), test, task.scoring)
    decision = gate.decide(measured, None, LIMITS, release.baseline(data, test, task))
    assert not decision.promoted
    assert "candidate" in decision.reason
    accuracy = build.evaluate(model, test, "label").accuracy
    assert family != "baseline" or accuracy.value > 0.95  # by accuracy it would have passed


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Return a task decided by F1, its rows, and its live windows: from July on prices say less."""
    rows = customers(4000, 0.15, 2.5)
    rows["since"] = pd.date_range("2024-01-01", "2025-12-28", periods=len(rows)).strftime("%F")
    late = rows["since"] >= ALARM
    rows.loc[late & (rows["claim"] == "yes"), "price"] -= 40
    place = tmp_path_factory.mktemp("task") / "customers.csv"
    rows.to_csv(place, index=False)
    given = {"text_column": "", "label_column": "claim", "time_column": "since"}
    spec, _ = tasks.get(str(place), **given).settle_metric(
        "f1", tasks.get(str(place), **given).load()
    )
    found = tasks.get(str(place), **given, metric=spec)
    return found, found.load().assign(split=lambda x: _splits(x))


def _splits(rows: pd.DataFrame) -> np.ndarray:
    time = rows["time"].dt.strftime("%Y-%m")
    kinds = np.where(np.arange(len(rows)) % 3 == 0, "test", "train")
    kinds = np.where(np.arange(len(rows)) % 6 == 1, "valid", kinds)
    return np.where(time >= "2025-01", "live", kinds)


@pytest.fixture(scope="module")
def tuned(task):
    return build.tune_all(task[1], task[0], "logistic", 1, 0)


def by_hand(rows: pd.DataFrame, predicted) -> float:
    return f1_score(rows["label"].astype(str), np.asarray(predicted, str), pos_label="yes")


def answers(model, rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return what a model says of rows as LLMOps records answers."""
    predicted = model.labels_of(model.predict_proba(model.rows_of(rows)))
    right = np.asarray(predicted == rows["label"].to_numpy(object))
    return pd.DataFrame({
        "variant": name, "repeat": 0, "id": rows["id"].to_numpy(), "expected": rows["label"],
        "predicted": predicted, "confidence": 0.9, "score": right.astype(float), "correct": right,
        "error": "", "output": predicted,
    })  # fmt: skip


def test_f1_selects_gates_monitors_and_improves_in_both_panels(task, tuned, tmp_path):
    subject, data = task
    scoring, (models, tried) = subject.scoring, tuned
    assert subject.metric.spec == "f1:yes"
    # selection and threshold
    model, test = models["logistic"], build.part(data, "test")
    assert 0.05 < model.threshold < 0.5
    assert tried.set_index("family").loc["logistic", "validation"] > 0.5
    # gate
    folder = model.save(tmp_path / "model")
    measured = release.measure("candidate", model, folder, test, scoring)
    answered = answers(model, test, "candidate")
    twin = llmops_release.candidate("candidate", answered, test, scoring)
    assert measured.score.value == pytest.approx(by_hand(test, answered["predicted"]))
    assert twin.score.value == measured.score.value
    for side, baseline in (
        (measured, release.baseline(data, test, subject)),
        (twin, llmops_release.baseline(data, test, subject)),
    ):
        assert gate.decide(side, None, LIMITS, baseline).promoted
    # monitor
    live = build.part(data, "live")
    months = live["time"].dt.strftime("%Y-%m").to_numpy()
    windows = pd.Series(months, index=live["id"])
    release.add_reference(model, folder, test, 0)
    reference = build.evaluate(model, test, scoring).rows
    seen = monitor.watch(model, monitor.reference(folder), log_of(model, live), windows, scoring)
    asked = calls_of(model, live, months)
    for quality in (seen.quality, llmops_monitor.quality(asked, scoring)):
        table = quality.table().set_index("window")
        said = answers(model, live, "x")["predicted"].to_numpy()
        for month in ("2025-02", "2025-09"):
            here = months == month
            assert table.loc[month, "value"] == pytest.approx(by_hand(live[here], said[here]))
        assert ALARM <= monitor.alarmed(quality.falls(reference, 0.05))[0] <= "2025-09"
        assert set(table["kind"]) == {"true"}
    # improve
    plan = improve.split_windows(sorted(set(months)), ALARM, 3, 2)
    challenger = build.refit(model, improve.training_rows(data, windows, plan), subject, 0)
    decide = improve.in_windows(data, windows, plan.decide)
    pair = {"champion": model, "challenger": challenger}
    rows = improve.by_window(pair, data, windows, sorted(set(months)), scoring)
    new = release.measure("challenger", challenger, folder, decide, scoring)
    assert rows.figure("challenger", plan.decide).value == pytest.approx(new.score.value)
    both = pd.concat([answers(one, decide, name) for name, one in pair.items()])
    gains = llmops_improve.gains({"later": both}, scoring)
    old = release.measure("champion", model, folder, decide, scoring)
    assert gains["value"][0] == pytest.approx(new.score.value - old.score.value)
    assert llmops_improve.measure(both, "challenger", decide, scoring).score.value == pytest.approx(
        new.score.value
    )


def log_of(model, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the log of an endpoint that served these rows, with their labels."""
    shares = model.predict_proba(model.rows_of(rows))
    return pd.DataFrame({
        "row_id": rows["id"].to_numpy(), "status": "ok",
        "input": rows[model.features].astype(object).to_numpy().tolist(),
        "prediction": model.labels_of(shares), "probability": shares.max(axis=1),
        "probabilities": shares.tolist(), "label": rows["label"].to_numpy(object),
    })  # fmt: skip


def calls_of(model, rows: pd.DataFrame, windows) -> pd.DataFrame:
    said = answers(model, rows, "x")
    return pd.DataFrame({
        "id": said["id"], "window": windows, "prediction": said["predicted"], "probability": 0.9,
        "label": said["expected"].to_numpy(object), "output": said["output"], "status": "ok",
        "prompt_tokens": 1, "completion_tokens": 1, "usd": 0.0, "latency_ms": 1.0,
    })  # fmt: skip


def test_the_metric_chooses_among_challengers():
    """One finds the rare class and errs often, the other never answers it."""
    truth = np.where(np.arange(100) % 10 == 0, "yes", "no")
    eager = np.where(np.arange(100) % 10 < 2, "yes", "no")
    results = pd.concat(
        pd.DataFrame({
            "variant": name, "repeat": 0, "id": [f"{i:03d}" for i in range(100)],
            "expected": truth, "predicted": said, "confidence": 0.9,
            "score": (truth == said).astype(float), "error": "",
        })
        for name, said in (("champion", truth), ("eager", eager), ("never", "no"))
    )  # fmt: skip
    assert llmops_improve.best(results, Scoring(metric=parse("f1:yes"))) == "eager"
    assert llmops_improve.best(results, Scoring(metric=parse("precision:yes"))) == "eager"
    assert llmops_improve.best(results, "label") == "eager"  # both are right on 90: the first


def test_another_challenger_on_the_same_labels_is_another_look(tmp_path):
    registry = ModelRegistry("t")
    folders = []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model").write_text(name)
        folders.append(folder)
    windows = ["2025-01", "2025-02"]
    assert registry.look(windows, folders[0]) == 1
    registry.register(folders[0], decided_on(windows, folders[0]), {}, "run")
    assert registry.look(windows, folders[0]) == 1  # the same again
    assert registry.look(["2025-02", "2025-03"], folders[1]) == 2
    assert registry.look(["2025-03"], folders[1]) == 1
    assert sequential.decision_level(2) > sequential.decision_level(1)
