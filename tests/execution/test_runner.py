import json
import os
import re
import signal
import subprocess
import sys

import nbformat
import pytest
from processes import PATIENCE, is_gone, until

from diptych.base import hashing, workspace
from diptych.base.errors import NotebookFailed, ParameterError
from diptych.execution.engine import named
from diptych.execution.runner import find_runs, load_run, run_all, run_notebook

SECRET = "hunter2 & <correct> horse"


def launch(home, *arguments):
    """Start ``diptych run`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "diptych", "run", *map(str, arguments)],
        env={**os.environ, "DIPTYCH_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C, and so would every process the tests start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def kernel_of(home):
    """Return the kernel's process once the notebook runs."""

    def written():
        return [int(path.read_text() or 0) for path in home.glob("runs/.*.partial/pid")]

    (pid,) = until(lambda: list(filter(None, written())))
    return pid


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two runs of one notebook at once: home and, for each, depth, stdout, stderr."""
    folder = tmp_path_factory.mktemp("pair")
    notebook = os.path.join(os.path.dirname(__file__), "notebooks", "good.ipynb")
    file = folder / "p.yaml"
    file.write_text("rate: 0.5\n")
    started = [launch(folder / "home", notebook, "-f", file, "-p", f"depth={d}") for d in (3, 5)]
    ended = [process.communicate(timeout=PATIENCE) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    return folder / "home", file, dict(zip((3, 5), ended, strict=True))


def test_two_runs_at_once_are_both_whole(pair):
    home, _, ended = pair
    runs = find_runs(root=home / "runs")
    assert {run.manifest["parameters"]["depth"] for run in runs} == {3, 5}
    assert sorted(path.name for path in (home / "runs").iterdir()) == sorted(r.id for r in runs)
    for run in runs:
        depth = run.manifest["parameters"]["depth"]
        assert run.status == "ok"
        assert run.result["values"]["depth"]["value"] == depth
        assert ended[depth][0].strip() == str(run.folder)
        assert re.fullmatch(rf"good ok in [\d.]+ s: {run.folder}\n", ended[depth][1]), (
            "one line a notebook where stderr is no terminal"
        )


def test_a_run_folder_holds_all_that_made_it(pair, notebooks):
    home, file, _ = pair
    run = find_runs("good", home / "runs")[0]
    assert {path.name for path in run.folder.iterdir()} == {
        "notebook.ipynb",
        "notebook.html",
        "result.json",
        "manifest.json",
    }
    nb = nbformat.read(run.folder / "notebook.ipynb", as_version=4)
    (injected,) = [c for c in nb.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert "rate = 0.5" in injected.source
    assert "mode" not in injected.source, "a default is injected"
    assert "Does it run?" in (run.folder / "notebook.html").read_text()

    manifest = run.manifest
    assert manifest["id"] == run.id == run.folder.name
    assert manifest["notebook"] == "tests/execution/notebooks/good.ipynb"
    assert manifest["parameters"]["rate"] == 0.5
    assert manifest["parameters"]["mode"] == "fast"
    assert list(manifest["sha256"]["files"].values()) == [hashing.of_file(file)]
    assert manifest["sha256"]["lib"]
    assert "papermill" not in manifest["packages"], "the notebook does not import it"
    assert manifest["host"]["cores"] >= 1
    assert manifest["cost"] == 0
    assert manifest["started"] < manifest["ended"]
    for path in run.folder.iterdir():
        assert ".partial" not in path.read_text(), f"{path.name} knows the staged folder"


@pytest.fixture(scope="module")
def leak(tmp_path_factory):
    """A run whose notebook shows a secret everywhere it can, and then fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIPTYCH_HOME", str(tmp_path_factory.mktemp("leak")))
        patch.setenv("UPSTREAM_API_KEY", SECRET)
        notebook = os.path.join(os.path.dirname(__file__), "notebooks", "leaks.ipynb")
        with pytest.raises(NotebookFailed) as failed:
            run_notebook(notebook)
    return failed.value


def test_no_secret_is_written(leak):
    assert len(list(leak.run.folder.iterdir())) == 5, "its page is there too"
    for path in leak.run.folder.iterdir():
        text = path.read_text()
        for part in ("hunter2", "horse", "sk-Ab3d"):
            assert part not in text, path.name
        if path.name != "manifest.json":
            assert "[redacted UPSTREAM_API_KEY]" in text, path.name
    assert "hunter2" not in str(leak)
    assert leak.evalue == "refused the key [redacted UPSTREAM_API_KEY]"


def test_a_failed_run_keeps_how_far_it_came(leak):
    assert leak.run.id.endswith("-failed")
    assert leak.run.status == "failed"
    assert leak.run.manifest["error"] == {
        "cell": leak.cell,
        "ename": "ValueError",
        "evalue": leak.evalue,
    }
    assert find_runs(root=leak.run.folder.parent) == [leak.run]
    nb = nbformat.read(leak.run.folder / "notebook.ipynb", as_version=4)
    assert nb.cells[leak.cell].outputs[-1].ename == "ValueError"
    assert str(leak).endswith(f"is kept: {leak.run.folder}/notebook.ipynb")
    assert "\x1b" not in str(leak)


def test_a_failure_in_the_command(notebooks, home):
    process = launch(home, notebooks / "fails.ipynb")
    out, err = process.communicate(timeout=PATIENCE)
    (run,) = find_runs(root=home / "runs")
    assert process.returncode == 1
    assert out == ""
    assert "ZeroDivisionError" in err
    assert "1 / divisor" in err
    assert "runner.py" not in err, "our own traceback is shown"
    assert err.endswith(
        "\nfails failed in cell 6, under 'Measure': ZeroDivisionError: division by zero\n"
        "The line: 1 / divisor\n"
        f"The partial notebook is kept: {run.folder / 'notebook.ipynb'}\n"
        "Add --traceback to see all of the traceback.\n"
    )
    notebook = (run.folder / "notebook.ipynb").read_text()
    assert "before the failure" in notebook
    assert run.result == {"notebook": "fails", "complete": False}, "a result to build on is left"


def test_the_traceback_follows_the_error_where_it_is_asked_for(notebooks, home):
    _, err = launch(home, notebooks / "fails.ipynb", "--traceback").communicate(timeout=PATIENCE)
    sentence, _, after = err.partition("is kept: ")
    assert "fails failed in cell 6" in sentence
    assert "Traceback (most recent call last)" not in sentence
    assert "Traceback (most recent call last)" in after
    assert after.rstrip().endswith("ZeroDivisionError: division by zero")


def test_a_kernel_that_is_not_here_is_replaced_by_one_that_is(notebooks, home):
    """Notebooks saved in a conda environment name a kernel that exists only there."""
    process = launch(home, notebooks / "no_kernel.ipynb")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "no kernel 'missing-kernel' is installed; choose one by --kernel NAME. There are " in err
    assert "python3" in err.partition("There are")[2]
    for engine in ("diptych", "papermill"):
        options = ("--kernel", "python3", "--engine", engine, "--force")
        process = launch(home, notebooks / "no_kernel.ipynb", *options)
        _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, "no_kernel ok in" in err) == (0, True), err


def test_a_run_in_the_kernel_of_another_environment_is_never_linked(
    notebooks, home, tmp_path, monkeypatch
):
    """Its packages are not seen from here, so nobody knows that nothing has changed."""
    folder = tmp_path / "kernels" / "conda-env-other-py"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Other", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    engine = named("papermill", "conda-env-other-py")
    made = [run_notebook(notebooks / "no_kernel.ipynb", engine=engine) for _ in range(2)]
    assert [run.linked for run in made] == [False, False]
    assert made[0].id != made[1].id
    assert "conda-env-other-py" in made[0].manifest["cache"]["never"]


def test_ctrl_c_ends_the_kernel_and_keeps_the_run(notebooks, home):
    process = launch(home, notebooks / "slow.ipynb")
    kernel = kernel_of(home)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert is_gone(kernel)
    assert "Traceback" not in err
    (run,) = find_runs(root=home / "runs")
    assert run.id.endswith("-failed")
    assert run.manifest["error"]["ename"] == "Interrupted"
    cells = nbformat.read(run.folder / "notebook.ipynb", as_version=4).cells
    assert cells[1].execution_count == 1, "how far it came is not kept"


def test_a_killed_run_is_never_taken_for_one(notebooks, home):
    process = launch(home, notebooks / "slow.ipynb")
    kernel = kernel_of(home)
    process.kill()
    process.communicate(timeout=PATIENCE)
    until(lambda: is_gone(kernel))
    (left,) = (home / "runs").iterdir()
    assert re.fullmatch(r"\..*\.partial", left.name)
    assert find_runs(root=home / "runs") == []


def test_nothing_is_made_of_a_refused_run(notebooks, home, tmp_path):
    with pytest.raises(ParameterError) as refused:
        run_notebook(notebooks / "good.ipynb", ["nobody.yaml"], ["dept=3", "depth=99"])
    assert len(refused.value.problems) == 3
    for name in ("bad_defaults", "other_language", "nobody"):
        with pytest.raises(ParameterError, match=name):
            run_notebook(notebooks / f"{name}.ipynb")
    assert not home.exists()
    assert not (tmp_path / "jupyter").exists(), "Jupyter was started"


def test_the_engine_is_a_seam_and_gets_only_what_differs(repository, home, echo, tmp_path):
    run = run_notebook("mlops/2_build", ["tasks/reviews"], ["rate=0.3"], engine=echo)
    assert echo.calls == [{"depth": 5}], "rate=0.3 is the default"
    assert run.manifest["notebook"] == "notebooks/mlops/2_build.ipynb"
    assert list(run.manifest["sha256"]["files"]) == ["params/tasks/reviews.yaml"]
    assert re.fullmatch(r"\d{8}-\d{6}-mlops-2_build-reviews-\w{4}", run.id)
    assert load_run(run.id) == run
    elsewhere = run_notebook("mlops/2_build", engine=echo, outputs_root=tmp_path / "else")
    assert elsewhere.folder.parent == tmp_path / "else"
    assert find_runs() == [run]


def test_a_notebook_is_told_the_name_of_its_engine_and_this_process_is_not(repository, echo):
    seen = []

    class Warm(type(echo)):
        name = "diptych"

        def execute(self, *args, environment, **kwargs):
            seen.append(environment.get("DIPTYCH_ENGINE"))
            super().execute(*args, environment=environment, **kwargs)

    before = dict(os.environ)
    run_notebook("mlops/2_build", engine=Warm())
    assert seen == ["diptych"]
    assert dict(os.environ) == before


def test_an_engine_that_breaks_leaves_a_failed_run(repository, home):
    class Broken:
        name = ""

        def execute(self, *_, **__):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run_notebook("mlops/2_build", engine=Broken())
    (run,) = find_runs()
    assert run.status == "failed"
    assert run.manifest["error"]["ename"] == "OSError"


def test_each_step_builds_on_the_one_before_unless_told(repository, echo):
    step = ("mlops/2_build", (), ())
    chosen = ("mlops/2_build", (), {"upstream": "another"})
    seen = []
    runs = run_all([step, step, chosen, step], seen.append, engine=echo)
    assert seen == runs
    upstreams = [call.get("upstream") for call in echo.calls]
    assert upstreams == [None, runs[0].id, "another", runs[2].id]
    assert [run.result.get("upstream") for run in runs] == upstreams


def test_a_panel_builds_on_its_own_runs(repository, echo):
    own = repository / "notebooks/mlops/2_build.ipynb"
    (repository / "notebooks/llmops").mkdir()
    (repository / "notebooks/llmops/2_build.ipynb").write_text(own.read_text())
    left, right = ("mlops/2_build", (), ()), ("llmops/2_build", (), ["depth=7"])
    runs = run_all([left, left, right, right], engine=echo)
    upstreams = [run.result.get("upstream") for run in runs]
    assert upstreams == [None, runs[0].id, None, runs[2].id]


def test_all_steps_are_checked_before_the_first_runs(repository, home, echo):
    steps = [
        ("mlops/2_build", (), ()),
        ("mlops/2_build", (), ["depth=99"]),
        ("mlops/3_nobody", (), ()),
    ]
    with pytest.raises(ParameterError) as refused:
        run_all(steps, engine=echo)
    assert len(refused.value.problems) == 2
    assert echo.calls == []
    assert not home.exists()


def test_the_steps_stop_at_a_failure(repository, echo):
    class Second(type(echo)):
        def execute(self, *args, **kwargs):
            super().execute(*args, **kwargs)
            if len(self.calls) == 2:
                raise NotebookFailed(3, "ValueError", "no", "")

    engine, seen = Second(), []
    with pytest.raises(NotebookFailed, match="mlops/2_build failed in cell 4: ValueError: no"):
        run_all([("mlops/2_build", (), ())] * 3, seen.append, engine=engine)
    assert len(engine.calls) == 2
    assert len(seen) == 1
    assert sorted(run.status for run in find_runs()) == ["failed", "ok"]


def test_state_is_in_the_workspace_only(repository, home, echo):
    before = sorted(repository.rglob("*"))
    run_notebook("mlops/2_build", engine=echo)
    assert sorted(repository.rglob("*")) == before
    assert [path.name for path in workspace.runs().iterdir()] == [find_runs()[0].id]
    assert json.loads((find_runs()[0].folder / "manifest.json").read_text())["git"] is None
