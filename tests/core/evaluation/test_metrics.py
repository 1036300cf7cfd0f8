"""Each metric's figure is scikit-learn's, its interval and comparison an independent one's."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn import metrics as sklearn_metrics
from statsmodels.stats.proportion import proportion_confint

from diptych.core.evaluation import metrics
from diptych.core.evaluation.metrics import METRICS, MetricError
from diptych.core.evaluation.scored import ScoredRows


def binary(n=300, share=0.3, gain=1.4, seed=0, digits=2) -> ScoredRows:
    """Draw scores with ties, whose classes overlap."""
    rng = np.random.default_rng(seed)
    yes = np.arange(n) < round(share * n)
    score = np.round(scipy_stats.norm.cdf(rng.normal(size=n) + gain * (yes - 0.5)), digits)
    truth = np.where(yes, "yes", "no")
    said = np.where(score >= 0.6, "yes", "no")
    return ScoredRows.of_labels(truth, said, np.column_stack([1 - score, score]), ("no", "yes"))


def many(n=300, seed=0) -> ScoredRows:
    rng = np.random.default_rng(seed)
    classes = np.array(["a", "b", "c"])
    codes = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    shares = rng.dirichlet(np.ones(3), n) + 0.8 * np.eye(3)[codes]
    shares /= shares.sum(1, keepdims=True)
    return ScoredRows.of_labels(classes[codes], classes[shares.argmax(1)], shares, classes)


def numbers(n=240, seed=0) -> ScoredRows:
    rng = np.random.default_rng(seed)
    truth = rng.gamma(2, 3, n)
    return ScoredRows.of_numbers(truth, truth + rng.normal(0.2, 1, n))


def by_sklearn(name: str, rows: ScoredRows) -> float:
    t, p, s = rows.truth.tolist(), rows.predicted.tolist(), rows.probabilities
    of = sklearn_metrics
    if rows.truth.dtype.kind == "f":
        return {
            "rmse": lambda: of.root_mean_squared_error(t, p),
            "mae": lambda: of.mean_absolute_error(t, p),
            "r2": lambda: of.r2_score(t, p),
            "pinball_0.1": lambda: of.mean_pinball_loss(t, p, alpha=0.1),
            "pinball_0.9": lambda: of.mean_pinball_loss(t, p, alpha=0.9),
        }[name]()
    yes = {"pos_label": rows.positive}
    two = len(rows.classes) == 2
    score = s[:, rows.classes.index(rows.positive)] if two else s
    one_hot = np.asarray(t)[:, None] == np.asarray(rows.classes)
    return {
        "accuracy": lambda: of.accuracy_score(t, p),
        "balanced_accuracy": lambda: of.balanced_accuracy_score(t, p),
        "macro_f1": lambda: of.f1_score(t, p, average="macro"),
        "f1": lambda: of.f1_score(t, p, **yes),
        "precision": lambda: of.precision_score(t, p, **yes),
        "recall": lambda: of.recall_score(t, p, **yes),
        "mcc": lambda: of.matthews_corrcoef(t, p),
        "roc_auc": lambda: of.roc_auc_score(
            np.asarray(t) == rows.positive if two else t, score, multi_class="ovr"
        ),
        "average_precision": lambda: of.average_precision_score(
            np.asarray(t) == rows.positive if two else one_hot, score
        ),
        "log_loss": lambda: of.log_loss(t, s, labels=list(rows.classes)),
        "brier": lambda: of.brier_score_loss(t, score, **yes) if two
        else of.brier_score_loss(t, s, labels=list(rows.classes)),
    }[name]()  # fmt: skip


CLASSIFYING = [m.name for m in METRICS.values() if m.needs in ("labels", "probabilities")]
COUNTING = [m.name for m in METRICS.values() if m.needs == "numbers"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CLASSIFYING)
def test_figures_of_two_classes_are_scikit_learns(name, seed):
    rows = binary(seed=seed)
    assert METRICS[name].figure(rows) == pytest.approx(by_sklearn(name, rows), abs=1e-12)


@pytest.mark.parametrize("name", [n for n in CLASSIFYING if not METRICS[n].binary])
def test_figures_of_many_classes_are_scikit_learns(name):
    rows = many()
    assert METRICS[name].figure(rows) == pytest.approx(by_sklearn(name, rows), abs=1e-12)


@pytest.mark.parametrize("name", COUNTING)
def test_figures_of_numbers_are_scikit_learns(name):
    rows = numbers()
    assert METRICS[name].figure(rows) == pytest.approx(by_sklearn(name, rows), abs=1e-12)


@pytest.mark.parametrize("name", [*CLASSIFYING, *COUNTING])
def test_each_rows_influence_is_what_the_figure_loses_without_it(name):
    rows = numbers(120) if name in COUNTING else binary(120)
    figure, influences = METRICS[name].influences(rows)
    n = len(rows)
    keep = np.arange(n)
    left_out = [(n - 1) * (figure - METRICS[name].figure(rows.take(keep != i))) for i in keep]
    assert influences.mean() == pytest.approx(0, abs=1e-9)
    assert np.corrcoef(influences, left_out)[0, 1] > 0.98
    assert influences.std() == pytest.approx(np.std(left_out), rel=0.15)


@pytest.mark.parametrize("name", [*CLASSIFYING, *COUNTING])
def test_intervals_agree_with_the_bootstrap(name):
    rows = numbers(400) if name in COUNTING else binary(400)
    rng = np.random.default_rng(5)
    metric, estimate = METRICS[name], METRICS[name].estimate(rows)
    drawn = [metric.figure(rows.take(rng.integers(0, 400, 400))) for _ in range(300)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    width = high - low
    assert estimate.low == pytest.approx(low, abs=0.25 * width)
    assert estimate.high == pytest.approx(high, abs=0.25 * width)


@pytest.mark.parametrize("name", [*CLASSIFYING, *COUNTING])
def test_paired_comparisons_agree_with_the_bootstrap(name):
    draw = numbers if name in COUNTING else binary
    old, new = draw(400, seed=0), draw(400, seed=0)
    rng = np.random.default_rng(6)
    if name in COUNTING:
        better = old.truth + 0.7 * (old.predicted - old.truth) + rng.normal(0, 0.2, 400)
        new = ScoredRows.of_numbers(old.truth, better)
    else:
        score = np.clip(old.score + 0.15 * (2 * old.is_positive - 1) * rng.random(400), 0, 1)
        said = np.where(score >= 0.6, "yes", "no")
        new = ScoredRows.of_labels(
            old.truth, said, np.column_stack([1 - score, score]), old.classes, "yes"
        )
    metric = METRICS[name]
    gap = metric.improvement(new, old)
    sign = 1 if metric.higher_is_better else -1
    picks = [rng.integers(0, 400, 400) for _ in range(300)]
    drawn = [sign * (metric.figure(new.take(i)) - metric.figure(old.take(i))) for i in picks]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert gap.value == pytest.approx(sign * (metric.figure(new) - metric.figure(old)))
    assert gap.value > 0
    assert gap.low == pytest.approx(low, abs=0.3 * (high - low))
    assert gap.high == pytest.approx(high, abs=0.3 * (high - low))


def test_shares_have_wilsons_interval():
    rows = binary()
    yes, said = rows.is_positive, rows.says_positive
    for name, right, n in (
        ("recall", (yes & said).sum(), yes.sum()),
        ("precision", (yes & said).sum(), said.sum()),
        ("accuracy", (rows.truth == rows.predicted).sum(), len(rows)),
    ):
        low, high = proportion_confint(right, n, method="wilson")
        estimate = METRICS[name].estimate(rows)
        assert (estimate.low, estimate.high) == pytest.approx((low, high))


def test_delongs_variance_is_that_of_the_placements():
    """By the definition of DeLong et al. 1988, pair by pair."""
    rows = binary(60)
    yes, no = rows.score[rows.is_positive], rows.score[~rows.is_positive]
    wins = (yes[:, None] > no) + 0.5 * (yes[:, None] == no)
    variance = wins.mean(1).var() / len(yes) + wins.mean(0).var() / len(no)
    figure, moved = METRICS["roc_auc"].influences(rows)
    assert figure == pytest.approx(wins.mean())
    assert (moved @ moved) / len(rows) ** 2 == pytest.approx(variance)


def test_a_worked_table_by_hand():
    """8 rows: TP 2, FN 1, FP 1, TN 4."""
    truth = ["yes"] * 3 + ["no"] * 5
    said = ["yes", "yes", "no", "yes", "no", "no", "no", "no"]
    rows = ScoredRows.of_labels(truth, said)
    figures = {n: METRICS[n].figure(rows) for n in CLASSIFYING if METRICS[n].needs == "labels"}
    assert figures == pytest.approx({
        "accuracy": 6 / 8, "balanced_accuracy": (2 / 3 + 4 / 5) / 2, "f1": 4 / 6,
        "macro_f1": (4 / 6 + 8 / 10) / 2, "precision": 2 / 3, "recall": 2 / 3,
        "mcc": (2 * 4 - 1 * 1) / np.sqrt(3 * 3 * 5 * 5),
    })  # fmt: skip


def test_models_that_agree_on_few_rows_have_no_interval_of_width_zero():
    rows = binary(20)
    gap = METRICS["accuracy"].improvement(rows, rows)
    assert gap.value == 0
    assert gap.low < -0.1 < 0.1 < gap.high


@pytest.mark.parametrize("name", ["average_precision", "roc_auc", "macro_f1", "r2"])
def test_an_interval_of_hardly_a_row_is_wide_at_any_level(name):
    rows = numbers(4) if name == "r2" else binary(30)
    if name != "r2":
        rows = rows.take(np.append(np.flatnonzero(~rows.is_positive), np.argmax(rows.is_positive)))
    figure = METRICS[name].estimate(rows, 1 - 1e-7)
    assert figure.low <= figure.value <= figure.high
    assert figure.note


def test_equal_costs_on_few_rows_do_not_show_that_nothing_is_lost():
    """A row more could cost 50; with rows enough it no longer matters."""
    metric = metrics.cost({"yes": {"no": 50.0}, "no": {"yes": 2.0}})
    few = metric.improvement(binary(40), binary(40))
    assert few.low < -2 < 2 < few.high
    many = metric.improvement(binary(20_000), binary(20_000))
    assert -0.01 < many.low < 0 < many.high < 0.01


def test_a_perfect_figure_has_an_interval():
    rows = ScoredRows.of_labels(["a", "b"] * 15, ["a", "b"] * 15, np.tile(np.eye(2), (15, 1)))
    for name in ("accuracy", "f1", "roc_auc", "average_precision", "balanced_accuracy", "macro_f1"):
        estimate = METRICS[name].estimate(rows)
        assert estimate.high == pytest.approx(1), name
        assert 0.6 < estimate.low < 0.95, name


def test_too_few_rows_of_a_class_are_said():
    truth = np.repeat(["yes", "no"], [3, 97])
    score = np.linspace(1, 0, 100)
    rows = ScoredRows.of_labels(
        truth, np.where(score > 0.5, "yes", "no"), np.column_stack([1 - score, score])
    )
    rows = ScoredRows.of_labels(rows.truth, rows.predicted, rows.probabilities, ("no", "yes"))
    estimate = METRICS["average_precision"].estimate(rows)
    assert not estimate.reliable
    assert estimate.note.startswith("3 rows of 'yes' are too few")
    assert METRICS["accuracy"].estimate(rows).reliable
    none = rows.take(rows.truth == "no")
    assert np.isnan(METRICS["roc_auc"].estimate(none).value)
    assert "there are no rows of 'yes'" in METRICS["recall"].estimate(none).note


def test_a_cost_matrix_costs_what_it_says():
    rows = ScoredRows.of_labels(["yes", "yes", "no", "no"], ["yes", "no", "yes", "no"])
    metric = metrics.cost({"yes": {"no": 50.0}, "no": {"yes": 2.0}}, "EUR")
    assert metric.estimate(rows).value == pytest.approx(52 / 4)
    assert metric.title == "cost per row in EUR"
    with pytest.raises(MetricError, match="none is given for predicting 'yes' where 'no' is true"):
        metrics.cost({"yes": {"no": 50.0}}).figure(rows)


def test_an_answer_that_is_missing_is_wrong():
    rows = ScoredRows.of_labels(["a", "b", "a"], ["a", None, "a"])
    assert METRICS["accuracy"].figure(rows) == pytest.approx(2 / 3)
    assert METRICS["recall"].figure(rows) == 0  # b is the rarer
    failed = ScoredRows.of_numbers([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(MetricError, match="1 of 2 rows have no predicted number"):
        METRICS["rmse"].estimate(failed)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.get("acuracy"), "Did you mean 'accuracy'"),
        (lambda: METRICS["rmse"].figure(binary()), "rmse does not suit labels"),
        (lambda: METRICS["f1"].figure(numbers()), "f1 does not suit numbers"),
        (lambda: METRICS["f1"].figure(many()), "looks for one class of two, and there are 3"),
        (lambda: METRICS["roc_auc"].figure(ScoredRows.of_labels(["a", "b"], ["a", "b"])),
         "needs probabilities"),
        (lambda: METRICS["accuracy"].improvement(binary(), binary(200)), "same rows"),
        (lambda: ScoredRows.of_labels(["a", None], ["a", "b"]), "missing labels"),
        (lambda: ScoredRows.of_labels(["a", "b"], ["a", "b"], [[0.1, 1.2], [0, 1]]), "0..1"),
        (lambda: ScoredRows.of_labels(["a", "b"], ["a", "b"], positive="c"), "positive is 'c'"),
        (lambda: ScoredRows.of_grades([0.5, np.nan]), "a failed answer"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("spec", "truth", "settled"),
    [
        ("", ["a", "b"] * 50, "accuracy"),
        ("", ["a"] * 98 + ["b"] * 2, "average_precision:b"),
        ("", ["a"] * 90 + ["b"] * 5 + ["c"] * 5, "macro_f1"),
        ("", [1.5, 2.0, 2.5], "rmse"),
        ("f1", ["a"] * 30 + ["b"] * 20, "f1:b"),
        ("f1:a", ["a"] * 30 + ["b"] * 20, "f1:a"),
        ("roc_auc", ["a", "b", "c"], "roc_auc"),
        ("mae", [1.0, 2.0], "mae"),
        ("cost:a>b=5,b>a=1", ["a", "b"], "cost:a>b=5,b>a=1"),
    ],
)
def test_the_metric_is_settled_once_with_its_class_and_its_reason(spec, truth, settled):
    chosen, why = metrics.settle(spec, truth)
    assert chosen == settled
    assert why.endswith(".")
    assert metrics.parse(chosen).spec == settled


@pytest.mark.parametrize(
    ("spec", "truth", "message"),
    [
        ("rmse", ["a", "b"], "'rmse' does not suit classes"),
        ("f1", [1.0, 2.0], "'f1' does not suit numbers"),
        ("f1:c", ["a", "b"], "'c' in 'f1:c' is no class"),
        ("recall", ["a", "b", "c"], "there are 3"),
        ("accuracy:a", ["a", "b"], "looks for no single class"),
        ("cost:a=5", ["a", "b"], "cannot be read at 'a=5'"),
        ("cost:a>b=x", ["a", "b"], "cannot be read at 'a>b=x'"),
        ("grade", ["a", "b"], "does not suit"),
    ],
)
def test_a_metric_that_does_not_suit_is_refused(spec, truth, message):
    with pytest.raises(MetricError, match=message):
        metrics.settle(spec, truth)
