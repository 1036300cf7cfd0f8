"""Folds hold each row out once, with classes in equal shares and units whole."""

import numpy as np
import pytest

from diptych.core.data import folds


def test_each_fold_has_its_share_of_every_class():
    labels = np.array(["yes"] * 10 + ["no"] * 90, object)
    fold = folds.assign(labels, np.arange(100), 5, 0)
    assert [(labels[fold == number] == "yes").sum() for number in range(5)] == [2] * 5
    assert np.bincount(fold).tolist() == [20] * 5


@pytest.mark.parametrize("labels", [np.tile(["a", "b", "b"], 40).astype(object), np.arange(120.0)])
def test_rows_of_a_unit_are_held_out_together(labels):
    units = np.repeat(np.arange(30), 4)
    fold = folds.assign(labels, units, 3, 1)
    assert all(len(set(fold[units == unit])) == 1 for unit in range(30))
    assert set(fold) == {0, 1, 2}


def test_the_seed_decides():
    labels, units = np.arange(50.0), np.arange(50)
    first, again, other = (folds.assign(labels, units, 5, seed) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()
