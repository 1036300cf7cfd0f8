"""What stands beside an answer: whom it was measured on, and what its line does not show."""

import math

import pandas as pd
import pytest
from reporting.both import SCENARIO, runs

from diptych.core.evaluation.stats import Estimate
from diptych.reporting.contrast import contrast, evidence, measures, remarks, ways
from diptych.reporting.contrast.measures import Assumptions
from diptych.reporting.contrast.way import NAMES, Elsewhere, Way


def whys(found) -> dict[str, str]:
    made = contrast.contrast(SCENARIO, found, Assumptions())
    return {one.question.key: one.why for one in made.answers}


@pytest.fixture
def panels(tmp_path):
    return evidence.sides(runs(tmp_path))


def test_answers_name_both_figures_the_goal_and_when_own_work_pays(tmp_path):
    why = whys(runs(tmp_path))
    assert why["alike"].startswith("accuracy on the test set: 0.970 against 0.800, MLOps is ahead")
    assert why["labels"].endswith("; the goal is 0.9")
    assert "with the labels and the work that are assumed, a model of your own is" in why["volume"]
    assert "assumed" not in why["latency"]


def test_a_recorded_model_that_stands_for_quality_is_told_from_the_one_served(panels):
    left, right = panels
    assert remarks.who(right) == ""
    rows = left.lines.assign(score=1.0)
    real = Way("Real 1B, zero-shot", "llmops", rows, "c-1", labels=0.0, validation=rows,
               cpu_ms=Estimate(1227.4, math.nan, math.nan, 150))  # fmt: skip
    right.represent(Elsewhere((real,)))
    said = remarks.who(right)
    assert "Real 1B, zero-shot for quality, which was not put through the gate" in said
    assert "the model in the box for speed, cost and memory" in said
    empty = pd.DataFrame(columns=["option", "requests", "usd"])
    for question in contrast.questions.QUESTIONS:
        beside = remarks.of(question, panels, [], empty, 0.9)
        takes = [words for words in beside if "1,227 ms of compute an answer" in words]
        assert bool(takes) == (question.key in ("latency", "volume"))
    assert remarks._compute(right).endswith("an answer, measured once")
    right.represent(Elsewhere((real.but(cpu_ms=Estimate(1227.4, 1180.1, 1290.6, 20)),)))
    assert remarks._compute(right).endswith("an answer, 1,180 to 1,291 on 20 rows")


def test_a_slice_is_measured_on_its_own_rows_whoever_stands_for_a_side(panels):
    left, right = panels
    first = left.lines.index[:40]
    rows = left.lines.iloc[:200].assign(score=1.0, predicted=left.lines["truth"].iloc[:200])
    right.represent(Elsewhere((Way("Real", "llmops", rows, "c-1", labels=0.0, validation=rows),)))
    whole = measures.quality(left, right, Assumptions())
    part = measures.on_slice(first)(left, right, Assumptions())
    assert (whole.difference.n, part.difference.n) == (200, 40)
    assert part.left.value == left.lines["score"][first].mean()


def test_a_model_below_the_majority_class_is_no_evidence(panels):
    found = [way for way in ways.gathered(*panels)[0] if way.name != NAMES["baseline"]]
    (alike,) = [one for one in contrast.questions.QUESTIONS if one.key == "alike"]
    costs = pd.DataFrame(columns=["option", "requests", "usd"])
    lines = panels[1].lines
    for score, told in ((1.0, True), (0.0, False)):
        predicted = lines["truth"] if score else lines["truth"].map({"good": "bad", "bad": "good"})
        rows = lines.assign(score=score, predicted=predicted)
        baseline = Way(NAMES["baseline"], "mlops", rows, "m")
        beside = remarks.of(alike, panels, [*found, baseline], costs, 0.9)
        assert any("below the majority class" in words for words in beside) == told


def test_labels_that_are_no_names_stand_beside_every_answer_on_quality(panels):
    (alike,) = [one for one in contrast.questions.QUESTIONS if one.key == "alike"]
    costs = pd.DataFrame(columns=["option", "requests", "usd"])
    rows = panels[1].lines
    bare = rows.assign(truth=rows["truth"].map({"good": "1", "bad": "0"}))
    for lines, told in ((bare, True), (rows, False), (rows.assign(truth=1.5), False)):
        beside = remarks.of(alike, panels, [Way("a", "llmops", lines, "c")], costs, 0.9)
        assert any("the labels are no names (0, 1)" in words for words in beside) == told
