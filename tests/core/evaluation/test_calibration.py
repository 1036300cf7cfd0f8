"""Calibration error: no bias of few rows, an interval that holds the truth."""

import numpy as np
import pytest

from diptych.core.evaluation.calibration import error
from diptych.core.evaluation.stats import calibration_error


def draw(n: int, sharpened: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """Draw confidences that overstate logits by a factor, and what came true."""
    logit = np.abs(rng.normal(1.5, 1.5, n))
    stated = 1 / (1 + np.exp(-sharpened * logit))
    return stated, rng.random(n) < 1 / (1 + np.exp(-logit))


@pytest.mark.parametrize(("sharpened", "true"), [(1.0, 0.0), (2.0, 0.102), (0.5, 0.116)])
def test_the_interval_holds_the_true_error(sharpened, true):
    rng = np.random.default_rng(0)
    errors = [error(*draw(100, sharpened, rng)) for _ in range(100)]
    assert np.mean([e.low <= true + 1e-3 and true <= e.high for e in errors]) > 0.92


def test_a_calibrated_model_on_few_rows_is_not_called_uncalibrated():
    rng = np.random.default_rng(1)
    draws = [draw(100, 1.0, rng) for _ in range(100)]
    plain = np.mean([calibration_error(*rows) for rows in draws])
    debiased = np.sqrt(np.mean([error(*rows).value for rows in draws]) ** 2)
    assert debiased < plain / 2
    assert np.mean([error(*rows).low == 0 for rows in draws]) > 0.95


def test_the_gap_of_one_bin_by_hand():
    # 20 rows at 0.9, half of them right: gap 0.4, variance 0.25 / 19
    estimate = error([0.9] * 20, [1, 0] * 10)
    assert estimate.value == pytest.approx(np.sqrt(0.4**2 - 0.25 / 19))
    assert not estimate.reliable
    assert "20 rows are too few" in estimate.note
