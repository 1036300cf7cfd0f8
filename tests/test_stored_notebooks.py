"""Each notebook keeps the anatomy, stays small, and stores the outputs of one clean run."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest

from diptych.base import workspace
from diptych.execution.declaration import read_parameters
from diptych.execution.refresh import KERNEL, LANGUAGE, in_order

ROOT = workspace.repo_root()
NOTEBOOKS = in_order()
STAGES = [path for path in NOTEBOOKS if path.stem[0].isdigit()]
SHARED = ["Input", "Make", "Measure", "Decide"]
ANATOMY = [*SHARED, "Check", "The other lifecycle", "Your turn"]


def name(path):
    return path.relative_to(ROOT / "notebooks").as_posix()


def read(path):
    return nbformat.read(path, as_version=4)


def code(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def headings(nb, level):
    prose = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    return re.findall(rf"^{'#' * level} (.+)$", "\n".join(prose), re.MULTILINE)


def html(nb):
    outputs = [output for cell in code(nb) for output in cell.outputs]
    return [o.data["text/html"] for o in outputs if "text/html" in o.get("data", {})]


each = pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
each_stage = pytest.mark.parametrize("path", STAGES, ids=name)


@each
def test_outputs_come_from_one_clean_run_in_order(path):
    nb = read(path)
    counts = [cell.execution_count for cell in code(nb)]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"
    for cell in code(nb):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", f"{cell.id}: {output.text}"


@each
def test_what_git_sees_is_normalised(path):
    nb = read(path)
    assert nb.metadata.language_info.pop("version")
    assert nb.metadata == {"kernelspec": KERNEL, "language_info": LANGUAGE}
    for number, cell in enumerate(nb.cells):
        assert cell.id == f"{path.stem}-{number:02d}"
        assert set(cell.metadata) <= {"tags"}
    assert path.stat().st_size < 300_000  # the contrast has nine pictures


@each
def test_no_place_on_somebodys_machine_is_stored(path):
    text = path.read_text()
    for place in (str(ROOT), sys.prefix, str(Path.home()) + "/", "/tmp/", "diptych-tests"):
        assert place not in text


@each
def test_the_title_is_a_question_and_the_first_code_is_the_parameters(path):
    nb = read(path)
    assert nb.cells[0].cell_type == "markdown"
    (title,) = headings(nb, 1)
    assert title.endswith("?")
    for word in ("*Goals*", "*Needs*", "*Takes*"):
        assert word in nb.cells[0].source
    first = code(nb)[0]
    assert first.metadata.tags == ["parameters"]
    assert all(parameter.help for parameter in read_parameters(path))


@each_stage
def test_a_stage_keeps_the_anatomy(path):
    assert headings(read(path), 2) == ANATOMY


@each
def test_it_is_short(path):
    nb = read(path)
    assert len(nb.cells) <= 26
    assert sum(len(lines(cell)) for cell in code(nb)) <= 160
    for cell in code(nb)[1:]:
        assert len(lines(cell)) <= 25, cell.id
    for node in ast.walk(ast.parse("\n".join(cell.source for cell in code(nb)))):
        assert not isinstance(node, ast.ClassDef)
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 8


@each_stage
def test_the_parameters_every_stage_of_a_task_shares_are_declared_alike(path):
    first = {p.name: p for p in read_parameters(STAGES[0])}
    own = {p.name: p for p in read_parameters(path)}
    for shared in first:
        assert own[shared] == first[shared]


@each
def test_every_figure_is_told_in_words_and_numbers(path):
    for output in html(read(path)):
        pictures = re.findall(r"<svg\b.*?>|<img class=\"figure\".*?>", output)
        for picture in pictures:
            assert re.search(r'(aria-label|alt)="[^"]{20,}"', picture)
        assert len(pictures) == output.count("Table of the same data")


@each
def test_a_cell_exempt_from_comparison_says_why(path):
    for cell in code(read(path)):
        tags = set(cell.metadata.get("tags", []))
        if "nbval-ignore-output" in tags:
            assert tags & {"versions", "timing", "dates", "training", "sampling"}, cell.id
