import asyncio
import json
import sys
import tempfile

import nbformat
import papermill
import pytest

from diptych.base.errors import NotebookFailed, ParameterError
from diptych.execution.engine import (
    KernelManager,
    PapermillEngine,
    WarmEngine,
    _merge_streams,
    named,
)

GIVEN = {"depth": 7, "task": 'say "hi"\n\\ é', "names": ["c"], "rate": 1e-07, "shuffle": False}


def outputs(path):
    """Return what each code cell printed or showed."""
    nb = nbformat.read(path, as_version=4)
    return [
        [output.get("text", output.get("data", output.get("traceback"))) for output in cell.outputs]
        for cell in nb.cells
        if cell.cell_type == "code"
    ]


def execute(notebook, folder, parameters=(), on_cell=lambda *_: None, engine=None):
    """Run a notebook with our engine and return where it was written."""
    output = folder / "notebook.ipynb"
    (engine or PapermillEngine()).execute(
        notebook,
        output,
        dict(parameters),
        environment={"DIPTYCH_RUN": str(folder)},
        cwd=folder,
        on_cell=on_cell,
    )
    return output


def test_it_does_what_papermill_does_and_tells_its_progress(notebooks, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []
    ours = execute(notebooks / "good.ipynb", tmp_path, GIVEN, lambda *at: seen.append(at))
    theirs = tmp_path / "theirs.ipynb"
    papermill.execute_notebook(notebooks / "good.ipynb", theirs, GIVEN, progress_bar=False)
    assert outputs(ours) == outputs(theirs)
    assert outputs(ours)[-1][0]["text/plain"] == "14"
    assert "say \"hi\"\n\\ é 7 1e-07 fast False ['c']" in outputs(ours)[-2][0]

    labels = ["Does it run?", "Does it run?", "Make", "Measure", "Measure", ""]
    assert seen == [(done, 5, label) for done, label in enumerate(labels)]
    nb = nbformat.read(ours, as_version=4)
    nbformat.validate(nb)
    counts = [cell.execution_count for cell in nb.cells if cell.cell_type == "code"]
    assert counts == [1, 2, 3, 4, 5]
    assert json.loads((tmp_path / "result.json").read_text())["values"]["depth"]["value"] == 7
    assert not list(tmp_path.glob("diptych-*")), "the kernel's sockets are left behind"


def test_a_kernel_that_dies_fails_the_cell(notebooks, tmp_path):
    with pytest.raises(NotebookFailed) as failed:
        execute(notebooks / "dies.ipynb", tmp_path)
    assert (failed.value.cell, failed.value.ename) == (2, "KernelDied")
    assert failed.value.evalue == "its process ended itself with exit status 9"


def test_a_kernel_that_does_not_start_tells_why(notebooks, tmp_path, monkeypatch):
    folder = tmp_path / "kernels" / "missing-kernel"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-c", "import sys; sys.exit('a library is missing')"]
    spec = {"argv": argv, "display_name": "Broken", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(NotebookFailed) as failed:
        execute(notebooks / "no_kernel.ipynb", tmp_path)
    assert failed.value.ename == "KernelDied"
    assert failed.value.traceback == "a library is missing\n"


@pytest.mark.parametrize("engine", [PapermillEngine, WarmEngine])
def test_what_a_kernel_writes_past_its_notebook_stays_in_its_run(engine, tmp_path, capfd):
    # where pytest is, ipykernel leaves the descriptors alone
    past = "import os; os.write(1, b'noise'), os.write(2, b'noise')"
    notebook = tmp_path / "noisy.ipynb"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(past)])
    nbformat.write(nb, notebook)
    execute(notebook, tmp_path, engine=engine())
    assert capfd.readouterr() == ("", "")


def test_a_missing_kernel_is_named_also_where_a_loop_runs(notebooks, tmp_path):
    async def inside():
        execute(notebooks / "no_kernel.ipynb", tmp_path)

    with pytest.raises(NotebookFailed, match="no kernel 'missing-kernel' is installed"):
        asyncio.run(inside())


def test_pieces_of_one_stream_are_joined():
    def stream(name, text):
        return nbformat.v4.new_output("stream", name=name, text=text)

    shown = nbformat.v4.new_output("display_data", {"text/plain": "1"})
    pieces = [stream("stdout", "a"), stream("stdout", "b"), stream("stderr", "c"), shown]
    cell = nbformat.v4.new_code_cell(outputs=[*pieces, stream("stdout", "d")])
    _merge_streams(cell)
    assert [output.get("text", "shown") for output in cell.outputs] == ["ab", "c", "shown", "d"]


def test_an_engine_is_named_by_the_caller_else_by_the_user_else_it_is_the_warm_one(monkeypatch):
    monkeypatch.delenv("DIPTYCH_ENGINE", raising=False)
    assert type(named()) is WarmEngine
    monkeypatch.setenv("DIPTYCH_ENGINE", "papermill")
    assert type(named()) is PapermillEngine
    assert type(named("diptych")) is WarmEngine


def test_an_unknown_engine_is_refused_where_it_was_named(monkeypatch):
    with pytest.raises(ParameterError, match=r"^engine = 'nobody': .* Choose diptych or "):
        named("nobody")
    monkeypatch.setenv("DIPTYCH_ENGINE", "somebody")
    with pytest.raises(ParameterError, match=r"^DIPTYCH_ENGINE = 'somebody': "):
        named()


def test_both_kernel_managers_have_what_an_engine_needs():
    from jupyter_client.manager import AsyncKernelManager

    from diptych.execution.kernels.pipe import PipeManager

    for kind in (AsyncKernelManager, PipeManager):
        assert isinstance(kind(), KernelManager), kind
    assert not isinstance(object(), KernelManager)
