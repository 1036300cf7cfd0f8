"""How each dimension of the contrast is measured: from recorded runs, and from nothing else."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import (
    BUILD,
    DATA,
    IMPROVE,
    MONITOR,
    RELEASE,
    SERVE,
    Table,
    Value,
)
from diptych.core.data.perturb import MARK
from diptych.core.evaluation import fairness, stats
from diptych.core.evaluation.graders import RIGHT
from diptych.core.evaluation.metrics import Metric
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.stats import Estimate
from diptych.core.monitoring.sequential import in_units
from diptych.reporting.contrast.evidence import LEFT, Figure, Panel, is_perturbed, metric_of
from diptych.reporting.contrast.labels import bought

MACHINE = (SERVE, RELEASE)  # the stages that may record what a server takes of the machine
WHILE_BUILDING = ", while building"


@dataclass(frozen=True)
class Assumptions:
    """What the runs cannot tell, each a parameter of the contrast.

    Attributes
    ----------
    margin : float
        Differences of a share within it are a tie.
    ratio : float
        Amounts that differ by less than this share of the larger one are a tie.
    goal : float
        The figure of the task's metric to reach, for which the labels are counted.
    usd_per_cpu_hour : float
    seed : int
        Of the bootstrap.
    """

    margin: float = 0.02
    ratio: float = 0.1
    goal: float = 0.9
    usd_per_cpu_hour: float = 0.04
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """Both figures of a dimension, None where a panel did not measure it.

    Attributes
    ----------
    difference : Estimate or None
        MLOps less LLMOps, where it has an interval.
    p : float or None
        Of McNemar's exact test, where rows are right or wrong.
    needed : int or None
        Rows that would show a difference of the margin.
    margin : float or None
        What a tie is in the metric's units, where that is not the assumption itself.
    refused : str
        Why nothing was measured, "" where runs are missing.
    undecided : str
        Why the rows decide nothing, whatever the figures are.
    """

    left: Figure | None = None
    right: Figure | None = None
    difference: Estimate | None = None
    p: float | None = None
    needed: int | None = None
    margin: float | None = None
    refused: str = ""
    undecided: str = ""


def quality(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare by the task's metric on the test rows that LLMOps was asked about."""
    return _on_rows(left, right, assumptions, _ids(right, contract.RESULTS))


def hand_written(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare by the task's metric on the hand-written test set."""
    return _on_rows(left, right, assumptions, _ids(right, contract.HAND_WRITTEN_RESULTS))


def _ids(panel: Panel, table: Table) -> pd.Index:
    """Return the ids of a table's rows, the perturbed ones left out."""
    frame = panel.table(BUILD, table)
    ids = pd.Index([] if frame is None else frame["id"].astype(str).unique(), dtype=object)
    return ids[~is_perturbed(ids)] if len(ids) else ids


def _on_rows(left: Panel, right: Panel, assumptions: Assumptions, rows: pd.Index) -> Measured:
    """Compare on the same rows; a panel that has none of them has no figure."""
    metric, refused = metric_of(left, right)
    if refused:
        return Measured(refused=refused)
    panels = left, right
    known = [_known(panel, rows) for panel in panels]
    if metric is None or any(len(ids) < 2 for ids in known):
        return Measured(*(_figure(*pair, metric) for pair in zip(panels, known, strict=True)))
    same = known[0].intersection(known[1]).sort_values()
    if len(same) < 2:
        return Measured()
    return _paired(panels, same, metric, assumptions)


def _known(panel: Panel, rows: pd.Index) -> pd.Index:
    """Return those of some rows that the selected model or prompt has answered."""
    return rows[:0] if panel.lines is None else rows.intersection(panel.lines.index)


def _figure(panel: Panel, ids: pd.Index, metric: Metric | None) -> Figure | None:
    if metric is None or len(ids) < 2:
        return None
    estimate = fairness.figure(metric, panel.scored(ids, metric))
    return Figure.of(estimate, panel.run(BUILD).id) if math.isfinite(estimate.value) else None


def _paired(panels: tuple, same: pd.Index, metric: Metric, assumptions: Assumptions) -> Measured:
    """Compare both panels' answers to the same rows, row by row."""
    a, b = (panel.scored(same, metric) for panel in panels)
    for rows in (a, b):
        if note := _why_no_figure(metric, rows):
            return Measured(refused=note)
    figures = [_figure(panel, same, metric) for panel in panels]
    margin = in_units(assumptions.margin, metric, figures[1].value)
    better = metric.improvement(a, b)
    if better.note:
        return Measured(*figures, undecided=better.note)
    ends = sorted(metric.sign * end for end in (better.low, better.high))
    gap = Estimate(metric.sign * better.value, *ends, better.n)
    p, needed = metric.p_value(a, b), metric.rows_needed(a, b, margin)
    return Measured(*figures, gap, None if math.isnan(p) else p, needed, margin)


def _why_no_figure(metric: Metric, rows: ScoredRows) -> str:
    measured = fairness.figure(metric, rows)
    return "" if math.isfinite(measured.value) else measured.note


def drop_under(perturbation: str) -> Callable:
    """Return a measure of the accuracy lost under a perturbation, each row against itself."""

    def measure(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
        pairs = [_before_and_after(panel, perturbation) for panel in (left, right)]
        if all(pair is not None for pair in pairs):
            both = pairs[0].index.intersection(pairs[1].index)
            pairs = [pair.loc[both] for pair in pairs]
        figures = [
            None
            if pair is None or len(pair) < 2
            else Figure.of(
                stats.paired_difference(pair["before"], pair["after"], seed=assumptions.seed),
                panel.run(BUILD).id,
            )
            for pair, panel in zip(pairs, (left, right), strict=True)
        ]
        if None in figures:
            return Measured(*figures)
        # a drop lies in -1..1; halved and moved it is a grade, whose paired difference is doubled
        half = [(1 + pair["before"] - pair["after"]) / 2 for pair in pairs]
        gap = stats.paired_difference(*half, seed=assumptions.seed)
        return Measured(*figures, Estimate(2 * gap.value, 2 * gap.low, 2 * gap.high, gap.n))

    return measure


def _before_and_after(panel: Panel, perturbation: str) -> pd.DataFrame | None:
    """Return each row's grade as it was and perturbed, by the id of the row as it was."""
    if panel.grades is None:
        return None
    after = panel.grades[panel.grades.index.str.endswith(MARK + perturbation)]
    after.index = after.index.str.removesuffix(MARK + perturbation)
    pair = pd.DataFrame({"before": panel.grades.reindex(after.index), "after": after}).dropna()
    return pair if len(pair) else None


def drift(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare what the metric lost since the drift alarm, in the windows whose labels are in."""
    metric, refused = metric_of(left, right)
    if refused:
        return Measured(refused=refused)
    sign = metric.sign if metric else 1
    figures = [_since_alarm(panel, sign) for panel in (left, right)]
    return Measured(*figures, _apart(*figures))


def _since_alarm(panel: Panel, sign: int) -> Figure | None:
    before = panel.value(MONITOR, contract.TRUE_BEFORE)
    since = panel.value(MONITOR, contract.TRUE_SINCE)
    if not (before and since and before.estimate and since.estimate):
        return None
    pair = (before.estimate, since.estimate)[::sign]
    lost = stats.unpaired_difference(*pair)
    alarm = panel.fact(MONITOR, contract.DRIFT_ALARM)
    note = f"alarm in {alarm}" if alarm else ""
    return Figure(lost.value, before.runs, lost.low, lost.high, note=note)


def _apart(left: Figure | None, right: Figure | None) -> Estimate | None:
    if not (left and right and left.estimate and right.estimate):
        return None
    return stats.unpaired_difference(left.estimate, right.estimate)


def afterwards(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare what was in service after the reaction to drift, on rows that came later."""
    if refused := metric_of(left, right)[1]:
        return Measured(refused=refused)
    return Measured(_afterwards(left), _afterwards(right))


def _afterwards(panel: Panel) -> Figure | None:
    promoted = panel.fact(IMPROVE, contract.WAS_PROMOTED)
    if promoted is None:
        return None
    if promoted:
        note = "what was retrained or rewritten"
        return panel.value(IMPROVE, contract.CHALLENGER_AFTERWARDS, note=note)
    note = "the champion of before, which nothing beat"
    return panel.value(IMPROVE, contract.CHAMPION_AFTERWARDS, note=note)


def recorded(stage: str, value: Value) -> Callable:
    """Return a measure of a value that both panels record in this stage."""

    def measure(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
        figures = [panel.value(stage, value) for panel in (left, right)]
        return Measured(*figures, _apart(*figures))

    return measure


def latency(percent: int) -> Callable:
    """Return a measure of this percentile of the latency, as served or else as asked to build.

    Where both panels measured one request at a time, that is compared: the service time. Under
    load a request also waits for others, in each panel for as many as its concurrency.
    """
    value = {50: contract.P50, 95: contract.P95, 99: contract.P99}[percent]
    alone = {50: contract.SERVICE_P50, 95: contract.SERVICE_P95, 99: contract.SERVICE_P99}[percent]

    def measure(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
        single = [panel.value(SERVE, alone, note="one at a time") for panel in (left, right)]
        if None not in single:
            return Measured(*single)
        served = [panel.value(SERVE, value, note=_at_once(panel, SERVE)) for panel in (left, right)]
        return Measured(served[0], served[1] or _while_building(right, "latency_ms", percent))

    return measure


def first_token(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the time to the first token; a model that does not stream has the whole answer's."""
    whole = left.value(SERVE, contract.P50, note="with the whole answer")
    streamed = right.value(SERVE, contract.FIRST_TOKEN)
    return Measured(whole, streamed or _while_building(right, "first_token_ms", 50))


def _while_building(panel: Panel, column: str, percent: int) -> Figure | None:
    """Return a percentile of the times that LLMOps recorded with the answers of ``2_build``."""
    answers = panel.answers()
    if answers is None or answers[column].isna().any():
        return None
    note = _at_once(panel, BUILD) + WHILE_BUILDING
    value = float(answers[column].quantile(percent / 100))
    return Figure(value, (panel.run(BUILD).id,), note=note)


def _at_once(panel: Panel, stage: str) -> str:
    concurrency = panel.parameter(stage, "concurrency")
    return f"{concurrency} at once" if concurrency else ""


def throughput(panel: Panel) -> Figure | None:
    """Return the requests a panel answered a second, as served or else as asked in ``2_build``."""
    served = panel.value(SERVE, contract.THROUGHPUT)
    answers = None if served or panel.name == LEFT else panel.answers()
    if answers is None or not answers["latency_ms"].gt(0).all():
        return served
    concurrency = panel.parameter(BUILD, "concurrency")
    note = f"from the latency of {concurrency} calls at once{WHILE_BUILDING}"
    rate = 1000 * concurrency / float(answers["latency_ms"].mean())
    return Figure(rate, (panel.run(BUILD).id,), note=note)


def throughputs(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the requests answered a second."""
    return Measured(throughput(left), throughput(right))


def _of_machine(panel: Panel, value: Value) -> Figure | None:
    """Return what a server takes of this machine, from the first stage that measured it."""
    stages = [stage for stage in MACHINE if panel.declares(stage, value)]
    return next(filter(None, (panel.value(stage, value) for stage in stages)), None)


def compute(panel: Panel, assumptions: Assumptions) -> Figure | None:
    """Return what 1,000 answers cost in US dollars of compute on this machine."""
    cpu = _of_machine(panel, contract.CPU_PER_REQUEST)
    if cpu is None:
        return None
    note = f"{cpu.value:.3g} ms of CPU an answer"
    return Figure(cpu.value / 3600 * assumptions.usd_per_cpu_hour, cpu.runs, note=note)


def cost(panel: Panel, assumptions: Assumptions) -> Figure | None:
    """Return what 1,000 answers cost in US dollars: compute here, tokens elsewhere."""
    if panel.name == LEFT or panel.is_local:
        return compute(panel, assumptions)
    answers = panel.answers()
    if answers is None or answers["usd"].isna().any() or not answers["usd"].sum():
        return None
    return Figure(1000 * float(answers["usd"].mean()), (panel.run(BUILD).id,), note="tokens")


def costs(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare what 1,000 answers cost."""
    return Measured(cost(left, assumptions), cost(right, assumptions))


def cost_of_correct(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare what 1,000 correct answers cost."""
    figures, asked = [], _ids(right, contract.RESULTS)
    both = _known(left, asked).intersection(_known(right, asked))
    for panel in (left, right):
        price, rows = cost(panel, assumptions), both if len(both) else _known(panel, asked)
        share = float((panel.lines["score"][rows] >= RIGHT).mean()) if len(rows) else 0.0
        known = price is not None and share > 0
        runs = known and tuple(dict.fromkeys((*price.runs, panel.run(BUILD).id)))
        figures.append(Figure(price.value / share, runs) if known else None)
    return Measured(*figures)


def labels(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the fewest labels that reached the goal, infinitely many if none did."""
    metric, refused = metric_of(left, right)
    if refused:
        return Measured(refused=refused)
    points, figures, sign = bought(left, right), [], metric.sign if metric else 1
    for panel in (left, right):
        tried = points[points["panel"] == panel.name].sort_values("labels")
        enough = tried[sign * tried["value"] >= sign * assumptions.goal]
        if tried.empty:
            figures.append(None)
            continue
        first = (tried if enough.empty else enough).iloc[0]
        least = np.inf if enough.empty else float(first["labels"])
        note = first["way"] + (", the fewest tried" if len(enough) == len(tried) else "")
        figures.append(Figure(least, (first["run"],), note=note))
    return Measured(*figures)


def first_version(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the seconds of the runs that lead to a first version."""
    stages, note = (DATA, BUILD, RELEASE), "the runs of stages 1 to 3"
    return Measured(*(panel.seconds(*stages, note=note) for panel in (left, right)))


def change(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the seconds of the run that changes what is in service."""
    note = "the run of stage 6"
    return Measured(*(panel.seconds(IMPROVE, note=note) for panel in (left, right)))


def memory(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the memory of the servers."""
    return Measured(*(_of_machine(panel, contract.MEMORY) for panel in (left, right)))


def leaving(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the bytes of an answer's request that go to somebody else's machine."""
    served, answers = left.run(SERVE), right.answers()
    ours = served and Figure(0.0, (served.id,), note="served on this machine")
    theirs = None
    if answers is not None and right.is_local:
        theirs = Figure(0.0, (right.run(BUILD).id,), note="called on this machine")
    elif answers is not None and (size := _sent(right.run(BUILD).id)) is not None:
        theirs = Figure(size, (right.run(BUILD).id,), note="the request, mean of its calls")
    return Measured(ours, theirs)


def _sent(run_id: str) -> float | None:
    """Return the mean bytes of a call's request, as the ledger of calls has them."""
    from diptych.llmops.client.request import opened

    with opened(None) as calls:
        requests = calls.table(run=run_id)["input"].dropna()
    sizes = [len(json.dumps(request, ensure_ascii=False).encode()) for request in requests]
    return float(np.mean(sizes)) if sizes else None
