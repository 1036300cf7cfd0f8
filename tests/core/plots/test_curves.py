"""Pictures of decisions: the figures they speak are those of the rows."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as of

from diptych.core.evaluation import thresholds
from diptych.core.evaluation.metrics import METRICS
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.plots import curves


@pytest.fixture
def rows() -> ScoredRows:
    rng = np.random.default_rng(0)
    yes = rng.random(600) < 0.2
    score = np.round(1 / (1 + np.exp(-(rng.normal(size=600) + 2 * yes - 2))), 2)
    return ScoredRows.of_labels(
        np.where(yes, "yes", "no"), np.where(score > 0.5, "yes", "no"),
        np.column_stack([1 - score, score]), ("no", "yes"), "yes",
    )  # fmt: skip


def test_curves_are_scikit_learns(rows):
    drawn = curves._rates(rows)
    fpr, tpr, _ = of.roc_curve(rows.is_positive, rows.score, drop_intermediate=False)
    assert drawn["false positive rate"].tolist() == pytest.approx(fpr.tolist())
    assert drawn["recall"].tolist() == pytest.approx(tpr.tolist())
    precision, recall, _ = of.precision_recall_curve(rows.is_positive, rows.score)
    by_recall = pd.DataFrame({"recall": recall, "precision": precision}).iloc[:-1][::-1]
    assert drawn["precision"].iloc[1:].tolist() == pytest.approx(by_recall["precision"].tolist())


def test_the_confusion_matrix_counts_every_row_and_missing_answers():
    rows = ScoredRows.of_labels(["a", "a", "b", "c"], ["a", "b", None, "c"], classes="abc")
    table = curves._crosstab(rows)
    assert table.loc["a", ["a", "b"]].tolist() == [1, 1]
    assert table.loc["b", "no answer"] == 1
    assert table.to_numpy().sum() == 4
    many = ScoredRows.of_labels([str(i % 60) for i in range(600)], ["1"] * 600)
    assert curves._crosstab(many).shape == (20, 20)
    assert curves._crosstab(many).to_numpy().sum() == 600
    silent = ScoredRows(many.truth, np.full(len(many), None), None, many.classes)
    assert curves._crosstab(silent)["no answer"].sum() == 600  # not among the others


def test_each_plot_draws_and_speaks(rows, capsys):
    numbers = ScoredRows.of_numbers([1.0, 2.0, 3.0], [1.5, 2.0, 2.0])
    chosen = thresholds.choose(rows, METRICS["f1"])
    for plot, words in (
        (lambda: curves.confusion_plot(rows), "most frequent error: yes taken for no"),
        (lambda: curves.roc_and_precision_plot(rows, threshold=chosen.value), "ROC-AUC 0."),
        (lambda: curves.roc_and_precision_plot({"a": rows, "b": rows}), "b: ROC-AUC"),
        (lambda: curves.threshold_plot(chosen), f"at the chosen one, {chosen.value:.3f}"),
        (lambda: curves.residual_plot(numbers, half_width=0.7), "mean -0.167, largest 1"),
    ):
        plot()
        assert words in capsys.readouterr().out


def test_the_pictures_that_suit_the_rows_are_drawn(rows, capsys):
    numbers = ScoredRows.of_numbers([1.0, 2.0, 3.0], [1.5, 2.0, 2.0])
    three = ScoredRows.of_labels(["a", "b", "c"], ["a", "b", "b"])
    chosen = thresholds.choose(rows, METRICS["f1"])
    drawn = {}
    for name, what in {
        "labels": lambda: curves.decision_plots(rows, chosen),
        "three": lambda: curves.decision_plots(three),
        "numbers": lambda: curves.decision_plots(numbers),
        "grades": lambda: curves.decision_plots(ScoredRows.of_grades([0.2, 0.9])),
    }.items():
        what()
        drawn[name] = capsys.readouterr().out
    assert [text in drawn["labels"] for text in ("Confusion", "ROC", "threshold")] == [True] * 3
    assert "Confusion" in drawn["three"]
    assert "ROC" not in drawn["three"]
    assert "Errors of 3" in drawn["numbers"]
    assert drawn["grades"] == ""


def test_a_card_has_the_pictures_beside_it(rows, tmp_path, capsys):
    chosen = thresholds.choose(rows, METRICS["f1"])
    text = curves.card_pictures(thresholds.applied(rows, chosen.value), tmp_path, chosen)
    places = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(places) == 4  # confusion, ROC with precision and recall, threshold, reliability
    for place in places:
        assert ElementTree.parse(tmp_path / place).getroot().tag.endswith("svg")
    assert not capsys.readouterr().out  # nothing was shown
    curves.confusion_plot(rows)
    assert "Confusion matrix" in capsys.readouterr().out
    assert curves.card_pictures(ScoredRows.of_grades([0.5, 1.0]), tmp_path) == ""
