"""A scenario is one file: which notebooks, with which parameters."""

import pytest

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.execution.runner import prepare
from diptych.reporting.scenario import load, names_of_all, steps

MINE = """
title: Sentences
question: Good or bad?
files: []
parameters: [task=mine.csv, text_column=sentence, trials=1]
notebooks: [mlops/1_data, mlops/2_build]
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return path


def test_each_parameter_reaches_the_notebooks_that_declare_it(mine):
    (data, _, first), (build, _, second) = steps(load(str(mine)), [])
    assert (data, build) == ("mlops/1_data", "mlops/2_build")
    assert first == ["task=mine.csv", "text_column=sentence"]
    assert second == [*first, "trials=1"]


def test_an_override_wins_over_the_scenario(mine):
    *_, (notebook, files, overrides) = steps(load(str(mine)), ["trials=3", "margin=0.1"])
    values = prepare(notebook, files, overrides).values
    assert (values["trials"], values["margin"]) == (3, 0.1)
    assert values["task"] == "mine.csv"


def test_a_step_has_files_and_parameters_of_its_own(mine):
    step = "mlops/2_build tasks/digits family=cnn trials=2"
    mine.write_text(MINE.replace("mlops/2_build]", f"{step}, mlops/2_build]"))
    found = steps(load(str(mine)), [])
    assert [name for name, *_ in found] == ["mlops/1_data", "mlops/2_build", "mlops/2_build"]
    assert [files for _, files, _ in found] == [[], ["tasks/digits"], []]
    assert found[1][2] == ["task=mine.csv", "text_column=sentence", "trials=2", "family=cnn"]
    assert found[2][2] == ["task=mine.csv", "text_column=sentence", "trials=1"]
    *_, (_, _, told), _ = steps(load(str(mine)), ["trials=5"])
    assert told == ["task=mine.csv", "text_column=sentence", "trials=5", "family=cnn"]


@pytest.mark.parametrize(
    ("step", "problem"),
    [("mlops/2_build trails=2", "trails"), ("mlops/2_build task/dgits", "dgits")],
)
def test_a_step_with_a_wrong_word_is_refused_before_anything_runs(mine, step, problem):
    mine.write_text(MINE.replace("mlops/2_build]", f"{step}]"))
    with pytest.raises(ParameterError, match=problem):
        prepare(*steps(load(str(mine)), [])[-1])


def test_what_only_the_contrast_declares_is_known_and_given_to_no_other(mine):
    for _, _, overrides in steps(load(str(mine)), ["usd_per_label=2"]):
        assert "usd_per_label=2" not in overrides


@pytest.mark.parametrize("text", ["trails=3", "scenario=x"])
def test_a_parameter_nobody_declares_is_refused(mine, text):
    with pytest.raises(ParameterError, match=r"no notebook of mine has this parameter"):
        steps(load(str(mine)), [text])


def test_a_file_with_a_wrong_key_is_refused(mine):
    mine.write_text(MINE.replace("question", "questions"))
    with pytest.raises(ParameterError, match=r"mine\.yaml: question missing or unknown"):
        load(str(mine))


@pytest.mark.parametrize("name", names_of_all())
def test_every_scenario_that_ships_can_be_prepared(name):
    for step in steps(load(name), []):
        prepare(*step)
    assert (workspace.repo_root() / "params" / "scenarios" / f"{name}.yaml").exists()
