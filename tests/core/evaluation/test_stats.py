"""Statistics against statsmodels, hand computation and simulated coverage."""

import gc
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar
from statsmodels.stats.proportion import proportion_confint

from diptych.core.evaluation import stats
from diptych.core.evaluation.stats import Estimate

SIMULATIONS = 400


def enough(hits: int, level: float, simulations: int = SIMULATIONS) -> bool:
    """Whether `hits` is a plausible count for intervals of at least this coverage."""
    return hits >= binom.ppf(0.001, simulations, level)


def models(rng, n, both, only_a, only_b):
    """Correctness of two models whose joint outcome has these probabilities."""
    cell = rng.choice(4, size=n, p=[both, only_a, only_b, 1 - both - only_a - only_b])
    return np.isin(cell, (0, 1)), np.isin(cell, (0, 2))


def test_estimate_reads_as_a_sentence_and_rounds():
    estimate = Estimate(0.93148, 0.91849, 0.94249, 1_200)
    assert str(estimate) == "0.931 (0.918 to 0.942)"
    assert estimate.rounded(2) == Estimate(0.93, 0.92, 0.94, 1_200)


def test_wilson_matches_its_formula():
    # score interval written out: (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n)
    p, n, z = 0.9, 50, norm.ppf(0.975)
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    got = stats.wilson(45, 50)
    assert (got.value, got.n) == (0.9, 50)
    assert got.low == pytest.approx((centre - half) / (1 + z**2 / n))
    assert got.high == pytest.approx((centre + half) / (1 + z**2 / n))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_its_value_within_0_and_1(case):
    correct, n = case
    got = stats.wilson(correct, n)
    assert -1e-12 <= got.low <= got.value + 1e-12
    assert got.value - 1e-12 <= got.high <= 1 + 1e-12
    assert got.low < got.high


def test_accuracy_counts_equal_labels():
    got = stats.accuracy(["a", "b", "b", "a"], ["a", "b", "a", "a"])
    low, high = proportion_confint(3, 4, method="wilson")
    assert got == Estimate(0.75, low, high, 4)


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_wilson_covers_the_true_share(p):
    correct = np.random.default_rng(1).binomial(80, p, size=2_000)
    hits = sum(e.low <= p <= e.high for e in (stats.wilson(int(c), 80) for c in correct))
    assert hits >= binom.ppf(0.001, 2_000, 0.94)  # discrete: coverage dips to 0.94


def test_bootstrap_covers_the_true_mean():
    rng = np.random.default_rng(2)
    samples = rng.exponential(size=(SIMULATIONS, 200))
    estimates = [stats.bootstrap(x, resamples=500) for x in samples]
    # the percentile interval is a little short on skewed samples of this size
    assert enough(sum(e.low <= 1 <= e.high for e in estimates), 0.93)


def test_bootstrap_by_cluster_covers_where_rows_repeat_their_source():
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(60), 10)
    naive = clustered = 0
    for _ in range(SIMULATIONS):
        values = np.repeat(rng.normal(size=60), 10) + 0.1 * rng.normal(size=600)
        plain = stats.bootstrap(values, resamples=400)
        by_source = stats.bootstrap(values, clusters=clusters, resamples=400)
        naive += plain.low <= 0 <= plain.high
        clustered += by_source.low <= 0 <= by_source.high
    assert enough(clustered, 0.93)
    assert naive < 0.6 * SIMULATIONS


def test_bootstrap_of_another_statistic_is_seeded_and_uses_whole_clusters():
    values = np.random.default_rng(4).normal(size=101)
    first = stats.bootstrap(values, np.median, resamples=300, seed=5)
    assert first == stats.bootstrap(values, np.median, resamples=300, seed=5)
    assert first != stats.bootstrap(values, np.median, resamples=300, seed=6)
    assert first.value == np.median(values)
    # two clusters, one all 0 and one all 1: a resample is all 0, all 1 or half and half
    seen = set()
    stats.bootstrap(
        [0, 0, 1, 1],
        lambda x: seen.add(tuple(sorted(x))) or x.mean(),
        clusters=list("aabb"),
        resamples=50,
    )
    assert seen == {(0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1)}


def test_many_rows_of_few_values_have_the_interval_of_any_rows():
    random = np.random.default_rng(4)
    values = random.choice([-1.0, 0.0, 0.5, 1.0], stats.MANY, p=[0.1, 0.6, 0.1, 0.2])
    exact = stats.bootstrap(values)
    deviation = values.std() / math.sqrt(len(values))
    for end, side in ((exact.low, -1.96), (exact.high, 1.96)):
        assert end == pytest.approx(values.mean() + side * deviation, abs=0.15 * deviation)
    assert exact.value == pytest.approx(values.mean())
    assert exact == stats.bootstrap(random.permutation(values))  # whatever the order
    by_row = stats.bootstrap(values, clusters=np.arange(len(values)))
    assert by_row == exact


def test_bootstrap_mean_agrees_with_the_general_path():
    values = np.random.default_rng(5).normal(size=60)
    clusters = np.arange(60) // 3
    fast = stats.bootstrap(values, clusters=clusters, seed=1)
    slow = stats.bootstrap(values, lambda x: x.mean(), clusters=clusters, seed=1)
    assert fast.low == pytest.approx(slow.low)
    assert fast.high == pytest.approx(slow.high)


@pytest.mark.parametrize(("n", "only_a", "only_b"), [(300, 0.06, 0.03), (60, 0.02, 0.02)])
def test_paired_difference_covers_the_true_difference(n, only_a, only_b):
    rng, truth, hits = np.random.default_rng(6), only_a - only_b, 0
    for _ in range(SIMULATIONS):
        got = stats.paired_difference(*models(rng, n, 0.85, only_a, only_b), resamples=400)
        hits += got.low <= truth <= got.high
    assert enough(hits, 0.94)


def test_paired_difference_is_narrower_than_two_separate_intervals():
    a, b = models(np.random.default_rng(7), 1_000, 0.9, 0.02, 0.01)
    paired = stats.paired_difference(a, b)
    separate = stats.unpaired_difference(
        stats.wilson(int(a.sum()), 1_000), stats.wilson(int(b.sum()), 1_000)
    )
    assert paired.value == pytest.approx(a.mean() - b.mean())
    assert separate.value == pytest.approx(paired.value)
    assert paired.high - paired.low < 0.7 * (separate.high - separate.low)


def test_models_that_agree_on_few_rows_are_not_called_equal():
    same = np.ones(20)
    got = stats.paired_difference(same, same)
    assert got.value == 0
    # 0 of 20 discordant rows still allows 3/20 (rule of three)
    assert got.high > 0.05
    assert got.low < -0.05
    assert stats.verdict(got, 0.02) == "unclear"


def test_unpaired_difference_is_newcombe_method_10():
    # Newcombe (1998), table II, case (a): 56/70 - 48/80 gives 0.0524 to 0.3339
    got = stats.unpaired_difference(stats.wilson(56, 70), stats.wilson(48, 80))
    assert got.rounded(4) == Estimate(0.2, 0.0524, 0.3339, 70)


def test_mcnemar_is_the_exact_test():
    a, b = models(np.random.default_rng(8), 200, 0.8, 0.08, 0.03)
    table = [[np.sum((a == i) & (b == j)) for j in (1, 0)] for i in (1, 0)]
    assert stats.mcnemar(a, b) == mcnemar(table, exact=True).pvalue
    # 5 rows won to 0: two-sided binomial, 2 / 2^5
    assert stats.mcnemar([1] * 5 + [0], [0] * 6) == pytest.approx(2 / 2**5)
    assert stats.mcnemar([1, 0, 1], [1, 0, 1]) == 1.0


def test_cochran_matches_statsmodels_and_holds_without_any_difference():
    rng = np.random.default_rng(9)
    matrix = rng.random((80, 3)) < [0.9, 0.8, 0.6]
    assert stats.cochran(matrix) == pytest.approx(cochrans_q(matrix.astype(int)).pvalue)
    assert stats.cochran(np.repeat(matrix[:, :1], 3, axis=1)) == 1.0


@pytest.fixture(scope="module")
def little_garbage():
    """Freeze what came since conftest's freeze too: statsmodels collects garbage at each call."""
    gc.freeze()


@pytest.mark.usefixtures("little_garbage")
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_matches_its_definition(p_values):
    got = stats.holm(p_values)
    order = np.argsort(p_values, kind="stable")
    k, running, expected = len(p_values), 0.0, np.empty(len(p_values))
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (k - rank) * p_values[i]))
        expected[i] = running
    np.testing.assert_allclose(got, expected)


def test_required_n_reaches_its_power():
    p1, p2, discordance = 0.92, 0.90, 0.08
    n = stats.required_n(p1, p2, discordance=discordance, power=0.8)
    only_a, only_b = (discordance + p1 - p2) / 2, (discordance - p1 + p2) / 2
    cells = np.random.default_rng(10).multinomial(
        n, [only_a, only_b, 1 - only_a - only_b], size=4_000
    )
    z = (cells[:, 0] - cells[:, 1]) / np.sqrt(np.maximum(cells[:, 0] + cells[:, 1], 1))
    power = np.mean(np.abs(z) > norm.ppf(0.975))
    assert power == pytest.approx(0.8, abs=0.025)


def test_required_n_falls_with_agreement_and_size_of_the_difference():
    assert stats.required_n(0.9, 0.88, discordance=0.04) < stats.required_n(0.9, 0.88)
    assert stats.required_n(0.9, 0.80) < stats.required_n(0.9, 0.88)
    assert stats.required_n(0.9, 0.88, power=0.9) > stats.required_n(0.9, 0.88)
    assert stats.required_n(0.88, 0.9) == stats.required_n(0.9, 0.88)


def test_rows_needed_are_those_of_the_margin_below_the_better_share():
    a, b = np.repeat([1, 0], [90, 10]), np.tile([1] * 9 + [0], 10)
    expected = stats.required_n(0.9, 0.85, discordance=(a != b).mean())
    assert stats.rows_needed(a, b, 0.05) == stats.rows_needed(b, a, 0.05) == expected


def test_rows_needed_take_no_fewer_differing_rows_than_the_margin_asks_for():
    same = np.repeat([1, 0], [90, 10])
    assert stats.rows_needed(same, same, 0.05) == stats.required_n(0.9, 0.85, discordance=0.05)
    opposite = 1 - np.repeat([1, 0], [50, 50]), np.repeat([1, 0], [50, 50])
    assert stats.rows_needed(*opposite, 0.4) == stats.required_n(0.5, 0.1, discordance=0.6)


@pytest.mark.parametrize(("right", "margin"), [(3, 0.3), (10, 1.0), (7, 0.7)])
def test_rows_needed_have_an_answer_where_the_other_share_would_be_0(right, margin):
    a, b = np.repeat([1, 0], [right, 10 - right]), np.zeros(10)
    assert stats.rows_needed(a, b, margin) == stats.required_n(margin, 0, discordance=margin)


@pytest.mark.parametrize(
    ("right", "margin"), [(9, 0.0), (9, -0.1), (9, math.nan), (0, 0.1), (3, 0.31), (10, 1.01)]
)
def test_rows_needed_have_no_answer_for_no_margin_or_an_impossible_share(right, margin):
    a, b = np.repeat([1, 0], [right, 10 - right]), np.zeros(10)
    assert stats.rows_needed(a, b, margin) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.021, 0.05, "better"),
        (-0.05, -0.021, "worse"),
        (-0.02, 0.02, "tie"),
        (0.019, 0.05, "unclear"),
        (-0.021, 0.01, "unclear"),
        (-0.03, 0.03, "unclear"),
    ],
)
def test_verdict_reads_the_region_of_practical_equivalence(low, high, expected):
    assert stats.verdict(Estimate((low + high) / 2, low, high, 100), 0.02) == expected


def test_calibration_error_by_hand():
    # two bins of two rows: |0.6 - 0.5| and |0.9 - 1.0|
    confidence, correct = [0.55, 0.65, 0.85, 0.95], [1, 0, 1, 1]
    assert stats.calibration_error(confidence, correct, bins=2) == pytest.approx(0.1)
    table = stats.reliability(confidence, correct, bins=2)
    np.testing.assert_allclose(table[["confidence", "accuracy"]], [[0.6, 0.5], [0.9, 1.0]])
    expected = stats.wilson(1, 2)
    assert tuple(table.loc[0, ["low", "high"]]) == (expected.low, expected.high)
    assert table["n"].tolist() == [2, 2]


def test_calibration_error_tells_honest_from_boastful_confidence():
    rng = np.random.default_rng(11)
    truth = rng.uniform(0.5, 1, size=5_000)
    correct = rng.random(5_000) < truth
    honest = stats.calibration_error(truth, correct)
    boastful = stats.calibration_error(np.minimum(truth + 0.1, 1), correct)
    assert honest < math.sqrt(10 / 5_000)
    assert boastful == pytest.approx(0.1, abs=0.03)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from([0.5, 0.7, 0.7, 0.9]), st.booleans()), min_size=2),
    st.randoms(use_true_random=False),
)
def test_reliability_ignores_the_order_of_rows_and_loses_none(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    first, second = (stats.reliability(*zip(*r, strict=True)) for r in (rows, shuffled))
    pd.testing.assert_frame_equal(first, second)
    assert first["n"].sum() == len(rows)


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.wilson(1, 0), "n is 0"),
        (lambda: stats.wilson(4, 3), "correct is 4"),
        (lambda: stats.wilson(1, 3, level=95), "level is 95"),
        (lambda: stats.accuracy([1, 2], [1]), r"shape \(2,\)"),
        (lambda: stats.accuracy([1, None], [1, 1]), "missing"),
        (lambda: stats.bootstrap([1.0]), "at least two"),
        (lambda: stats.bootstrap([1.0, NAN]), "1 missing"),
        (lambda: stats.bootstrap([1.0, 2.0], clusters=["a"]), "1 entries for 2 rows"),
        (lambda: stats.bootstrap([1.0, 2.0], clusters=["a", "a"]), "one source"),
        (lambda: stats.paired_difference([1, 0, 1], [1, 0]), "3 rows and correct_b has 2"),
        (lambda: stats.paired_difference([1, 0], [1, 2]), "correct_b reaches"),
        (lambda: stats.mcnemar([0.5, 1], [1, 1]), "other than 0 and 1"),
        (lambda: stats.cochran([[1, 0], [0, 1]]), "3 models"),
        (lambda: stats.cochran([[1, 0, NAN], [0, 1, 1]]), "missing"),
        (lambda: stats.holm([0.1, NAN]), "between 0 and 1"),
        (lambda: stats.required_n(0.9, 0.9), "two different"),
        (lambda: stats.required_n(0.9, 0.8, discordance=0.05), "allow 0.1 to 0.3"),
        (lambda: stats.required_n(0.9, 0.8, power=80), "power is 80"),
        (lambda: stats.verdict(Estimate(0, 0, 0, 2), -0.1), "margin is -0.1"),
        (lambda: stats.reliability([0.5, 0.6], [1, 1], bins=0), "bins is 0"),
        (lambda: stats.calibration_error([0.5, 1.6], [1, 1]), "confidence reaches"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_tests_agree_on_a_clear_winner():
    a, b = models(np.random.default_rng(12), 500, 0.8, 0.12, 0.02)
    c = models(np.random.default_rng(13), 500, 0.8, 0.12, 0.02)[1]
    assert stats.cochran(np.column_stack([a, b, c])) < 0.001
    pairs = [stats.mcnemar(x, y) for x, y in itertools.combinations((a, b, c), 2)]
    corrected = stats.holm(pairs)
    assert corrected[0] < 0.001
    assert stats.verdict(stats.paired_difference(a, b), 0.01) == "better"
