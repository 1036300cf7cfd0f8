import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.core.data import schema, splits

NEVER = schema.no_times(pd.RangeIndex(0))


def texts(values, times=None):
    frame = pd.DataFrame({"text": pd.Series(values, dtype="str")})
    return frame.assign(time=NEVER.reindex(frame.index) if times is None else times)


def days(count):
    return pd.Series(pd.date_range("2024-01-01", periods=count, tz="UTC")).dt.as_unit("us")


@given(st.lists(st.text(max_size=8), max_size=40), st.integers(0, 2**70))
def test_duplicates_never_straddle(values, seed):
    copies = [f"  {x.upper()}\t" if x.upper().lower() == x.lower() else x for x in values]
    split = splits.assign(texts(values + copies), ["text"], seed).to_numpy()
    assert (split[: len(values)] == split[len(values) :]).all()


@given(st.lists(st.integers(0, 9), min_size=1), st.lists(st.integers(0, 9)), st.integers(0, 99))
def test_new_rows_never_move_old_ones(old, new, seed):
    def assigned(values):
        frame = pd.DataFrame({"a": np.float32(values), "b": np.float32(1)})
        frame["time"] = NEVER.reindex(frame.index)
        return splits.assign(frame, ["a", "b"], seed).tolist()

    assert assigned(old + new)[: len(old)] == assigned(old)


def test_new_rows_that_are_later_only_turn_live_rows_back():
    values = [f"row {i}" for i in range(400)]
    early = splits.assign(texts(values[:200], days(200)), ["text"], 0)
    late = splits.assign(texts(values, days(400)), ["text"], 0)[:200]
    kept = early != "live"
    assert (late[kept] == early[kept]).all()
    assert set(late[~kept]) == {"train", "valid", "test"}


@pytest.mark.parametrize(
    ("times", "shares"),
    [
        (None, {"train": 0.60, "valid": 0.10, "test": 0.15, "live": 0.15}),
        (days(20_000), {"train": 0.35, "valid": 0.075, "test": 0.075, "live": 0.5}),
    ],
)
def test_shares(times, shares):
    values = [f"row {i}" for i in range(20_000)]
    got = splits.assign(texts(values, times), ["text"], 3).value_counts(normalize=True)
    for name, share in shares.items():  # 5 standard deviations of a binomial share
        assert got[name] == pytest.approx(share, abs=5 * (share * (1 - share) / 20_000) ** 0.5)


def test_the_seed_splits_otherwise_and_repeatably():
    frame = texts([f"row {i}" for i in range(1000)])
    first, again, other = (splits.assign(frame, ["text"], seed) for seed in (0, 0, 1))
    assert (first == again).all()
    # independent splits agree by chance: the sum of squared shares
    assert (first == other).mean() == pytest.approx(0.6**2 + 0.1**2 + 2 * 0.15**2, abs=0.08)


def test_live_is_the_later_half_of_the_time_span_not_of_the_rows():
    times = pd.Series(pd.to_datetime(["2024-01-01"] * 8 + ["2024-06-30", "2024-12-30"], utc=True))
    split = splits.assign(texts([str(i) for i in range(10)], times), ["text"], 0)
    assert split.eq("live").tolist() == [False] * 8 + [False, True]
    begins = pd.Timestamp("2024-06-30", tz="UTC")
    split = splits.assign(texts([str(i) for i in range(10)], times), ["text"], 0, begins)
    assert split.eq("live").tolist() == [False] * 8 + [True, True]


def test_content_ignores_the_sign_of_zero():
    frame = pd.DataFrame({"a": np.float32([0.0, -0.0, 1.0])})
    a, b, c = splits.content_hash(frame, ["a"])
    assert a == b != c


def near(values, known):
    return splits.near_copies(pd.Series(values, dtype="str"), np.array(known)).tolist()


def test_near_copies_are_found_by_their_words():
    rng = np.random.default_rng(0)
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ana", "elo", "isi", "oru", "uta")]
    long = [" ".join(rng.choice(words, 60)) for _ in range(200)]
    changed = [f"{x} indeed" for x in long[:20]]  # 56 of 57 5-grams are shared
    shouted = [f"{x.upper()}!!! 100" for x in long[20:40]]
    half = [
        " ".join(x.split()[:30] + y.split()[:30]) for x, y in zip(long, long[50:70], strict=False)
    ]
    known = [True] * 200 + [False] * 60
    assert (
        near(long + changed + shouted + half, known) == [False] * 200 + [True] * 40 + [False] * 20
    )


def test_the_order_depends_on_ids_and_seed_alone():
    rows = pd.DataFrame({"id": list("abcdefgh"), "x": range(8)}, index=[0] * 8)
    names = splits.shuffled(rows, 1)["id"].tolist()
    assert sorted(names) == list("abcdefgh") != names
    assert splits.shuffled(rows.iloc[::-1], 1)["id"].tolist() == names
    assert splits.shuffled(rows, 2)["id"].tolist() != names


def test_short_or_no_texts_are_no_near_copies():
    assert near(["so good", "so good", "", "!!!"], [True, False, False, True]) == [False] * 4
    assert near([], np.zeros(0, dtype=bool)) == []
    five = "one two three four five"
    assert near([five, five, f"{five} six seven eight nine ten"], [True, False, False]) == [
        False,
        True,
        False,
    ]
