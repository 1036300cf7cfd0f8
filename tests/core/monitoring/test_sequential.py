"""Repeated looks: what is spent sums to the promise, streams without a fall seldom alarm."""

import numpy as np
import pytest

from diptych.core.evaluation.stats import wilson
from diptych.core.monitoring import sequential


def stream(rng, share: float, windows: int = 20, rows: int = 60) -> bool:
    figures = {
        str(look): wilson(rng.binomial(rows, share), rows, sequential.level(look))
        for look in range(1, windows + 1)
    }
    return bool(sequential.falls(figures, 0.85, 0.0)["alarm"].any())


def test_looks_spend_no_more_than_was_promised():
    spent = sum(1 - sequential.level(look) for look in range(1, 10_000))
    assert spent == pytest.approx(0.05, abs=1e-4)


def test_a_stream_without_a_fall_seldom_alarms_and_a_fall_does():
    rng = np.random.default_rng(0)
    assert np.mean([stream(rng, 0.85) for _ in range(300)]) <= 0.05
    assert np.mean([stream(rng, 0.6) for _ in range(50)]) > 0.95


def test_where_less_is_better_a_rise_alarms():
    figures = {"1": wilson(50, 100), "2": wilson(90, 100)}
    table = sequential.falls(figures, 0.5, 0.05, better=-1)
    assert table["alarm"].tolist() == [False, True]


def test_the_first_look_is_1():
    with pytest.raises(ValueError, match="look is 0"):
        sequential.level(0)
