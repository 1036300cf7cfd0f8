"""Latency and throughput by requests under way: each figure with the spread of its rounds."""

import os

import numpy as np
import pandas as pd
import pytest

from diptych.core import contract
from diptych.core.evaluation import load_curve, stats


def calls(latencies, wall_s=2.0, error=""):
    return pd.DataFrame({"latency_ms": latencies, "error": error, "wall_s": wall_s})


def test_the_interval_is_that_of_the_rounds():
    rounds = [[10.0, 20.0, 30.0], [20.0, 40.0, 60.0]]
    curve = load_curve.of_rounds(load_curve.measure(lambda _, n: calls(rounds[n]), [1], 2))
    (line,) = curve.itertuples()
    assert line.p50_ms == pytest.approx(np.sqrt(20 * 40))
    # by hand: logs ln 20 and ln 40, spread ln 2 / sqrt 2, t of one degree of freedom 12.706
    half = 12.706 * np.log(2) / np.sqrt(2) / np.sqrt(2)
    assert curve["p50_ms low"][0] == pytest.approx(np.sqrt(800) * np.exp(-half), rel=1e-3)
    assert line.requests_per_s == pytest.approx(1.5)
    assert (line.requests, line.failed, line.rounds) == (6, 0, 2)


def test_a_level_with_a_failed_request_has_no_figure():
    failing = calls([10.0, 1.0]).assign(error=["", "HTTP 500"])
    sent = {1: calls([10.0, 11.0]), 8: failing}
    curve = load_curve.of_rounds(load_curve.measure(lambda level, _: sent[level], [1, 8], 2))
    assert curve["failed"].tolist() == [0, 2]
    assert curve["p50_ms"].notna().tolist() == [True, False]


def test_levels_take_turns_and_each_is_measured_once_a_round():
    order = []

    def send(level, number):
        order.append((level, number))
        return calls([1.0])

    load_curve.measure(send, [1, 4, 4], 2)
    assert order == [(1, 0), (4, 0), (1, 1), (4, 1)]


def test_what_the_server_takes_is_measured_around_each_round():
    def send(*_):
        sum(range(3_000_000))
        return calls([1.0] * 4)

    curve = load_curve.of_rounds(load_curve.measure(send, [1], 3, os.getpid()))
    assert curve["cpu_ms"][0] > 1
    assert curve["memory_mb low"][0] <= curve["memory_mb"][0] <= curve["memory_mb high"][0]


def curve_of(rates, latencies, levels=load_curve.LEVELS, spread=1e-9, rounds=5):
    lines = {"concurrency": levels, "rounds": rounds}
    for name, values in (("requests_per_s", rates), ("p95_ms", latencies)):
        lines[name] = values
        lines |= {f"{name} low": np.divide(values, 1 + spread)}
        lines |= {f"{name} high": np.multiply(values, 1 + spread)}
    return pd.DataFrame(lines)


def test_latency_at_a_utilisation_is_interpolated():
    curve = curve_of([20, 40, 60, 100, 90], [10.0, 10.0, 40.0, 80.0, 200.0])
    assert load_curve.lowest_utilisation(curve) == pytest.approx(0.2)
    half, level = load_curve.at_utilisation(curve, 0.5)
    # 50 a second lies midway between 4 and 8 at once; the logarithms of 10 and 40 meet at 20
    assert (half.value, level) == (pytest.approx(20), pytest.approx(6))
    assert (half.low, half.high) == (pytest.approx(20), pytest.approx(20))
    assert load_curve.at_utilisation(curve, 1.0)[1] == 16  # the peak, not what lies beyond it
    assert load_curve.at_utilisation(curve, 0.1)[1] == 1


def test_its_interval_holds_the_truth_where_both_are_measured_with_noise():
    draws, rates = np.random.default_rng(4), np.array([20, 50, 80, 95, 100])
    latencies, covered = 1000 * np.array(load_curve.LEVELS) / rates, []
    truth, _ = load_curve.at_utilisation(curve_of(rates, latencies), 0.6)
    for _ in range(150):
        lines = {"concurrency": load_curve.LEVELS, "rounds": 5}
        for name, values in (("requests_per_s", rates), ("p95_ms", latencies)):
            rounds = values[:, None] * np.exp(draws.normal(0, 0.05, (5, 5)))
            ends = pd.DataFrame([stats.repeated(one) for one in rounds])
            lines |= {name: ends["value"], f"{name} low": ends["low"],
                      f"{name} high": ends["high"]}  # fmt: skip
        found, _ = load_curve.at_utilisation(pd.DataFrame(lines), 0.6)
        covered.append(found.low <= truth.value <= found.high)
    assert np.mean(covered) >= 0.93


def test_of_few_levels_no_utilisation_is_known():
    few = curve_of([20, 40, np.nan], [10.0, 20.0, np.nan], levels=(1, 8, 32))
    assert np.isnan(load_curve.lowest_utilisation(few))
    assert np.isnan(load_curve.lowest_utilisation(pd.DataFrame()))


@pytest.mark.parametrize(("levels", "rounds", "field"), [([], 2, "levels"), ([0], 2, "levels"),
                                                         ([1], 1, "rounds")])  # fmt: skip
def test_too_few_levels_or_rounds_are_refused(levels, rounds, field):
    with pytest.raises(ValueError, match=f"{field}: "):
        load_curve.measure(lambda *_: calls([1.0]), levels, rounds)


def test_the_contract_names_what_is_measured():
    assert contract.UNDER_LOAD == load_curve.MEASURED


def test_intervals_of_repeated_measurements_and_their_ratio_cover_the_truth():
    rng = np.random.default_rng(7)
    covered, ratios = [], []
    for _ in range(2000):
        a = stats.repeated(np.exp(rng.normal(np.log(10), 0.2, 5)))
        b = stats.repeated(np.exp(rng.normal(np.log(4), 0.1, 5)))
        covered.append(a.low <= 10 <= a.high)
        ratio = stats.ratio(a, b)
        ratios.append(ratio.low <= 2.5 <= ratio.high)
    assert 0.935 <= np.mean(covered) <= 0.965
    assert 0.93 <= np.mean(ratios) <= 0.99  # with few rounds it is on the safe side


def test_amounts_of_nothing_have_no_ratio():
    with pytest.raises(ValueError, match="above 0"):
        stats.repeated([1.0, 0.0])
    with pytest.raises(ValueError, match="above 0"):
        stats.ratio(stats.Estimate(0.0, 0.0, 0.0, 2), stats.Estimate(1.0, 1.0, 1.0, 2))
