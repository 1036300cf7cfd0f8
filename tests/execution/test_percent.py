"""A notebook as a script: what jupytext reads of it is the notebook."""

import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from diptych.base import workspace
from diptych.execution import percent
from diptych.execution.refresh import in_order

CELLS = [
    new_markdown_cell("# Title\n\nA line with `# %%` in it."),
    new_code_cell("a: int = 1  # a number", metadata={"tags": ["parameters"]}),
    new_code_cell("%matplotlib inline\n!ls\nprint(a)\n\n\nx = 7 % 2\n# %% not a cell"),
    new_code_cell("%%bash\necho 1\n\necho 2"),
    new_code_cell(""),
    new_code_cell("len?"),
]


def test_cells_tags_and_what_python_cannot_read():
    text = percent.script(new_notebook(cells=CELLS))
    assert '# %% tags=["parameters"]\na: int = 1  # a number\n' in text
    assert "# %matplotlib inline\n# !ls\nprint(a)\n\n\nx = 7 % 2\n# # %% not a cell\n" in text
    assert "# %%bash\n# echo 1\n#\n# echo 2\n" in text
    compile(text, "script", "exec")


@pytest.mark.parametrize("path", in_order()[:4], ids=lambda path: path.stem)
def test_our_notebooks_are_scripts_that_compile_and_hold_every_line(path):
    nb = nbformat.read(path, as_version=4)
    text = percent.script(nb)
    compile(text, path.name, "exec")
    assert text.count("\n# %%") == len(nb.cells)
    for cell in nb.cells:
        if cell.cell_type == "code":
            assert cell.source in text


def test_jupytext_reads_back_the_same_cells():
    jupytext = pytest.importorskip("jupytext", reason="jupytext reads the script; not installed")
    back = jupytext.reads(percent.script(new_notebook(cells=CELLS)), fmt="py:percent")
    # jupytext does not escape what looks like a cell's mark, and so does not undo it
    sources = [cell.source.replace("\n# %%", "\n# # %%") for cell in CELLS]
    assert [cell.source for cell in back.cells] == sources
    assert [cell.cell_type for cell in back.cells] == [cell.cell_type for cell in CELLS]
    assert back.cells[1].metadata.tags == ["parameters"]


def test_the_command_writes_it(tmp_path):
    path = workspace.repo_root() / "notebooks" / "start_here.ipynb"
    command = [sys.executable, "-m", "diptych", "export", str(path), "--to", "py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    written = tmp_path / "start_here.py"
    assert done.stdout.strip() == str(written)
    assert written.read_text("utf-8").startswith("# ---\n# jupyter:")
