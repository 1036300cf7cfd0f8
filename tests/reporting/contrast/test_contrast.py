"""The contrast: verdicts follow from runs and assumptions, and the words from the verdicts."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reporting.both import NAME, ROWS, SCENARIO, runs
from sklearn.metrics import f1_score

from diptych.base.errors import ParameterError
from diptych.core.data import tasks, versions
from diptych.core.evaluation import stats
from diptych.core.evaluation.metrics import parse
from diptych.reporting.contrast import (
    amounts,
    breakeven,
    contrast,
    dimensions,
    evidence,
    forest,
    labels,
    questions,
    verdicts,
)
from diptych.reporting.contrast.breakeven import OWN, Workload
from diptych.reporting.contrast.measures import Assumptions, Measured

ASSUMPTIONS = Assumptions()
API = ("openai/gpt-4o",)
DONE: dict = {}
SHARES = {d.key for d in dimensions.ALWAYS if d.kind == "share"} | {"perturbed-typos"}


def concluded(found, assumptions=ASSUMPTIONS) -> dict:
    """Every verdict by its key; of the same runs and assumptions computed once."""
    key = (tuple(run.folder for run in found), assumptions)
    if key not in DONE:
        DONE[key] = contrast.contrast(SCENARIO, found, assumptions).verdicts
    return {verdict.dimension.key: verdict for verdict in DONE[key]}


def winners(found, assumptions=ASSUMPTIONS) -> dict[str, str]:
    return {key: verdict.winner for key, verdict in concluded(found, assumptions).items()}


def changed(before: dict, after: dict) -> set[str]:
    return {key for key in before if before[key] != after[key]}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return runs(tmp_path_factory.mktemp("runs"))


def test_each_side_wins_what_it_does_better(found):
    assert winners(found) == {
        "quality": "MLOps",
        "hand-written": "not measured",  # MLOps graded none of those rows
        "calibration": "inconclusive",
        "perturbed-typos": "inconclusive",
        "perturbed-negation": "not measured",
        "drift": "LLMOps",
        "afterwards": "not measured",  # nothing was promoted, and no champion afterwards recorded
        "instability": "inconclusive",  # its interval reaches to 0.09
        "p50": "MLOps",
        "p95": "MLOps",
        "loaded-p95": "MLOps",
        "equal-use": "not measured",  # two levels tell no peak
        "first-token": "MLOps",
        "throughput": "MLOps",
        "cost": "MLOps",
        "cost-correct": "MLOps",
        "labels": "MLOps",
        "size": "MLOps",
        "memory": "MLOps",
        "leaving": "tie",
    }


def test_quality_is_paired_on_the_rows_that_both_concluded(found):
    quality = concluded(found)["quality"].measured
    left, right = np.ones(ROWS), np.ones(ROWS)
    left[:15], right[-100:] = 0, 0
    assert quality.left.estimate == stats.wilson(ROWS - 15, ROWS)
    assert quality.right.estimate == stats.wilson(ROWS - 100, ROWS)
    paired = stats.paired_difference(left, right)
    assert quality.difference.value == pytest.approx(paired.value)
    assert quality.difference.low == pytest.approx(paired.low, abs=0.005)
    assert quality.p == stats.mcnemar(left, right)
    verdict = concluded(found)["quality"]
    assert verdict.why.endswith(", p < 0.001")
    assert verdict.dimension.name == "accuracy on the test set"


def test_the_metric_of_the_task_decides_and_is_named(tmp_path):
    """MLOps misses 15 rows, LLMOps 30 on the other end; of the rare class it is said exactly."""
    quality = concluded(runs(tmp_path, wrong=(15, 30), metrics=("f1:bad", "f1:bad")))["quality"]
    assert quality.dimension.name == "F1 on the test set"
    truth = np.where(np.arange(ROWS) % 4 == 0, "bad", "good")
    turned = np.where(truth == "bad", "good", "bad")
    for figure, wrong in (
        (quality.measured.left, np.arange(ROWS) < 15),
        (quality.measured.right, np.arange(ROWS) >= ROWS - 30),
    ):
        expected = f1_score(truth, np.where(wrong, turned, truth), pos_label="bad")
        assert figure.value == pytest.approx(expected)
    gap = quality.measured.left.value - quality.measured.right.value
    assert quality.measured.difference.value == pytest.approx(gap)


def test_of_a_loss_the_lower_side_wins(tmp_path):
    quality = concluded(runs(tmp_path, metrics=("brier", "brier")))["quality"]
    assert quality.measured.left.value < quality.measured.right.value
    assert quality.measured.difference.high < 0
    assert quality.winner == "MLOps"


def test_panels_that_were_decided_by_different_metrics_are_not_compared(tmp_path):
    found = concluded(runs(tmp_path, metrics=("f1:bad", "accuracy")))
    for key in ("quality", "hand-written", "drift", "afterwards", "labels"):
        assert found[key].winner == "not measured"
        assert "decided by different metrics (mlops/2_build by f1:bad; " in found[key].why
    assert found["cost"].winner == "MLOps"


def test_a_perturbed_row_is_compared_with_itself(found):
    lost = concluded(found)["perturbed-typos"].measured
    # every tenth row is lost, but of those only what was right before
    assert lost.left.value == pytest.approx((50 - 2) / ROWS)
    assert lost.right.value == pytest.approx((50 - 10) / ROWS)
    assert lost.difference.value == pytest.approx((10 - 2) / ROWS)
    assert lost.difference.low < lost.difference.value < lost.difference.high


def test_what_perturbed_rows_lose_is_of_the_metric_of_the_task(tmp_path):
    for spec, name in (("f1:bad", "F1 drop"), ("brier", "Brier score rise")):
        made = runs(tmp_path / spec[:2], wrong=(15, 30), metrics=(spec, spec))
        lost = concluded(made)["perturbed-typos"]
        assert lost.dimension.name == f"{name} under typos"
        metric, (panel, other) = parse(spec), evidence.sides(made)
        for figure, side in ((lost.measured.left, panel), (lost.measured.right, other)):
            lines = side.lines
            after = lines[lines.index.str.endswith("~typos")]
            before = lines.loc[after.index.str.removesuffix("~typos")]
            by_hand = [
                metric.figure(evidence.scored(rows, lines, metric)) for rows in (before, after)
            ]
            assert figure.value == pytest.approx(metric.sign * (by_hand[0] - by_hand[1]))
            if spec != "brier":
                truth, said = (list(before[column]) for column in ("truth", "predicted"))
                assert by_hand[0] == pytest.approx(f1_score(truth, said, pos_label="bad"))
        gap = lost.measured.difference
        assert gap.value == pytest.approx(lost.measured.left.value - lost.measured.right.value)


def test_labels_needed_to_reach_the_goal(found):
    goals = (0.75, 0.94, 0.948)
    low, high, higher = (
        concluded(found, replace(ASSUMPTIONS, goal=goal))["labels"] for goal in goals
    )
    assert (low.measured.left.value, low.measured.right.value) == (300, 8)
    assert low.winner == "LLMOps"
    assert (high.measured.left.value, high.measured.right.value) == (800, 2000)
    # the intervals of both hold the goal at fewer and at more labels
    assert (high.measured.right.note, high.winner) == (labels.TUNED, "inconclusive")
    assert "llmops-6_improve" in high.measured.right.runs[0]
    reached = higher.measured.left.value, higher.measured.right.text("labels")
    assert reached == (800, "not reached")
    assert higher.winner == "inconclusive"  # the tuned model's interval holds it
    untuned = [run for run in found if run.notebook != "llmops/6_improve"]
    shown = concluded(untuned, replace(ASSUMPTIONS, goal=0.92))["labels"]
    assert (shown.winner, shown.why) == ("MLOps", "LLMOps never reaches it")
    assert concluded(found, replace(ASSUMPTIONS, goal=0.99))["labels"].winner == "inconclusive"


def test_every_number_of_labels_that_was_tried_is_a_point(found):
    points = labels.bought(*evidence.sides(found)).set_index(["way", "labels"])
    assert list(points.index) == [
        *((labels.FITTED, n) for n in (80, 300, 800)), (labels.SHOWN, 8), (labels.TUNED, 2000),
    ]  # fmt: skip
    shown = points.loc[(labels.SHOWN, 8)]
    assert shown["value"] == pytest.approx((ROWS - 100) / ROWS)
    assert shown["low"] < shown["value"] < shown["high"]
    told = labels.html(points.reset_index(), 0.9, "Sentiment")
    assert "a fitted model reaches 0.950 with 800" in told


def test_the_margin_changes_verdicts_on_shares_and_no_other(found):
    before = winners(found)
    moved = changed(before, winners(found, replace(ASSUMPTIONS, margin=0.3)))
    assert moved == {"quality", "drift", "perturbed-typos", "calibration", "instability"}
    assert moved <= SHARES
    assert changed(before, winners(found, replace(ASSUMPTIONS, margin=0.0))) <= SHARES


def test_the_ratio_changes_verdicts_on_amounts_and_no_other(found):
    moved = changed(winners(found), winners(found, replace(ASSUMPTIONS, ratio=0.85)))
    assert moved == {"p50", "p95", "loaded-p95", "first-token", "memory", "size"}


def _without_latency(result):
    names = ("replayed_seconds", "spared_seconds")
    return {name: value for name, value in result.items() if name not in names}


@pytest.mark.parametrize("key", ["replayed_seconds", "spared_seconds"], ids=["now", "before"])
def test_answers_that_were_there_already_count_with_the_time_they_took(found, key):
    replayed = [
        replace(run, result=_without_latency(run.result) | {key: 45.0})
        if run.notebook == "llmops/2_build"
        else run
        for run in found
    ]
    before, after = (
        contrast.contrast(SCENARIO, own, ASSUMPTIONS).stated.set_index("what")["LLMOps"]
        for own in (list(found), replayed)
    )
    assert before["time of stages 1 to 3"] == "180 s"
    assert after["time of stages 1 to 3"] == "225 s (45 s of it replayed latency)"


def test_the_price_of_compute_changes_the_cost_and_nothing_else(tmp_path):
    found = runs(tmp_path, models=API, usd=1e-6)
    cheap, dear = (replace(ASSUMPTIONS, usd_per_cpu_hour=usd) for usd in (0.04, 400.0))
    assert winners(found, cheap)["cost"] == "MLOps"
    assert winners(found, dear)["cost"] == "LLMOps"
    assert changed(winners(found, cheap), winners(found, dear)) == {"cost", "cost-correct"}


def test_what_an_answer_costs(found, tmp_path):
    cost = concluded(found)["cost"].measured
    assert cost.left.value == pytest.approx(1000 * 0.001 / 3600 * 0.04)
    assert cost.right.value == pytest.approx(1000 * 0.050 / 3600 * 0.04)
    right = concluded(runs(tmp_path, models=API, usd=0.0005))
    assert right["cost"].measured.right.value == pytest.approx(0.5)
    assert right["cost-correct"].measured.right.value == pytest.approx(0.5 / 0.8)


@pytest.mark.parametrize("side", ["mlops", "llmops"])
def test_a_missing_side_is_not_measured(found, side):
    one = [run for run in found if not run.notebook.startswith(f"{side}/")]
    missing = {"mlops": "MLOps", "llmops": "LLMOps"}[side]
    for verdict in concluded(one).values():
        assert verdict.winner == "not measured"
        assert missing in verdict.why


def test_a_missing_stage_takes_only_what_it_measured(found):
    speed = {"p50", "p95", "loaded-p95", "first-token", "throughput", "cost", "cost-correct"}
    keys = {"mlops/5_monitor": {"drift"}, "mlops/4_serve": speed | {"memory", "leaving"}}
    for notebook, expected in keys.items():
        left = [run for run in found if run.notebook != notebook]
        assert changed(winners(found), winners(left)) == expected


def test_an_inconclusive_comparison_says_how_many_rows_would_decide(tmp_path):
    quality = concluded(runs(tmp_path, wrong=(50, 58)))["quality"]
    assert quality.winner == "inconclusive"
    gap = quality.measured.difference
    enough = int(re.search(r"about ([\d,]+) rows would tell", quality.why)[1].replace(",", ""))
    assert enough > ROWS
    narrower = (gap.high - gap.low) / 2 * (ROWS / enough) ** 0.5
    assert gap.value + narrower == pytest.approx(0.02, abs=0.002)  # the nearer edge


def test_labels_of_a_model_that_has_seen_the_task_are_not_counted(tmp_path):
    """The model in the box was pretrained on labelled text of the generators of some tasks."""
    made = contrast.contrast(SCENARIO, runs(tmp_path, task="reviews"), ASSUMPTIONS)
    labels_line = next(v for v in made.verdicts if v.dimension.key == "labels")
    assert labels_line.winner == "inconclusive"
    assert "pretrained on labelled text" in labels_line.why
    assert made.ways.set_index("way")["labels"].isna().to_dict()[f"model in the box, {NAME}"]
    assert "pretrained" in made.ways.attrs["note"]
    bought = runs(tmp_path / "api", task="reviews", models=API)
    assert not evidence.sides(bought)[1].is_contaminated


def test_no_run_at_all():
    made = contrast.contrast(SCENARIO, [], ASSUMPTIONS, models=API)
    assert {verdict.winner for verdict in made.verdicts} == {"not measured"}
    assert made.forecast.empty
    assert made.costs.empty


def test_every_question_is_answered_by_its_line_alone(found):
    made = contrast.contrast(SCENARIO, found, ASSUMPTIONS)
    by_key = {verdict.dimension.key: verdict for verdict in made.verdicts}
    for answer in made.answers:
        decides = by_key[answer.question.decides]
        assert answer.evidence[0] is decides
        assert answer.outcome == ("either" if decides.winner == "tie" else decides.winner)
        assert decides.why in answer.why
        (said,) = (part for part in made.sentence.split(". ") if answer.question.topic in part)
        words = {"either": "Either will do", "not measured": "Not measured"}
        assert words.get(answer.outcome, answer.outcome) in said
    everything = {v.dimension.key for answer in made.answers for v in answer.evidence}
    assert everything == set(by_key), "a line stands under no question"


def test_the_gate_is_the_first_thing_said(found, tmp_path):
    made = contrast.contrast(SCENARIO, found, ASSUMPTIONS)
    first = "MLOps passed the release gate; LLMOps would not be released."
    assert made.sentence.startswith(first)
    none = [run for run in found if not run.notebook.endswith("3_release")]
    assert contrast.contrast(SCENARIO, none, ASSUMPTIONS).gate == "No release was decided."
    reversed_ = contrast.contrast(SCENARIO, runs(tmp_path, wrong=(100, 15)), ASSUMPTIONS)
    quality = next(one for one in reversed_.answers if one.question.key == "alike")
    assert quality.outcome == "LLMOps"
    assert quality.why.endswith("the gate refused LLMOps, so it would not be released")


def test_slices_that_disagree_are_the_answer(found):
    """Support's average says one side; its own facts and its canned answers say different ones."""
    made = contrast.contrast(SCENARIO, found, ASSUMPTIONS)
    quality = made.verdicts[0]
    sliced = [
        replace(quality, dimension=replace(quality.dimension, key=f"slice-{name}"), winner=winner)
        for name, winner in (("first turn", "MLOps"), ("own fact", "LLMOps"))
    ]
    alike = questions.QUESTIONS[0]
    answer = questions.answer(alike, [*made.verdicts, *sliced])
    assert answer.outcome == "by slice"
    assert "by slice: first turn MLOps, own fact LLMOps" in answer.why
    assert questions.answer(alike, [*made.verdicts, sliced[0]]).outcome == "MLOps"


def test_words_and_picture_say_alike_who_is_ahead(found):
    """Of what is better when it is lower, too."""
    made = contrast.contrast(SCENARIO, found, ASSUMPTIONS)
    drawn = forest.lines(made.verdicts).query("kind == 'share'").set_index("name")
    assert {"accuracy drop under typos", "calibration error"} <= set(drawn.index)
    for verdict in made.verdicts:
        if verdict.dimension.name in drawn.index:
            value = drawn["value"][verdict.dimension.name]
            side = "MLOps" if value >= 0 else "LLMOps"
            assert verdict.why.startswith(f"{side} is ahead by {abs(value):.3f}")


def test_an_answer_says_its_effect_in_a_few_characters(found):
    made = contrast.contrast(SCENARIO, found, ASSUMPTIONS)
    short = {one.question.key: one.facts()["effect"] for one in made.answers}
    alike = next(one for one in made.answers if one.question.key == "alike")
    assert short["alike"] in alike.why
    assert re.fullmatch(r"0\.170 \(0\.1\d\d to 0\.2\d\d\)", short["alike"])
    assert re.fullmatch(r"[\d.]+ times \([\d.]+ to [\d.]+\)", short["latency"])
    assert short["here"] == ""  # no bytes leave


def test_a_figure_on_some_rows_of_its_run_says_so(tmp_path):
    """The page of the run shows another figure, of all its rows."""
    quality = concluded(runs(tmp_path, asked=200))["quality"].measured
    assert quality.left.note == "on 200 of the 500 rows of its run"
    assert quality.right.note == ""


def test_what_is_exact_has_no_interval(found):
    size = concluded(found)["size"]
    assert size.winner == "MLOps"
    assert re.fullmatch(r"LLMOps has [\d.]+ times as much", size.why)


def test_what_a_grade_does_not_tell_stands_beside_the_answer_that_rests_on_it(tmp_path):
    """Selecting sentences wins by ROUGE-L also where written summaries are good."""
    made = runs(tmp_path, metrics=("grade", "grade"))
    for run in made:
        if run.notebook.endswith("2_build"):
            for file in run.folder.glob("*.parquet"):
                frame = pd.read_parquet(file)
                if "grader" in frame:
                    frame.assign(grader="rouge_l").to_parquet(file)
    answers = contrast.contrast(SCENARIO, made, ASSUMPTIONS).answers
    why = {one.question.key: one.why for one in answers}
    assert why["alike"].startswith("ROUGE-L on the test set: ")
    assert "a good answer in other words gets a low grade" in why["alike"]
    assert not any("ROUGE-L rewards" in why[key] for key in ("volume", "machine"))


def test_wordings_of_a_generator_are_not_called_hand_written(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    versions.ingest(tasks.get("support"), why="a test")
    named = {d.key: d.name for d in dimensions.of(*evidence.sides(runs(tmp_path, task="support")))}
    assert named["hand-written"] == "accuracy on other wordings"
    assert {"slice-first turn", "slice-follow-up", "slice-own fact"} <= set(named)


def test_a_scenario_asks_its_own_questions(found):
    only = replace(SCENARIO, questions=["change"])
    made = contrast.contrast(only, found, ASSUMPTIONS)
    assert [answer.question.key for answer in made.answers] == ["change"]
    with pytest.raises(LookupError, match="speed unknown; there are alike, "):
        contrast.contrast(replace(SCENARIO, questions=["speed"]), found, ASSUMPTIONS)


def test_every_verdict_keeps_its_runs(found):
    ids = {run.id: run.notebook for run in found}
    for verdict in concluded(found).values():
        for figure in (verdict.measured.left, verdict.measured.right):
            assert figure is None or set(figure.runs) <= set(ids)
        both = {run.partition("/")[0] for run in map(ids.get, verdict.runs)}
        assert verdict.winner == "not measured" or both == {"mlops", "llmops"}


def test_a_forecast_is_tokens_times_price(found):
    _, right = evidence.sides(found)
    made = breakeven.forecast(right, ["openai/gpt-4o", "nobody/nothing"])
    from diptych.core.store.prices import Price

    one = Price("openai", "gpt-4o").usd(100, 2)
    assert made["usd"].iloc[0] == pytest.approx(1000 * one)
    assert math.isnan(made["usd"].iloc[1])
    assert (made["tokens in"].iloc[0], made["tokens out"].iloc[0]) == (100, 2)


def test_the_break_even_is_where_the_costs_meet(found):
    workload = Workload(usd_per_label=0.1, build_hours=10, usd_per_hour=50, months=10)
    left, right = evidence.sides(found)
    prices = breakeven.forecast(right, API)
    at = np.linspace(1000, 1e6, 2001)
    costs = breakeven.monthly(left, right, prices, at, workload, ASSUMPTIONS)
    fixed = (800 * 0.1 + 500) / 10
    own = costs[costs["option"] == OWN]
    assert own["usd"].iloc[0] == pytest.approx(fixed + 1000 * 0.001 / 3600 * 0.04)
    found_at = breakeven.crossings(costs).set_index("option")["requests"]
    each = 0.001 / 3600 * 0.04  # of a request, one millisecond of CPU
    assert found_at["openai/gpt-4o"] == pytest.approx(fixed / (prices["usd"].iloc[0] / 1000 - each))
    # the line "cost of 1,000 answers" says MLOps: at some volume that pays for labels and work
    assert found_at[breakeven.LOCAL] == pytest.approx(fixed / (49 * each))
    dearer = breakeven.monthly(
        left, right, prices, at, replace(workload, build_hours=20), ASSUMPTIONS
    )
    later = breakeven.crossings(dearer).set_index("option")["requests"]
    assert later["openai/gpt-4o"] > found_at["openai/gpt-4o"]


def test_every_price_has_a_source_or_is_not_known():
    table = contrast.options()
    assert {"MLflow", "GPT-4o", "Amazon SageMaker AI"} <= set(table["option"])
    assert table["option"].str.startswith("Claude").any()
    for row in table.itertuples():
        if any(character.isdigit() for character in row.price):
            assert row.source != contrast.UNKNOWN
            assert row.read, row.option


def test_runs_are_gathered_by_scenario_task_and_time(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    made = runs(tmp_path / "runs", task="reviews")
    ((scenario, own),) = contrast.gather(["sentiment"])
    assert scenario.name == "sentiment"
    assert {run.id for run in own} == {run.id for run in made if run.notebook in scenario.notebooks}
    ((_, none),) = contrast.gather(["structured"])  # another task
    assert none == []
    ((_, told),) = contrast.gather(["sentiment"], [f"sentiment:{made[1].id}"])
    assert [run.id for run in told] == [made[1].id]


@pytest.mark.parametrize("run", ["structured:x", "x", "sentiment:20200101-no"])
def test_a_run_that_is_not_there_is_refused(tmp_path, monkeypatch, run):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    with pytest.raises(ParameterError, match="runs: "):
        contrast.gather(["sentiment"], [run])


def test_the_table_has_a_line_per_dimension(found):
    made = contrast.contrast(SCENARIO, found, ASSUMPTIONS)
    table = made.table()
    assert len(table) == len(made.verdicts)
    assert NAME not in table.to_string()
    assert table.set_index("dimension").loc["accuracy on the test set", "MLOps"] == "0.970"
    assert made.counts()["sentiment, tie"] == sum(table["verdict"] == "tie")


# the faults of an earlier version, each with the right outcome


def test_calibration_is_compared_on_the_same_rows(tmp_path):
    """MLOps on 500 rows against LLMOps on 150 once made a winner of the number of rows."""
    compared = concluded(runs(tmp_path, asked=150))["calibration"].measured
    assert compared.left.n == compared.right.n == 150


@pytest.mark.parametrize("seed", range(3))
def test_equally_calibrated_systems_have_no_winner(tmp_path, seed):
    calibrated = np.random.default_rng(seed)
    sure = calibrated.uniform(0.5, 1, (2, ROWS))
    right = calibrated.uniform(size=(2, ROWS)) < sure
    compared = concluded(runs(tmp_path, confidence=sure, correct=right, asked=150))["calibration"]
    assert compared.winner in ("tie", "inconclusive")


def test_a_share_on_few_rows_after_a_drift_decides_nothing(tmp_path):
    """90 rows once decided the quality after a drift, whose interval held the other side."""
    afterwards = concluded(runs(tmp_path, afterwards=0.85))["afterwards"]
    assert afterwards.measured.right.value == 0.85
    assert afterwards.winner == "inconclusive"
    assert "ahead by 0.080 (-0.022 to 0.182)" in afterwards.why  # Newcombe's, of both intervals


def test_an_amount_or_share_without_an_interval_decides_nothing():
    for dimension in dimensions.ALWAYS:
        once = Measured(evidence.Figure(0.9, ("a",)), evidence.Figure(0.1, ("b",)))
        assert verdicts.conclude(dimension, once, ASSUMPTIONS).winner == "inconclusive"


def test_a_parameter_is_stated_and_compares_nothing(found):
    made = contrast.contrast(SCENARIO, found, ASSUMPTIONS)
    stated = made.stated.set_index("what")
    assert stated.loc["labels used to react to drift", "MLOps"] == "800 labels"
    assert "parameters" in stated.loc["labels used to react to drift", "why not compared"]
    assert not [v for v in made.verdicts if "react to drift" in v.dimension.name and "labels" in
                v.dimension.name]  # fmt: skip


def test_latency_is_compared_at_the_same_load(tmp_path):
    """16 requests under way were once compared with 8."""
    uneven = concluded(runs(tmp_path, levels=((1, 16), (1, 8))))
    for key in ("loaded-p95", "p50", "memory"):
        sides = uneven[key].measured.left, uneven[key].measured.right
        assert [side.note for side in sides] == ["1 at once"] * 2
    apart = concluded(runs(tmp_path / "apart", levels=((16,), (8,))))
    assert apart["p50"].winner == apart["loaded-p95"].winner == "not measured"


def test_latency_is_compared_at_equal_utilisation_too(tmp_path):
    """Both saturate with one request at a time here, so it is what either takes at its peak."""
    levels = (1, 4, 8, 16, 32)
    line = concluded(runs(tmp_path, levels=(levels, levels)))["equal-use"]
    assert line.measured.left.note == "at 100% of its peak throughput, about 1 at once"
    assert (line.measured.left.value, line.measured.right.value) == pytest.approx((2.0, 10.0))
    assert line.measured.left.low < 2.0 < line.measured.left.high
    assert line.winner == "MLOps"
    few = concluded(runs(tmp_path / "few", levels=(levels, (1, 8))))["equal-use"]
    assert few.winner == "not measured"
    assert few.why == "the load curve of LLMOps lacks levels: it takes 3 with figures"


def test_a_ratio_needs_its_interval_outside_what_is_no_difference(tmp_path):
    wide = concluded(runs(tmp_path, spread=4.0))["p50"]
    assert wide.winner == "inconclusive"
    assert wide.measured.ratio.low < 1 < wide.measured.ratio.high


def test_cost_and_break_even_speak_of_the_same_cost(found):
    """ "Many answers: MLOps" once stood above "LLMOps stays cheaper at every volume"."""
    made = contrast.contrast(SCENARIO, found, ASSUMPTIONS)
    cost = next(v for v in made.verdicts if v.dimension.key == "cost")
    crossing = breakeven.crossings(made.costs).set_index("option")["requests"][breakeven.LOCAL]
    assert (cost.winner == "MLOps") == math.isfinite(crossing)


def test_no_scenario_repeats_the_questions_of_another_on_the_same_runs():
    from diptych.reporting.contrast import questions
    from diptych.reporting.scenario import load, names_of_all

    shipped = [load(name) for name in names_of_all()]
    for one in shipped:
        for other in shipped:
            if one is not other and one.files == other.files and one.notebooks == other.notebooks:
                asked = [{q.key for q in questions.asked(s.questions)} for s in (one, other)]
                assert not asked[0] & asked[1], (one.name, other.name)


def test_both_sides_of_a_scenario_have_one_floor():
    from diptych.reporting.scenario import load, names_of_all

    for name in names_of_all():
        steps = load(name).notebooks
        floors = [step for step in steps if "floor=" in step]
        assert len(floors) in (0, 2), (name, floors)


def test_speed_compute_and_footprint_are_one_line_each(found):
    """Nine of 22 lines once said again that a smaller model takes less."""
    made = contrast.contrast(SCENARIO, found, ASSUMPTIONS)
    deciding = [answer.evidence[0].dimension for answer in made.answers]
    amounts_of = [d for d in deciding if d.kind == "ratio"]
    groups = [d.group for d in amounts_of if d.key not in ("labels", "leaving")]
    assert sorted(groups) == ["Cost", "Footprint", "Speed"]
    drawn = {v.dimension for a in made.answers for v in contrast._apart(a)}
    amounts_drawn = {d.key for d in drawn if d.kind == "ratio"}
    assert amounts_drawn == {d.key for d in amounts_of}
    assert {"calibration", "perturbed-typos", "drift"} <= {d.key for d in drawn}


def test_latencies_and_losses_go_by_their_names(found):
    names = {d.key: d.name for d in dimensions.of(*evidence.sides(found))}
    assert names["perturbed-typos"] == "accuracy drop under typos"
    assert names["first-token"] == "time to first token (TTFT), p50"
    for key in ("p50", "p95", "loaded-p95", "equal-use"):
        assert names[key].endswith(", p95" if key != "p50" else ", p50")
    assert not [name for name in names.values() if re.search(r"\bloss\b|first word|of 100", name)]


def test_open_and_unmeasured_are_two_words(found):
    for verdict in concluded(found).values():
        both = verdict.measured.left is not None and verdict.measured.right is not None
        if verdict.winner == "inconclusive":
            assert both, verdict.dimension.key
        if verdict.winner == "not measured":
            assert not both, verdict.dimension.key


def pairs_of_systems(apart: float, count: int):
    """Rows that two systems get right, one better by `apart`.

    They disagree on 9 % of the rows, as good systems of a task do. With 15 % it takes 2,900 rows to
    name four of five such winners; the verdict says how many.
    """
    draws = np.random.default_rng(20)
    for _ in range(count):
        level = draws.uniform(0.7, 0.95)
        hard = draws.uniform(size=ROWS_OF_DEFAULT)
        either = draws.uniform(size=(2, ROWS_OF_DEFAULT)) < 0.025
        first = (hard < level) ^ either[0]
        second = (hard < level - apart / 0.94) ^ either[1]
        yield first.astype(float), second.astype(float)


ROWS_OF_DEFAULT = 1828  # of the test set of reviews


@pytest.mark.parametrize(
    ("apart", "fewest", "most"),
    [(0.0, 0.0, 0.05), pytest.param(0.04, 0.8, 1.0, marks=pytest.mark.long)],
)
def test_how_often_a_winner_is_named(apart, fewest, most):
    dimension = next(d for d in dimensions.ALWAYS if d.key == "quality")
    named = []
    for first, second in pairs_of_systems(apart, 500):
        gap = stats.paired_difference(first, second, resamples=500)
        figures = [evidence.Figure(side.mean(), ("r",)) for side in (first, second)]
        verdict = verdicts.conclude(dimension, Measured(*figures, gap), ASSUMPTIONS)
        named.append(verdict.winner == "MLOps" if apart else verdict.winner in ("MLOps", "LLMOps"))
    assert fewest <= np.mean(named) <= most


def test_amounts_of_equal_systems_rarely_have_a_winner():
    draws, named = np.random.default_rng(3), []
    dimension = next(d for d in dimensions.ALWAYS if d.key == "p50")
    for _ in range(500):
        sides = [stats.repeated(np.exp(draws.normal(0, 0.15, 5))) for _ in range(2)]
        figures = [evidence.Figure.of(side, "r") for side in sides]
        verdict = verdicts.conclude(dimension, amounts.compared(*figures), ASSUMPTIONS)
        named.append(verdict.winner in ("MLOps", "LLMOps"))
    assert np.mean(named) <= 0.05
