"""A run is linked while nothing it is made of has changed, and made again as soon as something has.

The kernel is left out where it does not matter (`echo`); what is damaged is damaged on disk.
"""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from execution.conftest import note_nothing

from diptych.base import workspace
from diptych.base.errors import NotebookFailed, ParameterError
from diptych.execution import runs
from diptych.execution.cache import dependencies, entries, fingerprint
from diptych.execution.runner import find_runs, prepare, run_all, run_notebook

NAME = "mlops/2_build"


@pytest.fixture
def run(repository, echo):
    """Return a function that runs the repository's notebook; it says whether a kernel ran."""

    def run(overrides=(), **options):
        calls = len(echo.calls)
        done = run_notebook(NAME, (), overrides, engine=echo, progress=False, **options)
        return done, len(echo.calls) > calls

    return run


@pytest.fixture
def notebook(repository):
    """Return a function that adds a cell, or changes the one that has the id."""
    path = repository / "notebooks" / f"{NAME}.ipynb"

    def notebook(source, kind="code"):
        nb = nbformat.read(path, as_version=4)
        make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        nb.cells.append(make(source))
        nbformat.write(nb, path)

    return notebook


class Uses:
    """An engine whose notebook reads state outside its folder."""

    name = ""

    def __init__(self, read):
        self.read, self.calls = read, 0

    def execute(self, notebook, output, parameters, *, environment, cwd, on_cell):
        self.calls += 1
        output.write_text(notebook.read_text())
        note_nothing(Path(environment["DIPTYCH_RUN"]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DIPTYCH_RUN", environment["DIPTYCH_RUN"])
            self.read()


def test_an_unchanged_run_is_linked(run):
    first, ran = run()
    assert ran
    again, ran = run()
    assert not ran
    assert again == first
    assert find_runs() == [first]


def test_outputs_do_not_count_code_and_prose_do(run, notebook, repository):
    first, _ = run()
    path = repository / "notebooks" / f"{NAME}.ipynb"
    nb = nbformat.read(path, as_version=4)
    next(cell for cell in nb.cells if cell.cell_type == "code").outputs = [
        nbformat.v4.new_output("stream", text="old")
    ]
    nbformat.write(nb, path)
    assert run() == (first, False)
    notebook("1 + 1")
    second, ran = run()
    assert ran
    assert "  changed: a code cell" in entries.why(second)
    notebook("More words.", "markdown")
    third, ran = run()
    assert ran
    assert "  changed: the prose" in entries.why(third)


def test_parameters_count_however_they_are_given(run, repository):
    first, _ = run(["depth=5"])
    assert run({"depth": 5}) == (first, False)
    second, ran = run(["depth=6"])
    assert ran
    assert "  changed: parameter depth 5 -> 6" in entries.why(second)
    assert run(["depth=5"]) == (first, False), "an older run is as good"


def test_the_modules_used_count_and_no_other(run, notebook, repository):
    folder = repository  # where the kernel of a notebook of ours runs: the working directory
    (folder / "own.py").write_text("import beside")
    (folder / "beside.py").write_text("x = 1")
    notebook("import own")
    first, _ = run()
    (folder / "unrelated.py").write_text("x = 1")
    assert run() == (first, False)
    (folder / "beside.py").write_text("x = 2")
    second, ran = run()
    assert ran
    assert "changed: module beside.py" in entries.why(second)


def test_the_file_a_parameter_names_counts_by_content(run, repository):
    table = repository / "my.csv"
    table.write_text("a\n1\n")
    first, _ = run(["task=my.csv"])
    os.utime(table)
    assert run(["task=my.csv"]) == (first, False)
    table.write_text("a\n2\n")
    second, ran = run(["task=my.csv"])
    assert ran
    assert "changed: file of the parameter task" in entries.why(second)


def test_the_prompt_and_endpoint_files_count(run, notebook, repository):
    (repository / "params" / "prompts").mkdir()
    prompt = repository / "params" / "prompts" / "plain.md"
    prompt.write_text("one")
    notebook("from diptych.llmops.prompts import prompt")
    first, _ = run()
    (repository / "params" / "other.yaml").write_text("a: 1")
    assert run() == (first, False)
    prompt.write_text("two")
    second, ran = run()
    assert ran
    assert "changed: file params/prompts" in entries.why(second)


def test_the_lock_file_and_declared_variables_count(run, repository, monkeypatch):
    run()
    (repository / "requirements.lock").write_text("numpy==2\n")
    second, ran = run()
    assert ran
    assert entries.why(second).endswith("changed: requirements.lock")
    (repository / "pyproject.toml").write_text('[tool.diptych]\nenvironment = ["MY_REGION"]\n')
    monkeypatch.setenv("MY_REGION", "east")
    run()
    monkeypatch.setenv("UNDECLARED", "x")
    assert not run()[1]
    monkeypatch.setenv("MY_REGION", "west")
    third, ran = run()
    assert ran
    assert entries.why(third).endswith("changed: environment variable MY_REGION")
    assert "west" not in (third.folder / "manifest.json").read_text()


def test_every_part_of_a_key_has_a_word(repository):
    assert set(fingerprint.parts_of(prepare(NAME))) == set(fingerprint.WORDS)


def test_force_runs_again_and_is_linked_from_then_on(run):
    first, _ = run()
    second, ran = run(force=True)
    assert ran
    assert second.id != first.id
    assert "not linked: --force" in entries.why(second)
    assert "nothing that it was made of had changed" in entries.why(second)
    assert run() == (second, False)


@pytest.mark.parametrize("name", ["result.json", "notebook.ipynb", "notebook.html"])
def test_a_damaged_run_is_found_out_and_made_again(run, name):
    first, _ = run()
    path = first.folder / name
    path.write_bytes(path.read_bytes()[:-9])
    second, ran = run()
    assert ran
    assert f"not linked: {name} of {first.id} is damaged" in entries.why(second)
    assert run() == (second, False)


def test_a_damaged_entry_or_a_removed_run_is_made_again(run, home):
    first, _ = run()
    (entry,) = (home / "cache" / "entries").rglob("*.json")
    whole = entry.read_bytes()
    for damage in (b"", whole[: len(whole) // 2], b"[]", b"{}"):
        entry.write_bytes(damage)
        assert run()[1]
    for path in first.folder.iterdir():
        path.unlink()
    first.folder.rmdir()
    entry.write_bytes(whole)
    second, ran = run()
    assert ran
    assert f"its run folder {first.id} is gone" in entries.why(second)


def test_a_failed_run_is_never_linked(notebooks, home):
    for _ in range(2):
        with pytest.raises(NotebookFailed):
            run_notebook(notebooks / "fails.ipynb", progress=False)
    assert len(find_runs()) == 2
    assert not list((home / "cache").rglob("entries/*/*.json"))


def test_an_interrupted_run_leaves_no_entry(repository, home):
    class Stopped:
        name = ""

        def execute(self, *_, **__):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_notebook(NAME, engine=Stopped(), progress=False)
    assert not list((home / "cache").rglob("entries/*/*.json"))


def test_a_chain_is_linked_whole_and_remade_from_where_it_changed(repository, echo):
    steps = [(NAME, (), ["depth=1"]), (NAME, (), ["depth=2"]), (NAME, (), ["depth=3"])]
    first = run_all(steps, engine=echo, progress=False)
    assert run_all(steps, engine=echo, progress=False) == first
    assert len(echo.calls) == 3
    changed = [steps[0], (NAME, (), ["depth=9"]), steps[2]]
    second = run_all(changed, engine=echo, progress=False)
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, False]
    assert "changed: what it builds on" in entries.why(second[2])


def test_a_remade_run_that_found_the_same_is_the_same_to_the_next(repository, echo):
    steps = [(NAME, (), ["depth=1"]), (NAME, (), ["depth=2"])]
    first = run_all(steps, engine=echo, progress=False)
    again = run_notebook(NAME, (), ["depth=1"], engine=echo, progress=False, force=True)
    assert run_all(steps, engine=echo, progress=False) == [again, first[1]]


def test_a_run_whose_upstream_was_removed_is_made_again(repository, echo):
    steps = [(NAME, (), ["depth=1"]), (NAME, (), ["depth=2"])]
    first = run_all(steps, engine=echo, progress=False)
    (first[0].folder / "result.json").unlink()
    second = run_all(steps, engine=echo, progress=False)
    assert second[0] != first[0]
    assert second[1] != first[1]
    assert f"the run {first[0].id} it builds on is gone" in entries.why(second[1])


def test_a_run_is_made_again_when_rows_it_wrote_are_gone(repository, home):
    def write():
        with sqlite3.connect(home / "own.db") as database:
            database.execute("CREATE TABLE IF NOT EXISTS x (run TEXT)")
            database.execute("INSERT INTO x VALUES ('a')")
        database.close()
        dependencies.rows(home / "own.db", "SELECT count(*) > 0 FROM x WHERE run = ?", ["a"])

    engine = Uses(write)
    first = run_notebook(NAME, engine=engine, progress=False)
    assert run_notebook(NAME, engine=engine, progress=False) == first
    (home / "own.db").unlink()
    second = run_notebook(NAME, engine=engine, progress=False)
    assert engine.calls == 2
    assert "own.db no longer holds what the run wrote or read" in entries.why(second)
    assert not (second.folder / dependencies.NOTES).exists()


def test_what_nobody_can_look_at_again_is_never_linked(repository):
    engine = Uses(lambda: dependencies.never("https://example.org/a.csv may change unseen"))
    for _ in range(2):
        run = run_notebook(NAME, engine=engine, progress=False)
    assert engine.calls == 2
    assert "never linked: https://example.org/a.csv may change unseen" in entries.why(run)


def test_a_place_of_an_unknown_kind_never_passes_for_unchanged():
    with pytest.raises(KeyError):
        dependencies.look({"kind": "clock"})
    assert "clock" in dependencies.changed({"kind": "clock", "found": None})


def test_a_notebook_that_runs_notebooks_is_never_linked(repository, echo):
    engine = Uses(lambda: run_notebook(NAME, (), ["depth=1"], engine=echo, progress=False))
    for _ in range(2):
        run_notebook(NAME, engine=engine, progress=False)
    assert engine.calls == 2
    assert len(echo.calls) == 1, "the inner run is linked all the same"


def test_a_file_or_folder_noted_counts_by_content(repository, home):
    place = home / "models"
    place.mkdir(parents=True)
    (place / "a").write_text("1")
    engine = Uses(lambda: dependencies.files(place))
    first = run_notebook(NAME, engine=engine, progress=False)
    assert run_notebook(NAME, engine=engine, progress=False) == first
    (place / "a").write_text("2")
    assert run_notebook(NAME, engine=engine, progress=False) != first


def test_a_linked_run_is_the_latest(repository):
    class Complete(Uses):
        def execute(self, notebook, output, parameters, *, environment, cwd, on_cell):
            super().execute(notebook, output, parameters, environment=environment, cwd=cwd,
                            on_cell=on_cell)  # fmt: skip
            content = {"notebook": NAME, "complete": True, "task": {"task": "reviews"}}
            path = f"{environment['DIPTYCH_RUN']}/result.json"
            with open(path, "w") as file:
                json.dump(content | {"values": dict(parameters)}, file)

    engine = Complete(lambda: None)
    one, two = (run_notebook(NAME, (), [f"depth={d}"], engine=engine, progress=False)
                for d in (1, 2))  # fmt: skip
    assert runs.latest(NAME, {"task": "reviews"}) == two
    assert run_notebook(NAME, (), ["depth=1"], engine=engine, progress=False) == one
    assert runs.latest(NAME, {"task": "reviews"}) == one
    assert runs.latest(NAME, {"task": "tumours"}) is None


def test_a_run_asked_for_elsewhere_is_linked_there(run, tmp_path):
    first, _ = run()
    there, ran = run(outputs_root=tmp_path / "else")
    assert not ran
    assert there.folder == tmp_path / "else" / first.id
    assert there.result == first.result
    assert (there.folder / "notebook.ipynb").samefile(first.folder / "notebook.ipynb")
    assert run(outputs_root=tmp_path / "else") == (there, False)
    assert find_runs() == [first]


def test_two_runs_of_one_key_at_once_are_both_whole(repository, echo):
    gate = threading.Barrier(2)

    class Together(type(echo)):
        def execute(self, *args, **kwargs):
            gate.wait(60)
            super().execute(*args, **kwargs)

    engine, made = Together(), []

    def make():
        made.append(run_notebook(NAME, engine=engine, progress=False))

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.id for run in made}) == 2
    linked = run_notebook(NAME, engine=echo, progress=False)
    assert linked in made
    assert not echo.calls


def test_the_command_links_and_tells_why(notebooks, home, tmp_path):
    def diptych(*arguments):
        command = [sys.executable, "-m", "diptych", *arguments]
        done = subprocess.run(command, capture_output=True, text=True,
                              env={**os.environ, "DIPTYCH_HOME": str(home)})  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr

    notebook = str(notebooks / "good.ipynb")
    first, _ = diptych("run", notebook)
    again, said = diptych("run", notebook)
    assert again == first
    assert said.splitlines()[0] == f"good unchanged, linked: {first}"
    why, _ = diptych("why", "good")
    assert "no earlier run of good to compare with" in why


def test_why_compares_with_the_run_before_of_the_same_task_that_succeeded(run):
    def breaks():
        raise KeyError("broken")

    before, _ = run(["task=reviews", "depth=1"])
    run(["task=tumours", "depth=1"])
    with pytest.raises(KeyError):
        run_notebook(NAME, (), ["task=reviews", "depth=4"], engine=Uses(breaks), progress=False)
    last, _ = run(["task=reviews", "depth=3"])
    first_line, *changes = entries.why(last).splitlines()
    assert first_line == f"{last.id} against {before.id}"
    assert changes == ["  changed: parameter depth 1 -> 3"]


def test_why_names_what_it_does_not_know(home):
    workspace.runs()
    with pytest.raises(ParameterError, match="nobody: no such run"):
        runs.named("nobody")


def test_a_notebook_with_the_same_code_is_another(repository, echo):
    twin = repository / "notebooks" / "llmops" / "2_build.ipynb"
    twin.parent.mkdir(exist_ok=True)
    twin.write_bytes((repository / "notebooks" / f"{NAME}.ipynb").read_bytes())
    runs = [
        run_notebook(name, engine=echo, progress=False) for name in (NAME, "llmops/2_build", NAME)
    ]
    assert len(echo.calls) == 2
    assert runs[0] == runs[2] != runs[1]
