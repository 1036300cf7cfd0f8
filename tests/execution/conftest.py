import json
from pathlib import Path

import lab
import pytest

from diptych.base import workspace
from diptych.execution.cache import inputs

NOTEBOOKS = Path(__file__).parent / "notebooks"


def note_nothing(folder):
    """Do as a kernel that has seen nothing being read."""
    (folder / inputs.NOTES).write_text('["end"]\n')


class Echo:
    """An engine without a kernel: it writes the notebook down with what it was given."""

    name = ""

    def __init__(self):
        self.calls = []

    def execute(self, notebook, output, parameters, *, environment, cwd, on_cell):
        self.calls.append(dict(parameters))
        output.write_text(notebook.read_text())
        folder = Path(environment["DIPTYCH_RUN"])
        note_nothing(folder)
        (folder / "result.json").write_text(json.dumps({"complete": True, **parameters}))
        on_cell(1, 1, "")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A workspace and a Jupyter runtime folder of the test's own."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    return tmp_path / "home"


@pytest.fixture
def notebooks():
    return NOTEBOOKS


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one notebook and one parameter file; the working directory is in it."""
    root = tmp_path / "a repository"
    for name in ("notebooks/mlops", "params/tasks"):
        (root / name).mkdir(parents=True)
    (root / "pyproject.toml").write_text("")
    (root / "notebooks/mlops/2_build.ipynb").write_text((NOTEBOOKS / "good.ipynb").read_text())
    (root / "params/tasks/reviews.yaml").write_text("task: reviews\ndepth: 5\n")
    monkeypatch.chdir(root)
    assert workspace.repo_root() == root
    return root


@pytest.fixture(scope="module")
def opened(chromium, tmp_path_factory):
    """JupyterLab on a copy of the notebooks, in a git repository of its own."""
    folder = tmp_path_factory.mktemp("lab") / "repository"
    folder.mkdir()
    with lab.server(folder) as address:
        yield lab.Lab(chromium, address, folder)
