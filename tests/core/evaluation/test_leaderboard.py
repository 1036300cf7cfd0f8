"""The comparison that both panels' leaderboards show."""

import math

import numpy as np
import pytest

from diptych.core.evaluation import leaderboard, stats

N = 400


def right(share, seed):
    return np.random.default_rng(seed).random(N) < share


@pytest.fixture
def scores():
    strong = right(0.9, 0)
    weak = strong & right(0.8, 1)  # loses some rows and wins none
    return {"weak": weak, "strong": strong, "coin": right(0.5, 2)}


def test_the_best_comes_first_and_others_are_compared_with_it(scores):
    found = leaderboard.compare(scores, 0.01, 0)
    assert found["name"].tolist() == ["strong", "weak", "coin"]
    assert found["verdict"].tolist() == ["best", "worse", "worse"]
    for line in found.itertuples():
        own = stats.wilson(int(scores[line.name].sum()), N)
        assert (line.value, line.low, line.high, line.n) == (own.value, own.low, own.high, N)
    gap = stats.paired_difference(scores["weak"], scores["strong"], seed=0)
    line = found.set_index("name").loc["weak"]
    assert (line["difference"], line["difference_low"]) == (gap.value, gap.low)


def test_the_p_values_are_mcnemars_after_holm(scores):
    found = leaderboard.compare(scores, 0.01, 0).set_index("name")
    names = ["weak", "coin"]
    alone = [stats.mcnemar(scores[name], scores["strong"]) for name in names]
    assert found.loc[names, "p"].tolist() == pytest.approx(stats.holm(alone).tolist())


def test_the_baseline_can_be_another_than_the_best(scores):
    found = leaderboard.compare(scores, 0.01, 0, baseline="weak").set_index("name")
    assert found["verdict"].to_dict() == {"strong": "better", "weak": "baseline", "coin": "worse"}
    assert math.isnan(found.loc["weak", "difference"])
    with pytest.raises(ValueError, match="'none' is not among strong, weak, coin"):
        leaderboard.compare(scores, 0.01, 0, baseline="none")


def test_repeats_are_no_rows_of_their_own(scores):
    once = leaderboard.compare(scores, 0.01, 0)
    again = leaderboard.compare({k: np.column_stack([v] * 5) for k, v in scores.items()}, 0.01, 0)
    assert once.equals(again)


def test_grades_have_a_bootstrap_interval():
    grades = np.random.default_rng(0).random((50, 3))
    line = leaderboard.compare({"a": grades}, 0.01, 0).iloc[0]
    assert line["value"] == pytest.approx(grades.mean())
    assert line["low"] < line["value"] < line["high"]
    assert line["n"] == 50


def test_the_rows_needed_suffice_to_see_the_margin():
    """Two that differ by 0.06: with the rows it asks for, McNemar finds it in most worlds."""
    rng = np.random.default_rng(0)

    def world(n):
        strong = rng.random(n) < 0.9
        return {"strong": strong, "weak": np.where(rng.random(n) < 0.08, ~strong, strong)}

    needed = leaderboard.compare(world(20_000), 0.06, 0)["rows_needed"].iloc[1]
    seen = 0
    for _ in range(60):
        scores = world(int(needed))
        seen += stats.mcnemar(scores["strong"], scores["weak"]) < 0.05
    assert seen / 60 > 0.6
    assert math.isnan(leaderboard.compare(world(100), 0, 0)["rows_needed"].iloc[1])


def test_one_alone_is_the_best_and_none_is_refused(scores):
    assert leaderboard.compare({"coin": scores["coin"]}, 0, 0)["verdict"].tolist() == ["best"]
    with pytest.raises(ValueError, match="none to compare"):
        leaderboard.compare({}, 0, 0)
    with pytest.raises(ValueError, match=r"not a list; .*`diptych compare RUN RUN`"):
        leaderboard.compare([True], 0, 0)


def test_equal_candidates_and_different_ones(scores):
    assert leaderboard.all_equal(scores) < 1e-6
    assert leaderboard.all_equal({k: np.column_stack([v, v]) for k, v in scores.items()}) < 1e-6
    assert leaderboard.all_equal(dict.fromkeys("abc", scores["coin"])) == 1
    assert leaderboard.all_equal(dict.fromkeys("abc", scores["coin"] * 0.5)) == 1
    graded = {name: np.column_stack([values, ~values]) for name, values in scores.items()}
    assert leaderboard.all_equal(graded) == 1  # all rows half right
    assert math.isnan(leaderboard.all_equal({k: scores[k] for k in ("weak", "coin")}))


def test_a_leaderboard_reads_well(scores):
    found = leaderboard.shown(leaderboard.compare(scores, 0.01, 0))
    assert found["against the best"].tolist()[0] == "the best"
    assert found["against the best"].tolist()[1].startswith("-0.")
    assert list(found)[-3:] == ["p (Holm)", "verdict", "rows needed"]


def test_differences_and_estimates_are_the_lines_of_the_table(scores):
    compared = leaderboard.compare(scores, 0.01, 0)
    gaps = leaderboard.differences(compared)
    assert gaps["name"].tolist() == ["weak", "coin"]
    assert gaps["value"].tolist() == compared["difference"].dropna().tolist()
    found = leaderboard.estimates(compared, "on test, ")
    assert found["on test, weak"] == stats.wilson(int(scores["weak"].sum()), N)
    assert leaderboard.estimates(compared.head(0)) == {}
