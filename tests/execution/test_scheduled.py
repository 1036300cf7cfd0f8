"""Runs as a schedule starts them: real commands, kernels and signals."""

import json
import os
import signal
import subprocess
import sys

import nbformat
import pytest
from processes import PATIENCE, is_gone, until

from diptych.execution import scheduled
from diptych.execution.runs import find_runs

FIGURE = (
    "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n"
    "import diptych as dt\ndt.record(total=3)\n"
)


def write(path, *cells):
    """Write a notebook of code cells, the first of them parameters."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, path)
    return path


def diptych(*arguments, **options):
    command = [sys.executable, "-m", "diptych", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A notebook of somebody's own run under a name, then failing under it: folder and results."""
    folder = tmp_path_factory.mktemp("own")
    write(
        folder / "weekly.ipynb",
        "%matplotlib inline\nfrom datetime import date\nregion = None\nday: date = date.today()",
        "print(repr(day), open('beside.txt').read())\nif region == 'x': raise SystemExit(3)",
        FIGURE,
        "import sys; sys.exit(0)",
        "print('never')",
    )
    (folder / "beside.txt").write_text("in its folder")
    patch = pytest.MonkeyPatch()
    patch.setenv("DIPTYCH_HOME", str(folder / "home"))
    options = ("--output", folder / "out", "--name", "{region}", "--json")
    good = diptych("run", folder / "weekly.ipynb", "-p", "region", "north", *options,
                   "-p", "day=2026-02-01", cwd="/")  # fmt: skip
    bad = diptych("run", folder / "weekly.ipynb", "-p", "region=x", *options, "--retry", "1")
    yield folder, good, bad
    patch.undo()


def test_a_report_runs_in_its_folder_and_gets_a_stable_path(report):
    folder, good, _ = report
    assert good.returncode == 0, good.stderr
    facts = json.loads(good.stdout)
    assert facts["values"] == {"total": 3}
    assert facts["title"] == "weekly · region north · day 2026-02-01"
    assert facts["parameters"] == {"region": "north", "day": "2026-02-01"}
    page = folder / "out" / "north" / "latest" / "notebook.html"
    assert "datetime.date(2026, 2, 1) in its folder" in page.read_text()
    assert "<title>weekly · region north · day 2026-02-01" in page.read_text()
    index = (folder / "out" / "index.html").read_text()
    assert 'href="north/latest/notebook.html"' in index
    assert "data:image/" in index
    assert "total" in index


def test_sys_exit_0_is_an_end(report):
    folder, good, _ = report
    nb = nbformat.read(folder / "out" / "north" / "latest" / "notebook.ipynb", as_version=4)
    texts = [str(cell.get("outputs", "")) for cell in nb.cells]
    assert json.loads(good.stdout)["status"] == "ok"
    assert "ended here, by sys.exit" in texts[-2]
    assert "error" not in texts[-2]
    assert texts[-1] == "[]"


def test_a_failure_is_tried_again_and_leaves_latest_alone(report):
    folder, _, bad = report
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["error"]["ename"] == "SystemExit"
    assert bad.stderr.count("failed after") == 2
    assert not (folder / "out" / "x" / "latest").exists()
    assert len(find_runs(root=folder / "out" / "x")) == 2


def launch(notebook, home, *options):
    """Start a run as a script's ``&`` does: it ignores Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, "-m", "diptych", "run", str(notebook), *options],
        env={**os.environ, "DIPTYCH_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )


@pytest.mark.parametrize("engine", ["diptych", "papermill"])
def test_sigterm_ends_a_run_started_in_the_background(notebooks, home, engine):
    process = launch(notebooks / "slow.ipynb", home, "--engine", engine)

    def written():
        return [int(path.read_text() or 0) for path in home.glob("runs/.*.partial/pid")]

    (kernel,) = until(lambda: list(filter(None, written())))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert is_gone(kernel)
    (run,) = find_runs(root=home / "runs")
    assert run.manifest["error"]["ename"] == "Interrupted"


def test_limits_of_time_and_output(home, tmp_path):
    path = write(tmp_path / "long.ipynb", "n = 1", "print('x' * 3_000_000)\nprint('y' * 3_000_000)",
                 "import time\ntime.sleep(600)")  # fmt: skip
    done = diptych("run", path, "--timeout", "4s", "--output-limit", "1")
    assert done.returncode == 1
    assert "RunTimeout: the run was ended: it took longer than 4 s" in done.stderr
    (run,) = find_runs()
    assert (run.folder / "notebook.ipynb").stat().st_size < 1_200_000
    assert "cut here: a cell may write 1 MB" in (run.folder / "notebook.ipynb").read_text()


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2H", 7200), ("1d", 86400)]
)
def test_times(text, value):
    assert scheduled.seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "-1", "0", "nan", "inf", "1w"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError):  # noqa: PT011
        scheduled.seconds(text)
