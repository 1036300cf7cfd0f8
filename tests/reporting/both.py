"""Runs of a scenario in both panels as the notebooks leave them; all can be foreseen."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from reporting.site.test_site import run_of

from diptych.core import contract
from diptych.execution.runs import FORMAT, Run
from diptych.reporting.scenario import Scenario

NAME = "few_shot · k=4"
ROWS = 500
SCENARIO = Scenario("sentiment", "Sentiment", "Good or bad?", [], [])
SECONDS = {"mlops": 30.0, "llmops": 60.0}
TUNED = {"labels": 2000, "value": 0.945, "low": 0.92, "high": 0.96}
TASK = {"task": "reviews", "data_version": -1, "seed": 0}


@dataclass(frozen=True)
class World:
    """What the runs of both panels recorded.

    Attributes
    ----------
    task : str
        One that the model in the box has not seen, unless named.
    models : tuple of str
        The models that LLMOps called, at `usd` a call.
    wrong : (int, int)
        Rows of `ROWS` that MLOps and LLMOps get wrong.
    metrics : (str, str)
        What MLOps and LLMOps were decided by.
    asked : int
        Test rows that LLMOps was asked about.
    confidence, correct : array of shape (2, ROWS), optional
        Of MLOps and LLMOps, in place of 0.9 and of what `wrong` says.
    afterwards : float, optional
        What LLMOps' champion reached after the decision.
    levels : tuple
        Requests under way, of either side's load curve.
    spread : float
        Of its intervals.
    examples : tuple of (str, int)
        The variants of LLMOps, all of which answer alike, and how many examples each shows.
    """

    task: str = "films"
    models: tuple = ("local",)
    usd: float = 0.0
    wrong: tuple = (15, 100)
    metrics: tuple = ("accuracy", "accuracy")
    asked: int = ROWS
    examples: tuple = ((NAME, 8),)
    confidence: np.ndarray | None = None
    correct: np.ndarray | None = None
    afterwards: float | None = None
    levels: tuple = ((1, 8), (1, 8))
    spread: float = 0.1


def runs(root: Path, *, without: tuple = (), **world):
    """Return the runs of both panels, MLOps wrong on the first rows, LLMOps on the last.

    Parameters
    ----------
    without : tuple of str
        Notebooks that were not run.
    world
        Of `World`.
    """
    both = [*_mlops(root, World(**world)), *_llmops(root, World(**world))]
    both = [_of_task(run, World(**world).task) for run in both]
    return [run for run in both if run.notebook not in without]


def _of_task(run: Run, task: str) -> Run:
    run = replace(run, result=run.result | {"task": run.result["task"] | {"task": task}})
    (run.folder / "result.json").write_text(json.dumps(run.result))
    return run


def _mlops(root: Path, world: World) -> list[Run]:
    selected = _graded("family", "logistic", world, 0)
    other = _graded("family", "baseline", World(wrong=(ROWS // 2, 0)), 0)
    curve = pd.DataFrame({"rows": [80, 300, 800], "value": [0.7, 0.92, 0.95],
                          "low": [0.68, 0.9, 0.93], "high": [0.72, 0.94, 0.97]})  # fmt: skip
    tables = {"test_predictions": pd.concat([selected, other]), "learning_curve": curve}
    load = {"load_curve": load_curve(world, 0, p50=1.0, rate=1000.0, cpu=1.0, memory=200.0)}
    served = {"p50_ms": 10.0, "p95_ms": 20.0, "p99_ms": 30.0, "requests_per_s": 400.0}
    accuracy = {"true score before alarm": (0.95, 0.94, 0.96),
                "true score since alarm": (0.85, 0.84, 0.86)}  # fmt: skip
    return [
        _run(root, "mlops", "1_data", {"train_rows": 800}),
        _run(root, "mlops", "2_build", {"answer_instability": (0.0, 0.0, 0.008)},
             {"family": "logistic", "metric": world.metrics[0]}, tables),
        _run(root, "mlops", "3_release", {"calibration_error": 0.01, "size_mb": 1.0},
             {"promoted": True}),
        _run(root, "mlops", "4_serve", served | {"cpu_ms_per_request": 1.0, "memory_mb": 200.0},
             {"parameters": {"concurrency": 16}}, load),
        _run(root, "mlops", "5_monitor", accuracy, {"drift_alarm": "2025-07"}),
        _run(root, "mlops", "6_improve", {"challenger afterwards": (0.93, 0.91, 0.95),
                                          "labels": 800},
             {"promoted": True}, {"outcome": outcome(0.95, 0.85, 0.93)}),
    ]  # fmt: skip


def outcome(before: float, since: float, after: float) -> pd.DataFrame:
    """The champion before and since the drift, and the challenger after the decision."""
    lines = [("2025-06", "champion", before), ("2025-07", "champion", since),
             ("2025-08", "challenger", after)]  # fmt: skip
    table = pd.DataFrame(lines, columns=["window", "model", "value"])
    return table.assign(low=table["value"] - 0.02, high=table["value"] + 0.02)


def _llmops(root: Path, world: World) -> list[Run]:
    answers = pd.concat([_graded("variant", name, world, 1) for name, _ in world.examples])
    answers = answers[answers["id"].str.slice(2, 7).astype(int) < world.asked]
    answers = answers.assign(error="", usd=world.usd, cached=False, prompt_tokens=100.0,
                             completion_tokens=2.0, latency_ms=200.0,
                             first_token_ms=150.0)  # fmt: skip
    beside = _graded("variant", "logistic (MLOps)", world, 0).rename(columns={"label": "expected"})
    answers = pd.concat([answers, beside.assign(error="")], ignore_index=True)
    perturbed = answers["id"].str.contains("~")
    hand_written = answers.head(100).assign(id=[f"hw-{i}" for i in range(100)])
    facts = {"name": NAME, "metric": world.metrics[1], "examples_shown": dict(world.examples),
             "parameters": {"models": list(world.models), "concurrency": 8}}  # fmt: skip
    here = {"cpu_ms_per_request": 50.0, "size_mb": 4.0, "calibration_error": 0.02}
    accuracy = {"true score before alarm": (0.8, 0.79, 0.81),
                "true score since alarm": (0.79, 0.78, 0.8)}  # fmt: skip
    load = {
        "load_curve": load_curve(world, 1, p50=5.0, rate=100.0, cpu=50.0, memory=1500.0, token=3.0)
    }
    tables = {"results": answers[~perturbed], "perturbed_results": answers[perturbed],
              "hand_written_results": hand_written}  # fmt: skip
    improved = {"challenger afterwards": (0.8, 0.76, 0.84), "labels": 40}
    if world.afterwards is not None:
        half = 0.1  # of few rows
        ends = world.afterwards - half, world.afterwards + half
        improved["champion afterwards"] = (world.afterwards, *ends)
    return [
        _run(root, "llmops", "1_data", {}),
        _run(root, "llmops", "2_build", {"answer_instability": (0.0, 0.0, 0.09)}, facts, tables),
        _run(root, "llmops", "3_release", here, {"promoted": False}),
        _run(root, "llmops", "4_serve", {"p50_ms": 100.0, "p95_ms": 200.0, "p99_ms": 300.0,
                                         "requests_per_s": 20.0, "memory_mb": 1500.0},
             {"parameters": {"concurrency": 8, "windows": 6}}, load),
        _run(root, "llmops", "5_monitor", accuracy),
        _run(root, "llmops", "6_improve", improved,
             {"promoted": False, "tuned": TUNED}, {"outcome": outcome(0.8, 0.79, 0.8)}),
    ]  # fmt: skip


def load_curve(world, side, *, p50, rate, cpu, memory, token=np.nan) -> pd.DataFrame:
    """What serving took: each interval goes the world's spread to both sides."""
    lines, spread = [], world.spread
    for level in world.levels[side]:
        line = {"concurrency": level, "rounds": 5, "requests": 160, "failed": 0}
        for name, value in (("p50_ms", p50 * level), ("p95_ms", 2 * p50 * level),
                            ("first_token_p50_ms", token * level), ("requests_per_s", rate),
                            ("cpu_ms", cpu), ("memory_mb", memory)):  # fmt: skip
            ends = value / (1 + spread), value * (1 + spread)
            line |= {name: value, f"{name} low": ends[0], f"{name} high": ends[1]}
        lines.append(line)
    return pd.DataFrame(lines)


def _graded(column: str, name: str, world: World, side: int) -> pd.DataFrame:
    """Return `ROWS` graded rows, and each with typing errors too, where every tenth is wrong."""
    correct, first = np.ones(ROWS, dtype=bool), side == 0
    correct[slice(0, world.wrong[0]) if first else slice(ROWS - world.wrong[1], ROWS)] = False
    correct = correct if world.correct is None else world.correct[side]
    sure = np.full(ROWS, 0.9) if world.confidence is None else world.confidence[side]
    perturbed = correct & (np.arange(ROWS) % 10 != 0)
    ids = [f"r-{i:05d}" for i in range(ROWS)]
    grades = np.array([*correct, *perturbed])
    truth = np.where(np.arange(2 * ROWS) % ROWS % 4 == 0, "bad", "good")
    return pd.DataFrame({
        column: name,
        "id": [*ids, *(f"{i}~typos" for i in ids)],
        "label" if first else "expected": truth,
        "predicted": np.where(grades, truth, np.where(truth == "bad", "good", "bad")),
        "repeat": 0,
        "grader": "label",
        "confidence": [*sure, *sure],
        "correct": grades,
        "score": np.array(grades, dtype=float),
    })  # fmt: skip


def _run(root: Path, panel: str, stage: str, values: dict, facts=None, tables=None) -> Run:
    """A complete run: what is not given here is recorded as not measured, as a run would."""
    run = run_of(root, stage, panel=panel, number=1)
    declared = contract.of(f"{panel}/{stage}")
    entries = {v.name: _entry(None) for v in declared.values if v.always and not v.placeholder}
    entries |= {name: _entry(value) for name, value in values.items()}
    none = {fact.name: None for fact in declared.facts} | {"parameters": {}}
    result = {"notebook": f"{panel}/{stage}", "task": TASK, "complete": True, "upstream": None,
              "values": entries, "facts": none | (facts or {}), "format": FORMAT}  # fmt: skip
    for table in declared.tables:
        frame = (tables or {}).get(table.name, pd.DataFrame())
        frame.reindex(columns=list(table.columns)).to_parquet(run.folder / f"{table.name}.parquet")
    run = replace(run, manifest=run.manifest | {"seconds": SECONDS[panel]}, result=result)
    for name in ("manifest", "result"):
        (run.folder / f"{name}.json").write_text(json.dumps(getattr(run, name)))
    return run


def _entry(value) -> dict:
    value, low, high = value if isinstance(value, tuple) else (value, None, None)
    return {"value": value, "low": low, "high": high, "unit": ""}
