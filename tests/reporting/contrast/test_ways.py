"""Every way to do the task, compared on the same rows."""

import math

import numpy as np
import pandas as pd
import pytest
from reporting.both import NAME, ROWS, SCENARIO, runs

from diptych.core.evaluation import metrics, stats
from diptych.core.evaluation.stats import Estimate
from diptych.reporting.contrast import cascade, contrast, evidence, frontier, labels, ways
from diptych.reporting.contrast.measures import Assumptions
from diptych.reporting.contrast.way import Elsewhere, Way

ASSUMPTIONS = Assumptions()
REGRESSION, MAJORITY, BOX = "logistic regression", "majority class", f"model in the box, {NAME}"
ACCURACY = metrics.parse("accuracy")

NOTHING_ELSE = Elsewhere()


def lined_up(found, others=NOTHING_ELSE):
    panels = evidence.sides(found)
    for panel in panels:
        panel.represent(others)
    compared, _ = ways.gathered(*panels)
    return ways.table(compared, *panels, ASSUMPTIONS).set_index("way")


def graded(right, sure=0.9, start=0, prefix="r"):
    """Rows of which those in `right` are answered rightly."""
    right = np.asarray(right, bool)
    truth = np.where(np.arange(start, start + len(right)) % 4 == 0, "bad", "good")
    other = np.where(truth == "bad", "good", "bad")
    ids = [f"{prefix}-{k:05d}" for k in range(start, start + len(right))]
    return pd.DataFrame({
        "truth": truth, "predicted": np.where(right, truth, other), "score": right * 1.0,
        "grader": "label", "confidence": np.broadcast_to(sure, len(right)), "probabilities": None,
    }, index=ids)  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return lined_up(runs(tmp_path_factory.mktemp("runs"), asked=400))


def test_all_are_measured_on_the_rows_that_all_answered(table):
    assert table["n"].unique().tolist() == [400]
    assert table.loc[REGRESSION, "value"] == pytest.approx((400 - 15) / 400)
    assert table.loc[MAJORITY, "value"] == pytest.approx(150 / 400)
    assert table.loc[BOX, "value"] == 1  # its wrong rows are the last, which were not asked
    wilson = stats.wilson(385, 400)
    ends = table.loc[REGRESSION, "low"], table.loc[REGRESSION, "high"]
    assert ends == pytest.approx((wilson.low, wilson.high))


def test_each_is_held_against_the_best_row_by_row(table):
    assert table.index[0] == BOX
    assert table["against the best"].to_dict() == {
        BOX: "best", REGRESSION: "inconclusive", MAJORITY: "worse"
    }  # fmt: skip


def test_the_frontier_is_what_nothing_beats_with_no_more_labels(table):
    assert table["labels"].to_dict() == {BOX: 8, REGRESSION: 800, MAJORITY: 800}
    marked = table["best for its labels"].to_dict()
    assert marked == {BOX: True, REGRESSION: False, MAJORITY: False}


def test_more_is_on_the_frontier_where_it_pays(tmp_path):
    table = lined_up(runs(tmp_path, wrong=(15, 100)))
    marked = table["best for its labels"].to_dict()
    assert marked == {REGRESSION: True, BOX: True, MAJORITY: False}
    # 1 ms of CPU an answer against 50: the better one costs less too, and one was not served
    assert table["usd"][REGRESSION] == pytest.approx(1000 * 0.001 / 3600 * 0.04)
    assert table["usd"][BOX] == pytest.approx(50 * table["usd"][REGRESSION])
    assert table["best for its cost"].to_dict() == {REGRESSION: True, BOX: False, MAJORITY: False}
    assert table["selected"].to_dict() == {REGRESSION: True, BOX: True, MAJORITY: False}


def test_one_side_alone_is_compared_too(tmp_path):
    found = [run for run in runs(tmp_path) if run.notebook.startswith("mlops/")]
    table = lined_up(found).reset_index()
    assert table["n"].unique().tolist() == [ROWS]
    assert np.all(table["panel"] == "mlops")
    table.attrs["metric"] = ACCURACY
    assert f"1: {REGRESSION} (0.970)" in frontier.html(table, "Sentiment", "labels")


def test_without_runs_there_is_no_way(tmp_path):
    made = contrast.contrast(SCENARIO, [], ASSUMPTIONS)
    assert made.ways.empty
    assert frontier.html(made.ways, "Sentiment", "usd") == ""
    assert made.cascades == []


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return runs(tmp_path_factory.mktemp("real"), wrong=(15, 100), models=("local",))


def recorded(right, **changes):
    known = {"labels": 0.0, "cpu_ms": Estimate(1200.0, math.nan, math.nan, 150),
             "model": "1.5 B parameters", "where": "recorded 2026-11-29 on a machine"}  # fmt: skip
    name = changes.pop("name", "a real model, zero-shot")
    return Way(name, "llmops", graded(right), "c-1", **(known | changes))


def test_a_recorded_model_is_a_row_on_its_own_rows(found):
    right = np.ones(300, bool)
    table = lined_up(found, Elsewhere((recorded(right),)))
    assert table["value"]["a real model, zero-shot"] == 1
    assert table["n"].unique().tolist() == [300]  # what all have, for it has most of them
    few = lined_up(found, Elsewhere((recorded(right[:60]),)))
    assert few["n"].to_dict() == {
        "a real model, zero-shot": 60, REGRESSION: ROWS, BOX: ROWS, MAJORITY: ROWS
    }  # fmt: skip
    real = table.loc["a real model, zero-shot"]
    assert real["usd"] == pytest.approx(1200 / 3600 * 0.04)
    assert math.isnan(real["usd low"])  # measured once
    several = recorded(right, cpu_ms=Estimate(1200.0, 1100.0, 1350.0, 20))
    real = lined_up(found, Elsewhere((several,))).loc["a real model, zero-shot"]
    ends = real[["usd low", "usd high"]].to_numpy(float)
    assert ends == pytest.approx(np.array([1100, 1350]) / 3600 * 0.04)
    assert real["usd n"] == 20
    assert not real["best for its cost"]  # the other one that is always right costs less


def test_a_real_model_stands_for_its_side_and_the_answer_says_so(found, tmp_path):
    right, left = np.ones(ROWS, bool), np.ones(40, bool)
    way = recorded(right, validation=graded(left, prefix="v"))
    panels = evidence.sides(found)
    for panel in panels:
        panel.represent(Elsewhere((way,)))
    assert panels[1].representative is way  # the model in the box decides nothing beside it
    assert panels[0].representative is None
    measured = contrast.dimensions.of(*panels)[0].measure(*panels, ASSUMPTIONS)
    assert measured.right.value == 1
    assert measured.right.runs == ("c-1",)
    assert "recorded 2026-11-29" in measured.right.note
    assert measured.difference.value == pytest.approx(-15 / ROWS)


def test_a_forecast_has_a_price_and_no_quality(table):
    columns = ["model", "tokens in", "tokens out", "usd", "source"]
    prices = pd.DataFrame([("openai/gpt-4o", 100.0, 2.0, 0.27, "genai-prices")], columns=columns)
    last = ways.with_forecast(table.reset_index(), prices).iloc[-1]
    assert (last["way"], last["against the best"]) == ("openai/gpt-4o", "not measured")
    assert last["usd"] == 0.27
    assert math.isnan(last["value"])


@pytest.fixture(scope="module")
def pair():
    """A classifier that is wrong where it is unsure, and a model that is right there."""
    unsure = np.arange(200) % 5 == 0
    sure = np.where(unsure, 0.6, 0.95)
    first = Way("classifier", "mlops", graded(~unsure, sure), "a", labels=800.0,
                validation=graded(~unsure[:50], sure[:50], prefix="v"),
                cpu_ms=Estimate(1.0, 0.9, 1.1, 5))  # fmt: skip
    weak = np.arange(200) % 4 != 1  # of the unsure rows it is wrong at some
    second = Way("model", "llmops", graded(weak), "b", labels=0.0,
                 validation=graded(weak[:50], prefix="v"),
                 cpu_ms=Estimate(1000.0, math.nan, math.nan, 9))  # fmt: skip
    return first, second


def test_a_cascade_takes_the_model_where_the_classifier_is_unsure(pair):
    first, second = pair
    (made,) = cascade.of([first], [second], ACCURACY)
    assert 0.6 < made.threshold <= 0.95
    assert made.share == 0.2
    expected = np.where(np.arange(200) % 5 == 0, second.rows["score"], first.rows["score"])
    assert made.way.rows["score"].to_numpy() == pytest.approx(expected)
    assert made.way.cpu_ms.value == pytest.approx(1 + 0.2 * 1000)
    assert math.isnan(made.way.cpu_ms.low)  # the model's was measured once
    several = second.but(cpu_ms=Estimate(1000.0, 990.0, 1020.0, 20))
    (one,) = cascade.of([first], [several], ACCURACY)
    ends = [201 - math.hypot(0.1, 2), 201 + math.hypot(0.1, 4)]
    assert [one.way.cpu_ms.low, one.way.cpu_ms.high] == pytest.approx(ends)
    assert made.way.labels == 800
    ends = made.curve.set_index("share")["value"]
    assert ends[0.0] == first.rows["score"].mean()  # nobody asks the model
    assert ends[1.0] == second.rows["score"].mean()


def test_its_threshold_comes_from_validation_rows_alone(pair):
    first, second = pair
    wrong = second.but(validation=second.validation.assign(
        predicted=np.where(second.validation["truth"] == "bad", "good", "bad"), score=0.0
    ))  # fmt: skip
    assert cascade.of([first], [wrong], ACCURACY) == []  # however good it is on test rows
    assert cascade.of([first], [second.but(validation=None)], ACCURACY) == []
    assert cascade.of([first], [second], metrics.parse("roc_auc")) == []


def test_a_cascade_that_is_better_than_both_is_the_answer(pair, tmp_path):
    first, second = pair
    gap = ways.better(second, first, "rows", ACCURACY)
    assert gap.n == 200
    assert gap.low <= gap.value <= gap.high
    assert ways.better(first, second, "by_hand", ACCURACY) is None


def points(*lines, metric=ACCURACY):
    table = pd.DataFrame(lines, columns=labels.COLUMNS)
    table.attrs["metric"] = metric
    return table


FITTED = [("mlops", "XGBoost", 100, 0.60, 0.57, 0.63, "r"),
          ("mlops", "XGBoost", 1000, 0.80, 0.78, 0.82, "r"),
          ("mlops", "XGBoost", 8000, 0.95, 0.94, 0.96, "r")]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ((0.87, 0.84, 0.9), "ahead of every fitted model up to 1,000 labels; the lines cross at "
         "about 2,600 labels; from 8,000 labels on XGBoost is ahead."),
        ((0.99, 0.98, 1.0), "is ahead of every fitted model up to all 8,000 labels."),
        ((0.94, 0.90, 0.97), "ahead of every fitted model up to 1,000 labels; the lines cross at "
         "about 7,000 labels."),
        ((0.5, 0.45, 0.55), "from 100 labels on XGBoost is ahead."),
    ],
)  # fmt: skip
def test_the_sentence_on_labels_says_where_the_lines_cross(model, said):
    table = points(*FITTED, ("llmops", "a model", 0, *model, "r"))
    (sentence,) = labels.crossings(table)
    assert sentence.startswith(f"a model without a label ({model[0]:.3f}, ")
    assert sentence.endswith(said)


def test_prompts_and_fine_tuning_are_lines_of_their_own(found):
    names = {"a model, zero-shot": 0, "a model, 4 examples": 4, "a model, LoRA on 160 labels": 160,
             "a model, zero-shot, prompt other": 0}  # fmt: skip
    real = tuple(
        recorded(np.ones(60, bool), name=name, labels=float(n)) for name, n in names.items()
    )
    panels = evidence.sides(found)
    for panel in panels:
        panel.represent(Elsewhere(real))
    bought = labels.bought(*panels)
    lines = bought[bought["run"] == "c-1"].groupby("way")["labels"].apply(list)
    assert lines.to_dict() == {
        "a model": [0, 4], "a model, LoRA": [160], "a model, prompt other": [0],
    }  # fmt: skip


def test_of_several_prompts_each_is_a_line_whatever_it_shows(tmp_path):
    prompts = (("plain", 0), ("plain · k=4", 4), ("careful", 0))
    found = runs(tmp_path, examples=prompts)
    (build,) = [run for run in found if run.notebook == "llmops/2_build"]
    points = labels.bought(*evidence.sides(found))
    lines = points[points["run"] == build.id].groupby("way")["labels"].apply(list)
    assert lines.to_dict() == {"plain": [0, 4], "careful": [0]}


def test_of_a_loss_the_lower_line_is_ahead():
    loss = [(*line[:3], 1 - line[3], 1 - line[5], 1 - line[4], "r") for line in FITTED]
    table = points(*loss, ("llmops", "a model", 0, 0.13, 0.1, 0.16, "r"),
                   metric=metrics.parse("rmse"))  # fmt: skip
    assert "up to 1,000 labels; the lines cross at about 2,600" in labels.crossings(table)[0]


def test_ways_on_few_rows_take_no_rows_from_the_others(tmp_path):
    """Each with half of the rows of the one before once left thirty of five hundred."""
    panels = evidence.sides(runs(tmp_path))
    found, _ = ways.gathered(*panels)
    rows = panels[0].lines
    recorded = [Way(f"of {n}", "llmops", rows.iloc[:n], "c-1") for n in (300, 160, 90)]
    assert len(ways._same([*found, *recorded], panels)) == 300
