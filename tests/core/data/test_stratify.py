import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.core.data import stratify
from diptych.core.data.stratify import SplitError

NEEDED = {"train", "valid", "test"}


def hashed(values):
    return pd.util.hash_array(np.asarray([str(x) for x in values], dtype=object), categorize=False)


def days(numbers):
    times = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(list(numbers), unit="D")
    return pd.Series(times).dt.as_unit("us")


def splits_of(assignment, labels):
    frame = pd.DataFrame({"label": labels, "split": assignment.split})
    return frame.groupby("label")["split"].agg(set)


@settings(deadline=None)
@given(st.lists(st.integers(3, 8), min_size=2, max_size=60), st.integers(0, 2**70), st.booleans())
def test_every_class_with_three_rows_is_in_every_split(sizes, seed, timed):
    labels = [f"c{i}" for i, size in enumerate(sizes) for _ in range(size)]
    content = hashed(range(len(labels)))
    options = {"times": days([0] * len(labels)), "live_from": days([1])[0]} if timed else {}
    assignment = stratify.assign(content, labels, seed, **options)
    assert all(found >= NEEDED for found in splits_of(assignment, labels))
    assert not any("too rare" in note for note in assignment.notes)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcd")), min_size=1),
       st.integers(0, 99))  # fmt: skip
def test_equal_rows_are_in_one_split_whatever_their_labels(rows, seed):
    content, labels = hashed(x for x, _ in rows), [y for _, y in rows]
    split = pd.Series(stratify.assign(content, labels, seed).split)
    assert split.groupby(content).nunique().max() == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), min_size=9),
       st.integers(0, 99), st.booleans())  # fmt: skip
def test_the_order_of_rows_does_not_count(rows, seed, backwards):
    labels = [y for _, y in rows]
    content = hashed(x for x, _ in rows)
    split = stratify.assign(content, labels, seed).split
    turned = stratify.assign(content[::-1], labels[::-1], seed).split[::-1]
    assert split.tolist() == turned.tolist()


def test_new_rows_move_old_ones_only_back_to_their_own_place():
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(3_000) < 0.01, "rare", "often").astype(object)
    content = hashed(range(3_000))
    place = stratify.positions(content, 5)
    before = stratify.assign(content[:300], labels[:300], 5).split
    after = stratify.assign(content, labels, 5).split
    own = np.array(list(stratify.SHARES_WITHOUT_TIME))[
        np.searchsorted(np.cumsum(list(stratify.SHARES_WITHOUT_TIME.values()))[:-1], place)
    ]
    changed = before != after[:300]
    assert changed.sum() <= 3
    assert (after[:300][changed] == own[:300][changed]).all()
    assert (before != own[:300]).sum() <= 3  # the fewest rows were moved


def test_shares_are_kept():
    content = hashed(range(20_000))
    split = pd.Series(stratify.assign(content, ["a"] * 20_000, 0).split)
    shares = split.value_counts(normalize=True)
    for name, share in stratify.SHARES_WITHOUT_TIME.items():
        assert shares[name] == pytest.approx(share, abs=0.01)


def test_a_class_too_rare_is_named_with_the_remedy_and_the_rest_goes_on():
    labels = ["a"] * 50 + ["b"] * 50 + ["c", "c", "d"]
    assignment = stratify.assign(hashed(range(103)), labels, 0)
    found = splits_of(assignment, labels)
    assert found["a"] >= NEEDED
    assert found["c"] == {"train", "test"}
    assert found["d"] == {"train"}
    (note,) = assignment.notes
    assert "'c' (2 different rows; none in valid)" in note
    assert "'d' (1 different row; none in test and valid)" in note
    assert "merge" in note


@settings(deadline=None)
@given(st.lists(st.integers(0, 15), min_size=40, max_size=120), st.integers(0, 99))
def test_a_group_is_in_one_split(groups, seed):
    labels = ["ab"[i % 2] for i in range(len(groups))]
    content = hashed(range(len(groups)))
    split = pd.Series(stratify.assign(content, labels, seed, groups=groups).split)
    assert split.groupby(groups).nunique().max() == 1


def test_a_missing_group_is_refused():
    with pytest.raises(SplitError, match="row 2 has no group"):
        stratify.assign(hashed(range(3)), ["a", "b", "a"], 0, groups=["x", None, "y"])


def test_groups_come_again_among_live_rows_and_it_is_said():
    times = days(range(100))
    groups = [i % 10 for i in range(100)]
    assignment = stratify.assign(hashed(range(100)), ["a", "b"] * 50, 0, times=times, groups=groups)
    early = pd.Series(assignment.split[:50])
    assert early.groupby(groups[:50]).nunique().max() == 1
    assert set(assignment.split[50:]) == {"live"}
    assert "10 groups come again among the live rows, as after release" in assignment.notes


@pytest.mark.parametrize("outlier", [-19_700, 27_000])  # 1970 and 2097
def test_a_date_far_off_does_not_move_the_split(outlier):
    times, labels = days(range(100)), ["a", "b"] * 50
    plain = stratify.assign(hashed(range(100)), labels, 0, times=times)
    far = stratify.assign(hashed(range(101)), [*labels, "a"], 0, times=days([*range(100), outlier]))
    assert abs(plain.live_from - far.live_from) <= pd.Timedelta(days=1)
    assert (pd.Series(far.split) == "live").mean() == pytest.approx(0.5, abs=0.02)


def test_times_that_tie_leave_rows_before_the_live_ones():
    times = days([0] * 90 + [3] * 10)
    assignment = stratify.assign(hashed(range(100)), ["a", "b"] * 50, 0, times=times)
    assert (pd.Series(assignment.split) == "live").sum() == 10
    same = stratify.assign(hashed(range(100)), ["a", "b"] * 50, 0, times=days([0] * 100))
    assert "all rows have one time, so none is live" in same.notes
    assert "live" not in same.split


def test_a_class_only_among_live_rows_is_named():
    labels = ["a", "b"] * 25 + ["a", "c"] * 25
    notes = stratify.assign(hashed(range(100)), labels, 0, times=days(range(100))).notes
    assert "only among live rows, so no model can know them: 'c'" in notes


def test_rows_of_few_categories_are_cases_of_their_own():
    rng = np.random.default_rng(1)
    content, labels = hashed(rng.integers(0, 6, 300)), rng.choice(["yes", "no"], 300)
    assignment = stratify.assign(content, labels, 0, repeats=True)
    assert not assignment.together
    assert "6 of 300 rows differ" in assignment.notes[0]
    counts = pd.Series(assignment.split).value_counts(normalize=True)
    assert counts["train"] == pytest.approx(0.6, abs=0.08)
    more = stratify.assign(
        np.append(content, content[:50]), [*labels, *labels[:50]], 0, repeats=True
    )
    assert more.split[:300].tolist() == assignment.split.tolist()
    assert stratify.assign(content, labels, 0).together


def test_the_split_of_the_file_is_kept():
    values = ["Train"] * 80 + [" validation"] * 10 + ["TEST"] * 10 + ["live"] * 5
    assignment = stratify.file_splits(values, hashed(range(105)), 0)
    assert (
        assignment.split.tolist() == ["train"] * 80 + ["valid"] * 10 + ["test"] * 10 + ["live"] * 5
    )
    assert assignment.notes == []


def test_a_file_without_validation_rows_gets_some_of_its_train_rows():
    values = ["train"] * 400 + ["test"] * 100
    assignment = stratify.file_splits(values, hashed(range(500)), 0)
    assert (assignment.split[400:] == "test").all()
    assert 30 <= (assignment.split == "valid").sum() <= 90
    assert len(assignment.notes) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["train", "tset"], "row 2 has 'tset'; write one of train, valid, test, live"),
        (["train", "valid"], "no row is 'test'"),
        (["test", "valid"], "no row is 'train'"),
    ],
)
def test_a_split_column_of_other_words_is_refused(values, message):
    with pytest.raises(SplitError, match=message):
        stratify.file_splits(values, hashed(values), 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_grade_and_fifty_classes_are_in_every_split(seed):
    """Grades as of wine: the best and the worst in a handful of rows; and 50 classes of 20."""
    for sizes in ([10, 53, 681, 638, 199, 18], [20] * 50):
        labels = [f"{i}" for i, size in enumerate(sizes) for _ in range(size)]
        assignment = stratify.assign(hashed(range(len(labels))), labels, seed)
        assert all(found >= NEEDED for found in splits_of(assignment, labels))


def test_no_rows_are_refused():
    with pytest.raises(SplitError, match="no rows"):
        stratify.assign(np.array([], np.uint64), [], 0)
