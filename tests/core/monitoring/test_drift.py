"""Drift against scipy's exact distances, simulated false alarms and planted shifts."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import binom, ks_2samp, wasserstein_distance

from diptych.core.monitoring.drift import (
    ConfidenceGap,
    Profile,
    alarms,
    compare_profiles,
    compare_windows,
    estimated_accuracy,
)


def frame(rng, n: int, move: float = 0.0) -> pd.DataFrame:
    """Continuous, heavy-tailed, rare, counted and named columns; `move` shifts the first."""
    return pd.DataFrame(
        {
            "normal": rng.normal(move, size=n),
            "lognormal": rng.lognormal(size=n),
            "heavy": rng.standard_t(1.5, size=n),
            "rare": (rng.random(n) < 0.02).astype(int),
            "count": rng.poisson(3, size=n),
            "named": rng.choice(list("abcdef"), p=[0.4, 0.3, 0.2, 0.06, 0.03, 0.01], size=n),
        }
    )


def row(table: pd.DataFrame, feature: str) -> pd.Series:
    return table.set_index("feature").loc[feature]


@pytest.mark.parametrize("move", [0.0, 0.1, 3.0])
def test_ks_and_wasserstein_agree_with_the_exact_ones(move):
    rng = np.random.default_rng(0)
    reference, window = frame(rng, 20_000), frame(rng, 5_000, move)
    window["lognormal"] *= 1 + move
    window["count"] += int(move)
    table = compare_profiles(Profile.fit(reference), window)
    for name in ("normal", "lognormal", "rare", "count"):
        a, b = reference[name], window[name]
        got = row(table, name)
        assert got["ks"] == pytest.approx(ks_2samp(a, b, method="asymp").statistic, abs=3e-3)
        exact = wasserstein_distance(a, b) / a.std(ddof=0)
        assert got["wasserstein"] == pytest.approx(exact, abs=1e-4, rel=2e-3)


def test_values_beyond_the_reference_still_count_by_their_distance():
    reference = pd.DataFrame({"x": np.linspace(0, 1, 1_001)})
    window = reference + 50
    got = row(compare_profiles(Profile.fit(reference), window), "x")
    assert got["ks"] == 1
    exact = wasserstein_distance(reference["x"], window["x"]) / reference["x"].std(ddof=0)
    assert got["wasserstein"] == pytest.approx(exact, rel=1e-4)


def test_psi_and_js_of_categories_by_hand():
    reference = pd.DataFrame({"c": ["a"] * 600 + ["b"] * 400})
    window = pd.DataFrame({"c": ["a"] * 300 + ["b"] * 700})
    got = row(compare_profiles(Profile.fit(reference), window), "c")
    p, q = np.array([0.6, 0.4]), np.array([0.3, 0.7])
    assert got["shift"] == pytest.approx(0.3)
    assert got["js"] == pytest.approx(jensenshannon(p, q, base=2))
    # half a row is added to each bin, which moves psi by less than 1 % here
    assert got["psi"] == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=0.01)
    assert math.isnan(got["ks"])


def test_coarse_distances_are_quiet_without_drift_and_loud_with_it():
    rng = np.random.default_rng(1)
    profile = Profile.fit(pd.DataFrame({"x": rng.normal(size=50_000)}))
    still = row(compare_profiles(profile, pd.DataFrame({"x": rng.normal(size=50_000)})), "x")
    moved = row(compare_profiles(profile, pd.DataFrame({"x": rng.normal(1, size=50_000)})), "x")
    # psi of 20 equal bins under no drift: chi-squared with 19 degrees, times (1/n + 1/m)
    assert still["psi"] < 45 * (2 / 50_000)
    assert still["js"] < 0.02
    # psi of a normal shifted by one standard deviation is 1 in the limit of fine bins
    assert moved["psi"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("m", "n"), [(2_000, 300), (500, 40), (400, 3_000)])
def test_false_alarms_stay_at_the_stated_rate(m, n):
    rng, simulations, alpha = np.random.default_rng([2, m, n]), 150, 0.05
    false = 0
    for _ in range(simulations):
        profile = Profile.fit(frame(rng, m))
        false += compare_profiles(profile, frame(rng, n), alpha, min_effect=0)["drifted"].any()
    assert false <= binom.ppf(0.999, simulations, alpha)
    assert false > 0  # a threshold nothing can pass would be of no use


def test_the_rate_is_that_of_the_whole_window_however_many_columns():
    rng, false = np.random.default_rng(12), 0
    for _ in range(100):
        reference, window = (
            pd.DataFrame(rng.normal(size=(n, 20))).rename(columns=str) for n in (1_000, 200)
        )
        false += compare_profiles(Profile.fit(reference), window, 0.05, min_effect=0)[
            "drifted"
        ].any()
    assert false <= binom.ppf(0.999, 100, 0.05)


def test_no_false_alarm_at_the_default_rate():
    rng = np.random.default_rng(3)
    profile = Profile.fit(frame(rng, 5_000))
    stream = frame(rng, 300 * 200)
    summary = alarms(compare_windows(profile, stream, np.arange(len(stream)) // 200, min_effect=0))
    assert len(summary) == 300
    assert summary["alarm"].sum() <= binom.ppf(0.999, 300, 0.001)


def test_columns_of_many_levels_do_not_alarm_by_themselves():
    rng, false = np.random.default_rng(4), 0
    for _ in range(60):
        reference, window = (pd.DataFrame({"zip": rng.integers(0, 333, n).astype(str)})
                             for n in (1_000, 2_000))  # fmt: skip
        false += compare_profiles(Profile.fit(reference), window, 0.05, 0)["drifted"].any()
    assert false <= binom.ppf(0.999, 60, 0.05)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("normal", lambda x, rng: x + 0.5),
        ("lognormal", lambda x, rng: x * 1.6),
        ("heavy", lambda x, rng: x - 1),
        ("rare", lambda x, rng: (rng.random(len(x)) < 0.1).astype(int)),
        ("count", lambda x, rng: x + (rng.random(len(x)) < 0.5)),
        ("named", lambda x, rng: np.where(rng.random(len(x)) < 0.2, "new", x)),
        ("normal", lambda x, rng: np.where(rng.random(len(x)) < 0.3, np.nan, x)),
        ("named", lambda x, rng: pd.Series(x).mask(rng.random(len(x)) < 0.2).to_numpy()),
    ],
)
def test_a_planted_shift_is_found_in_its_column_only(column, change):
    rng = np.random.default_rng(5)
    profile = Profile.fit(frame(rng, 4_000))
    window = frame(rng, 600)
    window[column] = change(window[column].to_numpy(), rng)
    table = compare_profiles(profile, window)
    assert table.loc[table["drifted"], "feature"].tolist() == [column]


@pytest.mark.parametrize("gap", [np.nan, None, pd.NaT])
def test_a_column_that_cannot_be_profiled_is_a_line_with_its_reason(gap):
    rng = np.random.default_rng(5)
    profile = Profile.fit(frame(rng, 4_000).assign(empty=gap))
    profile = Profile.from_dict(json.loads(json.dumps(profile.to_dict())))
    moved = frame(rng, 600).assign(empty=1.0)
    moved["normal"] += 1
    table = compare_profiles(profile, moved)
    assert table.loc[table["drifted"], "feature"].tolist() == ["normal"]
    line = row(table, "empty")
    assert "'empty' is missing throughout" in line["reason"]
    assert np.isnan(line["shift"])
    assert (table.loc[table["feature"] != "empty", "reason"] == "").all()


def test_a_column_of_another_kind_does_not_end_the_others():
    profile = Profile.fit(REFERENCE)
    table = compare_profiles(profile, REFERENCE.assign(x=["1", "2", "3"]))
    assert "Column 'x' is str, in its profile numeric" in row(table, "x")["reason"]
    assert not row(table, "x")["drifted"]
    assert row(table, "c")["shift"] == 0
    none = compare_profiles(Profile.fit(REFERENCE[["x"]]), REFERENCE.assign(x=["1", "2", "3"]))
    summary = alarms({"jan": none})
    assert summary[["worst", "alarm"]].to_numpy().tolist() == [["", False]]


def test_a_rare_value_needs_fewer_rows_than_a_rule_for_any_distribution_would():
    # 2 % to 8 %: far below the Kolmogorov limit of a continuous column, found by resampling
    rng = np.random.default_rng(6)
    profile = Profile.fit(frame(rng, 4_000))
    window = frame(rng, 600)
    window["rare"] = np.arange(600) < 48
    table = compare_profiles(profile, window)
    assert row(table, "rare")["drifted"]
    assert row(table, "rare")["shift"] < row(table, "normal")["threshold"]


def test_the_threshold_follows_the_size_of_the_window_down_to_the_smallest_effect():
    rng = np.random.default_rng(7)
    profile = Profile.fit(frame(rng, 50_000))
    sizes = [100, 1_000, 10_000]
    found = [
        compare_profiles(profile, frame(rng, n), min_effect=0).set_index("feature")["threshold"]
        for n in sizes
    ]
    assert (found[0] > found[1]).all()
    assert (found[1] > found[2]).all()
    # many rows show a shift of 0.01 beyond doubt, and it does not matter
    window = frame(rng, 50_000)
    window["rare"] = (rng.random(50_000) < 0.03).astype(int)
    assert row(compare_profiles(profile, window, min_effect=0), "rare")["drifted"]
    assert not row(compare_profiles(profile, window), "rare")["drifted"]


def test_alarms_name_the_window_and_the_worst_feature():
    rng = np.random.default_rng(8)
    profile = Profile.fit(frame(rng, 4_000))
    windows = [frame(rng, 500, move) for move in (0, 0, 1)]
    stream = pd.concat(windows, ignore_index=True)
    months = np.repeat(["2025-01", "2025-02", "2025-03"], 500)
    for summary in (
        alarms(compare_windows(profile, stream, months)),
        alarms(compare_windows(profile, stream.assign(month=months), "month")),
    ):
        assert summary["window"].tolist() == ["2025-01", "2025-02", "2025-03"]
        assert summary["alarm"].tolist() == [False, False, True]
        last = summary.iloc[-1]
        assert (last["n"], last["drifted"], last["worst"]) == (500, 1, "normal")
        assert last["shift"] > last["threshold"]


FLOATS = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, 0.1, 0.1, 0.1])
NAMES = st.sampled_from(["a", "b", "c", "", "ü", None])


def tables(least: int):
    return st.lists(st.tuples(FLOATS, NAMES), min_size=least, max_size=60).map(
        lambda rows: pd.DataFrame(
            {
                "x": np.array([r[0] for r in rows], float),
                "c": pd.Series([r[1] for r in rows], dtype="str"),
            }
        )
    )


def usable(table: pd.DataFrame) -> bool:
    return bool(np.isfinite(table["x"]).any() and table["c"].notna().any())


@settings(max_examples=60)
@given(tables(2).filter(usable), tables(1), st.randoms(use_true_random=False))
def test_distances_keep_their_range_and_ignore_the_order_of_rows(reference, window, random):
    profile = Profile.fit(reference)
    again = Profile.from_dict(json.loads(json.dumps(profile.to_dict())))
    assert again == profile
    table = compare_profiles(profile, window, alpha=0.05)
    assert table[["shift", "js", "missing"]].stack().between(0, 1 + 1e-9).all()
    assert table["ks"].dropna().between(0, 1 + 1e-9).all()
    assert (table[["psi", "wasserstein"]].stack().dropna() >= 0).all()
    order = random.sample(range(len(window)), len(window))
    # sums of floats depend on their order in the last digits
    pd.testing.assert_frame_equal(table, compare_profiles(again, window.iloc[order], alpha=0.05))


@settings(max_examples=30)
@given(tables(2).filter(usable))
def test_the_reference_itself_shows_no_drift(reference):
    table = compare_profiles(Profile.fit(reference), reference, alpha=0.05)
    assert (table[["shift", "psi", "js"]].stack() < 1e-9).all()
    assert (table[["ks", "wasserstein"]].stack().dropna() < 1e-9).all()
    assert not table["drifted"].any()


@pytest.mark.parametrize("value", [0.1, -3e5, 0.0])
def test_a_constant_column_alarms_when_it_stops_being_constant(value):
    profile = Profile.fit(pd.DataFrame({"x": [value] * 500}))
    same = row(compare_profiles(profile, pd.DataFrame({"x": [value] * 100})), "x")
    assert (same["ks"], same["wasserstein"], same["drifted"]) == (0, 0, False)
    for other in (value + 1, value - 1):
        moved = row(
            compare_profiles(profile, pd.DataFrame({"x": [value] * 50 + [other] * 50})), "x"
        )
        assert (moved["ks"], moved["wasserstein"], moved["drifted"]) == (0.5, math.inf, True)


def test_missing_values_are_reported_and_left_out_of_ks():
    x = np.random.default_rng(9).normal(size=1_000)
    profile = Profile.fit(pd.DataFrame({"x": x}))
    holed = pd.DataFrame({"x": np.where(np.arange(1_000) < 100, np.nan, x)})
    got = row(compare_profiles(profile, holed), "x")
    assert got["missing"] == pytest.approx(0.1)
    assert got["ks"] == pytest.approx(ks_2samp(x, x[100:]).statistic, abs=3e-3)
    assert got["shift"] == pytest.approx(0.1, abs=0.02)
    none_left = row(compare_profiles(profile, pd.DataFrame({"x": [np.nan] * 50})), "x")
    assert (none_left["missing"], none_left["shift"], none_left["drifted"]) == (1, 1, True)
    assert math.isnan(none_left["ks"])


def test_kinds_of_columns_are_recognised_whatever_their_dtype():
    reference = pd.DataFrame(
        {
            "integer": pd.array([1, 2, None, 4] * 5, dtype="Int64"),
            "flag": [True, False] * 10,
            "single": np.arange(20, dtype=np.float32),
            "object": pd.Series(["a", None] * 10, dtype=object),
            "category": pd.Categorical([1, 2] * 10),
            "when": pd.date_range("2025-01-01", periods=20),
        }
    )
    profile = Profile.fit(reference)
    table = compare_profiles(profile, reference)
    expected = {"integer": "numeric", "flag": "numeric", "single": "numeric",
                "object": "categorical", "category": "categorical"}  # fmt: skip
    assert dict(zip(table["feature"], table["kind"], strict=True)) == expected
    assert row(table, "integer")["missing"] == 0.25
    assert (table["shift"] < 1e-9).all()


def test_estimated_accuracy_allows_for_a_model_that_was_too_modest_on_the_test_set():
    """It is right more often than it says: by a tenth, there and in service."""
    rng, hits, plain = np.random.default_rng(12), 0, 0
    for _ in range(400):
        known, confidence = rng.uniform(0.5, 0.9, size=(2, 150))
        gap = ConfidenceGap.of(known, rng.random(150) < known + 0.1)
        right = (rng.random(150) < confidence + 0.1).mean()
        got, alone = estimated_accuracy(confidence, gap=gap), estimated_accuracy(confidence)
        hits += got.low <= right <= got.high
        plain += alone.low <= right <= alone.high
    assert hits >= binom.ppf(0.001, 400, 0.95)
    assert plain < 300
    assert estimated_accuracy([1.0, 1.0], gap=ConfidenceGap(0.1)).value == 1.0


def test_a_gap_needs_two_rows_with_a_confidence():
    assert ConfidenceGap.of([0.9, np.nan], [1, 1]) == ConfidenceGap()
    gap = ConfidenceGap.of([0.5, 0.5, np.nan], [True, False, True])
    assert (gap.value, gap.variance) == (0.0, 0.25)


def test_thresholds_are_seeded():
    rng = np.random.default_rng(10)
    reference, window = frame(rng, 1_000), frame(rng, 200)
    first = compare_profiles(Profile.fit(reference, seed=1), window)
    pd.testing.assert_frame_equal(first, compare_profiles(Profile.fit(reference, seed=1), window))
    other = compare_profiles(Profile.fit(reference, seed=2), window)
    assert (first["threshold"] != other["threshold"]).any()


def test_estimated_accuracy_covers_what_the_labels_will_show():
    rng, hits = np.random.default_rng(11), 0
    for _ in range(400):
        confidence = rng.uniform(0.5, 1, size=150)
        got = estimated_accuracy(confidence)
        hits += got.low <= (rng.random(150) < confidence).mean() <= got.high
    assert hits >= binom.ppf(0.001, 400, 0.95)
    assert got.value == pytest.approx(confidence.mean())
    assert got.n == 150


REFERENCE = pd.DataFrame({"x": [1.0, 2.0, 3.0], "c": ["a", "b", "b"]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: Profile.fit(REFERENCE[:1]), "has 1 rows"),
        (lambda p: Profile.fit(REFERENCE, ["y"]), "lack the column 'y'"),
        (lambda p: Profile.fit(REFERENCE, []), "No column"),
        (lambda p: Profile.fit(REFERENCE[["x"]] * np.nan), "'x' is missing throughout"),
        (lambda p: Profile.fit(REFERENCE.assign(c=None), ["c"]), "'c' is missing throughout"),
        (lambda p: Profile.fit(pd.DataFrame({"t": pd.to_datetime(["2025"] * 2)}), ["t"]), "'t' is"),
        (lambda p: Profile.fit(REFERENCE.rename(columns={"x": 0}), [0]), "a str name"),
        (lambda p: compare_profiles(p, REFERENCE[:0]), "window is empty"),
        (lambda p: compare_profiles(p, REFERENCE[["x"]]), "lack the column 'c'"),
        (lambda p: compare_profiles(p, REFERENCE, alpha=0), "alpha is 0"),
        (lambda p: compare_profiles(p, REFERENCE, min_effect=2), "min_effect 2"),
        (lambda p: compare_windows(p, REFERENCE, ["jan", "jan"]), "2 of 3 rows"),
        (lambda p: compare_windows(p, REFERENCE, ["jan", None, "feb"]), "2 of 3 rows"),
        (lambda p: estimated_accuracy([0.9]), "at least two"),
        (lambda p: estimated_accuracy([0.9, math.nan]), "outside 0..1"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call(Profile.fit(REFERENCE))
