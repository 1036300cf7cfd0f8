import json
from datetime import datetime
from pathlib import Path

import pytest

from diptych.base.errors import ParameterError
from diptych.execution import stable_paths
from diptych.execution.declaration import Parameter
from diptych.execution.runner import PreparedRun
from diptych.execution.runs import Run

NOW = datetime(2026, 1, 30, 9)
DECLARED = (
    Parameter("region", "str", ""),
    Parameter("number", "int", 5),
    Parameter("since", "date", "2026-01-05"),
    Parameter("until", "unknown", None, typed=False, expression="date.today()"),
    Parameter("many", "list[str]", ["a"]),
)
VALUES = {"region": "north", "number": 5, "since": "2026-01-05", "many": ["a"]}


def path_of(template, **values):
    prepared = PreparedRun(Path("weekly.ipynb"), DECLARED, (), VALUES | values)
    return stable_paths.path_of(template, prepared, NOW)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{week}/{region}", "2026-W05/north"),
        ("{date}", "2026-01-30"),
        ("{date:%Y}/{month}-{day}", "2026/01-30"),
        ("{notebook}/w{number:02d}", "weekly/w05"),
        ("{since:%B}", "January"),
        ("fixed", "fixed"),
    ],
)
def test_a_path_is_made_of_parameters_and_the_date(template, path):
    assert path_of(template) == path


def test_a_parameter_wins_over_a_part_of_the_date():
    prepared = PreparedRun(Path("weekly.ipynb"), (), (), {"week": 7})
    assert stable_paths.path_of("{week}", prepared, NOW) == "7"


@pytest.mark.parametrize(
    ("template", "values", "words"),
    [
        ("{regoin}", {}, "Did you mean region"),
        ("{region}", {"region": "a/b"}, "a slash would make another folder"),
        ("{region}", {"region": ".."}, "not the name of a folder"),
        ("{region}", {"region": ""}, "names no folder"),
        ("{region}", {"region": None}, "names no folder"),
        ("{region}", {"region": "a:b"}, "none of"),
        ("{region}", {"region": "Latest"}, "not the name of a folder"),
        ("{region}", {"region": "x" * 200}, "not the name of a folder"),
        ("{many}", {}, "names no folder"),
        ("{until}", {}, r"date.today\(\) is known to the kernel only. Give -p until"),
        ("{number:%Y}", {}, "does not fit"),
        ("{region", {}, "--name"),
        ("../{region}", {}, "not the name of a folder"),
        ("a//b", {}, "not the name of a folder"),
        ("{region.__class__}", {}, "unknown"),
    ],
)
def test_a_name_that_is_no_folder_is_refused(template, values, words):
    with pytest.raises(ParameterError, match=words):
        path_of(template, **values)


def made(root, run_id, status="ok", **parameters):
    folder = root / "runs" / run_id
    folder.mkdir(parents=True)
    manifest = {"status": status, "name": "weekly", "parameters": parameters}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Run(run_id, folder, manifest)


def test_latest_leads_to_the_newest_good_run(tmp_path, capsys):
    first, second = made(tmp_path, "1", region="north"), made(tmp_path, "2", region="north")
    failed = made(tmp_path, "3-failed", status="failed")
    for run in (first, second, failed):
        place = stable_paths.publish(run, tmp_path / "reports", "w/north")
    assert place.resolve() == second.folder
    assert stable_paths.led_to(tmp_path / "reports") == {second.folder}
    assert [path.name for path in place.parent.iterdir()] == ["latest"]
    assert capsys.readouterr().err == ""
    stable_paths.publish(made(tmp_path, "4", region="south"), tmp_path / "reports", "w/north")
    assert "region north -> south" in capsys.readouterr().err


def test_without_links_latest_is_a_copy(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr("os.symlink", refused)
    for number in "12":
        run = made(tmp_path, number, number=number)
        place = stable_paths.publish(run, tmp_path / "reports", "w")
        assert (place / "manifest.json").read_text() == (run.folder / "manifest.json").read_text()
    assert [path.name for path in place.parent.iterdir()] == ["latest"]
