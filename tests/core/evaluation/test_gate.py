"""The gate: each rule alone decides, nothing unmeasured and nothing undecided slips through."""

import dataclasses

import numpy as np
import pytest

from diptych.core.evaluation.fairness import Gap
from diptych.core.evaluation.gate import BETTER, Candidate, Limits, decide
from diptych.core.evaluation.metrics import METRICS, Figure
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.stats import Estimate, wilson

LIMITS = Limits(
    floor=0.85,
    max_calibration_error=0.05,
    max_latency_ms=50,
    max_size_mb=20,
    margin=0.05,
    slice_margin=0.1,
    extra={"cost per answer": 0.001},
)
SLICES = {"books": wilson(450, 500), "films": wilson(460, 500)}
GOOD = Candidate(
    name="new",
    score=wilson(910, 1_000),
    slices=SLICES,
    calibration_error=0.02,
    latency_p95_ms=12.5,
    size_mb=3.2,
    extra={"cost per answer": 0.0002},
)
CHAMPION = Candidate(name="old", score=wilson(905, 1_000), slices=SLICES)


def statuses(decision) -> dict:
    return dict(zip(decision.checks["rule"], decision.checks["status"], strict=True))


def test_a_good_candidate_is_promoted():
    decision = decide(GOOD, CHAMPION, LIMITS)
    assert decision.promoted
    assert set(statuses(decision).values()) == {"pass"}
    assert decision.reason == "new is promoted: it passes all 8 rules that apply."
    assert list(decision.checks) == [
        "rule", "measured", "limit", "status", "reason", "rows_needed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "rule", "status"),
    [
        ({"score": wilson(820, 1_000)}, "metric floor", "fail"),
        ({"slices": SLICES | {"books": wilson(340, 500)}}, "slice books", "fail"),
        ({"slices": {"films": SLICES["films"]}}, "slice books", "not measured"),
        ({"calibration_error": 0.051}, "calibration error", "fail"),
        ({"calibration_error": None}, "calibration error", "not measured"),
        ({"calibration_error": float("nan")}, "calibration error", "not measured"),
        ({"latency_p95_ms": 51.0}, "latency p95", "fail"),
        ({"latency_p95_ms": None}, "latency p95", "not measured"),
        ({"size_mb": 20.5}, "size", "fail"),
        ({"size_mb": None}, "size", "not measured"),
        ({"extra": {"cost per answer": 0.0011}}, "cost per answer", "fail"),
        ({"extra": {}}, "cost per answer", "not measured"),
    ],
)
def test_each_rule_alone_refuses(change, rule, status):
    # the champion is weak overall, so only the rule in question can speak
    champion = dataclasses.replace(CHAMPION, score=wilson(800, 1_000))
    decision = decide(dataclasses.replace(GOOD, **change), champion, LIMITS)
    assert not decision.promoted
    assert {k: v for k, v in statuses(decision).items() if v != "pass"} == {rule: status}
    blocking = decision.checks.set_index("rule").loc[rule, "reason"]
    assert decision.reason == f"new is refused. {blocking}"
    assert blocking.endswith(".")


def test_a_floor_inside_the_interval_is_not_decided():
    champion = dataclasses.replace(CHAMPION, score=wilson(800, 1_000))
    decision = decide(dataclasses.replace(GOOD, score=wilson(860, 1_000)), champion, LIMITS)
    assert (decision.outcome, decision.promoted) == ("inconclusive", False)
    assert statuses(decision)["metric floor"] == "inconclusive"
    assert "lies on both sides of 0.85" in decision.reason
    # the interval of 0.86 must shrink from 0.02 to 0.01 on either side: about 4 times the rows
    assert 3_500 < decision.checks["rows_needed"].iloc[0] < 6_000


def test_a_loss_against_the_champion_refuses():
    champion = dataclasses.replace(CHAMPION, score=wilson(995, 1_000))
    decision = decide(GOOD, champion, LIMITS)
    assert statuses(decision)["no worse than champion"] == "fail"
    assert not decision.promoted
    # a margin wider than the loss makes it one that does not matter
    assert decide(GOOD, champion, dataclasses.replace(LIMITS, margin=0.15)).promoted


def test_a_loss_within_the_margin_passes():
    champion = dataclasses.replace(CHAMPION, score=wilson(915, 1_000))
    assert decide(GOOD, champion, LIMITS).promoted


@pytest.mark.parametrize(("n", "old", "new"), [(21, 20, 17), (40, 36, 32), (100, 90, 84)])
def test_a_loss_that_few_rows_cannot_exclude_does_not_promote(n, old, new):
    rng = np.random.default_rng(3)
    rights = [rng.permutation(np.arange(n) < right) for right in (old, new)]
    limits = Limits(floor=0.5, max_calibration_error=None, max_latency_ms=None, max_size_mb=None)
    champion, challenger = (Candidate.from_rows(*x) for x in zip("ab", rights, strict=True))
    decision = decide(challenger, champion, limits)
    assert decision.outcome == "inconclusive"
    assert "is not excluded; about" in decision.reason
    needed = decision.checks.set_index("rule")["rows_needed"]["no worse than champion"]
    assert needed > n


def test_equal_models_are_no_worse_and_not_better():
    rng = np.random.default_rng(0)
    old = rng.random(2_000) < 0.9
    new = np.where(rng.random(2_000) < 0.03, ~old, old)
    new[: (old.sum() - new.sum())] = True
    a, b = Candidate.from_rows("new", old), Candidate.from_rows("old", rng.permutation(old))
    open_limits = dataclasses.replace(
        LIMITS, floor=None, max_calibration_error=None, max_latency_ms=None, max_size_mb=None,
        extra={},
    )  # fmt: skip
    assert decide(a, b, open_limits).promoted
    better = decide(a, b, dataclasses.replace(open_limits, question=BETTER))
    assert better.outcome == "inconclusive"
    assert "better than champion" in statuses(better)
    assert "a gain is not shown" in better.reason


def labelled(truth, probability, threshold=0.5):
    said = np.where(np.asarray(probability) >= threshold, "yes", "no")
    shares = np.column_stack([1 - np.asarray(probability), probability])
    return ScoredRows.of_labels(truth, said, shares, ("no", "yes"), "yes")


def test_what_always_says_no_is_not_promoted_whatever_its_accuracy():
    truth = np.repeat(["yes", "no"], [12, 588])
    constant = labelled(truth, np.full(600, 0.02))
    limits = Limits(floor=None, max_calibration_error=None, max_latency_ms=None, max_size_mb=None)
    for name in ("accuracy", "average_precision", "roc_auc", "balanced_accuracy", "mcc"):
        model = Candidate.of_rows("model", METRICS[name], constant)
        decision = decide(model, None, limits, Candidate.of_rows("prior", METRICS[name], constant))
        assert statuses(decision)["better than the baseline"] != "pass", name
        assert not decision.promoted
    rng = np.random.default_rng(1)
    able = labelled(truth, np.where(truth == "yes", 0.6, 0.1) + rng.uniform(0, 0.3, 600))
    metric = METRICS["average_precision"]
    decision = decide(
        Candidate.of_rows("model", metric, able), None, limits,
        Candidate.of_rows("prior", metric, constant),
    )  # fmt: skip
    assert decision.promoted, decision.reason


def test_where_less_is_better_the_gate_looks_the_other_way():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=500)
    near, far = (ScoredRows.of_numbers(truth, truth + rng.normal(0, s, 500)) for s in (0.5, 1.0))
    good, bad = (Candidate.of_rows(n, METRICS["rmse"], r) for n, r in (("a", near), ("b", far)))
    limits = Limits(floor=0.8, max_calibration_error=None, max_latency_ms=None, max_size_mb=None)
    assert decide(good, bad, limits).promoted
    refused = statuses(decide(bad, good, limits))
    assert (refused["metric ceiling"], refused["no worse than champion"]) == ("fail", "fail")


def test_one_metric_measures_both():
    rows = labelled(["yes", "no"] * 20, np.tile([0.9, 0.1], 20))
    a, b = (Candidate.of_rows("m", METRICS[name], rows) for name in ("f1", "accuracy"))
    with pytest.raises(ValueError, match=r"m was measured by F1 and m by accuracy"):
        decide(a, b, LIMITS)


def test_a_slice_with_too_few_rows_is_counted_and_blocks_nothing():
    old = np.ones(400, bool)
    parts = np.repeat(["large", "small"], [385, 15])
    limits = Limits(floor=None, max_calibration_error=None, max_latency_ms=None, max_size_mb=None)
    new = old.copy()
    new[-2:] = False
    decision = decide(
        Candidate.from_rows("new", new, parts), Candidate.from_rows("old", old, parts), limits
    )
    assert decision.promoted
    assert statuses(decision)["slice small"] == "inconclusive"
    assert decision.reason.endswith("1 slice is inconclusive.")


@pytest.mark.parametrize(
    ("error", "status"),
    [((0.02, 0.0, 0.04), "pass"), ((0.04, 0.0, 0.09), "inconclusive"), ((0.1, 0.06, 0.2), "fail")],
)
def test_a_calibration_error_with_an_interval_has_three_answers(error, status):
    champion = dataclasses.replace(CHAMPION, score=wilson(900, 1_000))
    decision = decide(
        dataclasses.replace(GOOD, calibration_error=Figure(*error, 100)), champion, LIMITS
    )
    assert statuses(decision)["calibration error"] == status
    assert decision.outcome == status


def test_the_floor_is_met_when_the_interval_starts_on_it():
    score = Estimate(0.9, 0.85, 0.95, 100)
    assert decide(dataclasses.replace(GOOD, score=score), None, LIMITS).promoted


def test_a_figure_equal_to_its_limit_passes():
    assert decide(dataclasses.replace(GOOD, latency_p95_ms=50), CHAMPION, LIMITS).promoted


def test_a_missing_score_blocks_every_rule_that_reads_it():
    found = statuses(decide(dataclasses.replace(GOOD, score=None), CHAMPION, LIMITS))
    assert found["metric floor"] == "not measured"
    assert found["no worse than champion"] == "not measured"


def test_a_champion_without_a_score_blocks():
    decision = decide(GOOD, dataclasses.replace(CHAMPION, score=None), LIMITS)
    assert not decision.promoted
    assert "The score of old overall was not measured." in decision.reason


def test_without_a_champion_its_rules_do_not_apply():
    decision = decide(GOOD, None, LIMITS)
    assert decision.promoted
    found = statuses(decision)
    assert found["no worse than champion"] == "no champion"
    assert found["slice books"] == "no champion"
    assert decision.reason == "new is promoted: it passes all 5 rules that apply."


def test_a_slice_new_to_the_champion_does_not_block():
    champion = dataclasses.replace(CHAMPION, slices={"books": SLICES["books"]})
    decision = decide(GOOD, champion, LIMITS)
    assert decision.promoted
    assert statuses(decision)["slice films"] == "no champion"


def test_a_limit_of_none_waives_the_rule_and_says_so():
    limits = Limits(
        floor=None,
        max_calibration_error=None,
        max_latency_ms=None,
        max_size_mb=None,
        margin=None,
        slice_margin=None,
    )
    decision = decide(Candidate(name="bare"), CHAMPION, limits)
    assert decision.promoted
    assert set(statuses(decision).values()) == {"no limit"}


def test_limits_must_be_given_or_waived_by_name():
    with pytest.raises(TypeError, match="max_size_mb"):
        Limits(floor=0.8, max_calibration_error=None, max_latency_ms=None)


def test_rows_of_both_models_are_compared_in_pairs():
    # the candidate loses 20 rows and wins none: the separate intervals overlap, the pairs do not
    rng = np.random.default_rng(0)
    old = rng.random(1_000) < 0.92
    new = old.copy()
    new[np.flatnonzero(old)[:20]] = False
    parts = np.where(np.arange(1_000) % 2, "even", "odd")
    limits = dataclasses.replace(LIMITS, extra={})
    measured = {"calibration_error": 0.01, "latency_p95_ms": 1.0, "size_mb": 1.0}
    candidate = Candidate.from_rows("new", new, parts, **measured)
    champion = Candidate.from_rows("old", old, parts)
    strict = dataclasses.replace(limits, margin=0.005)
    assert statuses(decide(candidate, champion, strict))["no worse than champion"] == "fail"
    unpaired = dataclasses.replace(champion, rows=None)
    assert decide(candidate, unpaired, strict).outcome == "inconclusive"


def test_slices_are_compared_in_pairs_too():
    old = np.ones(400, bool)
    new = old.copy()
    new[:40] = False  # 40 of the 200 rows of slice a
    parts = np.repeat(["a", "b"], 200)
    limits = dataclasses.replace(LIMITS, margin=None, extra={}, max_calibration_error=None,
                                 max_latency_ms=None, max_size_mb=None)  # fmt: skip
    decision = decide(
        Candidate.from_rows("new", new, parts), Candidate.from_rows("old", old, parts), limits
    )
    found = statuses(decision)
    assert (found["slice a"], found["slice b"]) == ("fail", "pass")
    measured = decision.checks.set_index("rule").loc["slice a", "measured"]
    assert measured.startswith("-0.200 (")


def test_from_rows_scores_all_rows_and_each_slice():
    candidate = Candidate.from_rows("m", [1, 0, 1, 1], ["a", "a", "b", "b"], size_mb=2.0)
    assert str(candidate.score) == str(wilson(3, 4))
    assert {k: str(v) for k, v in candidate.slices.items()} == {
        "a": str(wilson(1, 2)), "b": str(wilson(2, 2)),
    }  # fmt: skip
    assert candidate.size_mb == 2.0


def test_one_slice_alone_is_none():
    candidate = Candidate.from_rows("m", [1, 0], ["a", "a"])
    assert (candidate.slices, candidate.slice_of) == ({}, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Candidate.from_rows("m", [1, 0], ["a"]), "slice_of has 1 rows and rows 2"),
        (
            lambda: decide(
                Candidate.from_rows("m", [1, 0]), Candidate.from_rows("c", [1, 0, 1]), LIMITS
            ),
            "m has 2 rows and c 3",
        ),
        (
            lambda: decide(GOOD, CHAMPION, dataclasses.replace(LIMITS, slice_margin=-0.02)),
            "slice_margin is -0.02",
        ),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


GAPS = {  # interval of the gap: what a limit of 0.1 answers
    "pass": Gap(0.03, 0.0, 0.08, 900, "", 0, "a and b"),
    "fail": Gap(0.2, 0.12, 0.28, 900, "", 0, "a and b"),
    "inconclusive": Gap(0.06, 0.0, 0.14, 900, "", 2, "a and b"),
}


@pytest.mark.parametrize("status", GAPS)
def test_the_gap_between_groups_has_three_answers(status):
    candidate = dataclasses.replace(GOOD, gaps={"sex": GAPS[status]})
    decision = decide(candidate, CHAMPION, dataclasses.replace(LIMITS, max_gap=0.1))
    assert statuses(decision)["gap by sex"] == status
    assert decision.outcome == status
    if status == "inconclusive":
        check = decision.checks.set_index("rule").loc["gap by sex"]
        assert check["rows_needed"] == 3_600  # half width 0.08, distance 0.04: four times the rows
        assert "2 have rows too few" in check["reason"]


def test_a_gap_that_is_limited_and_not_measured_blocks():
    limits = dataclasses.replace(LIMITS, max_gap=0.1)
    decision = decide(GOOD, CHAMPION, limits)
    assert statuses(decision)["largest gap"] == "not measured"
    assert not decision.promoted
    unknown = dataclasses.replace(GOOD, gaps={"sex": Gap(np.nan, np.nan, np.nan, 9, "few rows")})
    assert decide(unknown, CHAMPION, limits).outcome == "inconclusive"
    assert "gap by sex" not in statuses(decide(unknown, CHAMPION, LIMITS))


def test_a_further_look_at_the_same_labels_needs_more():
    right = np.arange(200) < 130
    old = Candidate.from_rows("old", right)
    new = Candidate.from_rows("new", np.arange(200) < 137)  # seven rows won and none lost
    limits = Limits(floor=None, max_calibration_error=None, max_latency_ms=None, max_size_mb=None,
                    question="better")  # fmt: skip
    statuses = [
        decide(new, old, dataclasses.replace(limits, level=level)).statuses["better than champion"]
        for level in (0.95, 0.999)
    ]
    assert statuses == ["pass", "inconclusive"]


@pytest.mark.parametrize("margin", [None, 0.05])
def test_the_champion_is_no_candidate(margin):
    limits = Limits(floor=None, max_calibration_error=None, max_latency_ms=None, max_size_mb=None,
                    margin=margin)  # fmt: skip
    grades = [1] * 60 + [0] * 40
    champion = Candidate.from_rows("champion", grades, digest="ab" * 32)
    decision = decide(Candidate.from_rows("candidate", grades, digest="ab" * 32), champion, limits)
    assert not decision.promoted
    assert "It is the champion" in decision.reason
    other = Candidate.from_rows("candidate", [1] * 100, digest="cd" * 32)
    assert decide(other, champion, limits).promoted


def test_rows_that_hold_too_few_of_a_class_are_inconclusive_and_say_how_many_would_do():
    truth = np.where(np.arange(200) % 50 == 0, "yes", "no")
    rows = ScoredRows.of_labels(truth, truth, None, ("no", "yes"), "yes")
    constant = ScoredRows.of_labels(truth, np.full(200, "no"), None, ("no", "yes"), "yes")
    limits = Limits(**dict.fromkeys(("floor", "max_calibration_error", "max_latency_ms",
                                          "max_size_mb")))  # fmt: skip
    metric = METRICS["macro_f1"]
    decision = decide(
        Candidate.of_rows("new", metric, rows), None, limits,
        Candidate.of_rows("baseline", metric, constant),
    )  # fmt: skip
    assert decision.outcome == "inconclusive"
    line = decision.checks.set_index("rule").loc["better than the baseline"]
    assert line["rows_needed"] == 200 * 10 / 4
    assert "4 rows of 'yes' are too few" in line["reason"]
