"""ARCHITECTURE.md names every wing as the wing itself does, and files and tests that exist."""

import ast
import re
from pathlib import Path

import pytest

import diptych

PACKAGE = Path(diptych.__file__).parent
ROOT = PACKAGE.parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
WINGS, TO_ADD = TEXT.split("\n## To add\n")
WING = re.compile(r"^\| `([a-z/_]+)` \| (.+) \|$", re.MULTILINE)
ROW = re.compile(r"^\| ((?!to add)[a-z].+?) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
PATH = re.compile(r"`([\w./]+(?:/[\w.]*|\.\w+))`")


def resolved(path: str) -> Path:
    outside = path.startswith(("tests/", "params/", "notebooks/", "docs/")) or "/" not in path
    return (ROOT if outside and not (PACKAGE / path).exists() else PACKAGE) / path


def test_every_wing_is_listed_with_the_first_line_of_its_docstring():
    docs = {}
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            doc = ast.get_docstring(ast.parse(path.read_text("utf-8")))
            docs[path.parent.relative_to(PACKAGE).as_posix()] = doc.partition("\n")[0]
    assert dict(WING.findall(WINGS)) == docs


@pytest.mark.parametrize(("what", "file", "test", "note"), ROW.findall(TO_ADD), ids=str)
def test_a_row_names_one_file_and_one_test(what, file, test, note):
    files, tests = PATH.findall(file), PATH.findall(test)
    assert [len(files), len(tests)] == [1, 1]
    assert Path(tests[0]).name.startswith("test_")
    for path in files + tests + PATH.findall(note):
        assert resolved(path).exists(), path


def test_every_line_of_the_table_is_read():
    lines = [line for line in TO_ADD.splitlines() if line.startswith("| ")]
    assert len(lines) == len(ROW.findall(TO_ADD)) + 1  # the header
