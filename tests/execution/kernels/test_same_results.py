"""A warm kernel's outputs are those of bare papermill."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import nbformat
import papermill
import pytest
from execution.kernels.conftest import Kernels
from papermill.engines import papermill_engines

from diptych.execution.cache import inputs
from diptych.execution.engine import WarmEngine
from diptych.execution.kernels.papermill import DiptychEngine

PID = re.compile(r"ipykernel_\d+")  # in the name of a cell's file


def cells(path):
    """Return the outputs of each code cell, the pieces of a stream joined.

    What a process writes to two pipes arrives in any order: there each stream is one piece.
    """
    found = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        joined = []
        outputs = cell.outputs
        if "two-pipes" in cell.metadata.get("tags", ()):
            outputs = sorted(outputs, key=lambda output: output["name"])
        for output in outputs:
            last = joined[-1] if joined else {}
            if output.output_type == "stream" and last.get("name") == output.name:
                last["text"] += output.text
            else:
                joined.append(output)
        found[cell.id] = PID.sub("ipykernel_0", repr((cell.execution_count, joined)))
    return found


def bare(notebook, output, **options):
    """Run a notebook with papermill; it reports an expected error when it is done."""
    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(notebook, output, progress_bar=False, **options)
    return cells(output)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A kernel's folder, without what pytest tells the processes it starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setitem(papermill_engines._engines, "diptych", DiptychEngine)
    return tmp_path


@pytest.mark.long
def test_outputs_are_those_of_a_kernel_started_afresh(notebooks, folder, monkeypatch):
    monkeypatch.setenv("DIPTYCH_RUN", str(folder))  # the notebook shows all variables
    expected = bare(notebooks / "torture.ipynb", folder / "plain.ipynb")
    (folder / "helper_mod.py").unlink()
    # The first time the notebook imports its libraries, then they have been imported ahead.
    first = bare(notebooks / "torture.ipynb", folder / "first.ipynb", engine_name="diptych")
    assert (folder / "exit").read_text() == "bye", "what is registered for the exit runs"
    (folder / "exit").unlink()
    (folder / "helper_mod.py").unlink()
    Kernels(folder).wait_for("xgboost")
    output = folder / "learnt.ipynb"
    WarmEngine().execute(
        notebooks / "torture.ipynb",
        output,
        {},
        environment={"DIPTYCH_RUN": str(folder)},  # so that what it reads is noted
        cwd=folder,
        on_cell=lambda *_: None,
    )
    assert (folder / "exit").read_text() == "bye"
    assert (folder / inputs.NOTES).read_text().endswith('["end"]\n')
    for found in (first, cells(output)):
        assert list(found) == list(expected)
        for cell, outputs in expected.items():
            assert found[cell] == outputs


def test_the_engine_and_the_provisioner_are_registered():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    for group in ("papermill.engine", "jupyter_client.kernel_provisioners"):
        module, _, name = project["entry-points"][group]["diptych"].partition(":")
        assert getattr(import_module(module), name)
