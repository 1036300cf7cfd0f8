"""The stage notebooks show the craft: code of the field's libraries, and what outputs mean."""

import ast
import re

import nbformat
import pandas as pd
import pytest

from diptych.base import workspace
from diptych.execution.refresh import in_order

ROOT = workspace.repo_root()
STAGES = [path for path in in_order() if re.match(r"[1-6]_", path.stem)]
NO_ECOSYSTEM = {"diptych", "IPython"}  # nor is what comes with Python
# methods by which a line uses pandas, wherever its table comes from
OF_PANDAS = {
    name for kind in (pd.DataFrame, pd.Series) for name in dir(kind) if not name.startswith("_")
} - {name for kind in (dict, list, str, set, int) for name in dir(kind)}
LEAST_LINES, LEAST_CALLS = 0.4, 3
LEAST_WORDS, MOST_WORDS = 500, 1200
LEAST_INTERPRETED = 0.9
EXERCISES = range(2, 4)


def name(path):
    return path.relative_to(ROOT / "notebooks").as_posix()


each = pytest.mark.parametrize("path", STAGES, ids=name)


def code(path) -> list:
    """Return the code cells below the parameters."""
    cells = nbformat.read(path, as_version=4).cells
    return [c for c in cells if c.cell_type == "code" and "parameters" not in tags(c)]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


class Reader:
    """Follows the names that come from a library of the field through a notebook's cells."""

    def __init__(self):
        self.names: set[str] = set()
        self.lines: set[int] = set()
        self.calls = 0

    def read(self, source: str) -> tuple[int, int]:
        """Return the lines of a cell without imports, and those that touch such a library."""
        self.lines = set()
        for statement in ast.parse(source).body:
            self._visit(statement)
        imports = {
            number
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for number in range(node.lineno, node.end_lineno + 1)
        }
        counted = {
            number
            for number, line in enumerate(source.splitlines(), 1)
            if line.strip() and not line.strip().startswith("#")
        } - imports
        return len(counted), len(self.lines & counted)

    def _visit(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self._import(statement)
            return
        body = [*getattr(statement, "body", ()), *getattr(statement, "orelse", ())]
        if body:
            head = [x for x in ast.iter_child_nodes(statement) if isinstance(x, ast.expr)]
            head += [item.context_expr for item in getattr(statement, "items", ())]
            if any(map(self._touches, head)):
                self.lines.add(statement.lineno)
            if isinstance(statement, ast.With) and any(map(self._touches, head)):
                self._bind([item.optional_vars for item in statement.items])
            if isinstance(statement, ast.For) and self._touches(statement.iter):
                self._bind([statement.target])
            for inner in body:
                self._visit(inner)
            return
        if self._touches(statement):
            self.lines |= set(range(statement.lineno, statement.end_lineno + 1))
            self.calls += any(isinstance(node, ast.Call) for node in ast.walk(statement))
            value = getattr(statement, "value", None)
            if isinstance(statement, ast.Assign) and self._is_theirs(value):
                self._bind(statement.targets)

    def _import(self, statement) -> None:
        import sys

        module = getattr(statement, "module", None)
        for alias in statement.names:
            top = (module or alias.name).split(".")[0]
            if top not in NO_ECOSYSTEM and top not in sys.stdlib_module_names:
                self.names.add(alias.asname or alias.name.split(".")[0])

    def _bind(self, targets) -> None:
        for target in targets:
            if target is not None:
                self.names |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}

    def _touches(self, node: ast.AST) -> bool:
        for inner in ast.walk(node):
            match inner:
                case ast.Name(id=name) if name in self.names:
                    return True
                case ast.Call(func=ast.Attribute(attr=name)) if name in OF_PANDAS:
                    return True
        return False

    def _is_theirs(self, value: ast.AST | None) -> bool:
        """Whether what is assigned is a library's: no result of one of our functions."""
        match value:
            case ast.Call(func=func):
                return self._is_theirs(func)
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Await(value=inner):
                return self._is_theirs(inner)
            case ast.Name(id=known):
                return known in self.names
            case ast.Constant() | None:
                return False
        return self._touches(value)


@each
def test_code_of_the_fields_libraries_is_in_sight(path):
    reader, lines, theirs = Reader(), 0, 0
    for cell in code(path):
        counted, touching = reader.read(cell.source)
        lines, theirs = lines + counted, theirs + touching
    assert reader.calls >= LEAST_CALLS
    assert theirs / lines >= LEAST_LINES, f"{theirs} of {lines} lines"


@each
def test_the_prose_is_neither_short_nor_long(path):
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    words = re.findall(r"\w[\w'-]*", re.sub(r"\]\([^)]*\)", "]", prose))
    assert LEAST_WORDS <= len(words) <= MOST_WORDS


@each
def test_every_output_is_followed_by_what_it_shows(path):
    shown = meant = 0
    for cell in code(path):
        if "versions" in tags(cell) or "exercise" in tags(cell):
            continue
        waiting = 0
        for output in cell.outputs:
            if 'class="interpretation"' in output.get("data", {}).get("text/html", ""):
                meant += waiting
                waiting = 0
            elif "training" not in tags(cell) or "data" in output:  # a search prints as it runs
                waiting += 1
                shown += 1
    if not any(cell.outputs for cell in code(path)):
        pytest.fail("run `make notebooks`")
    assert meant >= LEAST_INTERPRETED * shown, f"{meant} of {shown} outputs"


@each
def test_there_are_a_diagram_links_and_exercises(path):
    text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells)
    assert f'show_stage("{name(path).removesuffix(".ipynb")}")' in text
    assert len(re.findall(r"\]\(https?://", text)) >= 2
    exercises = [cell for cell in code(path) if "exercise" in tags(cell)]
    tasks = re.findall(r"^\d\. \*", text, re.MULTILINE)
    assert len(tasks) in EXERCISES
    assert 1 <= len(exercises) <= len(tasks)
    solutions = ROOT / "teach" / "solutions" / name(path).replace(".ipynb", ".py")
    assert solutions.read_text().count("\n# %%") == len(exercises)


def test_lines_that_touch_a_library_are_counted():
    reader = Reader()
    source = (
        "import pandas as pd\nfrom diptych import compare as x\nframe = pd.DataFrame(\n  {}\n)\n"
        "for a in x:\n    frame.head()\n    x(a)\nours = x(frame)\nours.y()\nours.groupby(1)\n"
    )
    assert reader.read(source) == (9, 6)
    assert reader.calls == 4
