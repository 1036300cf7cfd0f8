"""Runs of a scenario in both panels as the notebooks leave them; all can be foreseen."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from reporting.site.test_site import run_of

from diptych.execution.runs import FORMAT, Run
from diptych.reporting.scenario import Scenario

NAME = "few_shot · k=4"
ROWS = 500
SCENARIO = Scenario("sentiment", "Sentiment", "Good or bad?", [], [])
SECONDS = {"mlops": 30.0, "llmops": 60.0}
TUNED = {"labels": 2000, "value": 0.945, "low": 0.92, "high": 0.96}
TASK = {"task": "reviews", "data_version": 0, "seed": 0}


def runs(root: Path, *, without: tuple = (), models=("local",), usd=0.0, wrong=(15, 100)):
    """Return the runs of both panels, the left wrong on the first rows, the right on the last.

    Parameters
    ----------
    without : tuple of str
        Notebooks that were not run.
    models : sequence of str
        What the right panel asked, at `usd` a call.
    wrong : (int, int)
        Rows of `ROWS` that the left and the right get wrong.
    """
    made = [*_left(root, wrong[0]), *_right(root, wrong[1], list(models), usd)]
    return [run for run in made if run.notebook not in without]


def _left(root: Path, wrong: int) -> list[Run]:
    judged = _graded("family", "logistic", wrong, first=True)
    other = _graded("family", "baseline", ROWS // 2, first=True)
    curve = pd.DataFrame({"rows": [80, 300, 800], "value": [0.7, 0.92, 0.95],
                          "low": [0.68, 0.9, 0.93], "high": [0.72, 0.94, 0.97]})  # fmt: skip
    tables = {"test_predictions": pd.concat([judged, other]), "learning_curve": curve}
    served = {"p50_ms": 10.0, "p95_ms": 20.0, "p99_ms": 30.0, "requests_per_s": 400.0}
    alarm = {"true accuracy before alarm": (0.95, 0.94, 0.96), "true accuracy since alarm":
             (0.85, 0.84, 0.86)}  # fmt: skip
    return [
        _run(root, "mlops", "1_data", {"train_rows": 800}),
        _run(root, "mlops", "2_build", {"changed_when_asked_again": 0.0}, {"family": "logistic"},
             tables),
        _run(root, "mlops", "3_release", {"calibration_error": 0.01, "size_mb": 1.0}),
        _run(root, "mlops", "4_serve", served | {"cpu_ms_per_request": 1.0, "memory_mb": 200.0},
             {"parameters": {"concurrency": 16}}),
        _run(root, "mlops", "5_monitor", alarm, {"alarm": "2025-07"}),
        _run(root, "mlops", "6_improve", {"challenger afterwards": 0.93, "labels": 800},
             {"promoted": True}),
    ]  # fmt: skip


def _right(root: Path, wrong: int, models: list[str], usd: float) -> list[Run]:
    said = _graded("variant", NAME, wrong, first=False)
    said = said.assign(score=said["correct"].astype(float), error="", usd=usd, cached=False,
                       prompt_tokens=100.0, completion_tokens=2.0, latency_ms=200.0,
                       first_token_ms=150.0)  # fmt: skip
    by_hand = said.head(100).assign(id=[f"hw-{i}" for i in range(100)])
    facts = {"name": NAME, "shown": {NAME: 8}, "parameters": {"models": models, "concurrency": 8}}
    again = {"changed_when_asked_again": 0.0}
    here = {"cpu_ms_per_request": 50.0, "memory_mb": 1500.0, "size_mb": 4.0}
    alarm = {"true accuracy before alarm": (0.8, 0.79, 0.81), "true accuracy since alarm":
             (0.79, 0.78, 0.8)}  # fmt: skip
    tables = {"results": said, "by_hand": by_hand}
    return [
        _run(root, "llmops", "1_data", {}),
        _run(root, "llmops", "2_build", again, facts, tables),
        _run(root, "llmops", "3_release", {"calibration_error": 0.02} | here),
        _run(root, "llmops", "4_serve", {"p50_ms": 100.0, "p95_ms": 200.0, "p99_ms": 300.0,
                                         "requests_per_s": 20.0}),
        _run(root, "llmops", "5_monitor", alarm),
        _run(root, "llmops", "6_improve", {"challenger afterwards": 0.8, "labels": 40},
             {"promoted": False, "tuned": TUNED}),
    ]  # fmt: skip


def _graded(column: str, name: str, wrong: int, *, first: bool) -> pd.DataFrame:
    """Return `ROWS` graded rows; each is there with typing errors too, and then one more wrong."""
    correct = np.ones(ROWS, dtype=bool)
    correct[slice(0, wrong) if first else slice(ROWS - wrong, ROWS)] = False
    harder = correct & (np.arange(ROWS) % 10 != 0)
    ids = [f"r-{i:05d}" for i in range(ROWS)]
    return pd.DataFrame({
        column: name,
        "id": [*ids, *(f"{i}~typos" for i in ids)],
        "correct": [*correct, *harder],
    })  # fmt: skip


def _run(root: Path, panel: str, stage: str, values: dict, facts=None, tables=None) -> Run:
    run = run_of(root, stage, panel=panel, number=1)
    entries = {name: _entry(value) for name, value in values.items()}
    result = {"notebook": f"{panel}/{stage}", "task": TASK, "complete": True, "upstream": None,
              "values": entries, "facts": facts or {}, "format": FORMAT}  # fmt: skip
    for name, table in (tables or {}).items():
        table.to_parquet(run.folder / f"{name}.parquet", index=False)
    run = replace(run, manifest=run.manifest | {"seconds": SECONDS[panel]}, result=result)
    for name in ("manifest", "result"):
        (run.folder / f"{name}.json").write_text(json.dumps(getattr(run, name)))
    return run


def _entry(value) -> dict:
    value, low, high = value if isinstance(value, tuple) else (value, None, None)
    return {"value": value, "low": low, "high": high, "unit": ""}
