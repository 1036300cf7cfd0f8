import json

import papermill
import pytest

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.execution.declaration import Parameter, read_parameters
from diptych.execution.notebooks import all_files

OWN = workspace.repo_root() / "notebooks"


def declare(tmp_path, text):
    """Read a parameters cell."""
    cell = {"cell_type": "code", "source": text, "metadata": {"tags": ["parameters"]}}
    path = tmp_path / "cell.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}))
    return read_parameters(path)


def test_what_a_line_declares(notebooks):
    read = {parameter.name: parameter for parameter in read_parameters(notebooks / "good.ipynb")}
    assert read["depth"] == Parameter("depth", "int", 4, "depth of a tree [1..12]", 1, 12)
    assert read["floor"].minimum == -1
    assert read["floor"].maximum is None
    assert read["rate"].maximum == 1.0
    assert read["mode"].choices == ("fast", "exact")
    assert read["names"] == Parameter("names", "list[str]", ["a", "b"], "columns")
    assert read["shuffle"].default is True


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem)
        for path in all_files(OWN, (".ipynb",))
        if '"parameters"' in path.read_text()
    ],
)
def test_papermill_reads_the_same_names_and_help(path):
    theirs = papermill.inspect_notebook(path)
    assert {p.name: p.help for p in read_parameters(path)} == {
        name: entry["help"] for name, entry in theirs.items()
    }


def test_papermill_reads_the_same_of_the_fixture(notebooks):
    test_papermill_reads_the_same_names_and_help(notebooks / "good.ipynb")


def test_a_hash_in_a_default_starts_no_comment(tmp_path):
    (parameter,) = declare(tmp_path, 'mark: str = "# no help"  # the mark')
    assert (parameter.default, parameter.help) == ("# no help", "the mark")


def test_prose_in_brackets_is_no_range_or_choice(tmp_path):
    text = "a: int = 1  # see [1]\nb: str = ''  # a {name}\nc: int = 1  # a [1..2] range"
    assert [(p.minimum, p.choices) for p in declare(tmp_path, text)] == [(None, ())] * 3


def test_choices_and_ranges_take_the_type(tmp_path):
    text = 'a: int = 2  # n {1 | 2}\nb: float = 0  # x [..1.5e1]\nc: str = ""  # {"" | x}'
    a, b, c = declare(tmp_path, text)
    assert a.choices == (1, 2)
    assert (b.minimum, b.maximum, type(b.default)) == (None, 15.0, float)
    assert c.choices == ("", "x")


def test_a_plain_default_gives_the_type_and_an_empty_cell_gives_nothing(tmp_path):
    assert [p.type for p in declare(tmp_path, "a = 3\nb = [0.5]  # weights")] == [
        "int",
        "list[float]",
    ]
    assert declare(tmp_path, "# Parameters\n") == []


def test_every_bad_line_is_told_at_once(notebooks):
    with pytest.raises(ParameterError) as refused:
        read_parameters(notebooks / "bad_defaults.ipynb")
    words = [
        ("line 1", "depth = 40", "1 to 12"),
        ("line 2", "rate = 'fast'", "Write a number"),
        ("line 3", "mode = 'slow'", "one of fast, exact"),
        ("line 4", "when", "Annotate it"),
        ("line 5", "size = 3 * 4", "not a plain value"),
        ("line 6", "print('a statement')", "move other code below"),
        ("line 7", "api_key", "name of an environment variable"),
        ("line 9", "rows", "declared twice"),
    ]
    for problem, expected in zip(refused.value.problems, words, strict=True):
        assert problem.startswith("tests/execution/notebooks/bad_defaults.ipynb: parameters cell")
        assert all(word in problem for word in expected)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: int = 1  # n [0.5..]", "does not fit int"),
        ("a: str = 'x'  # n [0..1]", "only numbers have a range"),
        ("a: int = 1  # n {1 | two}", "does not fit int"),
        ("a += 1", "not a parameter"),
        ("a: int", "not a parameter"),
        ("a = b = 1", "not a parameter"),
        ("a.b = 1", "not a parameter"),
        ("a = None", "type NoneType"),
        ("a = {'x': 1}", "type dict"),
        ("a = []", "type list"),
        ("a: float = 1e999", "finite"),
        ("a: bool = 1", "a whole number, not true or false"),
        ("a: int = True", "true or false, not a whole number"),
    ],
)
def test_lines_that_declare_nothing(tmp_path, text, what):
    with pytest.raises(ParameterError, match=what):
        declare(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("no_parameters", "no cell tagged `parameters`"),
        ("missing", "cannot be read"),
    ],
)
def test_notebooks_without_parameters_are_named(notebooks, name, what):
    with pytest.raises(ParameterError, match=f"{name}.ipynb: .*{what}"):
        read_parameters(notebooks / f"{name}.ipynb")


def test_a_cell_that_is_no_python_is_named(tmp_path):
    with pytest.raises(
        ParameterError, match=r"cell\.ipynb: the parameters cell is no Python at line 2"
    ):
        declare(tmp_path, "a: int = 1\nb: int =  # half a line")
