"""The test on embeddings: its false-alarm rate, its power, and windows of texts."""

import minilm
import numpy as np
import pandas as pd
import pytest

from diptych.core.monitoring import meaning_drift


def vectors(rng, n, shift=0.0):
    rows = rng.normal(size=(n, 16)) + shift
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_distance_is_the_unbiased_estimate_written_out():
    rng = np.random.default_rng(0)
    one, two = vectors(rng, 9), vectors(rng, 7, 0.5)
    both = np.concatenate([one, two])
    squared = ((both[:, None] - both[None]) ** 2).sum(-1)
    width = np.median([squared[i, j] for i in range(16) for j in range(i)])
    kernel = np.exp(-squared / width)

    def mean(a, b, same):
        pairs = [kernel[i, j] for i in a for j in b if not (same and i == j)]
        return sum(pairs) / len(pairs)

    left, right = range(9), range(9, 16)
    expected = mean(left, left, True) + mean(right, right, True) - 2 * mean(left, right, False)
    seen = meaning_drift.discrepancy(one, two, alpha=0.05, permutations=199)
    assert seen.distance == pytest.approx(expected)


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(1)
    alarms = [
        meaning_drift.discrepancy(
            vectors(rng, 30), vectors(rng, 15), alpha=0.05, permutations=99, seed=i
        ).p <= 0.05
        for i in range(400)
    ]  # fmt: skip
    assert 0.02 < np.mean(alarms) < 0.085  # 400 trials of 0.05: 3.2 standard errors


def test_a_shift_is_found_and_lies_above_the_threshold():
    rng = np.random.default_rng(2)
    seen = meaning_drift.discrepancy(vectors(rng, 100), vectors(rng, 50, 0.6))
    assert seen.p == 1 / (meaning_drift.PERMUTATIONS + 1)
    assert seen.distance > seen.threshold


@pytest.mark.parametrize(("n", "m", "count"), [(1, 5, 1999), (5, 1, 1999), (5, 5, 99)])
def test_what_cannot_be_decided_is_refused(n, m, count):
    rng = np.random.default_rng(3)
    with pytest.raises(ValueError, match=r"texts: |permutations: 99"):
        meaning_drift.discrepancy(vectors(rng, n), vectors(rng, m), permutations=count)


FOOD = ["soup", "bread", "cheese", "salad", "cake", "pasta", "fish", "rice", "stew", "pie"]
CARS = ["engine", "brake", "tyre", "gearbox", "clutch", "battery", "axle", "wheel", "pump", "hose"]


def sentences(things, seed, n=30):
    rng = np.random.default_rng(seed)
    words = ["good", "bad", "fine", "poor", "great", "awful"]
    return [f"The {rng.choice(things)} was {rng.choice(words)}, {i}" for i in range(n)]


@minilm.needed
def test_another_topic_rings_and_the_same_one_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    live = pd.Series(sentences(FOOD, 1) + sentences(CARS, 2))
    windows = pd.Series(["w1"] * 30 + ["w2"] * 30)
    table = meaning_drift.by_window(pd.Series(sentences(FOOD, 0, 60)), live, windows)
    assert table["window"].tolist() == ["w1", "w2"]
    assert table["alarm"].tolist() == [False, True]
    assert meaning_drift.first_alarm(table) == "w2"


def test_without_the_model_the_table_is_empty_and_a_line_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path))
    texts = pd.Series(["a", "b"])
    table = meaning_drift.by_window(texts, texts, pd.Series(["w1", "w1"]))
    assert table.empty
    assert meaning_drift.first_alarm(table) is None
    assert "not measured; minilm-l6-v2 is not on this machine" in capsys.readouterr().out
