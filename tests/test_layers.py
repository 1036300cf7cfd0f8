"""Imports go one way, storey by storey and wing by wing, and nothing imports in a circle."""

import ast
import functools
import re
import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import diptych

PACKAGE = Path(diptych.__file__).parent
ROOT = PACKAGE.parents[1]
STOREYS = {
    "base": 0, "execution": 1, "core": 2, "mlops": 3, "llmops": 3, "reporting": 4, "face": 5,
    "cli": 6, "__main__": 7,
}  # fmt: skip
# Of a storey's wings and modules, from the ground up; what is not named is beside "*".
WINGS = {
    "execution": [
        "kernels run_card", "annotations runs notebooks declaration parameters", "cache pages",
        "*", "sweeps",
    ],
    "core": ["evaluation contract", "data store plots", "monitoring"],
    "mlops": ["models", "registry", "serving", "*"],
    "llmops": [
        "server", "client", "pretrain", "prompts", "evaluation", "hallucination finetuning", "*",
    ],
    "reporting": ["format", "site after_run", "scenario", "contrast"],
}  # fmt: skip
LOOSE = ("core", "execution", "llmops", "mlops")  # wings of one height may import each other
OURS = re.compile(
    r"(?<![\w./-])diptych\.(?:base|execution|core|mlops|llmops|reporting|run|report)(?:\.[A-Za-z_]\w*)+"
)
FROM = re.compile(r"from (diptych[\w.]*) import (\w[\w ,]*)")  # in strings too
HEAVY = {"torch", "mlflow", "xgboost", "matplotlib", "dask", "transformers"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


NAMES = {name_of(path): path for path in MODULES}


@functools.cache
def tree_of(path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(tree) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(path) -> set[str]:
    """Return the modules of this package that a module imports."""
    found = set()
    for name in imported(tree_of(path)):
        for known in (name, name.rpartition(".")[0]):
            if known in NAMES:
                found.add(known)
                break
    return found


def wing(storey: str, name: str) -> int:
    for height, names in enumerate(WINGS[storey]):
        if name in names.split():
            return height
    return WINGS[storey].index("*")


def test_a_module_imports_only_from_its_own_storey_or_below():
    broken = []
    for name in NAMES.keys() - {"diptych"}:  # the face opens every door, when it is asked to
        own = name.split(".")[1]
        for other in ours(NAMES[name]) - {"diptych"}:
            storey = other.split(".")[1]
            if storey != own and STOREYS[storey] >= STOREYS[own]:
                broken.append(f"{name} imports {other}")
    assert not broken


def test_a_wing_imports_only_from_wings_below():
    broken = []
    for name in [name for name in NAMES if name.count(".") >= 2]:
        _, storey, own, *_ = name.split(".")
        for other in ours(NAMES[name]):
            parts = other.split(".")
            if storey in WINGS and parts[1] == storey and len(parts) > 2 and parts[2] != own:
                there, here = wing(storey, parts[2]), wing(storey, own)
                if there > here or (there == here and storey not in LOOSE):
                    broken.append(f"{name} imports {other}")
    assert not broken


@pytest.mark.parametrize("depth", [3, 99], ids=["wings", "modules"])
def test_nothing_imports_in_a_circle(depth):
    graph = {}
    for name, path in NAMES.items():
        if name != "diptych" and not path.name.startswith("__"):
            here = ".".join(name.split(".")[:depth])
            there = {".".join(other.split(".")[:depth]) for other in ours(path)}
            graph.setdefault(here, set()).update(there - {here, "diptych"})
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None


def test_heavy_libraries_are_imported_where_they_are_used():
    broken = []
    for name, path in NAMES.items():
        top = [n for n in tree_of(path).body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {one.split(".")[0] for one in imported(ast.Module(body=top, type_ignores=[]))}
        broken += [f"{name} imports {heavy}" for heavy in names & HEAVY]
    assert not broken


def test_kernels_could_be_a_wheel_of_their_own():
    own = "diptych.execution.kernels"
    for name in NAMES:
        if name.startswith(own):
            others = [m for m in ours(NAMES[name]) if not m.startswith((own, "diptych.base"))]
            assert others == [], name


def tracked_texts():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / line for line in done.stdout.splitlines()] or list(PACKAGE.rglob("*"))
    kinds = {".py", ".toml", ".md", ".yaml", ".yml", ".json", ".ipynb", ".j2", ""}
    for path in paths:
        if path.suffix in kinds and path.is_file() and path.name != "CHANGELOG.md":
            yield path, path.read_text("utf-8")


def test_every_dotted_name_of_ours_exists():
    """In code, strings, docs and configuration: a name that moved must not be left behind."""
    missing = set()
    for path, text in tracked_texts():
        imported = [
            f"{module}.{name.split(' as ')[0].strip()}"
            for module, names in FROM.findall(text)
            for name in names.split(",")
        ]
        for dotted in OURS.findall(text) + imported:
            if not resolves(dotted):
                missing.add(f"{path.relative_to(ROOT)}: {dotted}")
    assert not missing, "\n".join(sorted(missing))


@functools.cache
def resolves(dotted: str) -> bool:
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        if name in NAMES:
            rest = parts[end:]
            return not rest or rest[0] in names_of(NAMES[name]) | {"__file__"}
    return False


def names_of(path: Path) -> set[str]:
    """Return what a module defines or imports at its top."""
    names = set()
    for node in tree_of(path).body:
        for part in ast.walk(node):
            if isinstance(part, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                names.add(part.name)
            elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                names.add(part.id)
            elif isinstance(part, ast.alias):
                names.add(part.asname or part.name)
    return names
