"""Stage 3, release: measure a candidate for the gate, store its reference, write its card."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from diptych.base.workspace import write_atomic
from diptych.core.data.tasks import Task
from diptych.core.evaluation import baseline as constant
from diptych.core.evaluation.gate import Candidate, Decision
from diptych.core.evaluation.graders import Scoring
from diptych.core.monitoring.drift import Profile
from diptych.mlops import build, monitor
from diptych.mlops.models import model as models
from diptych.mlops.models.model import Model
from diptych.mlops.registry import Version


def measure(
    name: str,
    model: Model,
    folder: Path,
    rows: pd.DataFrame,
    scoring: str | Scoring,
    groups: pd.DataFrame | None = None,
) -> Candidate:
    """Measure what the gate asks of a model.

    Parameters
    ----------
    name : str
        How reports call it.
    folder : Path
        Where the model is saved; its size is that of the files.
    rows : DataFrame
        Canonical test rows; candidate and champion must be measured on the same ones.
    scoring : Scoring, or str
        The task's, see `build.evaluate`.
    groups : DataFrame, optional
        Of the rows, by their id, see `slices.groups`: the gate asks for the gap between them.
    """
    scores = build.evaluate(model, rows, scoring)
    return Candidate.of_rows(
        name,
        scores.scoring.metric,
        scores.rows,
        slice_of=rows["slice"],
        groups=None if groups is None else groups.reindex(rows["id"]),
        calibration_error=scores.calibration_error,
        latency_p95_ms=latency_p95(model, rows),
        size_mb=models.size_mb(folder),
        digest=models.digest(folder),
    )


def measure_champion(
    champion: Version | None, rows: pd.DataFrame, scoring: str | Scoring
) -> tuple[Candidate | None, str]:
    """Measure the model in service on the candidate's test rows.

    Returns
    -------
    candidate : Candidate or None
        None if there is no champion, or it learnt from other columns than these rows have.
    note : str
        Why a champion could not be measured, else empty.
    """
    if champion is None:
        return None, ""
    try:
        model = models.load(champion.folder)
        return measure("champion", model, champion.folder, rows, scoring), ""
    except models.ModelError as error:
        return None, f"The champion {champion} cannot be measured on these rows: {error}"


def measure_all(
    candidate: Model,
    folder: Path,
    data: pd.DataFrame,
    task: Task,
    champion: Version | None,
    groups: pd.DataFrame | None = None,
    seed: int = 0,
) -> tuple[Candidate, Candidate | None, Candidate | None, str]:
    """Store a candidate's reference, and measure it, the champion and the constant answer.

    Returns
    -------
    measured, in_service, constant : Candidate
        On the test rows; None where there is no champion, or no constant answer.
    note : str
        As `measure_champion` returns it.
    """
    test = build.part(data, "test")
    add_reference(candidate, folder, test, seed)
    measured = measure("candidate", candidate, folder, test, task.scoring, groups)
    in_service, note = measure_champion(champion, test, task.scoring)
    return measured, in_service, baseline(data, test, task), note


def baseline(data: pd.DataFrame, rows: pd.DataFrame, task: Task) -> Candidate | None:
    """Return the constant answer on some rows; a candidate must be shown to be better."""
    train = build.part(data, "train")["label"]
    return constant.candidate(train, rows["label"].to_numpy(), task.scoring)


def latency_p95(model: Model, rows: pd.DataFrame, calls: int = 200) -> float:
    """Return the 95th percentile in milliseconds of one-row predictions, in this process."""
    rows = rows.head(calls)
    # as an endpoint has read them
    inputs = models.plain_rows(rows, model.columns.columns) if model.typed else model.rows_of(rows)
    taken = []
    for i in range(len(inputs)):
        began = time.perf_counter()
        model.predict_proba(inputs[i : i + 1])
        taken.append((time.perf_counter() - began) * 1000)
    return float(np.percentile(taken, 95))


def add_reference(model: Model, folder: Path, rows: pd.DataFrame, seed: int) -> None:
    """Store the profile that monitoring compares with, computed once, beside the model.

    `rows` must be rows the model was not fitted on, else its confidence looks too high.
    """
    described = monitor.describe(model, model.rows_of(rows))
    profile = Profile.fit(described, seed=seed).to_dict()
    write_atomic(folder / "reference.json", json.dumps(profile))


def figures(measured: Candidate) -> dict[str, float]:
    """Return what the registry keeps of a candidate: its score, and how far to trust it."""
    known = {"score": measured.score, "calibration_error": measured.calibration_error}
    return {name: figure.value for name, figure in known.items() if figure is not None}


def _answers(model: Model) -> str:
    """Say what a model answers with, for its card."""
    if not model.regression:
        return f"**classes** {', '.join(model.classes)}"
    if model.interval is None:
        return "**predicts** a number"
    half, level = model.interval["half"], model.interval["level"]
    return f"**predicts** a number; {level:.0%} of true ones lie within {half:.4g} of it"


def card(model: Model, decision: Decision, facts: dict, groups: pd.DataFrame | None = None) -> str:
    """Write the model card (Mitchell et al. 2019, arXiv 1810.03993) as Markdown.

    Parameters
    ----------
    facts : dict of str to str or Figure
        What else is known of it, such as the metric with its interval; None is left out.
    groups : DataFrame, optional
        As `Candidate.by_group` returns it.
    """
    decides = "the most probable class" if model.threshold is None else (
        f"{model.positive} from the probability {model.threshold:.3f} on"
    )  # fmt: skip
    setting = ", ".join(f"{key} = {value}" for key, value in model.parameters.items()) or "none"
    heat = "" if model.regression else f"; {model.calibration}"
    lines = [
        f"**Model** {model.family} ({setting}){heat}",
        f"**Input** {model.kind}: {len(model.features)} column(s); {_answers(model)}",
        *([] if model.regression else [f"**Answers** {decides}"]),
        *(f"**{name}** {value}" for name, value in facts.items() if value is not None),
        f"**Gate** {decision.reason}",
        "**Not for** rows unlike its training data: watch the drift report of stage 5.",
    ]
    text = "\n".join(f"- {line}" for line in lines)
    return text if groups is None or groups.empty else f"{text}\n\n{_markdown(groups)}\n"


def _markdown(frame: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    cells = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(x.replace('|', '&#124;') for x in row)} |" for row in cells)
