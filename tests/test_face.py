import doctest
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

import diptych
import diptych as dt
from diptych.base.errors import ParameterError
from diptych.core.data.sources import DataError
from diptych.execution.engine import named
from diptych.mlops.models.estimators import ModelError

PACKAGE = Path(diptych.__file__).parent
DOCS = PACKAGE.parents[1] / "docs"
BLOCK = re.compile(r"^```python( long)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_face_opens_each_of_its_doors():
    for name in diptych.FACE:
        assert inspect.getdoc(getattr(diptych, name)), name
    assert set(diptych.FACE) <= set(dir(diptych))
    assert set(diptych.FACE) == set(diptych.__all__) - {"__version__"}
    with pytest.raises(AttributeError, match="it has Task, ask, best, client, compare"):
        diptych.comparison  # noqa: B018


def test_importing_the_face_imports_nothing_behind_it():
    code = (
        "import sys, diptych; print([n for n in sys.modules if n.startswith('diptych.')"
        " or n in ('numpy', 'pandas', 'yaml', 'click')])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


def test_the_types_are_those_of_what_is_imported():
    """A type checker reads the imports that are never run; they must be the same."""
    text = (PACKAGE / "__init__.py").read_text("utf-8")
    lines = re.findall(r"^    from ([\w.]+) import (\w+) as (\w+)$", text, re.MULTILINE)
    typed = {name: (module, there) for module, there, name in lines}
    typed["register"] = ("diptych.face.register", "")
    assert typed == diptych.FACE
    assert (PACKAGE / "py.typed").exists()


def docstring_examples():
    """Yield name and source of the examples of each public name, one an example."""
    places = {name: getattr(diptych, name) for name in diptych.FACE if name != "register"}
    places = {"run": places["run"], **places}  # others look for its run
    places["from_frame"] = diptych.Task.from_frame
    places |= {f"register.{name}": getattr(dt.register, name) for name in dt.register.__all__}
    parse = doctest.DocTestParser().get_examples
    for name, place in places.items():
        if name != "Task":
            yield name, parse(inspect.getdoc(place))


def test_every_public_name_has_an_example():
    documented = (DOCS / "face.md").read_text("utf-8")
    code = "\n".join(code for _, code in BLOCK.findall(documented))
    assert not [name for name in diptych.FACE if f"dt.{name}" not in code]
    assert not [name for name, examples in docstring_examples() if not examples]


def executed(cells: list[str], folder: Path) -> list[dict]:
    """Run cells in one fresh notebook and return them."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    path = folder / "fresh.ipynb"
    nbformat.write(notebook, path)
    out = folder / "out.ipynb"
    named().execute(path, out, {}, environment={}, cwd=folder, on_cell=lambda *_: None)
    return json.loads(out.read_text())["cells"]


def test_every_example_runs_as_written_in_a_fresh_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))  # without other runs
    blocks = [code for long, code in BLOCK.findall((DOCS / "face.md").read_text()) if not long]
    examples = [
        (name, example)
        for name, all_of_it in docstring_examples()
        for example in all_of_it
        if not example.options.get(doctest.SKIP)
    ]
    cells = [*blocks, *(example.source for _, example in examples)]
    done = executed(cells, tmp_path)
    assert [cell["execution_count"] for cell in done] == list(range(1, len(cells) + 1))
    for cell, (name, example) in zip(done[len(blocks) :], examples, strict=True):
        if example.want:
            shown = [o["data"]["text/plain"] if "data" in o else o["text"] for o in cell["outputs"]]
            assert "".join(shown[-1]).strip() == example.want.strip(), name
    rich = ["text/html" in o.get("data", {}) for cell in done for o in cell["outputs"]]
    assert sum(rich) >= 8  # run, sweep, best, model, leaderboard, two runs, answers, drift


@pytest.mark.long
def test_the_report_runs_as_written_in_a_fresh_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    shutil.copytree(PACKAGE.parents[1] / "notebooks", tmp_path / "notebooks")
    shutil.copytree(PACKAGE.parents[1] / "params", tmp_path / "params")
    (tmp_path / "pyproject.toml").touch()
    [block] = [code for long, code in BLOCK.findall((DOCS / "face.md").read_text()) if long]
    *_, last = executed(["import diptych as dt", f"{block}page"], tmp_path)
    assert "index.html" in "".join(last["outputs"][-1]["data"]["text/plain"])
    assert (tmp_path / "site" / "contrast-sentiment.html").is_file()


def test_compare_ranks_and_pairs_and_shows_a_plot():
    table = diptych.compare({"a": [1] * 90 + [0] * 10, "b": [0] * 60 + [1] * 40})
    assert list(table["name"]) == ["a", "b"]
    assert table["difference_high"][1] < 0
    html = table._repr_html_()
    assert "<img" in html
    assert "rows needed" in html
    assert type(table[["name"]]) is pd.DataFrame


def test_drift_states_its_false_alarms_and_names_what_drifted():
    rng = np.random.default_rng(3)
    before = pd.DataFrame({"a": rng.normal(size=3000), "b": rng.choice(["x", "y"], 3000)})
    after = before.assign(b="x")
    table = dt.drift(before, after, false_alarms=0.01)
    assert table.drifted == ["b"]
    assert "at most 0.01" in table._repr_html_()
    assert not dt.drift(before, before).drifted


FRAME = pd.DataFrame({"age": [20, 61] * 60, "churn": ["no", "yes"] * 60})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dt.task("reveiws"), DataError, "task: 'reveiws' is no task. Did you mean 'revie"),
        (lambda: dt.run("mlops/2_bild"), ParameterError, "mlops/2_bild: no such notebook. Did you"),
        (lambda: dt.run("mlops/2_build", trails=3), ParameterError, "trails.*Did you mean trials"),
        (lambda: dt.run("mlops/2_build", trials=0), ParameterError, "trials.*1 to 50"),
        (lambda: dt.run("mlops/1_data", link_for="soon"), ParameterError, "link_for: 'soon'.*'12h"),
        (lambda: dt.sweep("mlops/1_data", ["seed=0,1"]), ParameterError, "grid: a list; give"),
        (lambda: dt.compare([1, 0]), ValueError, "scores: give what is right by model"),
        (lambda: dt.compare("mlops/1_data"), ParameterError, "two are compared"),
        (lambda: dt.ask([""]), ParameterError, "questions: '' is no question; give a text"),
        (lambda: dt.ask("hi", model="opnai"), Exception, "Did you mean openai"),
        (lambda: dt.drift([1], FRAME), ValueError, "reference: a list is no DataFrame"),
        (lambda: dt.Task.from_frame(FRAME), DataError, "label_column: .*'label'.*age, churn"),
        (lambda: dt.fit(object(), "tumours"), ModelError, "cannot be copied; give it scikit-le"),
        (lambda: dt.client("nowhere"), Exception, "endpoint: 'nowhere' is not known"),
        (lambda: dt.report("sentimental"), ParameterError, "no such scenario. Did you mean sent"),
    ],
)
def test_bad_input_names_field_value_and_remedy(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_rows_in_memory_keep_their_types_and_are_stored_once():
    frame = FRAME.assign(
        since=pd.date_range("2026-01-01", periods=120, tz="UTC"), plan=pd.Categorical(["a"] * 120)
    )
    frame.loc[5, "age"] = None
    task = dt.Task.from_frame(frame, label_column="churn", time_column="since", name="My rows")
    rows = task.load()
    assert task.name.startswith("my-rows-")
    assert rows["age"].isna().sum() == 1
    assert sorted(rows["label"].unique()) == ["no", "yes"]
    again = dt.Task.from_frame(frame, label_column="churn", time_column="since", name="My rows")
    assert again.name == task.name
    with pytest.raises(DataError, match="it cannot be stored"):
        dt.Task.from_frame(FRAME.assign(odd=[1, "a"] * 60), label_column="churn")


def test_a_failed_call_is_no_answer():
    from diptych.face.answering import Answers
    from diptych.llmops.client.ask import Answer

    answers = Answers(["a", "b"], [Answer("yes", usd=0.1), Answer(None, error="timeout")], "m")
    assert answers.texts == ["yes", None]
    assert len(answers.failed) == 1
    assert answers.usd == 0.1
    html = answers._repr_html_()
    assert "1 of 2 calls failed" in html
    assert "timeout" in html
