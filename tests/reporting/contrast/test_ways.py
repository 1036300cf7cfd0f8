"""Every way to do the task, compared on the same rows."""

import numpy as np
import pytest
from reporting.both import NAME, ROWS, SCENARIO, runs

from diptych.core.evaluation import stats
from diptych.reporting.contrast import contrast, evidence, ways
from diptych.reporting.contrast.measures import Assumptions

ASSUMPTIONS = Assumptions()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    found = runs(tmp_path_factory.mktemp("runs"), asked=400)
    return ways.ways(*evidence.sides(found), ASSUMPTIONS).set_index("way")


def test_all_are_measured_on_the_rows_that_all_answered(table):
    assert table["n"].unique().tolist() == [400]
    assert table.loc["logistic", "value"] == pytest.approx((400 - 15) / 400)
    assert table.loc["baseline", "value"] == pytest.approx(150 / 400)
    assert table.loc[NAME, "value"] == 1  # its wrong rows are the last, which were not asked
    wilson = stats.wilson(385, 400)
    ends = table.loc["logistic", "low"], table.loc["logistic", "high"]
    assert ends == pytest.approx((wilson.low, wilson.high))


def test_each_is_held_against_the_best_row_by_row(table):
    assert table.index[0] == NAME
    assert table["against the best"].to_dict() == {
        NAME: "best", "logistic": "inconclusive", "baseline": "worse"
    }  # fmt: skip


def test_the_frontier_is_what_nothing_beats_with_no_more_labels(table):
    assert table["labels"].to_dict() == {NAME: 8, "logistic": 800, "baseline": 800}
    assert table["on the frontier"].to_dict() == {NAME: True, "logistic": False, "baseline": False}


def test_more_labels_are_on_the_frontier_where_they_pay(tmp_path):
    found = runs(tmp_path, wrong=(15, 100))
    table = ways.ways(*evidence.sides(found), ASSUMPTIONS).set_index("way")
    assert table["on the frontier"].to_dict() == {"logistic": True, NAME: True, "baseline": False}
    assert table["selected"].to_dict() == {"logistic": True, NAME: True, "baseline": False}


def test_one_side_alone_is_compared_too(tmp_path):
    found = [run for run in runs(tmp_path) if run.notebook.startswith("mlops/")]
    table = ways.ways(*evidence.sides(found), ASSUMPTIONS)
    assert table["n"].unique().tolist() == [ROWS]
    assert np.all(table["panel"] == "mlops")
    assert "logistic (0.970, 800 labels)" in ways.html(table, "Sentiment")


def test_without_runs_there_is_no_way(tmp_path):
    made = contrast.contrast(SCENARIO, [], ASSUMPTIONS)
    assert made.ways.empty
    assert ways.html(made.ways, "Sentiment") == ""
