"""Calibrators: scikit-learn's maps, chosen only where the rows show a gain."""

import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from diptych.core.evaluation import calibrators
from diptych.core.evaluation.calibrators import ISOTONIC, PLATT, Calibrator


def draw(n: int, shift: float, scale: float, seed: int = 0):
    """Draw stated probabilities whose logit is that of the truth, scaled and shifted."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1, 1.5, n)
    stated = 1 / (1 + np.exp(-(scale * logit + shift)))
    return stated, rng.random(n) < 1 / (1 + np.exp(-logit))


def test_platt_undoes_a_shift_and_a_temperature_alone_does_not():
    stated, yes = draw(4_000, 2.0, 1.0)  # as balanced class weights shift it
    chosen = calibrators.choose(stated, yes)
    assert chosen.method == PLATT
    assert chosen.x[0] == pytest.approx(1.0, abs=0.1)
    assert chosen.y[0] == pytest.approx(-2.0, abs=0.2)


def test_where_a_temperature_is_right_it_stays():
    chosen = [calibrators.choose(*draw(1_500, 0.0, 2.0, seed)) for seed in range(20)]
    assert sum(one is not None for one in chosen) <= 1


def test_a_step_is_isotonic_and_few_rows_are_never():
    rng = np.random.default_rng(0)
    stated = rng.random(4_000)
    yes = rng.random(4_000) < np.where(stated < 0.3, 0.02, np.where(stated < 0.8, 0.5, 0.55))
    assert calibrators.choose(stated, yes).method == ISOTONIC
    few = calibrators.choose(stated[:600], yes[:600])
    assert few is None or few.method == PLATT
    assert calibrators.choose(stated, np.arange(4_000) < 10) is None
    assert calibrators.choose(np.full(4_000, 0.2), yes) is None


def test_isotonic_is_scikit_learns_and_survives_json():
    stated, yes = draw(2_000, 1.0, 0.5)
    fitted = calibrators.fit(ISOTONIC, stated, yes)
    again = Calibrator(**json.loads(json.dumps(fitted.to_dict())))
    new = np.linspace(0, 1, 501)
    theirs = IsotonicRegression(y_min=1 / 2002, y_max=2001 / 2002, out_of_bounds="clip")
    assert again(new) == pytest.approx(theirs.fit(stated, yes).predict(new))
    assert (np.diff(again(new)) >= 0).all()


@pytest.mark.parametrize(
    ("method", "x", "y"),
    [
        ("other", [1.0], [0.0]), (PLATT, [1.0, 2.0], [0.0, 0.0]), (PLATT, [np.nan], [0.0]),
        (ISOTONIC, [0.5, 0.1], [0.1, 0.2]), (ISOTONIC, [0.1], [0.1, 0.2]), (ISOTONIC, [], []),
        (ISOTONIC, [0.1, 0.2], [0.5, 1.5]),
    ],
)  # fmt: skip
def test_what_is_no_map_is_refused(method, x, y):
    with pytest.raises(ValueError, match=r"no map|shape"):
        Calibrator(method, x, y)
