"""Which names a cell reads and binds, from its source alone."""

import ast
import builtins
import contextlib
import dis
import functools
import re
from dataclasses import dataclass, field
from types import CodeType

READ = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
BOUND = ("STORE_NAME", "STORE_GLOBAL", "DELETE_NAME", "DELETE_GLOBAL")
SUPPLIED = {*dir(builtins), "__annotations__", "get_ipython", "display", "exit", "quit"}
SUPPLIED |= {"In", "Out", "_", "__", "___"}
# what a cell calls that only shows something
SHOWS = frozenset(
    """print display len type repr str list dict set tuple sorted sum min max abs round isinstance
    dir vars help enumerate zip range head tail describe value_counts info sample groupby mean
    median std count nunique unique isna notna any all sort_values sort_index query corr quantile
    to_string agg table interval_plot latency_plot reliability_plot learning_curve line_with_band
    show runs_table best keys values items format join""".split()
)
CELL_MAGIC = re.compile(r"\s*%%(\w+).*")
OF_PYTHON = ("time", "timeit", "capture", "prun", "memit")  # magics whose cell is Python
LINE_MAGIC = re.compile(
    rf"^([ \t]*)%(?:{'|'.join(OF_PYTHON)})\b(?:[ \t]+-\S+)*[ \t]*", re.MULTILINE
)
OTHER_MAGIC = re.compile(r"^[ \t]*(?:%|!|\?).*$|^[^#'\"\n]*\?{1,2}[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Names:
    """What the source of a cell says of its names.

    Attributes
    ----------
    reads : frozenset of str
        Global names that it may read before it binds them; no builtins.
    binds : frozenset of str
        Global names that it assigns, imports, defines or deletes.
    literals : dict
        Plain values by name, of those that it assigns once, at the top, to a plain value.
    rebinds : frozenset of str
        Those of `binds` that it binds more than once.
    shows : bool
        Whether it only shows something: it binds nothing and calls nothing but `SHOWS`.
    """

    reads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    literals: dict = field(default_factory=dict)
    rebinds: frozenset[str] = frozenset()
    shows: bool = False

    def declares_only(self, names) -> bool:
        """Say whether the cell does nothing but assign plain values to some of these names."""
        assigned = self.binds == set(self.literals)
        return assigned and bool(self.binds) and not self.reads and self.binds <= set(names)


@functools.lru_cache(512)
def names_of(source: str) -> Names:
    """Return the names of a cell; none of one that is no Python."""
    if magic := CELL_MAGIC.match(source):
        if magic[1] not in OF_PYTHON:
            return Names()
        source = source[magic.end() :]
    text = OTHER_MAGIC.sub("pass", LINE_MAGIC.sub(r"\1", source))
    try:
        tree = ast.parse(text)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(tree, "<cell>", "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return Names()
    reads, binds = _of_code(code)
    inside = set().union(*(_inner_reads(inner) for inner in _inner(code)))
    reads |= inside - binds.keys()
    literals = {
        name: value for name, value in _literals(tree).items() if binds.get(name) == 1
    }  # one bound again elsewhere is no literal
    rebinds = frozenset(name for name, times in binds.items() if times > 1)
    return Names(
        frozenset(reads - SUPPLIED), frozenset(binds), literals, rebinds, _shows(tree, binds)
    )


def _of_code(code: CodeType) -> tuple[set[str], dict[str, int]]:
    """Return the names that a module's code reads first, and how often it binds each."""
    reads, binds = set(), {}
    for step in dis.get_instructions(code):
        if step.opname in READ and step.argval not in binds:
            reads.add(step.argval)
        elif step.opname in BOUND:
            binds[step.argval] = binds.get(step.argval, 0) + 1
    return reads, binds


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _inner_reads(code: CodeType) -> set[str]:
    """Return the global names that a function or class reads, and those inside it."""
    local = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_NAME"}
    reads = {step.argval for step in dis.get_instructions(code) if step.opname in READ} - local
    return reads.union(*map(_inner_reads, _inner(code)))


def _literals(tree: ast.Module) -> dict:
    """Return what top-level assignments of plain values say."""
    values = {}
    for statement in tree.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case _:
                continue
        with contextlib.suppress(ValueError, TypeError):
            values[name] = ast.literal_eval(value)
    return values


def _shows(tree: ast.Module, binds: dict) -> bool:
    if binds or not all(isinstance(statement, ast.Expr | ast.Pass) for statement in tree.body):
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    awaits = any(isinstance(node, ast.Await | ast.NamedExpr) for node in ast.walk(tree))
    return not awaits and all(_shows_call(call) for call in calls)


def _shows_call(call: ast.Call) -> bool:
    if any(keyword.arg in ("inplace", "out", None) for keyword in call.keywords):
        return False
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in SHOWS
    return False
