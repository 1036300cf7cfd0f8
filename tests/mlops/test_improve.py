"""Improving: who learns from what, judged later in time, promoted or refused by the gate."""

import numpy as np
import pytest
from mlops.samples import fitted, sample

from diptych.core.data import splits, tasks
from diptych.core.evaluation.gate import Limits, decide
from diptych.core.evaluation.metrics import METRICS
from diptych.core.evaluation.scored import ScoredRows
from diptych.mlops import build, improve, release
from diptych.mlops.models import model as models

MONTHS = [f"2025-{month:02d}" for month in range(1, 13)]
LIMITS = Limits(floor=0.5, max_calibration_error=0.5, max_latency_ms=None, max_size_mb=None)


@pytest.fixture(scope="module")
def windows():
    live = build.part(sample("reviews"), "live")
    return splits.stream(live, 6, 1_000, 0).set_index("id")["window"]


@pytest.fixture(scope="module")
def plan():
    return improve.split_windows(MONTHS, "2025-07", learn=2, decide=1)


@pytest.fixture(scope="module")
def challenger(windows, plan):
    """The champion's family and setting, fitted again on what the plan allows."""
    data = sample("reviews")
    rows = improve.training_rows(data, windows, plan)
    return build.refit(fitted("text", "logistic"), rows, tasks.get("reviews"), 0)


def test_a_plan_learns_from_the_alarm_on_and_decides_later(plan):
    assert plan.learn == ["2025-07", "2025-08"]
    assert plan.decide == ["2025-09"]
    assert plan.after == ["2025-10", "2025-11", "2025-12"]
    assert plan.reason == "alarm in 2025-07"


@pytest.mark.parametrize("alarm", [None, *MONTHS[:10]])
def test_what_decides_is_always_later_than_what_was_learnt(alarm):
    found = improve.split_windows(MONTHS, alarm, learn=2, decide=1)
    assert max(found.learn) < min(found.decide)
    assert all(max(found.decide) < month for month in found.after)
    assert found.learn[0] == alarm or alarm is None
    assert ("alarm in" in found.reason) == (alarm is not None)


@pytest.mark.parametrize(
    ("alarm", "words"),
    [("2025-11", "2 from the alarm in 2025-11 on; take fewer"), ("2026-01", "none of the windows")],
)
def test_an_impossible_plan_is_refused(alarm, words):
    with pytest.raises(ValueError, match=words):
        improve.split_windows(MONTHS, alarm, learn=2, decide=1)


def test_too_few_windows_without_an_alarm_are_said():
    with pytest.raises(ValueError, match="2 \\+ 1 windows are asked for and there are 2; take"):
        improve.split_windows(MONTHS[:2], None, learn=2, decide=1)


def test_too_few_windows_are_answered_by_what_to_type():
    with pytest.raises(ValueError, match=r"there are 2; take fewer \(-p learn_windows=1 -p decide"):
        improve.split_windows(MONTHS[:2], None, learn=2, decide=1)
    with pytest.raises(
        ValueError, match="there are 1; wait for later rows, or cut the live rows finer"
    ):
        improve.split_windows(MONTHS[:1], None, learn=2, decide=1)


def test_nothing_later_is_learnt(windows, plan):
    data = sample("reviews")
    rows = improve.training_rows(data, windows, plan)
    assert set(rows["split"]) == {"train", "live"}
    assert (rows["split"] == "train").sum() == (data["split"] == "train").sum()
    learnt = rows.loc[rows["split"] == "live", "time"].dt.strftime("%Y-%m")
    assert set(learnt) == set(plan.learn)
    judged = improve.in_windows(data, windows, plan.decide)
    assert set(judged["time"].dt.strftime("%Y-%m")) == set(plan.decide)
    assert not set(judged["id"]) & set(rows["id"])


def test_scores_by_window_are_those_of_its_rows(windows):
    data, model = sample("reviews"), fitted("text", "logistic")
    live = improve.by_window({"champion": model}, data, windows, ["2025-02", "2025-08"], "label")
    found = live.table()
    assert found["window"].tolist() == ["2025-02", "2025-08"]
    own = build.evaluate(model, improve.in_windows(data, windows, ["2025-08"]), "label").accuracy
    assert found.iloc[1][["value", "low", "high", "n"]].tolist() == [
        own.value, own.low, own.high, own.n,
    ]  # fmt: skip


def test_retraining_recovers_from_the_shift(windows, plan, challenger, tmp_path):
    data, champion = sample("reviews"), fitted("text", "logistic")
    rows = improve.in_windows(data, windows, plan.decide)
    old = release.measure("champion", champion, champion.save(tmp_path / "old"), rows, "label")
    new = release.measure(
        "challenger", challenger, challenger.save(tmp_path / "new"), rows, "label"
    )
    decision = decide(new, old, LIMITS)
    assert decision.promoted, decision.reason
    both = {"champion": champion, "challenger": challenger}
    found = improve.outcome(improve.by_window(both, data, windows, MONTHS, "label"), plan)
    assert found["challenger afterwards"].value > found["champion afterwards"].value + 0.05
    assert found["recovered"] > 0.3


def test_a_worse_challenger_is_refused(windows, plan, tmp_path):
    """It learnt from labels that somebody turned round."""
    data, champion = sample("reviews"), fitted("text", "logistic")
    rows = improve.training_rows(data, windows, plan)
    wrong = rows["split"] == "live"
    turned = rows["label"].map({"positive": "negative", "negative": "positive"})
    rows = rows.assign(label=rows["label"].mask(wrong, turned))
    challenger = build.refit(champion, rows, tasks.get("reviews"), 0)
    judged = improve.in_windows(data, windows, plan.decide)
    old = release.measure("champion", champion, champion.save(tmp_path / "old"), judged, "label")
    new = release.measure(
        "challenger", challenger, challenger.save(tmp_path / "new"), judged, "label"
    )
    decision = decide(new, old, Limits(**{**vars(LIMITS), "floor": None}))
    assert not decision.promoted
    assert "challenger minus champion is -" in decision.reason


def live(**right) -> improve.LiveRows:
    """Return rows by model: (window, right, rows) each."""
    lines = next(iter(right.values()))
    names = np.repeat([window for window, *_ in lines], [n for *_, n in lines])
    scored = {
        model: ScoredRows.of_grades(np.concatenate([np.arange(n) < k for _, k, n in own]))
        for model, own in right.items()
    }
    return improve.LiveRows(scored, names, METRICS["grade"])


def test_the_outcome_is_what_came_back_of_what_was_lost():
    plan = improve.WindowSplit("2", learn=["2"], decide=["3"], after=["4", "5"])
    found = improve.outcome(
        live(
            champion=[("1", 90, 100), ("2", 10, 100), ("3", 10, 100), ("4", 180, 300),
                      ("5", 80, 100)],
            challenger=[("1", 90, 100), ("2", 100, 100), ("3", 100, 100), ("4", 240, 300),
                        ("5", 80, 100)],
        ),
        plan,
    )  # fmt: skip
    assert found["champion afterwards"].value == pytest.approx(0.65)
    assert found["challenger afterwards"].value == pytest.approx(0.8)
    assert found["recovered"] == pytest.approx((0.8 - 0.65) / (0.9 - 0.65))


@pytest.mark.parametrize(("alarm", "right"), [(None, 120), ("2", 179)])
def test_nothing_is_recovered_from_chance(alarm, right):
    plan = improve.WindowSplit(alarm, learn=["2"], decide=["3"], after=["4"])
    rows = live(champion=[("1", 180, 200), ("4", right, 200)],
                challenger=[("1", 180, 200), ("4", 180, 200)])  # fmt: skip
    assert list(improve.outcome(rows, plan)) == ["champion afterwards", "challenger afterwards"]


def test_nothing_is_recovered_where_nothing_was_lost():
    plan = improve.WindowSplit("2", learn=["2"], decide=["3"], after=["4"])
    same = [(name, 9, 10) for name in "1234"]
    assert "recovered" not in improve.outcome(live(champion=same, challenger=same), plan)


def test_without_later_windows_there_is_no_outcome():
    plan = improve.WindowSplit("1", learn=["1"], decide=["2"], after=[])
    same = [("1", 9, 10), ("2", 9, 10)]
    assert improve.outcome(live(champion=same, challenger=same), plan) == {}


def test_of_an_error_less_is_what_comes_back():
    rng, names = np.random.default_rng(0), np.repeat(["1", "4"], 200)
    truth, noise = rng.normal(0, 10, 400), rng.normal(0, 1, 400)
    worse = np.where(names == "4", 3.0, 1.0)
    scored = {"champion": ScoredRows.of_numbers(truth, truth + worse * noise),
              "challenger": ScoredRows.of_numbers(truth, truth + noise)}  # fmt: skip
    plan = improve.WindowSplit("2", learn=["2"], decide=["3"], after=["4"])
    found = improve.outcome(improve.LiveRows(scored, names, METRICS["rmse"]), plan)
    champion, challenger = (found[f"{name} afterwards"] for name in ("champion", "challenger"))
    assert champion.value == pytest.approx(3 * challenger.value)
    assert champion.low <= champion.value <= champion.high
    assert 0.9 < found["recovered"] < 1.1


def test_refitting_keeps_family_and_setting(challenger):
    champion = fitted("text", "logistic")
    assert challenger.family == champion.family
    assert challenger.parameters == champion.parameters
    assert isinstance(challenger, models.Model)
