import pytest

from diptych.execution.runs import Run
from diptych.reporting import after_run

TASK = {"task": "my file.csv", "text_column": "text", "label_column": "left", "data_version": -1}


def run(notebook, values, tmp_path, **facts):
    entries = {name: {"value": value, "low": low, "high": high, "unit": ""}
               for name, (value, low, high) in values.items()}  # fmt: skip
    result = {"values": entries, "facts": facts, "task": TASK | {"seed": 3, "source": "abc"}}
    return Run("id", tmp_path, {"name": notebook}, result)


def test_figures_warnings_and_the_next_command(tmp_path):
    done = run("mlops/1_data", {"rows": (400, None, None), "warnings": (1, None, None)}, tmp_path)
    assert after_run.lines(done) == [
        "  rows 400 · warnings 1",
        "  1 warning: the table Validation on the page says which",
        "  next: diptych run mlops/2_build -p 'task=my file.csv' -p label_column=left -p seed=3",
    ]


def test_figures_with_an_interval_come_first(tmp_path):
    values = {f"f{i}": (i, None, None) for i in range(9)} | {"accuracy": (0.8, 0.7, 0.9)}
    first, *_ = after_run.lines(run("mine/report", values, tmp_path))
    assert first.startswith("  accuracy 0.800 (0.700 to 0.900) · f0 0 · ")
    assert "f4" not in first


@pytest.mark.parametrize("promoted", [True, False])
def test_after_a_release_the_gate_is_named(tmp_path, promoted):
    values = {"accuracy": (0.8, 0.7, 0.9)}
    text = "\n".join(after_run.lines(run("mlops/3_release", values, tmp_path, promoted=promoted)))
    assert ("diptych serve model --task 'my file.csv'" in text) == promoted
    assert ("gate refused it" in text) != promoted


def test_nothing_is_said_of_a_run_that_recorded_nothing(tmp_path):
    assert after_run.lines(Run("id", tmp_path, {"name": "mine/report"}, {})) == []
