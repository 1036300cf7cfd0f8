"""Imports go one way: run, core, the two panels, report, cli."""

import ast
import functools
from pathlib import Path

import pytest

import diptych

PACKAGE = Path(diptych.__file__).parent
LAYERS = {"run": 0, "core": 1, "mlops": 2, "llmops": 2, "report": 3, "cli": 4, "__main__": 5}
HEAVY = {"torch", "mlflow", "xgboost", "matplotlib", "dask", "transformers"}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def layer(parts) -> str:
    return parts[0].removesuffix(".py")


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


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_its_own_layer_or_below(path):
    own = layer(path.relative_to(PACKAGE).parts)
    for name in imported(tree_of(path)):
        if name.startswith("diptych."):
            other = name.split(".")[1]
            if other not in LAYERS:  # `from diptych import __version__`
                continue
            assert other == own or LAYERS[other] < LAYERS[own], f"{own} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_heavy_libraries_are_imported_where_they_are_used(path):
    top = [n for n in tree_of(path).body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {name.split(".")[0] for name in imported(ast.Module(body=top, type_ignores=[]))}
    assert not names & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_module_has_one_job(path):
    assert len(path.read_text().splitlines()) <= 360
