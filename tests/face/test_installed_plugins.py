"""The package `harbour`, installed, through both sides: each of its names works in a run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from face import dockside_server

import diptych

ROOT = Path(diptych.__file__).parents[2]
HERE = Path(__file__).parent
ADDED = {
    "task": {"calls", "desk"}, "estimator": {"bernoulli"}, "metric": {"hit_rate"},
    "scorer": {"overlap"}, "prompt": {"bosun", "clerk"}, "format": {"dockside"},
    "drift": {"chebyshev"},
}  # fmt: skip
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A project, a folder with the package as pip installs it, and the endpoint in its format."""
    folder = tmp_path_factory.mktemp("port")
    shutil.copytree(HERE / "harbour", folder / "source")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation",
         "--target", str(folder / "site"), str(folder / "source")],
        check=True, capture_output=True,
    )  # fmt: skip
    with dockside_server.serving() as url:
        diptych_in(folder, "init", "mine")
        endpoint = {"base_url": url, "model": "tug", "format": "dockside", "prices": "free"}
        (folder / "mine/params/endpoints.yaml").write_text(yaml.safe_dump({"dock": endpoint}))
        yield folder / "mine"


def diptych_in(folder: Path, *words: str) -> str:
    site = next(
        path / "site" for path in (folder, *folder.parents) if (path / "site/harbour").exists()
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT / "lib")])}
    environment.pop("DIPTYCH_HOME", None)
    done = subprocess.run(
        [sys.executable, "-m", "diptych", *words],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def words_of(page: Path) -> str:
    """Return what a page shows."""
    text = re.sub(r"<(style|script).*?</\1>", "", page.read_text("utf-8"), flags=re.S)
    return re.sub(r"<[^>]+>", " ", text)


def values_of(run: str) -> dict[str, float]:
    values = json.loads((Path(run) / "result.json").read_text())["values"]
    return {name: value["value"] for name, value in values.items()}


def test_the_command_lists_all_that_it_adds(port):
    content = json.loads(diptych_in(port, "plugins", "--json"))
    assert {kind: set(names) for kind, names in content["added"].items()} == ADDED
    assert content["failures"] == []


def test_a_contrast_of_its_task_has_its_family_metric_prompt_format_and_drift_statistic(port):
    words = ("--model", "dock", "-p", "metric=hit_rate", "-p", "trials=1")
    diptych_in(port, "contrast", "calls", *words)
    contrast = words_of(port / "site/contrast-calls.html")
    for name in ("hit rate", "bernoulli", "bosun", "dock"):
        assert name in contrast, name
    for page in ("5_monitor.html", "llmops-5_monitor.html", "both-5_monitor.html"):
        assert "chebyshev" in words_of(port / "site/calls" / page), page


def test_its_scorer_grades_both_sides_alike(port):
    trained = values_of(
        diptych_in(port, "run", "mlops/2_build", "-p", "task=desk", "-p", "trials=1")
    )
    asked = values_of(
        diptych_in(port, "run", "llmops/2_build", "-p", "task=desk", "-p", 'models=["dock"]')
    )
    # a wrong desk shares two words of six: a grade of 1/3, where the accuracy counts nothing
    right = trained["accuracy of baseline"]
    assert trained["score of baseline"] == pytest.approx(right + (1 - right) / 3)
    assert asked["score of baseline (MLOps)"] == pytest.approx(trained["score of baseline"])
    assert asked["score of clerk · dock"] == 1
    assert not [name for name in asked if "plain" in name]  # generic prompts are left to labels
