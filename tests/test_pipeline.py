"""The left panel end to end, as `diptych report structured` runs it: real kernels, real server."""

from diptych.mlops.tracking import Registry
from diptych.report.scenario import report
from diptych.run.runs import find_runs


def test_the_left_panel_runs_from_data_to_retraining(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    page = report(["structured"], site=tmp_path / "site", progress=False)
    assert page.exists()
    runs = {run.notebook: run for run in find_runs()}
    assert len(runs) == 6
    assert all(run.status == "ok" for run in runs.values())
    built = runs["mlops/2_build"].result["values"]
    best = max(v["value"] for name, v in built.items() if name.startswith("accuracy of"))
    assert best >= 0.95
    assert runs["mlops/4_serve"].result["values"]["failed"]["value"] == 0
    assert runs["mlops/5_monitor"].result["upstream"] == runs["mlops/4_serve"].id
    history = Registry("tumours").history()
    assert len(history) == 0 or (history["who"] != "").all()
