"""Your own table through both sides by one command: what is written, and what is refused before."""

import pytest

from diptych.core.data.sources import DataError
from diptych.reporting import scenario
from diptych.reporting.contrast import own_table, questions

ROWS = [(f"t-{n}", "good" if n % 3 else "bad", f"2026-0{1 + n % 6}-11") for n in range(90)]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    file = tmp_path / "tickets of may.csv"
    lines = [f"it was {label} number {name},{label},{day}" for name, label, day in ROWS]
    file.write_text("\n".join(["message,team,sent", *lines]))
    return file


def test_a_table_becomes_a_scenario_that_can_be_prepared(table):
    columns = {"text_column": "message", "label_column": "team", "time_column": ""}
    made = scenario.load(str(own_table.write_scenario(str(table), columns, ["openai/gpt-5"])))
    steps = scenario.steps(made, [])
    assert [step[0] for step in steps][:2] == ["mlops/1_data", "mlops/2_build"]
    parameters = dict(text.split("=", 1) for text in steps[0][2])
    assert parameters["text_column"] == "message"
    assert "models=[openai/gpt-5]" in {name: texts for name, _, texts in steps}["llmops/2_build"]
    assert not [step for step in steps if step[0].endswith("6_improve")]
    assert "change" not in {question.key for question in questions.asked(made.questions)}


def test_rows_with_a_time_are_followed_to_the_end(table):
    columns = {"text_column": "message", "label_column": "team", "time_column": "sent"}
    made = scenario.load(str(own_table.write_scenario(str(table), columns)))
    assert made.notebooks[-1] == "llmops/6_improve"
    assert "change" in {question.key for question in questions.asked(made.questions)}


def test_a_task_is_taken_by_its_name_and_has_its_columns(table):
    made = scenario.load(str(own_table.write_scenario("tumours", {"label_column": "label"})))
    assert "task=tumours" in made.parameters
    assert "llmops/5_monitor" not in made.notebooks  # its rows have no time
    assert "llmops/5_monitor" in own_table.both_sides(True)["notebooks"]
    with pytest.raises(DataError, match="text_column: 'x' is given, and the task tumours has its"):
        own_table.write_scenario("tumours", {"text_column": "x"})


def test_a_column_that_is_not_there_is_named_before_anything_runs(table):
    with pytest.raises(DataError, match="label_column: there is no column 'stars'"):
        own_table.write_scenario(str(table), {"text_column": "message", "label_column": "stars"})


def test_what_it_takes_is_said_before(table):
    columns = {"text_column": "message", "label_column": "team"}
    file = own_table.write_scenario(str(table), columns, ["openai/gpt-5"])
    assert "8 notebooks" in own_table.described(file, ["openai/gpt-5"])
    assert "openai/gpt-5 is asked up to --max-usd" in own_table.described(file, ["openai/gpt-5"])
    assert "No call costs anything" in own_table.described(file, ["local"])
