"""Solutions take the place of the exercises, and what a reader edits flows through all stages."""

import json
import re

import nbformat
import pytest
from processes import end_servers

from diptych.base import workspace
from diptych.core.store.records import load
from diptych.execution.refresh import in_order
from diptych.execution.runner import run_notebook
from diptych.mlops.models import model as models
from diptych.mlops.registry import ModelRegistry

ROOT = workspace.repo_root()
SOLUTIONS = ROOT / "teach" / "solutions"
MLOPS = [path for path in in_order() if path.parent.name == "mlops"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    yield
    end_servers(tmp_path / "home")


def solutions(path) -> list[str]:
    """Return the cells of a notebook's solutions."""
    place = SOLUTIONS / path.relative_to(ROOT / "notebooks").with_suffix(".py")
    return re.split(r"^# %%.*\n", place.read_text(), flags=re.MULTILINE)[1:]


def edited(path, folder, change):
    """Write a copy of a notebook whose code cells are changed, and return its path."""
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.source = [], change(cell)
    place = folder / path.name
    nbformat.write(nb, place)
    return place


def printed(run) -> str:
    nb = json.loads(next(run.folder.glob("*.ipynb")).read_text())
    outputs = [o for c in nb["cells"] if c["cell_type"] == "code" for o in c["outputs"]]
    return "".join("".join(o.get("text", "")) for o in outputs)


def stage(path, folder, change, **parameters):
    """Run an edited copy of a stage."""
    return run_notebook(edited(path, folder, change), (), parameters, progress=False)


ADDED = """
from sklearn.ensemble import HistGradientBoostingClassifier
pipelines = {"histogram": make_pipeline(columns, HistGradientBoostingClassifier(max_iter=60))}
"""


def add(cell) -> str:
    """Add a pipeline of the reader's, in place of the others."""
    if "pipelines = {" in cell.source:
        return cell.source + ADDED
    if "spaces = {" in cell.source:
        source = cell.source.partition("study = ")[0]
        place = source.index("spaces = {")
        return source[:place] + 'spaces = {"histogram": {}}'
    return cell.source


@pytest.mark.long
def test_an_added_pipeline_is_released_served_watched_and_improved(home, tmp_path):
    build, *_ = [path for path in MLOPS if path.stem == "2_build"]
    run = stage(build, tmp_path, add, task="tumours", trials=1, perturbed_rows=20)
    assert "accuracy of histogram" in run.result["values"]
    assert run.result["facts"]["family"] == "histogram"
    for name in ("3_release", "4_serve", "5_monitor", "6_improve"):
        given = {"task": "tumours", "upstream": run.id}
        run = run_notebook(f"mlops/{name}", (), given, progress=False)
        assert run.status == "ok"
    built = load(run.id).ancestor("mlops/2_build")
    assert built.fact("family") == "histogram"
    version = ModelRegistry("tumours").version(1)
    served = models.load(version.folder)
    assert type(served.estimator.model[-1]).__name__ == "HistGradientBoostingClassifier"


@pytest.mark.long
def test_solutions_are_right_in_a_run_of_their_notebook(home, tmp_path):
    upstream = {}
    for path in MLOPS:
        cells = iter(solutions(path))

        def solve(cell, cells=cells):
            return next(cells) if "exercise" in cell.metadata.get("tags", []) else cell.source

        parameters = {"task": "tumours"} | upstream
        if path.stem == "2_build":
            parameters |= {"trials": 1, "family": "logistic", "perturbed_rows": 20}
        run = stage(path, tmp_path, solve, **parameters)
        text = printed(run)
        assert text.count("Right") == len(solutions(path)), f"{path.stem}: {text[-600:]}"
        assert next(cells, None) is None
        upstream = {"upstream": run.id}
