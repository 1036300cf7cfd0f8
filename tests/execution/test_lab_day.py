"""A day in a real JupyterLab; `make test-lab`. Screenshots are kept in build/lab/."""

import json
import os
import re
from pathlib import Path

import lab
import pytest

from diptych.execution.notebooks import short_name
from diptych.execution.refresh import in_order

pytestmark = pytest.mark.skipif(
    not os.environ.get("DIPTYCH_LONG"), reason="takes minutes: make test-lab"
)
FIGURE = re.compile(r'<(?:img|svg) class="figure"')
PAPER = """[...document.querySelectorAll('img.figure')]
  .filter(picture => !picture.src.includes("class='paper'")).length"""
PARAMETERS = 1  # the cell of mlops/2_build


def figures_of(path) -> dict[int, int]:
    """Return how many figures each cell has that stores one."""
    counts = {}
    for place, cell in enumerate(json.loads(path.read_text())["cells"]):
        texts = (output.get("data", {}).get("text/html", "") for output in cell.get("outputs", ()))
        if count := sum(len(FIGURE.findall("".join(text))) for text in texts):
            counts[place] = count
    return counts


@pytest.mark.parametrize("path", in_order(), ids=short_name)
def test_every_stored_figure_is_seen_in_a_notebook_that_is_not_trusted(opened, path):
    name = short_name(path)
    for dark in (False, True):
        opened.open(name, dark=dark, ready=False)
        trusted = f"[...{lab.PANEL}.content.model.cells].map(cell => !!cell.trusted)"
        code = f"[...{lab.PANEL}.content.model.cells].map(cell => cell.type === 'code')"
        assert not [a for a, b in zip(*map(opened.js, (trusted, code)), strict=True) if a and b]
        for cell, count in figures_of(path).items():
            widths = opened.figures(cell)
            assert len(widths) == count
            assert min(widths) > 300
        assert opened.js(PAPER) == 0
        scheme = "dark" if dark else "light"
        opened.screenshot(f"untrusted-{name.replace('/', '-')}-{scheme}")
    opened.end_kernels()


def records(opened) -> dict[str, dict]:
    """Return what is on record of mlops/2_build, by run."""
    results = {}
    for file in (opened.folder / ".diptych" / "runs").glob("*/result.json"):
        result = json.loads(file.read_text())
        if result.get("notebook", "") == "mlops/2_build":
            results[file.parent.name] = result
    return results


def trials_of(result: dict):
    """Return what is on record of how many settings each family was tuned with."""
    return result["facts"]["parameters"]["trials"]


@pytest.fixture(scope="module")
def built(opened):
    """mlops/2_build of a small task, run to its end."""
    opened.open("mlops/2_build")
    opened.edit(PARAMETERS, 'task: str = "reviews"', 'task: str = "tumours"')
    opened.run_all()
    opened.screenshot("day-1-run-all")
    assert opened.errors() == []
    return opened


def test_run_all_shows_the_leaderboard_and_its_figures(built):
    making = built.cell_with("build.tune_all")
    assert "validation" in built.text(making)
    drawn = [cell for cell, source in enumerate(built.sources()) if "_plot(" in source]
    assert drawn
    for cell in drawn:
        assert min(built.figures(cell)) > 300


def test_an_edited_parameter_and_a_partial_rerun_leave_true_records(built):
    before = records(built)
    assert [trials_of(result) for result in before.values()] == [2]
    built.edit(PARAMETERS, "trials: int = 2 ", "trials: int = 3 ")
    tuning = built.cell_with("build.tune_all")
    built.run(PARAMETERS, tuning, built.cell_with("build.save(model"))
    built.screenshot("day-2-partial-rerun")
    after = records(built)
    for run, result in before.items():  # nothing was merged into what ran before
        assert trials_of(after[run]) == 2
        if after[run].get("complete"):
            assert after[run]["values"] == result["values"]
    for run in set(after) - set(before):
        assert trials_of(after[run]) == 3


def test_an_interrupted_cell_stops_and_the_notebook_works_as_before(built):
    cell = built.insert("import time\nstarted = True\nfor _ in range(3000): time.sleep(0.1)")
    built.js(f"void ({lab.PANEL}.content.activeCellIndex = {cell})")
    built.begin("notebook:run-cell")
    lab.until(lambda: built.js(f"{lab.PANEL}.sessionContext.session.kernel.status") == "busy")
    built.begin("notebook:interrupt-kernel")
    built.wait_idle()
    assert built.outputs(cell)[-1]["ename"] == "KeyboardInterrupt"
    built.screenshot("day-3-interrupt")
    after = built.insert("print(started, len(test) > 0)")
    built.run(after)
    assert built.text(after).strip() == "True True"


def test_two_notebooks_run_at_once(built):
    built.js("void (first = jupyterapp.shell.currentWidget)")
    built.command("docmanager:open", path="notebooks/start_here.ipynb")
    lab.until(lambda: built.js(lab.SHOWN))
    built.wait_ready()
    built.begin("notebook:run-all-cells")
    built.js("void jupyterapp.shell.activateById(first.id)")
    cell = built.insert("print(sum(range(10)))")
    built.run(cell)
    assert built.text(cell).strip() == "45"
    built.js("void jupyterapp.commands.execute('application:activate-next-tab')")
    built.wait_idle()
    built.screenshot("day-4-two-at-once")
    assert built.errors() == []
    built.js("void jupyterapp.shell.activateById(first.id)")


def test_a_tab_that_was_closed_finds_its_kernel_again(built):
    built.command("docmanager:save")
    built.run(built.insert("mark = 'here'"))
    built.chromium.open(Path(__file__))
    built.open("mlops/2_build")
    cell = built.insert("print(mark, trials)")
    built.run(cell)
    assert built.text(cell).split() == ["here", "3"]
    assert built.source(PARAMETERS).count("trials: int = 3 ") == 1
    built.screenshot("day-5-back-again")


def test_after_a_restart_a_part_alone_is_refused_in_a_sentence(built):
    before = records(built)
    built.js(f"{lab.PANEL}.sessionContext.session.kernel.restart()")
    built.wait_ready()
    cell = built.insert("print('mark' in globals())")
    built.run(cell, built.cell_with("build.save(model"))
    built.screenshot("day-6-restart")
    assert built.text(cell).strip() == "False"
    assert len(built.errors()) >= 1
    assert records(built) == before
