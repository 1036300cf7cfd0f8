"""Every function of the package stays readable: short, and with few parameters.

Ruff holds that each has few branches (C901, PLR0912, PLR0915).
"""

import ast

import pytest

from diptych.base import workspace

LINES = 50  # of code: no docstring, no comment, no empty line
PARAMETERS = 8  # of a public function, besides self
# what has more, and why
MORE = {
    "core/data/tasks.py:get": 9,  # the parameters that every notebook of a task has
    "core/plots/plots.py:line_with_band": 12,  # what is drawn, how it is labelled and described
    "execution/sweeps/search_space.py:plan_sweep": 9,  # the options of `diptych sweep`
    "llmops/server/llama.py:serve_or_find": 10,  # the options of `diptych serve llm`
}


def functions(source):
    """Yield every function with the name of the class or function it is defined in."""

    def below(node, outer):
        for child in ast.iter_child_nodes(node):
            name = getattr(child, "name", "")
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield ".".join([*outer, name]), child
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from below(child, [*outer, name])
            elif not isinstance(child, ast.expr):
                yield from below(child, outer)

    yield from below(ast.parse(source), [])


def lines_of_code(function, source):
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    lines = source.splitlines()[body[0].lineno - 1 : function.end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


def parameters(function):
    """Return how many parameters a public function has; those of a command are its options."""
    if function.name.startswith("_") and function.name != "__init__":
        return 0
    if any(ast.unparse(decorator).startswith("click.") for decorator in function.decorator_list):
        return 0
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def package():
    for path in sorted(workspace.PACKAGE.rglob("*.py")):
        source = path.read_text("utf-8")
        name = path.relative_to(workspace.PACKAGE).as_posix()
        for function_name, function in functions(source):
            yield f"{name}:{function_name}", function, source


def test_no_function_is_long():
    long = {
        name: count
        for name, function, source in package()
        if (count := lines_of_code(function, source)) > LINES
    }
    assert not long, f"more than {LINES} lines of code; take a part with a name of its own out"


def test_no_function_has_many_parameters():
    many = {
        name: count
        for name, function, _ in package()
        if (count := parameters(function)) > PARAMETERS
    }
    assert many == MORE, f"more than {PARAMETERS} parameters; put what belongs together in a class"


@pytest.mark.parametrize(
    ("source", "lines", "count"),
    [
        ("def f(a, /, b, *, c): return a", 1, 3),
        (
            'def f(self, a):\n    """Do.\n\n    More."""\n\n    # why\n    return (\n        a)',
            2,
            1,
        ),
        ('def f():\n    """Do nothing."""', 0, 0),
        ("def _f(a): pass", 1, 0),
        ("class A:\n    def __init__(self, a, b):\n        self.a = a\n\n        self.b = b", 2, 2),
        ("@click.command()\ndef f(a, b): pass", 1, 0),
        ("if True:\n    async def f(a):\n        await a", 1, 1),
    ],
)
def test_the_counts(source, lines, count):
    ((_, function),) = functions(source)
    assert lines_of_code(function, source) == lines
    assert parameters(function) == count


def test_inner_functions_are_counted_too():
    names = [name for name, _ in functions("class A:\n    def f(self):\n        def g(): pass")]
    assert names == ["A.f", "A.f.g"]
