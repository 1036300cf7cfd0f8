import json
import re

import papermill
import pytest

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.execution.declaration import Parameter, read_parameters
from diptych.execution.notebooks import all_files, read_notebook

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
    ours = {p.name: p.help for p in read_parameters(path)}
    # papermill's pattern knows no "|" in a type, and takes such a line for none
    text = "".join(read_notebook(path)["cells"][1]["source"])
    unions = set(re.findall(r"^(\w+): [\w\[\]]+ \|", text, re.MULTILINE))
    assert {name: words for name, words in ours.items() if name not in unions} == {
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
        ("a: float = 1e999", "finite"),
        ("a: bool = 1", "a whole number, not true or false"),
        ("a: int = True", "true or false, not a whole number"),
        ("a: int | None = 'x'", "text, not a whole number. Write .* or None"),
        ("a: date = '31.1.2026'", "not a date. Write it as 2026-01-31"),
        ("a: Literal['x', 'y'] = 'z'", "not a choice. Write one of x, y"),
        ("a: tuple[int, int] = (1, 2, 3)", "3 values, not 2"),
        ("a: list[list[int]] = [[1, 'x']]", "text, not a whole number"),
        ("a: dict[str, int] = {'x': 'y'}", "text, not a whole number"),
    ],
)
def test_a_typed_default_of_another_type_is_refused(tmp_path, text, what):
    with pytest.raises(ParameterError, match=what):
        declare(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a = None", (False, "unknown", None, "")),
        ("a = {'x': [1]}", (False, "dict", {"x": [1]}, "")),
        ("a = []", (False, "list", [], "")),
        ("a = (1, 'x')", (False, "list", [1, "x"], "")),
        ("a = [1, 'x', [2]]", (False, "list", [1, "x", [2]], "")),
        ("a = 60*24  # minutes", (False, "unknown", None, "60 * 24")),
        ("a = date.today()", (False, "unknown", None, "date.today()")),
        ("a = {1, 2}", (False, "unknown", None, "{1, 2}")),
        ("a = !ls", (False, "unknown", None, "...")),
        ("a = 3  # type: int rows", (True, "int", 3, "")),
        ("a: int = 60*24", (True, "int", None, "60 * 24")),
        ("a: str | None = None", (True, "str | None", None, "")),
        ("a: int = None", (True, "int | None", None, "")),
        ("a: pd.Timestamp = 1j", (True, "pd.Timestamp", None, "1j")),
        ("a: date = date(2026, 1, 31)", (True, "date", None, "date(2026, 1, 31)")),
        ("a: tuple[int, ...] = (1, 2)", (True, "tuple[int, ...]", [1, 2], "")),
    ],
)
def test_what_papermill_accepts_is_accepted(tmp_path, line, expected):
    around = f"%matplotlib inline\n!echo x\nfrom datetime import date\n{line}\nprint('said')"
    (read,) = declare(tmp_path, around)
    assert (read.typed, read.type, read.default, read.expression) == expected


def test_names_set_by_any_statement_are_parameters(tmp_path):
    read = declare(tmp_path, "a, b = 1, 2\nc = d = 3\nc += 1\ne: int\nf = 1\nf = f * 2")
    assert [parameter.name for parameter in read] == ["a", "b", "c", "d", "e", "f"]
    assert read[-1].expression == "f * 2"


def test_a_notebook_without_a_cell_of_parameters_declares_none(notebooks):
    assert read_parameters(notebooks / "no_parameters.ipynb") == []
    with pytest.raises(ParameterError, match=r"missing.ipynb: .*cannot be read"):
        read_parameters(notebooks / "missing.ipynb")


def test_a_cell_that_is_no_python_is_named(tmp_path):
    with pytest.raises(
        ParameterError, match=r"cell\.ipynb: the parameters cell is no Python at line 2"
    ):
        declare(tmp_path, "a: int = 1\nb: int =  # half a line")
