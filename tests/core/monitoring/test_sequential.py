"""Repeated looks: what is spent sums to the promise, streams without a fall seldom alarm."""

import numpy as np
import pytest

from diptych.core.evaluation.metrics import METRICS, parse
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.monitoring import cusum, sequential

WINDOWS, SIZE = 12, 60


@pytest.fixture(autouse=True)
def few_orders(monkeypatch):
    """Draw a fifth of the permutations: the limits are known less well, and there are many."""
    monkeypatch.setattr(cusum, "ORDERS", 200)


def answers(rng, share: float, rows: int, positives: float = 0.3) -> ScoredRows:
    """Return rows of two classes that are right with a chance."""
    truth = np.where(rng.random(rows) < positives, "yes", "no")
    wrong = np.where(truth == "yes", "no", "yes")
    return ScoredRows.of_labels(
        truth, np.where(rng.random(rows) < share, truth, wrong), None, ("no", "yes"), "yes"
    )


def alarms(rng, metric, released: float, live: float, margin: float = 0.0) -> bool:
    names = np.repeat([f"{look:02d}" for look in range(1, WINDOWS + 1)], SIZE)
    rows, reference = answers(rng, live, len(names)), answers(rng, released, 300)
    return bool(sequential.falls(rows, names, reference, metric, margin)["alarm"].any())


def test_looks_spend_no_more_than_was_promised():
    spent = sum(1 - sequential.level(look) for look in range(1, 10_000))
    assert spent == pytest.approx(0.05, abs=1e-4)
    # decisions err to one side only
    errors = [(1 - sequential.decision_level(look)) / 2 for look in range(1, 10_000)]
    assert sum(errors) <= 0.05
    assert sequential.decision_level(1) == 0.95


@pytest.mark.parametrize(
    "name", ["accuracy", "f1:yes", pytest.param("mcc", marks=pytest.mark.long)]
)
def test_a_stream_without_a_fall_seldom_alarms_and_a_fall_does(name):
    rng, metric = np.random.default_rng(0), parse(name)
    assert np.mean([alarms(rng, metric, 0.85, 0.85) for _ in range(60)]) <= 0.05
    assert np.mean([alarms(rng, metric, 0.85, 0.65) for _ in range(10)]) > 0.9


def test_a_fall_within_the_margin_is_none():
    rng = np.random.default_rng(1)
    rang = [alarms(rng, METRICS["accuracy"], 0.85, 0.75, margin=0.1) for _ in range(60)]
    assert np.mean(rang) <= 0.05


def test_windows_together_show_what_none_shows_alone():
    right = np.tile(np.arange(300) < 236, 12)  # 0.787 in each, against 0.85
    rows = ScoredRows.of_labels(["no"] * 3600, np.where(right, "no", "yes"), None, ("no", "yes"))
    released = np.arange(20_000) < 17_000
    reference = ScoredRows.of_labels(["no"] * 20_000, np.where(released, "no", "yes"), None,
                                     ("no", "yes"))  # fmt: skip
    names = np.repeat([f"{look:02d}" for look in range(12)], 300)
    table = sequential.falls(rows, names, reference, METRICS["accuracy"], 0.02)
    rang = table.groupby("by")["alarm"].any()
    assert not rang["window"]
    assert rang["newest half"]


def slow_fall(rng) -> tuple[ScoredRows, ScoredRows]:
    """Return a test set that is right on 0.95, and live rows that slide to 0.88."""
    rows, sliding = WINDOWS * SIZE, 0.95 - 0.07 * np.clip(np.arange(WINDOWS * SIZE) / 240, 0, 1)
    right = rng.random(rows) < sliding
    live = ScoredRows.of_labels(["no"] * rows, np.where(right, "no", "yes"), None, ("no", "yes"))
    released = np.where(rng.random(1_000) < 0.95, "no", "yes")
    return live, ScoredRows.of_labels(["no"] * 1_000, released, None, ("no", "yes"))


def test_a_small_slow_fall_shows_in_the_rows_in_order():
    rng, rang = np.random.default_rng(4), []
    names = np.repeat([f"{look:02d}" for look in range(WINDOWS)], SIZE)
    for _ in range(12):
        live, reference = slow_fall(rng)
        table = sequential.falls(live, names, reference, METRICS["accuracy"], 0.02)
        rang.append(set(table.loc[table["alarm"], "by"]))
        line = table[table["by"] == sequential.ROWS_IN_ORDER]
        assert (line["change"] < -0.02).all()
        assert (line["since"] <= line["window"]).all()
    in_order = np.mean([sequential.ROWS_IN_ORDER in by for by in rang])
    assert in_order >= 0.8
    assert in_order > np.mean([bool(by - {sequential.ROWS_IN_ORDER}) for by in rang])


def test_rows_are_taken_in_the_order_of_their_windows():
    rng = np.random.default_rng(5)
    live, reference = slow_fall(rng)
    names = np.repeat([f"{look:02d}" for look in range(WINDOWS)], SIZE)
    order = rng.permutation(len(names))
    mixed = sequential.falls(live.take(order), names[order], reference, METRICS["accuracy"], 0.0)
    assert mixed["alarm"].any()
    assert sorted(mixed["window"]) == mixed["window"].tolist()


def test_where_less_is_better_a_rise_alarms_and_a_fall_does_not():
    rng = np.random.default_rng(2)
    truth, noise = rng.normal(100, 10, 400), rng.normal(0, 1, 400)
    reference = ScoredRows.of_numbers(truth, truth + noise)
    names = np.repeat(["a", "b"], 200)
    for wider, rang in ((3.0, ["a", "b"]), (0.3, [])):
        rows = ScoredRows.of_numbers(truth, truth + wider * noise)
        table = sequential.falls(rows, names, reference, METRICS["rmse"], 0.1)
        assert table.loc[table["alarm"] & (table["by"] == "window"), "window"].tolist() == rang
        assert table["alarm"].any() == bool(rang)


def test_a_window_of_one_class_decides_nothing_and_says_why():
    rows = ScoredRows.of_labels(["no"] * 40, ["no"] * 40, None, ("no", "yes"), "yes")
    reference = answers(np.random.default_rng(0), 0.9, 300)
    table = sequential.falls(rows, ["a"] * 40, reference, parse("recall:yes"), 0.0)
    assert table["alarm"].tolist() == [False]
    assert "recall is not defined: there are no rows of 'yes'" in table["reason"][0]


def test_the_first_look_is_1():
    with pytest.raises(ValueError, match="look is 0"):
        sequential.level(0)
