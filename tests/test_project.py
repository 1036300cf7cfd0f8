"""The three lists of dependencies agree, and what they name is what is installed."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import diptych

ROOT = Path(__file__).parent.parent
# other names there
CONDA = {"huggingface-hub": "huggingface_hub", "torch": "pytorch", "xgboost-cpu": "xgboost"}


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [
        Requirement(text)
        for text in project["dependencies"] + project["optional-dependencies"]["dev"]
    ]


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
