"""The report asks a run for declared names only, and an old run does not pass for a silent one."""

from dataclasses import replace

import pandas as pd
import pytest
from reporting.both import NAME, ROWS, SCENARIO, runs

from diptych.core import contract
from diptych.core.contract import BUILD, IMPROVE, RELEASE, SERVE, RecordError, Table, Value
from diptych.reporting.contrast.contrast import contrast as compare
from diptych.reporting.contrast.evidence import Panel, sides
from diptych.reporting.contrast.measures import Assumptions


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(
    "ask",
    [
        lambda panel: panel.value(SERVE, contract.FIRST_TOKEN),  # of the other panel
        lambda panel: panel.value(SERVE, Value("p51_ms", "")),
        lambda panel: panel.fact(IMPROVE, contract.TUNED),
        lambda panel: panel.table(BUILD, contract.RESULTS),
        lambda panel: panel.table(SERVE, Table("streams", "", ())),
        lambda panel: panel.parameter(SERVE, "windows"),
        lambda panel: panel.run("7_retire"),
        lambda panel: panel.seconds("7_retire"),
    ],
)
@pytest.mark.parametrize("without", [True, False], ids=["no runs", "runs"])
def test_a_name_that_is_not_declared_is_refused_with_or_without_runs(both, ask, without):
    with pytest.raises(RecordError):
        ask(Panel("mlops", [] if without else both))


def changed(both, notebook, change):
    """Return the runs, one with another result."""
    return [
        replace(run, result=change(run.result)) if run.notebook == notebook else run for run in both
    ]


def test_a_run_that_recorded_under_an_old_name_is_refused_and_not_called_not_measured(both):
    name = "answer_instability"

    def renamed(result):
        values = dict(result["values"])
        return result | {"values": values | {"changed_when_asked_again": values.pop(name)}}

    old = changed(both, "llmops/2_build", renamed)
    with pytest.raises(RecordError, match=f"{name}: .* Run llmops/2_build again"):
        compare(SCENARIO, old, Assumptions())


def test_a_table_that_is_gone_or_of_another_shape_is_refused(both, tmp_path):
    own = runs(tmp_path)
    (build,) = [run for run in own if run.notebook == "llmops/2_build"]
    path = build.folder / "perturbed_results.parquet"
    pd.read_parquet(path).drop(columns="score").to_parquet(path)
    with pytest.raises(RecordError, match=r"perturbed_results: .* lacks score"):
        compare(SCENARIO, own, Assumptions())
    path.unlink()
    with pytest.raises(RecordError, match=r"perturbed_results: .* Run llmops/2_build again"):
        compare(SCENARIO, own, Assumptions())


def test_numbers_have_no_grades_and_labels_may_not_lack_theirs(tmp_path):
    own = runs(tmp_path)
    (build,) = [run for run in own if run.notebook == "mlops/2_build"]
    path = build.folder / "test_predictions.parquet"
    rows = pd.read_parquet(path).assign(score=None)
    rows.assign(label="yes").to_parquet(path)
    with pytest.raises(RecordError, match="a graded row of it is missing or without its score"):
        _ = Panel("mlops", own).grades
    rows.assign(label=1.5).to_parquet(path)
    (asked,) = [run for run in own if run.notebook == "llmops/2_build"]
    for name in ("results", "perturbed_results", "hand_written_results"):
        table = asked.folder / f"{name}.parquet"
        pd.read_parquet(table).assign(score=None, expected=1.5).to_parquet(table)
    assert Panel("llmops", own).grades.isna().all()
    grades = Panel("mlops", own).grades
    assert grades.isna().all()
    assert len(grades) == rows["id"].nunique()


def test_grades_come_from_the_declared_tables_and_no_other(both, tmp_path):
    own = runs(tmp_path)
    for run in own:
        if run.notebook.endswith("2_build"):
            stray = {"family": "logistic", "variant": NAME, "id": "stray", "score": 0.0}
            pd.DataFrame([stray | {"correct": False}]).to_parquet(run.folder / "stray.parquet")
    for panel in sides(own):
        assert "stray" not in panel.grades.index
    assert len(sides(both)[1].grades) == 2 * ROWS + 100  # as they are, perturbed, hand-written


def test_a_selected_model_without_grades_is_refused(both):
    def other(result):
        return result | {"facts": result["facts"] | {"family": "cnn"}}

    mlops, _ = sides(changed(both, "mlops/2_build", other))
    with pytest.raises(RecordError, match=r"cnn: run .* selected it"):
        _ = mlops.grades


def test_what_a_run_could_not_measure_or_may_leave_out_is_none(both):
    mlops, llmops = sides(both)
    assert mlops.value(RELEASE, contract.SCORE) is None  # recorded as null
    assert llmops.value(IMPROVE, contract.CHAMPION_AFTERWARDS) is None  # left out
    assert llmops.declares(RELEASE, contract.CPU_PER_REQUEST)
    assert not mlops.declares(RELEASE, contract.CPU_PER_REQUEST)
