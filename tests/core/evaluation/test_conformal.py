"""Prediction intervals: the quantile by hand, and coverage of rows not seen."""

import math

import numpy as np
import pytest

from diptych.core.evaluation.conformal import coverage, half_width


def test_the_quantile_by_hand():
    # (9 + 1) * 0.8 = the 8th smallest absolute error
    assert half_width([-9, 8, -7, 6, -5, 4, -3, 2, 1], 0.8) == 8
    assert half_width([1, 2], 0.9) == math.inf


def test_new_rows_are_covered_as_promised():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        width = half_width(rng.standard_t(3, 99), 0.9)
        shares.append(coverage(rng.standard_t(3, 500), width).value)
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("bad", [[], [1, np.nan]])
def test_missing_errors_are_refused(bad):
    with pytest.raises(ValueError, match="errors: give"):
        half_width(bad)
    with pytest.raises(ValueError, match="level is 1"):
        half_width([1.0], 1)
