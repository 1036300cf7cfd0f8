"""A prompt and a test case written in cells are asked, gated, served, watched and improved; the
solutions of the exercises are right on the way."""

import re
import shutil

import nbformat
import pytest
from processes import end_servers

from diptych.base import workspace
from diptych.core.store.calls import Calls
from diptych.core.store.records import load
from diptych.execution.runner import run_notebook
from diptych.llmops.prompts import bundle

pytestmark = pytest.mark.long
ROOT = workspace.repo_root()
TEXT = "Classify the sentiment of this review as positive or negative.\\n{text}"
CASE = 'checklist.case(["Good.", "Bad."], checklist.OTHER)'
EDITS = {
    "2_build": ("mine = {}", f'mine = {{"in a cell": "{TEXT}"}}'),
    "3_release": ("mine = []", f"mine = [{CASE}, {CASE}]"),
}
STAGES = {
    "1_data": {"validation_rows": 10, "rows": 30},
    "2_build": {"validation_rows": 10, "rows": 40, "power_rows": 0, "perturbed_rows": 10,
                "hand_written_rows": 20, "repeat_rows": 4, "repeats": 2, "shots": [0],
                "prompts": ["vague"]},
    "3_release": {"rows": 40, "tests": 10, "max_failures": 0.9, "max_calibration_error": 0.0},
    "4_serve": {"load_rows": 8, "levels": [1, 2], "rows_per_window": 20, "load_rounds": 2},
    "5_monitor": {"rows": 40, "streams": 20, "questions": 20, "samples": 2},
    "6_improve": {"labels": 80, "replay": 40, "rows": 40, "tries": 2, "calls": 40,
                  "rows_per_window": 20},
}  # fmt: skip


@pytest.fixture(autouse=True)
def clone(tmp_path, monkeypatch):
    """A clone of one's own, whose notebooks can be edited."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    for name in ("notebooks", "params"):
        shutil.copytree(ROOT / name, tmp_path / "clone" / name)
    (tmp_path / "clone" / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "clone")
    yield tmp_path / "clone"
    end_servers(tmp_path / "home")


def edit(stage, clone):
    """Make a notebook's edit, and put the solutions into the cells of its exercises."""
    path = clone / "notebooks" / "llmops" / f"{stage}.ipynb"
    nb = nbformat.read(path, as_version=4)
    before, after = EDITS.get(stage, ("", ""))
    solutions = (ROOT / "teach/solutions/llmops" / f"{stage}.py").read_text("utf-8")
    cells = iter(re.split(r"^# %% .*\n", solutions, flags=re.MULTILINE)[1:])
    changed = 0
    for cell in nb.cells:
        if "exercise" in cell.metadata.get("tags", []):
            cell.source = next(cells)
        elif before and cell.cell_type == "code" and before in cell.source:
            cell.source = cell.source.replace(before, after)
            changed += 1
    assert changed == bool(before)
    assert next(cells, None) is None
    nbformat.write(nb, path)


def printed(run):
    nb = nbformat.read(run.folder / "notebook.ipynb", as_version=4)
    exercises = [c for c in nb.cells if "exercise" in c.metadata.get("tags", [])]
    return ["".join(o.get("text", "") for o in cell.outputs) for cell in exercises]


def test_what_is_edited_in_a_cell_flows_through_all_stages(clone):
    runs = {}
    for stage in STAGES:
        edit(stage, clone)
    for stage, parameters in STAGES.items():
        run = run_notebook(f"llmops/{stage}", overrides=parameters, progress=False)
        assert run.status == "ok", run.manifest.get("error")
        assert all("Right" in line for line in printed(run)), (stage, printed(run))
        runs[stage] = load(run.id)
    built = runs["2_build"]
    written = built.fact("own_prompts")["in a cell"]
    assert written["text"] == TEXT.replace("\\n", "\n")
    assert built.fact("name") == "in a cell"
    assert built.fact("version") == written["version"]
    assert runs["3_release"].values["passed, written here"]["value"] == 1.0
    released = bundle.load(runs["3_release"].folder / "prompt")
    assert released.prompt.version == written["version"]
    assert runs["3_release"].fact("promoted")
    with Calls(workspace.ledger_path()) as calls:
        served = calls.table(run=runs["4_serve"].id)
    assert set(served.loc[served["caller"] == "live", "prompt_version"]) == {written["version"]}
    assert runs["5_monitor"].fact("version") == runs["3_release"].fact("version")
    assert runs["6_improve"].upstream == runs["5_monitor"].id
    assert "gain of tuned model, later windows" in runs["6_improve"].values
