"""The three lists of dependencies agree, and what they name is what is installed."""

import ast
import functools
import importlib.metadata
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import diptych
from diptych.base import groups

ROOT = Path(__file__).parent.parent
# other names there
CONDA = {
    "huggingface-hub": "huggingface_hub", "jupyter-client": "jupyter_client", "torch": "pytorch",
    "xgboost-cpu": "xgboost",
}  # fmt: skip
OPTIONAL = {"vl_convert"}  # draws Vega where the user has it
INSTALLED = ("local", "torch", "lab", "dask", "postgres", "dev")  # by `make setup`


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    lists = (project["dependencies"], *(groups[name] for name in INSTALLED))
    texts = sorted({text for texts in lists for text in texts if not text.startswith("diptych[")})
    named = [Requirement(text) for text in texts]
    return [r for r in named if r.marker is None or r.marker.evaluate()]  # those of this system


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_conda_names_the_same_direct_dependencies():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed += listed.pop()["pip"]  # what conda-forge does not have
    conda = {re.split(r"[<>=]", text)[0]: re.sub(r"^[\w-]+", "", text) for text in listed}
    ours = {CONDA.get(r.name, r.name): str(r.specifier) for r in requirements()}
    del conda["python"], conda["pip"]
    assert conda == ours


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_the_lock_pins_it_and_it_is_what_is_installed(requirement):
    pinned = pins()[normal(requirement.name)]
    assert requirement.specifier.contains(pinned)
    assert importlib.metadata.version(requirement.name).split("+")[0] == pinned


def imported(path: Path, top: bool = False) -> set[str]:
    """Return the packages that a module imports, of its top level alone if `top`."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    tree = ast.parse(text)
    names = set()
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"diptych"}


@functools.cache
def installed() -> dict[str, list[str]]:
    return importlib.metadata.packages_distributions()


def distributions(names: set[str]) -> dict[str, set[str]]:
    known = installed()
    return {name: {normal(x) for x in known.get(name, [name])} for name in names}


def test_what_is_imported_is_declared():
    """The core at a module's top; a group's packages where they are used, with their group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {normal(Requirement(text).name) for text in project["dependencies"]}
    extras = project["optional-dependencies"]
    of_group = {
        name: {normal(Requirement(text).name) for text in extras[name]} for name in groups.PARTS
    }
    of_group["hub"].add("datasets")
    missing, early = set(), set()
    for path in [*(ROOT / "lib").rglob("*.py"), *(ROOT / "notebooks").rglob("*.ipynb")]:
        for name, places in distributions(imported(path)).items():
            declared = core | of_group.get(groups.PACKAGES.get(name, ""), set())
            if not places & declared and name not in OPTIONAL:
                missing.add(f"{path.relative_to(ROOT)}: {name}")
        for name, places in distributions(imported(path, top=True)).items():
            if path.suffix == ".py" and not places & core:
                early.add(f"{path.relative_to(ROOT)}: {name}")
    assert not missing
    assert not early
    assert set(groups.PARTS) | {"all", "dev"} == set(extras)


def test_the_hashed_lock_of_the_core_has_the_pins_of_the_lock():
    """Where a package is for other systems alone, only the hashed lock has it."""
    lines = re.findall(
        r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements-hashed.txt").read_text(), re.MULTILINE
    )
    hashed, locked = {normal(name): version for name, version in lines}, pins()
    assert {name: hashed[name] for name in hashed.keys() & locked} == {
        name: locked[name] for name in hashed.keys() & locked
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {normal(Requirement(text).name) for text in project["dependencies"]}
    assert core <= hashed.keys()


def test_no_gigabytes_of_cuda_in_the_lock():
    assert not [name for name in pins() if re.match(r"nvidia|cuda|triton", name)]


def test_the_changelog_has_this_version():
    assert f"## {diptych.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_no_path_of_a_machine_is_in_the_tree():
    places = [
        p for folder in ("lib", "params", "notebooks", "tests") for p in (ROOT / folder).rglob("*")
    ]
    texts = {p: p.read_text() for p in places if p.suffix in {".py", ".yaml", ".ipynb", ".md"}}
    assert not [p for p, text in texts.items() if str(ROOT) in text]
