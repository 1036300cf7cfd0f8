import json
import signal

import nbformat
import pytest

from diptych import cli
from diptych.base.errors import ParameterError
from diptych.execution import comparison, run_list
from diptych.execution.runs import Run, load_run


@pytest.fixture
def pair(home):
    """Two runs of a notebook whose code, input and parameter changed between them."""
    pages = []
    for number, (region, total, code, digest) in enumerate(
        [("north", 100, "f = 1", "a" * 64), ("south", 110, "f = 2", "b" * 64)]
    ):
        folder = home / "runs" / f"2026010{number + 1}-000000-weekly-000{number}"
        folder.mkdir(parents=True)
        cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell(f"r = '{region}'")]
        cells[1].metadata["tags"] = ["injected-parameters"]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "notebook.ipynb")
        manifest = {
            "name": "weekly", "notebook": "weekly.ipynb", "title": f"Weekly · {region}",
            "status": "ok", "started": f"2026-01-0{number + 1}T00:00:00+00:00",
            "parameters": {"region": region, "week": 5},
            "packages": {"pandas": f"3.{number}", "numpy": "2"},
            "inputs": {"/x/sales.csv": digest},
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(manifest))
        values = {"total": {"value": total}, "rows": {"value": 3}}
        (folder / "result.json").write_text(json.dumps({"values": values, "complete": True}))
        (folder / "notebook.html").write_text("<p>a page")
        pages.append(load_run(folder.name))
    return pages


def test_what_changed_between_two_runs(pair):
    result = comparison.compare(*pair)
    assert result.parameters == {"region": ("north", "south")}
    assert result.inputs == {"/x/sales.csv": ("a" * 64, "b" * 64)}
    assert result.packages == {"pandas": ("3.0", "3.1")}
    assert result.changed_figures == {"total": (100, 110)}
    assert [line for line in result.code if line[0] in "+-"][2:] == ["-f = 1", "+f = 2"]
    text = comparison.as_text(result)
    assert "total  100 -> 110 (+10, +10.0%)" in text
    assert "rows   3 (the same)" in text
    assert "/x/sales.csv  aaaaaaaaaaaa -> bbbbbbbbbbbb" in text
    assert json.loads(json.dumps(comparison.as_json(result)))["first"] == pair[0].id


def test_inputs_that_nobody_noted_are_not_called_the_same(tmp_path):
    runs = [Run(name, tmp_path, {"parameters": {}}) for name in "ab"]
    text = comparison.as_text(comparison.compare(*runs))
    assert "neither run noted what it read" in text
    assert "inputs" not in text.rpartition("the same:")[2]


def test_runs_are_chosen_sorted_and_shown(pair):
    frame = run_list.choose(run_list.Choice(figure="total", sort="value"))
    assert list(frame["value"]) == [100, 110]
    assert "region" in run_list.as_text(frame)
    assert "week" not in frame, "a column that is the same for all is shown"
    only = run_list.choose(run_list.Choice(where=(("region", "south"), ("status", "ok"))))
    assert list(only["run"]) == [pair[1].id]
    assert len(run_list.choose(run_list.Choice(newest=1))) == 1
    assert run_list.as_text(run_list.choose(run_list.Choice(where=(("week", "6"),)))) == "No runs."
    with pytest.raises(ParameterError, match="Did you mean value"):
        run_list.choose(run_list.Choice(sort="vlaue"))


def test_a_page_of_runs_leads_to_each(pair, home):
    page = run_list.page([run.id for run in pair])
    text = page.read_text()
    assert page == home / "runs.html"
    for run in pair:
        assert f"runs/{run.id}/notebook.html" in text
        assert run.manifest["title"] in text


def test_the_commands_of_runs(pair, home, tmp_path, monkeypatch, capsys):
    def diptych(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments])
        assert ended.value.code == 0
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    first, second = (run.id for run in pair)
    assert [line["run"] for line in json.loads(diptych("runs", "weekly", "--json"))] == [
        second,
        first,
    ]
    assert "total" in diptych("runs", "--figure", "total", "--sort", "value")
    assert "100 -> 110" in diptych("compare", first, second)
    assert json.loads(diptych("compare", first, "weekly", "--json"))["figures"]["rows"] == [3, 3]
    assert "1 folder, 0.0 MB to remove" in diptych("prune", "--older-than", "1d")
    assert (home / "runs" / first).exists()
    assert diptych("archive", second).strip() == str(tmp_path / f"{second}.zip")
    assert diptych("export", second, "--archive", "-o", "x.zip").strip() == str(tmp_path / "x.zip")
    assert "removed 1 folder" in diptych("prune", "--older-than", "1d", "--yes")
    assert [path.name for path in (home / "runs").iterdir()] == [second]
    signal.signal(signal.SIGTERM, before)
