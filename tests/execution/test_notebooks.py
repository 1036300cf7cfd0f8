import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.execution import history, run_list
from diptych.execution.notebooks import code_digest, find_notebook, read_notebook, short_name, title
from diptych.execution.parameters import find_file
from diptych.execution.runner import run_notebook


def test_short_names_are_found_from_any_folder_of_the_repository(repository, monkeypatch):
    expected = repository / "notebooks" / "mlops" / "2_build.ipynb"
    monkeypatch.chdir(repository / "params")
    assert find_notebook("mlops/2_build") == find_notebook("mlops/2_build.ipynb") == expected
    assert short_name(expected) == "mlops/2_build"
    for name in ("tasks/reviews", "tasks/reviews.yaml"):
        assert find_file(name).resolve() == repository / "params" / "tasks" / "reviews.yaml"


def test_a_path_goes_before_a_short_name(repository, notebooks):
    assert find_notebook(notebooks / "good.ipynb") == notebooks / "good.ipynb"
    near = repository / "mlops"
    near.mkdir()
    (near / "2_build.ipynb").write_text("{}")
    assert find_notebook("mlops/2_build") == near / "2_build.ipynb"


@pytest.mark.parametrize(
    ("find", "name", "near"),
    [
        (find_notebook, "mlops/2_bild", "mlops/2_build"),
        (find_notebook, "mlops/2_biuld.ipynb", "mlops/2_build"),
        (find_notebook, "notebooks/mlops/2_bild.ipynb", "notebooks/mlops/2_build"),
        (find_file, "tasks/revews", "tasks/reviews"),
        (find_file, "params/tasks/revews.yaml", "params/tasks/reviews"),
    ],
)
def test_a_missing_file_is_named_with_the_nearest(repository, find, name, near):
    with pytest.raises(ParameterError, match=f"^{name}: no such .* Did you mean {near}[?]"):
        find(name)


@pytest.mark.parametrize(
    "content", ["depth = 3", "[]", "{}", '{"cells": [{"source": "x"}]}', '{"cells": 3}']
)
def test_what_is_no_notebook_is_refused(tmp_path, content):
    path = tmp_path / "x.ipynb"
    path.write_text(content)
    with pytest.raises(ParameterError, match=r"x\.ipynb: not a notebook"):
        read_notebook(path)


def test_other_languages_are_refused(notebooks):
    with pytest.raises(ParameterError, match=r"other_language\.ipynb: a notebook for julia"):
        read_notebook(notebooks / "other_language.ipynb")


def test_prose_and_outputs_do_not_change_the_code_digest(notebooks):
    content = read_notebook(notebooks / "good.ipynb")
    before = code_digest(content)
    content["cells"][0]["source"] = ["# Another question"]
    content["cells"][-1]["outputs"] = [{"output_type": "stream", "text": "8"}]
    assert code_digest(content) == before
    assert title(content) == "Another question"
    content["cells"][-1]["source"] = ["depth * 3"]
    assert code_digest(content) != before
    assert json.dumps(content)


HOSTILE = (
    "new\nline", "<script>alert(1)<", "\u202egnp", "-rf", "--help", "n" * 249, "caf\u00e9",
    "cafe\u0301", "esc\x1b[2Jx", "$(touch pwned)", "bell\x07", "'quote\"", "\udcff",
)  # fmt: skip


def test_hostile_names_are_listed_and_run_and_nothing_steers_the_terminal(tmp_path):
    """Their runs have folders of plain names; the command to type is quoted for the shell."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "params").mkdir()
    code = {"cell_type": "code", "source": ["x: int = 1"], "metadata": {"tags": ["parameters"]}}
    about = {"cell_type": "markdown", "source": ["# A \x1b[31m\u202etitle"], "metadata": {}}
    content = {"cells": [about, code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    for name in HOSTILE:
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    for form in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "diptych", "list", *form],
            cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode()
        assert "udcff" in text
        assert not re.search("[\x00-\x09\x0b-\x1f]", text)
        assert form or "\u202e" not in text
        assert form or "`diptych list '$(touch pwned)'`" in text


@pytest.mark.parametrize("name", HOSTILE[:-1])
def test_a_run_of_a_hostile_name_lies_among_the_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    cell = {"cell_type": "code", "source": [""], "metadata": {}, "outputs": []}
    cell["execution_count"] = None
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    (tmp_path / f"{name}.ipynb").write_text(json.dumps(content))
    run = run_notebook(Path(f"{name}.ipynb"), engine=Unread(), progress=False)
    assert run.folder.parent == workspace.runs()
    assert re.fullmatch(r"[A-Za-z0-9-]{20,80}", run.id)
    page = (run.folder / "notebook.html").read_text()
    assert "<script>alert" not in page
    shown = run_list.as_text(history.runs_table())
    assert run.id[:37] in shown
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", shown)


class Unread:
    """An engine that runs nothing."""

    name = ""

    def execute(self, notebook, output, parameters, *, environment, cwd, on_cell):
        output.write_bytes(Path(notebook).read_bytes())


def test_a_name_that_is_no_utf8_is_refused_before_it_runs(tmp_path):
    path = tmp_path / "bad\udcff.ipynb"
    path.write_text("{}")
    with pytest.raises(ParameterError, match=r"bad\\udcff.ipynb: the name of this notebook is not"):
        run_notebook(path)
