"""All six stages on a file of one's own whose label is a number, with an endpoint that answers it
in many forms: figures are right, refusals are counted, nothing stops."""

import numpy as np
import pandas as pd
import pytest
from llmops.answer_server import answering

from diptych.core.store.records import load
from diptych.execution.runner import run_notebook

pytestmark = pytest.mark.long
FORMS = (
    "{x}", "I would say {x} rides.", '{{"number": {x}}}', "**{x}**", "between {a} and {b}",
    "Rides: {x}\n\nIt is a warm day.", "I cannot predict that.",
)  # fmt: skip
STAGES = {
    "llmops/2_build": {"validation_rows": 20, "rows": 40, "perturbed_rows": 10, "repeat_rows": 4,
                       "repeats": 2, "prompts": ["plain", "json"], "shots": [0],
                       "decoding": ["free", "choice"]},
    "llmops/3_release": {"rows": 40, "tests": 3, "max_unreadable": 1.0},
    "llmops/4_serve": {"load_rows": 4, "levels": [1, 2], "windows": 4, "rows_per_window": 20,
                       "window": "rows", "batch_wait_s": 3},
    "llmops/5_monitor": {"rows": 40, "streams": 20, "questions": 20, "samples": 2},
    "llmops/6_improve": {"labels": 40, "rows": 40, "tries": 2, "calls": 40, "tune": "none",
                         "rows_per_window": 20, "learn_windows": 1, "decide_windows": 1},
}  # fmt: skip


def says(body):
    """Answer a question with the number that a row's degrees give; each seventh is a refusal."""
    text = body["messages"][-1]["content"]
    if "degrees" not in text:
        return "Not stated."
    degrees = float(text.split("degrees ")[1].split(",")[0].split()[0])
    x = 3 * degrees + 10
    form = FORMS[int(degrees * 10) % len(FORMS)]
    return form.format(x=f"{x:.1f}", a=f"{x - 5:.1f}", b=f"{x + 5:.1f}")


def test_a_number_runs_through_all_stages(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    degrees = rng.uniform(0, 30, 400).round(1)
    frame = pd.DataFrame({
        "degrees": degrees, "windy": rng.random(400) < 0.3, "rides": 3 * degrees + 10,
        "time": pd.date_range("2026-01-01", periods=400, freq="h"),
    })  # fmt: skip
    place = tmp_path / "rides.csv"
    frame.to_csv(place, index=False)
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    task = {"task": str(place), "label_column": "rides", "time_column": "time", "metric": "rmse"}
    with answering(says) as (target, seen):
        model = {"models": [f"{target.endpoint}#m"]}
        runs = {}
        for notebook, parameters in STAGES.items():
            more = model if notebook == "llmops/2_build" else {}
            runs[notebook] = run_notebook(notebook, (), task | parameters | more, progress=False)
            assert runs[notebook].status == "ok", notebook
    built = runs["llmops/2_build"]
    results = load(built.id).table("results")
    mine = results[results["variant"].str.startswith("plain")]
    assert set(mine["outcome"]) == {"answered", "range", "refused"}
    read = mine.dropna(subset="predicted")
    assert np.allclose(read["predicted"], read["expected"], atol=0.06)
    refused = mine["predicted"].isna()
    error = np.sqrt(((mine["stand_in"] - mine["expected"])[refused] ** 2).sum() / len(mine))
    values = built.result["values"]
    name = mine["variant"].iloc[0]
    assert values[f"score of {name}"]["value"] == pytest.approx(error, rel=0.02)
    assert not [name for name in values if name.startswith("accuracy")]
    assert any("rides" in body["messages"][-1]["content"] for body in seen)
