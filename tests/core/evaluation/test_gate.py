"""The gate: each rule alone decides, and nothing unmeasured slips through."""

import dataclasses

import numpy as np
import pytest

from diptych.core.evaluation.gate import Candidate, Limits, decide
from diptych.core.evaluation.stats import Estimate, wilson

LIMITS = Limits(
    floor=0.85,
    max_calibration_error=0.05,
    max_latency_ms=50,
    max_size_mb=20,
    margin=0.0,
    slice_margin=0.02,
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
    assert list(decision.checks) == ["rule", "measured", "limit", "status", "reason"]


@pytest.mark.parametrize(
    ("change", "rule", "status"),
    [
        # 860/1000 has a value above the floor but an interval that starts below it
        ({"score": wilson(860, 1_000)}, "metric floor", "fail"),
        ({"slices": SLICES | {"books": wilson(380, 500)}}, "slice books", "fail"),
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


def test_a_loss_against_the_champion_refuses():
    champion = dataclasses.replace(CHAMPION, score=wilson(950, 1_000))
    decision = decide(GOOD, champion, LIMITS)
    assert statuses(decision)["no worse than champion"] == "fail"
    assert not decision.promoted
    # a margin wider than the loss makes it one that does not matter
    assert decide(GOOD, champion, dataclasses.replace(LIMITS, margin=0.05)).promoted


def test_a_loss_within_the_noise_passes():
    champion = dataclasses.replace(CHAMPION, score=wilson(915, 1_000))
    assert decide(GOOD, champion, LIMITS).promoted


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
    # the candidate loses 12 rows and wins none: the separate intervals overlap, the pairs do not
    rng = np.random.default_rng(0)
    old = rng.random(1_000) < 0.92
    new = old.copy()
    new[np.flatnonzero(old)[:12]] = False
    parts = np.where(np.arange(1_000) % 2, "even", "odd")
    limits = dataclasses.replace(LIMITS, extra={})
    measured = {"calibration_error": 0.01, "latency_p95_ms": 1.0, "size_mb": 1.0}
    candidate = Candidate.from_rows("new", new, parts, **measured)
    champion = Candidate.from_rows("old", old, parts)
    assert statuses(decide(candidate, champion, limits))["no worse than champion"] == "fail"
    unpaired = dataclasses.replace(champion, correct=None)
    assert decide(candidate, unpaired, limits).promoted


def test_slices_are_compared_in_pairs_too():
    old = np.ones(400, bool)
    new = old.copy()
    new[:14] = False  # 14 of the 200 rows of slice a
    parts = np.repeat(["a", "b"], 200)
    limits = dataclasses.replace(LIMITS, margin=None, extra={}, max_calibration_error=None,
                                 max_latency_ms=None, max_size_mb=None)  # fmt: skip
    decision = decide(
        Candidate.from_rows("new", new, parts), Candidate.from_rows("old", old, parts), limits
    )
    found = statuses(decision)
    assert (found["slice a"], found["slice b"]) == ("fail", "pass")
    measured = decision.checks.set_index("rule").loc["slice a", "measured"]
    assert measured.startswith("-0.070 (")


def test_from_rows_scores_all_rows_and_each_slice():
    candidate = Candidate.from_rows("m", [1, 0, 1, 1], ["a", "a", "b", "b"], size_mb=2.0)
    assert candidate.score == wilson(3, 4)
    assert candidate.slices == {"a": wilson(1, 2), "b": wilson(2, 2)}
    assert candidate.size_mb == 2.0


def test_one_slice_alone_is_none():
    candidate = Candidate.from_rows("m", [1, 0], ["a", "a"])
    assert (candidate.slices, candidate.slice_of) == ({}, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Candidate.from_rows("m", [1, 0], ["a"]), "slice_of has 1 rows and correct 2"),
        (
            lambda: decide(
                Candidate.from_rows("m", [1, 0]), Candidate.from_rows("c", [1, 0, 1]), LIMITS
            ),
            "The candidate has 2 rows and the champion 3",
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
