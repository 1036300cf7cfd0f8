"""The change detector: its false-alarm rate, what it finds and when, and what it refuses."""

import numpy as np
import pytest
from scipy.stats import binom

from diptych.core.monitoring import cusum

ROWS, REFERENCE, STREAMS = 900, 300, 200


@pytest.fixture(scope="module")
def rehearsed():
    return cusum.rehearse(0.9, REFERENCE, 0.1, ROWS, alpha=0.05, streams=STREAMS, seed=3)


def test_stable_streams_ring_no_oftener_than_the_rate_stated(rehearsed):
    stable = rehearsed[rehearsed["fell"] < 0]
    rang = int((stable["alarm"] >= 0).sum())
    assert len(stable) == STREAMS
    # more would come by chance once in a thousand such tests
    assert rang <= binom.ppf(0.999, STREAMS, 0.05)


def test_the_rate_is_used_up(rehearsed):
    """A limit far too high would ring never, and find falls late."""
    loose = cusum.rehearse(0.9, REFERENCE, 0.1, ROWS, alpha=0.5, streams=STREAMS, seed=4)
    rang = int((loose.loc[loose["fell"] < 0, "alarm"] >= 0).sum())
    assert binom.ppf(0.001, STREAMS, 0.4) <= rang <= binom.ppf(0.999, STREAMS, 0.6)


def test_planted_falls_are_found_and_soon(rehearsed):
    fell = rehearsed[rehearsed["fell"] >= 0]
    found = fell[fell["alarm"] >= fell["fell"]]
    # were fewer than nine of ten found, so many would be found once in a thousand tests
    assert len(found) >= binom.ppf(0.001, STREAMS, 0.9)
    told = cusum.rates(rehearsed).set_index("name")
    assert told.loc["fall detected", "value"] == len(found) / STREAMS
    assert told.loc["fall detected", "low"] < told.loc["fall detected", "value"]
    delays = found["alarm"] - found["fell"] + 1
    assert told.loc["fall detected", "delay"] == delays.median() < ROWS / 4


def test_a_larger_fall_is_seen_sooner():
    test = cusum.detector(270, 300, 0.1, ROWS)
    delays = []
    for fallen in (0.8, 0.5):
        rng = np.random.default_rng(0)
        chance = np.r_[np.full(300, 0.9), np.full(600, fallen)]
        rows = [test.detect(rng.random(900) < chance).row for _ in range(20)]
        delays.append(np.median(rows))
    assert delays[1] < delays[0]


def test_the_sum_starts_anew_and_tells_where_the_fall_began():
    test = cusum.detector(95, 100, 0.2, 200)
    correct = np.r_[np.ones(120), np.zeros(60)]
    path, alarm = test.path(correct), test.detect(correct)
    assert (path[:120] == 0).all()
    assert (np.diff(path[119:]) > 0).all()
    assert alarm.began == 120 <= alarm.row
    assert path[alarm.row] > 1 >= path[alarm.row - 1]
    assert test.detect(np.ones(200)) is None
    assert test.detect([]) is None


def test_fewer_reference_rows_give_a_higher_limit():
    few, many = (cusum.detector(9 * n // 10, n, 0.05, ROWS).limit for n in (50, 5000))
    assert few > many


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((5, 4, 0.1, 100), "right is 5 of n = 4"),
        ((0, 0, 0.1, 100), "at least one row"),
        ((4, 5, 0.9, 100), "drop is 0.9"),
        ((4, 5, 0.0, 100), "drop is 0.0"),
        ((4, 5, 0.1, 0), "rows is 0"),
        ((4, 5, 0.1, 10, 0.0), "alpha 0.0"),
    ],
)
def test_what_cannot_be_tested_is_refused(given, told):
    with pytest.raises(ValueError, match=told):
        cusum.detector(*given)


def test_wrong_streams_are_refused():
    test = cusum.detector(90, 100, 0.1, 10)
    with pytest.raises(ValueError, match="other than 0 and 1"):
        test.detect([0.5])
    with pytest.raises(ValueError, match="holds for 10"):
        test.detect(np.ones(11))
    with pytest.raises(ValueError, match=r"share is 0\.05"):
        cusum.rehearse(0.05, 10, 0.1, 10)
