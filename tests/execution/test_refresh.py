import shutil

import nbformat
import pytest

from diptych.base.errors import NotebookFailed
from diptych.execution.refresh import in_order, refresh


@pytest.fixture
def own(repository, notebooks):
    """The repository's notebook, and one whose last cell raises."""
    folder = repository / "notebooks" / "mlops"
    shutil.copy(notebooks / "fails.ipynb", folder / "3_fails.ipynb")
    return [folder / "2_build.ipynb", folder / "3_fails.ipynb"]


def test_outputs_of_a_clean_run_are_stored_in_place(own, home):
    good, _ = own
    nb = nbformat.read(good, as_version=4)
    nb.metadata["signed"] = "by hand"
    nb.cells[-1].metadata["collapsed"] = True
    nbformat.write(nb, good)
    refresh([good], progress=False)
    stored = nbformat.read(good, as_version=4)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(cell.outputs for cell in code)
    assert [cell.source for cell in stored.cells] == [cell.source for cell in nb.cells]
    assert set(stored.metadata) == {"kernelspec", "language_info"}
    assert "collapsed" not in stored.cells[-1].metadata
    assert not home.exists(), "the user's workspace was used"


def test_a_second_run_changes_no_byte(own):
    good, _ = own
    refresh([good], progress=False)
    first = good.read_bytes()
    refresh([good], progress=False)
    assert good.read_bytes() == first


def test_a_limit_of_dollars_is_obeyed_and_leaves_no_trace(own):
    good, _ = own
    nb = nbformat.read(good, as_version=4)
    (parameters,) = [cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source += "\nmax_usd: float | None = None  # no call may exceed it [0..]"
    nb.cells.append(nbformat.v4.new_code_cell("max_usd"))
    nbformat.write(nb, good)
    sources = [cell.source for cell in nb.cells]
    for limit, shown in ((None, []), (0.25, ["0.25"])):
        refresh([good], max_usd=limit, progress=False)
        stored = nbformat.read(good, as_version=4)
        assert [cell.source for cell in stored.cells] == sources
        code = [cell for cell in stored.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert [output.data["text/plain"] for output in code[-1].outputs] == shown


def test_what_a_machine_says_of_itself_is_not_stored_of_exempt_cells(own):
    good, _ = own
    nb = nbformat.read(good, as_version=4)
    said = "import sys\nprint('bar', file=sys.stderr)\nprint('kept')"
    nb.cells.append(nbformat.v4.new_code_cell(said))
    nb.cells.append(nbformat.v4.new_code_cell(said))
    nb.cells[-1].metadata["tags"] = ["nbval-ignore-output", "timing"]
    nbformat.write(nb, good)
    refresh([good], progress=False)
    *_, plain, exempt = nbformat.read(good, as_version=4).cells
    assert [output.text for output in exempt.outputs] == ["kept\n"]
    assert {output.name for output in plain.outputs} == {"stdout", "stderr"}


def test_after_a_failure_no_notebook_is_changed(own):
    before = [path.read_bytes() for path in own]
    with pytest.raises(NotebookFailed):
        refresh(own, progress=False)
    assert [path.read_bytes() for path in own] == before


def test_the_entrance_comes_first_then_panel_by_panel(tmp_path):
    names = ["contrast", "llmops/1_data", "mlops/2_build", "mlops/1_data", "start_here"]
    for name in names:
        path = tmp_path / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    found = [p.relative_to(tmp_path).with_suffix("").as_posix() for p in in_order(tmp_path)]
    assert found == ["start_here", "mlops/1_data", "mlops/2_build", "llmops/1_data", "contrast"]
