"""Ways that this report did not run: real models that were recorded, models measured once.

They answered the same rows as the report's runs. A row whose text, prompt or label has changed
since then has no answer here.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import BUILD, DATA, LLMOPS, MLOPS
from diptych.core.data import tasks
from diptych.core.evaluation.stats import Estimate
from diptych.llmops import record_plan, recorded
from diptych.llmops.client import recordings
from diptych.llmops.server import store
from diptych.llmops.server.catalogue import CatalogueError
from diptych.reporting.contrast import stored
from diptych.reporting.contrast.evidence import LINES, Panel
from diptych.reporting.contrast.way import FEWEST, NAMES, PROMPT, Elsewhere, Way

PARTS = {"test": "rows", "valid": "validation", "handwritten": "by_hand"}
ENCODER = "MiniLM-L6 (22.7 M parameters, Apache-2.0) reads, a logistic regression decides"


def of(scenario: str, left: Panel, right: Panel, run: str) -> Elsewhere:
    """Return what is known of a scenario besides its runs.

    Parameters
    ----------
    run : str
        Id of the run that shows it.
    """
    task = _task(left, right)
    if task is None or task != _task_of_scope(scenario):
        return Elsewhere()
    truth = _truth(left, right)
    ways, missing = [], []
    if right.run(BUILD) is not None:
        for name in recordings.folders():
            known, stale = recorded_ways(name, scenario, truth, run)
            ways += [way for way in known if len(way.rows) >= FEWEST]
            missing += [*stale, *(_too_few(way, name, scenario) for way in known)]
        missing = [words for words in missing if words]
    content = stored.of(scenario, task) if left.run(BUILD) is not None else {}
    if not content:
        return Elsewhere(tuple(ways), tuple(missing), run=run)
    ways += stored_ways(content, left, truth, run)
    cpu_ms = {name: Estimate(*three, 5) for name, three in content["cpu_ms"].items()}
    when = f"measured {content['date']} on {content['machine']}"
    return Elsewhere(
        tuple(ways), tuple(missing), pd.DataFrame(content["curves"]), when, cpu_ms, run
    )


def _too_few(way: Way, name: str, scenario: str) -> str:
    n = len(way.rows)
    if n >= FEWEST:
        return ""
    return (
        f"{way.name}: {n} test rows are recorded, {FEWEST} are needed; "
        f"`diptych model record {name} {scenario}` continues"
    )


def _task(left: Panel, right: Panel) -> str | None:
    runs = [panel.run(BUILD) for panel in (left, right)]
    names = {(run.result.get("task") or {}).get("task") for run in runs if run is not None}
    return names.pop() if len(names) == 1 else None


def _task_of_scope(scenario: str) -> str:
    scope = record_plan.SCOPES.get(scenario)
    return scope.task if scope else ""


def _truth(left: Panel, right: Panel) -> pd.Series:
    """Return what each row that a run has graded was compared with, by id.

    Answers that are texts are compared with a reference, which only LLMOps has.
    """
    frames = [
        panel.of_variant(panel.fact(BUILD, name))["truth"]
        for panel, name in ((right, contract.VARIANT), (left, contract.FAMILY))
        if panel.run(BUILD) is not None
    ]
    truth = pd.concat(frames) if frames else pd.Series(dtype=object)
    return truth[~truth.index.duplicated()]


def recorded_ways(
    name: str, scenario: str, truth: pd.Series, run: str
) -> tuple[list[Way], list[str]]:
    """Return a recorded model with each of its prompts and numbers of examples.

    And what of it no longer fits, in words.
    """
    recording = recordings.load(name)
    if scenario not in recording.facts["parts"]:
        return [], []
    answers = recorded.replayed(name, scenario)
    cpu = recorded.compute(name, scenario)
    title, ways = _title(recording), []
    left_out = list(answers.attrs["left out"])
    for (prompt, shots), lines in answers.groupby(["prompt", "shots"], sort=False):
        lines = lines.rename(columns={"expected": "truth"}).astype({"id": str}).set_index("id")
        compared = lines[_same(lines["truth"], truth) | (lines["split"] == "valid")]
        if set(lines["split"]) > set(compared["split"]):
            left_out.append(f"{name}: prompt {prompt}: no run graded its rows with their labels")
        lines = compared
        frames = {
            part: lines[lines["split"] == split].reindex(columns=LINES)
            for split, part in PARTS.items()
            if (lines["split"] == split).any()
        }
        if "rows" in frames:
            ways.append(
                Way(
                    _named(title, prompt, shots, recording.facts), LLMOPS, run=run,
                    labels=_labels(shots, recording.facts), cpu_ms=cpu.get((prompt, shots)),
                    model=_about(recording), where=recording.when(), **frames,
                )
            )  # fmt: skip
    return ways, left_out


def _same(labels: pd.Series, truth: pd.Series) -> pd.Series:
    """Say of rows whether the runs have graded them, with the same label."""
    return labels == truth.reindex(labels.index)


def _title(recording) -> str:
    try:
        return store.entry(recording.facts.get("base") or recording.name).title.partition(" (")[0]
    except CatalogueError:
        return recording.facts.get("model") or recording.name


def _named(title: str, prompt: str, shots: int, facts: Mapping) -> str:
    if facts.get("labels"):
        return f"{title}, LoRA on {facts['labels']:,} labels"
    how = f"{shots} examples" if shots else "zero-shot"
    return f"{title}, {how}" + ("" if prompt == "label_only" else f"{PROMPT}{prompt}")


def _labels(shots: int, facts: Mapping) -> float:
    return float(shots + (facts.get("labels") or 0))


def _about(recording) -> str:
    """Return whose model it is, how large, under which licence."""
    try:
        known = store.entry(recording.facts.get("base") or recording.name)
    except CatalogueError:
        return recording.facts.get("endpoint") or "size and licence are not known"
    size = known.parameters
    words = f"{size / 1e9:.1f} B" if size >= 10**9 else f"{size / 1e6:.0f} M"
    return f"{words} parameters, {known.publisher}, {known.licence}"


def stored_ways(content: Mapping, left: Panel, truth: pd.Series, run: str) -> list[Way]:
    """Return the families whose answers are stored, but for those that the report fitted."""
    fitted = set(left.table(BUILD, contract.PREDICTIONS)["family"])
    rows = left.value(DATA, contract.TRAIN_ROWS)
    data = tasks.get(content["task"])
    splits = _splits(data.name)
    ways = []
    for family, answers in content["answers"].items():
        lines = _lines(answers, content["classes"], splits)
        valid = splits.reindex(lines.index)["split"] == "valid"
        lines = lines[_same(lines["truth"], truth) | valid]
        parts = {name: lines[splits.reindex(lines.index)["split"] == split].reindex(columns=LINES)
                 for split, name in PARTS.items()}  # fmt: skip
        if family not in fitted and len(parts["rows"]) >= FEWEST:
            cpu = content["cpu_ms"].get(family)
            ways.append(
                Way(
                    NAMES.get(family, family), MLOPS, run=run,
                    labels=math.nan if rows is None else rows.value,
                    cpu_ms=cpu and Estimate(*cpu, 5), model=ENCODER,
                    where=_when(content), **parts,
                )
            )  # fmt: skip
    return ways


def _when(content: Mapping) -> str:
    return f"measured {content['date']} on {content['machine']}"


def _splits(task: str) -> pd.DataFrame:
    from diptych.core.data import versions

    rows = versions.read(task)
    return rows.assign(id=rows["id"].astype(str)).set_index("id")[["split", "label"]]


def _lines(answers: Mapping, classes: Sequence[str], splits: pd.DataFrame) -> pd.DataFrame:
    shares = pd.Series(answers)
    shares = shares[shares.index.isin(splits.index)]
    predicted = [classes[int(np.argmax(one))] for one in shares]
    truth = splits["label"].reindex(shares.index)
    return pd.DataFrame({
        "truth": truth, "predicted": predicted,
        "score": (truth == predicted).astype(float), "grader": "label",
        "confidence": [max(one) for one in shares], "probabilities": list(shares),
    }, index=shares.index)  # fmt: skip
