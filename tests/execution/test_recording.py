import json

import numpy as np
import pytest

import diptych as dt
from diptych.execution import recording


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run in progress."""
    monkeypatch.setenv("DIPTYCH_RUN", str(tmp_path))
    return tmp_path


def result(folder):
    return json.loads((folder / "result.json").read_text())


def glued(name, data):
    """An output of scrapbook's `glue`."""
    scrap = {"name": name, "data": data, "encoder": "json", "version": 1}
    return {"output_type": "display_data", "metadata": {}, "data": {recording.SCRAP: scrap}}


def test_figures_are_values_of_the_run(folder):
    dt.record(loss=0.5, rows=3)
    dt.record(loss=np.float32(0.25), accuracy=(0.9, 0.8, 1.0), name="a", ok=True, lost=float("nan"))
    recording.collect(folder, "mine", complete=True)
    content = result(folder)
    assert {name: entry["value"] for name, entry in content["values"].items()} == {
        "loss": 0.25, "rows": 3, "accuracy": 0.9, "name": "a", "ok": True, "lost": None,
    }  # fmt: skip
    assert (content["values"]["accuracy"]["low"], content["complete"]) == (0.8, True)
    assert [path.name for path in folder.iterdir()] == ["result.json"]


def test_what_is_no_figure_is_refused_and_nothing_recorded(folder):
    with pytest.raises(TypeError, match="loss is list"):
        dt.record(rows=1, loss=[1, 2])
    assert not list(folder.iterdir())


def test_without_a_run_figures_are_printed(monkeypatch, capsys):
    monkeypatch.delenv("DIPTYCH_RUN", raising=False)
    dt.record(loss=0.31, rows=120)
    assert capsys.readouterr().out == "recorded: loss 0.31, rows 120\n"


def test_glued_scalars_are_read_and_a_stages_own_record_wins(folder):
    cells = [{"outputs": [glued("auc", 0.8), glued("rows", 1), glued("table", {"a": 1})]}, {}]
    (folder / "notebook.ipynb").write_text(json.dumps({"cells": cells}))
    own = {"format": 2, "values": {"auc": {"value": 0.9}}, "complete": False}
    (folder / "result.json").write_text(json.dumps(own))
    recording.collect(folder, "mine", complete=True)
    values = result(folder)["values"]
    assert (values["auc"]["value"], values["rows"]["value"], set(values)) == (
        0.9,
        1,
        {"auc", "rows"},
    )
    assert result(folder)["complete"] is False


def test_a_run_that_recorded_nothing_has_no_result(folder):
    (folder / "notebook.ipynb").write_text(json.dumps({"cells": []}))
    recording.collect(folder, "mine", complete=True)
    assert not (folder / "result.json").exists()
