"""Runs made again: here by the code they were made of, elsewhere from their archive."""

import json
import os
import subprocess
import sys
import zipfile

import nbformat
import pytest
from processes import PATIENCE

from diptych.base import hashing, workspace
from diptych.base.errors import ParameterError
from diptych.execution import archive, comparison, rerun
from diptych.execution.runner import run_notebook
from diptych.execution.runs import load_run

COUNT = "import diptych as dt\ndt.record(rows=len(open(data).readlines()) * factor)"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with a notebook that counts the lines of a file of another folder in it."""
    root = tmp_path / "project"
    for name in ("reports", "data"):
        (root / name).mkdir(parents=True)
    (root / "data" / "sales.csv").write_text("a\nb\nc\n")
    cells = [nbformat.v4.new_code_cell('data: str = "../data/sales.csv"\nfactor: int = 1'),
             nbformat.v4.new_code_cell(COUNT)]  # fmt: skip
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "reports" / "count.ipynb")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "start"]):
        subprocess.run([*git, *command], cwd=root, check=True)
    monkeypatch.chdir(root / "reports")
    return root


def test_a_run_is_made_again_and_what_differs_is_said(project):
    first = run_notebook("count.ipynb", (), ["factor=2"])
    manifest = first.manifest
    assert manifest["repository"]["root"] == str(project)
    assert manifest["git"] == manifest["repository"]["commit"]
    assert rerun.differences(first) == []

    (project / "data" / "sales.csv").write_text("a\n")
    (project / "new.txt").write_text("not committed")
    again = rerun.rerun(rerun.prepare_again(first))
    assert again.manifest["parameters"] == manifest["parameters"]
    assert again.manifest["repository"]["changed"] == ["data/sales.csv", "new.txt"]
    assert again.manifest["git"].endswith("-dirty")
    assert comparison.compare(first, again).changed_figures == {"rows": (6, 2)}
    assert [line for line in rerun.differences(first) if "sales.csv" in line]

    notebook = project / "reports" / "count.ipynb"
    notebook.write_text(notebook.read_text().replace("factor)", "factor + 1)"))
    assert "code of count.ipynb" in rerun.differences(first)
    notebook.unlink()
    assert "notebook count.ipynb (gone)" in rerun.differences(first)
    prepared = rerun.prepare_again(first, ["factor=5"], as_it_was=True)
    assert rerun.rerun(prepared).result["values"]["rows"]["value"] == 5


def test_a_file_of_the_package_is_where_the_package_lies(project):
    """A run of a session notes them by where they lie in the package."""
    run = run_notebook("count.ipynb", (), ["factor=2"])
    name = "diptych/assets/lexicon"
    digest = hashing.of_path(workspace.PACKAGE.parent / name)
    run.manifest["cache"]["parts"] |= {"files": {name: digest}}
    assert name in comparison.inputs_of(run)
    assert rerun.differences(run) == []


def test_an_archive_runs_elsewhere(project, tmp_path):
    run = run_notebook("count.ipynb", (), ["factor=2"])
    path, notes = archive.write(run, tmp_path / "count.zip")
    assert not [note for note in notes if "variable" not in note]
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "elsewhere")
    (project / "data" / "sales.csv").write_text("changed")
    _, notes = archive.write(run, tmp_path / "late.zip")
    assert [note for note in notes if "sales.csv: it has changed since the run" in note]
    (project / "data" / "sales.csv").unlink()
    top = tmp_path / "elsewhere" / "count"
    assert "diptych==" in (top / "requirements.txt").read_text()
    assert "diptych run reports/count.ipynb -f parameters.yaml" in (top / "README.txt").read_text()
    command = [sys.executable, "-m", "diptych", "run", "reports/count.ipynb"]
    done = subprocess.run(
        [*command, "-f", "parameters.yaml", "--json"], cwd=top, capture_output=True, text=True,
        timeout=PATIENCE, env={**os.environ, "DIPTYCH_HOME": str(tmp_path / "new home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there = json.loads((top / "run" / "result.json").read_text())["values"]["rows"]["value"]
    assert json.loads(done.stdout)["values"] == {"rows": there} == {"rows": 6}


def test_what_does_not_fit_into_an_archive_is_named(repository, echo, tmp_path, monkeypatch):
    (repository / "notebooks/mlops/big.csv").write_bytes(b"x" * 2_000_000)
    monkeypatch.chdir(repository / "notebooks/mlops")
    run = run_notebook("2_build.ipynb", (), ["task=big.csv"], engine=echo)
    path, notes = archive.write(run, tmp_path / "a.zip", limit_mb=1)
    assert any("big.csv: 2 MB, over --limit" in note for note in notes)
    with zipfile.ZipFile(path) as file:
        assert not [name for name in file.namelist() if name.endswith("big.csv")]
        assert "big.csv: 2 MB" in file.read("a/README.txt").decode()


def test_a_parameter_that_was_redacted_must_be_given(repository, echo):
    run = run_notebook("mlops/2_build", engine=echo)
    path = run.folder / "manifest.json"
    path.write_text(path.read_text().replace('"reviews"', '"[redacted UPSTREAM_KEY]"'))
    run = load_run(run.id)
    with pytest.raises(ParameterError, match="task: not kept"):
        rerun.prepare_again(run)
    assert rerun.prepare_again(run, ["task=x"]).values["task"] == "x"
