"""What recordings of models show, without a model: graded answers, figures, load."""

import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from diptych.core.data import tasks
from diptych.core.evaluation import calibration, load_curve, stats
from diptych.core.store.calls import Calls
from diptych.llmops import record_plan as plan
from diptych.llmops.client import recordings
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.providers import RECORDED
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate, judge
from diptych.llmops.hallucination import detector, uncertainty

FIGURES = (
    "prompt",
    "shots",
    "split",
    "n",
    "score",
    "low",
    "high",
    "unreadable",
    "calibration error",
    "p50 ms",
)


def graded(part: plan.Part) -> pd.DataFrame | None:
    """Return the graded answers of a recording to a part, None where one is missing.

    Parameters
    ----------
    part : Part
        Of a recording: its target is ``Target("recorded", NAME)``. Not one of the repeats: see
        `stability`.

    Returns
    -------
    DataFrame
        As `diptych.llmops.evaluation.evaluate.evaluate` returns it.
    """
    if not _whole(part):
        return None
    with tempfile.TemporaryDirectory() as place, Calls(Path(place) / "ledger.db") as calls:
        options, grader = CallOptions(calls=calls, run="measured"), _grader(part.scenario)
        return evaluate.evaluate([part.variant], part.rows, grader, options, pool=part.pool)


def _grader(scenario: str) -> str:
    return tasks.get(plan.SCOPES[scenario].task).grader


def _whole(part: plan.Part) -> bool:
    answers = recordings.load(part.variant.target.model).answers
    return all(
        name in answers and not recordings.unfit(answers[name], body)
        for name, body in part.requests().items()
    )


def state(part: plan.Part, line: Mapping | None) -> str:
    """Return how much of a part is recorded, and why not all of it can be used."""
    if line is None:
        return f"none of {len(part.rows):,}"
    count = f"{line['recorded']:,} of {len(part.rows):,}"
    if line["version"] != part.variant.prompt.version:
        return f"{count}, of another version of the prompt: record again"
    if line["data"] != part.data:
        return f"{count}, of other rows: record again"
    return count


def compute_title(part: plan.Part) -> str:
    """Return what is shown of a way to ask where its compute is measured."""
    return replace(part, split="compute of an answer").title


def replayed(name: str, scenario: str) -> pd.DataFrame:
    """Return the graded answers of a recording in a scenario, of each part that is whole.

    Returns
    -------
    DataFrame
        `FIGURES`' ``prompt``, ``shots`` and ``split`` before the columns of
        `diptych.llmops.evaluation.evaluate.evaluate`. Of parts that differ in their rows alone,
        the largest one. Rows have the ids that the notebooks' own samples have. The attribute
        ``left out`` holds a sentence for each part that was recorded and does not fit any longer.

    Raises
    ------
    EndpointError, RecordingError
        If there is no such recording or scenario.
    """
    frames: list[pd.DataFrame] = []
    left_out: list[str] = []
    lines = recordings.load(name).facts["parts"].get(scenario, [])
    known = {plan.key(scenario, line): line for line in lines}
    for key, same in _by_key(name, scenario).items():
        part = same[0]
        results = next((r for r in map(graded, same) if r is not None), None)
        if results is not None:
            columns = (part.variant.prompt.name, part.variant.shots, part.split)
            frames.append(results.assign(**dict(zip(FIGURES, columns, strict=False))))
        elif _is_stale(part, known.get(key)):
            left_out.append(
                f"{RECORDED}/{name}: {part.title}: {state(part, known[key])}. Run "
                f"`diptych model record {name} {scenario}`, which asks only what is new"
            )
    first = list(FIGURES[:3])
    table = pd.DataFrame(columns=[*first, *evaluate.COLUMNS])
    if frames:
        table = pd.concat(frames, ignore_index=True)
        table = table[[*first, *(column for column in table if column not in first)]]
    table.attrs["left out"] = left_out
    return table


def _by_key(name: str, scenario: str) -> dict[tuple, list[plan.Part]]:
    """Return the parts that are no repeats, which are among the test rows; the largest first."""
    parts: dict[tuple, list[plan.Part]] = {}
    for part in _parts(name, scenario):
        if not part.split.startswith(plan.REPEATED):
            parts.setdefault(part.key, []).append(part)
    return {key: sorted(same, key=lambda part: -len(part.rows)) for key, same in parts.items()}


def _parts(name: str, scenario: str) -> Iterator[plan.Part]:
    """Yield what a recording has been asked in a scenario; of a fine-tuned model that is less."""
    scope = None
    if "labels" in recordings.load(name).facts:
        scope = plan.TUNED.get(scenario)
        if scope is None and scenario in plan.scenarios():
            return
    yield from plan.parts(scenario, Target(RECORDED, name), scope)


def _is_stale(part: plan.Part, line: Mapping | None) -> bool:
    """Say whether answers to a part are recorded, but to another prompt or other rows."""
    if line is None or not line["recorded"]:
        return False
    return (line["version"], line["data"]) != (part.variant.prompt.version, part.data)


def measured(name: str, scenario: str) -> pd.DataFrame:
    """Return what a recording shows: the figures of each part whose every row is recorded.

    Returns
    -------
    DataFrame
        `FIGURES`: ``score`` (share of right answers) with its interval, ``unreadable`` (share),
        ``calibration error`` of the label's probability, ``p50 ms`` of an answer.
    """
    if scenario == plan.CARDS:
        return pd.DataFrame(columns=list(FIGURES))
    lines = [
        {**dict(zip(FIGURES, each, strict=False)), **_figures(results)}
        for each, results in replayed(name, scenario).groupby(list(FIGURES[:3]), sort=False)
    ]
    return pd.DataFrame(lines, columns=list(FIGURES))


def _figures(results: pd.DataFrame) -> dict:
    labelled = set(results["grader"]) == {"label"}
    right = stats.wilson(int(results["correct"].sum()), len(results))
    sure = results[results["confidence"].notna()]
    error = math.nan
    if labelled and len(sure) >= calibration.FEWEST:
        error = calibration.error(sure["confidence"], sure["correct"].astype(float)).value
    return {
        "n": len(results), "score": right.value, "low": right.low, "high": right.high,
        "unreadable": float(results["predicted"].isna().mean()) if labelled else math.nan,
        "calibration error": error, "p50 ms": float(results["latency_ms"].median()),
    }  # fmt: skip


def stability(name: str, scenario: str) -> pd.DataFrame:
    """Return how often a recorded model's labels changed when questions were repeated.

    Returns
    -------
    DataFrame
        As `diptych.llmops.evaluation.evaluate.repeated` has it, by temperature; empty where the
        repeats are not whole.
    """
    repeats = [part for part in _parts(name, scenario) if part.split.startswith(plan.REPEATED)]
    if not repeats or not all(map(_whole, repeats)):
        return pd.DataFrame()
    variants = list(dict.fromkeys(part.variant for part in repeats))  # one for each temperature
    with tempfile.TemporaryDirectory() as place, Calls(Path(place) / "ledger.db") as calls:
        options = CallOptions(calls=calls, run="measured")
        results = evaluate.evaluate(
            variants, repeats[0].rows, _grader(scenario), options, pool=repeats[0].pool,
            repeats=plan.REPEATS,
        )  # fmt: skip
    return evaluate.repeated(results)


def hallucination(name: str) -> pd.DataFrame:
    """Return how well inventions about product cards are detected in a model's recorded answers.

    Returns
    -------
    DataFrame
        As `diptych.llmops.hallucination.uncertainty.compare_methods` has it, with the share
        ``invented`` in its attributes; empty where the answers are not whole.
    """
    target = Target(RECORDED, name)
    if not _whole(next(plan.parts(plan.CARDS, target))):
        return pd.DataFrame()
    with tempfile.TemporaryDirectory() as place, Calls(Path(place) / "ledger.db") as calls:
        _, answers, costs = uncertainty.answered(
            uncertainty.rows(plan.N_CARDS, plan.SEED), detector.Detector.load(), target,
            CallOptions(calls=calls, run="measured"),
        )  # fmt: skip
    costs = pd.DataFrame(costs, columns=["method", "calls", "tokens", "usd", "ms"])
    table = uncertainty.compare_methods(answers, costs)
    table.attrs["invented"] = stats.wilson(int(answers["invented"].sum()), len(answers))
    return table


def judged(name: str, scenario: str) -> str:
    """Return whether a recorded model can be used as a judge of its answers, in a sentence."""
    target, part = Target(RECORDED, name), next(_parts(name, scenario), None)
    answers = graded(part) if part else None
    if answers is None or not _whole(plan.judged(scenario, target, answers)):
        return "The judge was not recorded."
    with tempfile.TemporaryDirectory() as place, Calls(Path(place) / "ledger.db") as calls:
        judging = judge.Judge(target=target, options=CallOptions(calls=calls, run="measured"))
        return judge.verdict(judge.compare(judging, plan.pairs(scenario, answers)))


def compute(name: str, scenario: str) -> dict[tuple[str, int], stats.Estimate]:
    """Return the CPU milliseconds of an answer by prompt and number of examples, with its interval.

    One is missing where that was not measured, or the prompt has changed since.
    """
    recording, known = recordings.load(name), {}
    for part in plan.ways(_parts(name, scenario)):
        if spent := recording.compute(*part.way):
            known[part.variant.prompt.name, part.variant.shots] = stats.bootstrap(spent)
    return known


def load(name: str, scenario: str) -> pd.DataFrame:
    """Return how a recorded model answered under load, as `load_curve.of_rounds` has it.

    It is empty where that was not measured, or the prompt has changed since.
    """
    part = next(_parts(name, scenario), None)
    calls = recordings.load(name).load(part.variant.prompt.version) if part else []
    return load_curve.of_rounds(pd.DataFrame(calls)) if calls else pd.DataFrame()
