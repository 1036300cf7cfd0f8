"""Part of a notebook runs again: a new run, a draft, or one sentence; never a false record."""

import json
import os
from pathlib import Path

import papermill
import pytest
from notebook_session import NotebookSession, session

from diptych.base import workspace
from diptych.core.contract import RecordError
from diptych.core.store import records
from diptych.execution import runs
from diptych.execution.cache import entries
from diptych.execution.cells import in_short
from diptych.execution.runner import run_notebook

IMPORT = "from diptych.core.store.records import start\n"
CELLS = {
    "p": "factor: int = 2  # [1..9]\nshift: int = 1  # [0..9]",
    "setup": IMPORT + 'run = start("mine", globals())',
    "input": "rows = [1, 2, 3]",
    "make": "made = sum(rows) * factor",
    "measure": "score = made + shift",
    "look": "print(score)",
    "decide": "run.note(made=made)",
    "check": "run.conclude(score=score)",
}
BODY = tuple(CELLS)[1:]


@pytest.fixture(scope="module")
def kernel():
    with session() as opened:
        yield opened


class Bench:
    """A small notebook in a kernel, and what it has recorded."""

    def __init__(self, kernel: NotebookSession, home: Path):
        self.kernel, self.home, self.cells = kernel, home, dict(CELLS)
        where = f"import os; os.environ['DIPTYCH_HOME'] = {str(home)!r}; os.chdir({str(home)!r})"
        kernel.run(where)
        self.run("p")

    def run(self, *names):
        """Run cells; return what they show, errors too."""
        shown = [self.kernel.run(self.cells[name], name) for name in names]
        return "\n".join(outcome.text + outcome.error for outcome in shown)

    def scratch(self, source):
        """Run a cell that is not in the notebook."""
        outcome = self.kernel.run(source, "scratch")
        return outcome.text + outcome.error

    @property
    def runs(self):
        """What each run has on disk, in the order they were written last."""
        paths = sorted(self.home.glob("runs/*/result.json"), key=lambda path: path.stat().st_mtime)
        return [json.loads(path.read_text()) for path in paths]

    @property
    def last(self):
        return self.runs[-1]


@pytest.fixture
def bench(kernel, tmp_path):
    return Bench(kernel, tmp_path)


def shown(result):
    values = {name: entry["value"] for name, entry in result["values"].items()}
    return result["facts"]["parameters"] | values | {"made": result["facts"].get("made")}


FIRST = {"factor": 2, "shift": 1, "made": 12, "score": 13}


def test_cells_that_run_in_order_make_a_complete_run(bench):
    text = bench.run(*BODY)
    assert "Draft" not in text
    assert "Error" not in text
    assert shown(bench.last) == FIRST
    assert bench.last["complete"]
    assert not bench.last["draft"]


def test_a_parameter_that_changed_makes_a_new_run(bench):
    bench.run(*BODY)
    bench.scratch("factor = 3")
    text = bench.run(*BODY[1:])
    assert "factor 2 → 3: new run " in text
    assert "Draft" not in text, "all below the setup cell ran again"
    assert [shown(run) for run in bench.runs] == [
        FIRST,
        {"factor": 3, "shift": 1, "made": 18, "score": 19},
    ]
    assert all(run["complete"] for run in bench.runs)


def test_a_part_that_runs_again_with_another_value_is_a_draft(bench):
    bench.run(*BODY)
    bench.cells["p"] = bench.cells["p"].replace("factor: int = 2", "factor: int = 4")
    text = bench.run("p", "make", "measure", "decide", "check")
    assert "factor 2 → 4: new run" in text
    assert "Draft: cells above `made = sum(rows) * factor` ran when factor was 2" in text
    assert shown(bench.last) == {"factor": 4, "shift": 1, "made": 24, "score": 25}
    assert not bench.last["complete"]
    assert shown(bench.runs[0]) == FIRST, "the run before is as it was"


@pytest.mark.parametrize(
    ("change", "names", "message"),
    [
        ("factor = 3", ["check"], "score was made when factor was 2"),
        ("factor = 3", ["measure", "decide"], "made was made when factor was 2"),
        ("globals()['factor'] = 3", ["decide"], "made was made when factor was 2"),
    ],
)
def test_a_value_from_before_the_change_is_not_recorded(bench, change, names, message):
    bench.run(*BODY)
    bench.scratch(change)
    text = bench.run(*names)
    assert message in text
    assert "run the setup cell and the cells below it again" in text
    assert [shown(run) for run in bench.runs] == [FIRST]


def test_a_value_from_another_run_is_not_recorded(bench):
    bench.run(*BODY)
    bench.scratch("factor = 3")
    text = bench.run("setup", "check")
    assert "score is from before this run began" in text
    assert [run["values"] for run in bench.runs[1:]] == [{}]


def test_an_edited_cell_that_runs_again_leaves_the_first_run_as_it_was(bench):
    bench.run(*BODY)
    bench.cells["make"] += " * 10"
    assert "is from before `made = sum(rows) * factor * 10` ran again" in bench.run("make", "check")
    text = bench.run("measure", "decide", "check")
    assert "Draft" in text
    assert [shown(run) for run in bench.runs] == [FIRST, FIRST | {"made": 120, "score": 121}]
    assert [run["complete"] for run in bench.runs] == [True, False]
    assert "Draft" not in bench.run(*BODY), "all of it again is complete"


@pytest.mark.parametrize(
    "does",
    [
        lambda bench: bench.run("setup", "input", "make", "measure", "look", "look", "decide"),
        lambda bench: (bench.run("setup", "input"), bench.scratch("rows[:1]"),
                       bench.run("make", "measure"), bench.scratch("rows[:2]"),
                       bench.run("decide")),
        lambda bench: (bench.run(*BODY[:-1]), bench.scratch("misspelt")),
        lambda bench: (bench.run(*BODY[:-1]), bench.scratch("def (")),
        lambda bench: (bench.run(*BODY[:-1]), bench.run("p")),
        lambda bench: bench.run("setup", "input", "make", "make", "measure", "decide", "decide"),
        lambda bench: bench.run(*BODY, *BODY[:-1]),
    ],
    ids=["plot", "scratch", "failed scratch", "syntax", "same parameters", "at once", "all again"],
)  # fmt: skip
def test_what_people_do_leaves_a_run_complete(bench, does):
    does(bench)
    assert "Draft" not in bench.run("check")
    assert shown(bench.last) == FIRST
    assert bench.last["complete"]


def test_after_the_end_cells_run_again_without_a_trace(bench):
    bench.run(*BODY)
    before = (bench.home / "runs").stat().st_mtime_ns, bench.runs
    bench.run("look", "measure", "check", "check")
    bench.scratch("other = made + 1")
    assert bench.runs[0] == before[1][0]


def test_the_last_cell_once_more_changes_nothing(bench):
    bench.run(*BODY)
    before = bench.runs
    assert not bench.run("check")
    assert bench.runs == before


def test_a_cell_that_ran_too_early_does_not_bar_the_way_back(bench):
    bench.run(*BODY)
    bench.scratch("factor = 3")
    assert "made was made when factor was 2" in bench.run("measure", "decide")
    text = bench.run("make", "measure", "decide", "check")
    assert "factor 2 → 3: new run" in text
    assert "Draft" in text
    assert shown(bench.last) == FIRST | {"factor": 3, "made": 18, "score": 19}


def test_a_value_that_came_back_is_no_change(bench):
    bench.run(*BODY)
    for factor in (3, 2):
        bench.scratch(f"factor = {factor}")
        bench.run("make", "measure")
    text = bench.run("decide", "check")
    assert "factor 2 → 2" not in text
    assert shown(bench.last) == FIRST


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "0"), (2, "0; 1"), (3, "0; 1; 2"), (4, "0; 1; and 2 more reasons")],
)
def test_of_many_reasons_for_a_draft_the_first_are_shown(count, text):
    assert in_short([str(number) for number in range(count)]) == text


def test_an_interrupted_or_failed_cell_makes_a_draft(bench):
    bench.run("setup", "input", "make")
    slow = "print('slow', flush=True)\nimport time\ntime.sleep(60)\nscore = made + shift"
    outcome = bench.kernel.run(slow, "measure", interrupt_after="slow")
    assert outcome.error.startswith("KeyboardInterrupt")
    assert "was interrupted" in bench.run("measure", "decide", "check")
    bench.cells["more"] = "more = 1 / 0"
    bench.run("setup", "input", "make", "measure", "more")
    assert "Draft: `more = 1 / 0` failed" in bench.run("decide", "check")


def test_a_cell_that_did_part_of_its_work_makes_a_draft_unless_it_runs_again(bench):
    whole = bench.cells["make"]
    part = "\nfrom diptych.execution import cells\ncells.note_partial('2 of 3 were tried')"
    bench.cells["make"] += part
    assert "Draft: 2 of 3 were tried." in bench.run(*BODY)
    bench.run("setup", "input", "make")
    bench.cells["make"] = whole
    assert "Draft" not in bench.run("make", "measure", "decide", "check")


def test_a_failed_cell_that_was_mended_leaves_the_run_complete(bench):
    bench.run("setup", "input")
    assert "NameError" in bench.kernel.run("made = sum(row)", "make").error
    assert "Draft" not in bench.run("make", "measure", "decide", "check")
    folder = runs.find_runs(root=bench.home / "runs")[0].folder
    cells = json.loads((folder / "notebook.ipynb").read_text())["cells"]
    failed = [cell for cell in cells if cell["metadata"].get("tags") == ["raises-exception"]]
    assert ["".join(cell["source"]) for cell in failed] == ["made = sum(row)"]


def test_a_parameter_that_a_cell_changes_makes_a_draft(bench):
    bench.run("setup", "input")
    bench.scratch("shift = shift + 1")
    assert "shift was changed by a cell" in bench.run(*BODY[2:])


def test_an_own_cell_that_changes_a_file_of_an_ended_run_makes_it_a_draft(bench):
    bench.cells["decide"] += "\nplace = run.folder / 'model'\nplace.write_text('1')"
    bench.run(*BODY)
    assert bench.last["complete"]
    bench.scratch("place.write_text('22')")
    assert bench.last["draft"] == ["files of the run changed after it was concluded"]


def test_the_former_run_takes_no_more_records(bench):
    bench.run(*BODY)
    bench.scratch("former = run")
    bench.run("setup")
    assert "This run has ended" in bench.scratch("former.note(made=0)")
    assert shown(bench.runs[0]) == FIRST


def test_no_stage_builds_on_a_draft(bench, monkeypatch):
    bench.run(*BODY)
    bench.run("make", "measure", "decide", "check")
    monkeypatch.setenv("DIPTYCH_HOME", str(bench.home))
    draft, complete = runs.find_runs()
    assert (draft.status, complete.status) == ("draft", "ok")
    assert records.latest("mine", {}).id == complete.id
    with pytest.raises(RecordError, match=f"{draft.id} is a draft"):
        records.find("mine", {}, draft.id)


def test_a_run_of_a_session_keeps_what_was_executed(bench, monkeypatch):
    bench.run(*BODY)
    bench.scratch("factor = 3")
    bench.run(*BODY[1:])
    monkeypatch.setenv("DIPTYCH_HOME", str(bench.home))
    second, first = runs.find_runs()
    assert second.manifest["parameters"] == {"factor": 3, "shift": 1}
    text = entries.why(second)
    assert f"against {first.id}" in text
    assert "changed: parameter factor 2 -> 3" in text
    assert "code cell" not in text
    cells = json.loads((second.folder / "notebook.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert sources[0] == CELLS["p"]
    assert sources[1] == "# Parameters\nfactor = 3"
    assert sources[2:] == [CELLS[name] for name in BODY]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("factor = 0", "factor = 0: below the range. Write 1 to 9."),
        ("factor = 'two'", "a whole number"),
        ("del factor", "factor: the parameters cell has not run; run it, and then this cell."),
    ],
)
def test_a_parameter_is_checked_before_anything_runs(bench, source, message):
    bench.scratch(source)
    outcome = bench.kernel.run(bench.cells["setup"], "setup")
    assert message in outcome.error
    [shown] = [m["content"]["traceback"] for m in outcome.messages if m["msg_type"] == "error"]
    assert len(shown) == 1, "one sentence, no lines it passed through"
    assert not bench.runs


def test_the_parameters_of_a_copy_are_on_record(bench):
    bench.cells["p"] += "\ndepth: int = 3  # of my own [1..5]"
    bench.cells["setup"] = IMPORT + 'run = start("start_here", globals())'  # another's name
    bench.run("p", *BODY)
    assert bench.last["facts"]["parameters"] == {"factor": 2, "shift": 1, "depth": 3}
    bench.scratch("depth = 6")
    assert "depth = 6: above the range. Write 1 to 5." in bench.run("setup")


def test_the_open_notebook_says_what_is_above_the_setup_cell_and_what_did_not_run(tmp_path):
    """Data and functions above the setup cell are the run's; a cell that was left out is missed."""
    path = tmp_path / "my copy.ipynb"
    cells = {
        "top": "rows = [1, 2, 3]\n\n\ndef total():\n    return sum(rows)",
        "p": CELLS["p"] + "\ndepth: int = 3  # of my own",
        "setup": CELLS["setup"],
        "more": "more = depth + 1",
        "make": "made = total() * factor",
        "measure": CELLS["measure"],
        "decide": CELLS["decide"],
        "check": CELLS["check"],
    }
    tags = {"p": {"tags": ["parameters"]}}
    code = [{"cell_type": "code", "id": name, "source": source, "metadata": tags.get(name, {}),
             "outputs": [], "execution_count": None} for name, source in cells.items()]  # fmt: skip
    path.write_text(json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    environment = {"DIPTYCH_HOME": str(tmp_path / "home"), "JPY_SESSION_NAME": str(path)}
    with session(environment) as kernel:
        bench = Bench.__new__(Bench)
        bench.kernel, bench.home, bench.cells = kernel, tmp_path / "home", cells
        for _ in range(2):  # twice in one kernel
            text = bench.run(*cells)
            assert "Draft" not in text
            assert "Error" not in text
            assert bench.last["complete"]
            assert bench.last["facts"]["parameters"] == {"factor": 2, "shift": 1, "depth": 3}
        names = [name for name in cells if name != "more"]
        assert "Draft: `more = depth + 1` did not run." in bench.run(*names)
        text = bench.run("setup", "more", "make", "measure", "decide", "check")
        assert "`made = total() * factor` used total, which is from before an earlier run" in text
    folder = max(bench.home.glob("runs/*"), key=lambda folder: folder.stat().st_mtime)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["path"] == str(path)
    assert manifest["status"] == "draft"


@pytest.mark.parametrize(
    "ids", [True, pytest.param(False, marks=pytest.mark.long)], ids=["JupyterLab", "no ids"]
)
def test_part_of_our_own_notebook_runs_again(tmp_path, ids):
    path = workspace.repo_root() / "notebooks" / "mlops" / "2_build.ipynb"
    cells = json.loads(path.read_text())["cells"]
    code = [("".join(c["source"]), c["id"]) for c in cells if c["cell_type"] == "code"]
    environment = {"DIPTYCH_HOME": str(tmp_path), "JPY_SESSION_NAME": str(path)}
    with session(environment, ids) as kernel:
        kernel.run(code[0][0] + "\ntask = 'tumours'\nfamily = 'logistic'\ntrials = 3", code[0][1])
        for source, name in code[1:]:
            assert not kernel.run(source, name).error
        kernel.run("trials = 1")
        shown = [kernel.run(source, name) for source, name in code[2:]]
        assert not [outcome.error for outcome in shown if outcome.error]
        assert "trials 3 → 1: new run" in shown[0].text
        # another task, from the middle: nothing is filed under it that was not made of its rows
        kernel.run("task = 'reviews'")
        errors = [kernel.run(source, name).error for source, name in code[4:]]
    recorded = [
        json.loads(file.read_text())
        for file in sorted(tmp_path.glob("runs/*2_build*/result.json"), key=os.path.getmtime)
    ]
    assert any("run the setup cell and the cells below it again" in error for error in errors)
    assert [(run["facts"]["parameters"]["trials"], run["task"]["task"], run["complete"])
            for run in recorded] == [(3, "tumours", True), (1, "tumours", True)]  # fmt: skip


def test_without_ids_an_ended_run_stays_as_it_was(tmp_path):
    with session(ids=False, attended=False) as kernel:
        bench = Bench(kernel, tmp_path)
        bench.run(*BODY)
        bench.cells["make"] += " * 10"
        assert "new run" in bench.run("make", "measure", "decide", "check")
        bench.scratch("factor = 3")
        assert "factor 2 → 3: new run" in bench.run("make", "measure", "decide", "check")
    assert [shown(run) for run in bench.runs] == [
        FIRST,
        FIRST | {"made": 120, "score": 121},
        {"factor": 3, "shift": 1, "made": 180, "score": 181},
    ]
    assert [run["complete"] for run in bench.runs] == [True, False, False]


@pytest.mark.parametrize("how", ["runner", pytest.param("papermill", marks=pytest.mark.long)])
def test_a_copy_that_runs_from_top_to_bottom_records_its_own_parameters(tmp_path, monkeypatch, how):
    """Two cells alike are no cell that ran again; a parameter of the copy's own is on record."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    sources = ["depth: int = 3  # of my own [1..5]", CELLS["setup"], "x = depth", "x = x + 1",
               "y = x", "x = x + 1", "run.conclude(x=x)"]  # fmt: skip
    cells = [{"cell_type": "code", "id": f"c{n}", "source": source, "outputs": [],
              "execution_count": None, "metadata": {"tags": ["parameters"] if n == 0 else []}}
             for n, source in enumerate(sources)]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "my_build.ipynb"
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    path.write_text(json.dumps(content | {"nbformat_minor": 5}))
    if how == "runner":
        run_notebook(path, overrides={"depth": 4}, progress=False)
    else:
        papermill.execute_notebook(
            path, tmp_path / "out.ipynb", {"depth": 4}, progress_bar=False, log_output=False
        )
    [result] = [json.loads(p.read_text()) for p in (tmp_path / "home").glob("runs/*/result.json")]
    assert result["facts"]["parameters"] == {"depth": 4}
    assert result["values"]["x"]["value"] == 6
    assert result["complete"], result["draft"]
