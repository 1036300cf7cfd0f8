"""How amounts are compared: speed, cost, labels, footprint, each as a ratio with its interval.

Both panels are compared under the same load. What was measured once has no interval, so it decides
nothing.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import BUILD, OUTCOMES, RELEASE, SERVE
from diptych.core.evaluation import load_curve, stats
from diptych.core.evaluation.stats import Estimate
from diptych.reporting.contrast.evidence import CONTAMINATED, LEFT, Figure, Panel, metric_of
from diptych.reporting.contrast.labels import bought
from diptych.reporting.contrast.measures import Assumptions, Measured, right_share

ALONE, TOGETHER = 1, 8  # requests under way at once: without a queue, and with one
UTILISATION = 0.5  # of a side's measured peak throughput, where latencies are compared


def compared(left: Figure | None, right: Figure | None) -> Measured:
    """Return both figures of an amount with their ratio, where both have an interval above 0."""
    if left is None or right is None or left.estimate is None or right.estimate is None:
        return Measured(left, right)
    ends = [end for one in (left, right) for end in (one.low, one.high) if end is not None]
    if (left.exact and right.exact) or min(left.value, right.value, *ends) <= 0:
        return Measured(left, right)
    return Measured(left, right, ratio=stats.ratio(left.estimate, right.estimate))


def common_level(left: Panel, right: Panel, wanted: int) -> int:
    """Return the number of requests under way, nearest to that wanted, measured in both panels.

    Returns
    -------
    int
        The one wanted where the panels share none; then neither has a figure at it.
    """
    shared = left.load_curve.index.intersection(right.load_curve.index)
    return int(min(shared, key=lambda level: abs(level - wanted))) if len(shared) else wanted


def under_load(name: str, wanted: int) -> Callable:
    """Return a measure of what serving takes, at the same load in both panels."""

    def measure(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
        level = common_level(left, right, wanted)
        return compared(*(panel.under_load(level, name) for panel in (left, right)))

    return measure


def equal_utilisation(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare p95 where both are used alike: at one share of each side's own peak throughput.

    It is `UTILISATION`, or what one request at a time takes already of either side, if that is
    more; see `diptych.core.evaluation.load_curve.at_utilisation`.
    """
    curves = [panel.load_curve.reset_index() for panel in (left, right)]
    if any(curve.empty for curve in curves):
        return Measured()
    lowest = [load_curve.lowest_utilisation(curve) for curve in curves]
    short = [name for name, one in zip(OUTCOMES, lowest, strict=False) if not math.isfinite(one)]
    if short:
        why = f"the load curve of {' and of '.join(short)} lacks levels"
        return Measured(refused=f"{why}: it takes {load_curve.FEWEST} with figures")
    share = max(UTILISATION, *lowest)
    sides = zip((left, right), curves, strict=True)
    return compared(*(_at_utilisation(*side, share, assumptions.seed) for side in sides))


def _at_utilisation(panel: Panel, curve: pd.DataFrame, share: float, seed: int) -> Figure:
    estimate, level = load_curve.at_utilisation(curve, share, seed=seed)
    note = f"at {share:.0%} of its peak throughput, about {level:.2g} at once"
    return Figure.of(estimate, panel.run(SERVE).id, note=note)


def first_token(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the time to the first token; a model that does not stream has the whole answer's."""
    level = common_level(left, right, ALONE)
    whole = left.under_load(level, "p50_ms")
    whole = whole and replace(whole, note="with the whole answer")
    return compared(whole, right.under_load(level, "first_token_p50_ms"))


def throughput(panel: Panel) -> Figure | None:
    """Return the most requests that a panel answered a second at any load."""
    curve = panel.load_curve
    if curve.empty or curve["requests_per_s"].isna().all():
        return None
    return panel.under_load(int(curve["requests_per_s"].idxmax()), "requests_per_s")


def throughputs(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the requests answered a second at each panel's best load."""
    return compared(throughput(left), throughput(right))


def cpu(panel: Panel, level: int) -> Figure | None:
    """Return the CPU milliseconds of an answer, None where it is computed elsewhere."""
    here = panel.name == LEFT or panel.is_local
    return panel.under_load(level, "cpu_ms") if here else None


def cost(panel: Panel, level: int, assumptions: Assumptions) -> Figure | None:
    """Return what 1,000 answers cost in US dollars: compute here, tokens elsewhere."""
    if panel.name == LEFT or panel.is_local:
        spent = cpu(panel, level)
        if spent is None:
            return None
        note = f"{spent.value:.3g} ms of CPU an answer"
        return _scaled(spent, assumptions.usd_per_cpu_hour / 3600, note)
    answers = panel.answers()
    if answers is None or answers["usd"].isna().any() or not answers["usd"].sum():
        return None
    each = stats.bootstrap(1000 * answers["usd"], seed=assumptions.seed)
    return Figure.of(each, panel.run(BUILD).id, note="tokens")


def _scaled(figure: Figure, factor: float, note: str) -> Figure:
    ends = [None if end is None else end * factor for end in (figure.low, figure.high)]
    return Figure(figure.value * factor, figure.runs, *ends, figure.n, note)


def costs(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare what 1,000 answers cost."""
    level = common_level(left, right, TOGETHER)
    return compared(*(cost(panel, level, assumptions) for panel in (left, right)))


def cost_of_correct(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare what 1,000 correct answers cost."""
    level, figures = common_level(left, right, TOGETHER), []
    for panel, share in zip((left, right), right_share(left, right), strict=True):
        price = cost(panel, level, assumptions)
        if price is None or price.estimate is None or share is None or share.low <= 0:
            figures.append(None)
            continue
        each = stats.ratio(price.estimate, share)
        runs = dict.fromkeys((*price.runs, panel.run(BUILD).id))
        figures.append(Figure.of(each, *runs))
    return compared(*figures)


def labels(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the fewest labels that reached the goal, infinitely many if none did.

    The interval goes from the fewest whose interval holds the goal to the fewest that are above it
    with evidence.
    """
    metric, refused = metric_of(left, right)
    if refused:
        return Measured(refused=refused)
    points, sign = bought(left, right), metric.sign if metric else 1
    unknown = right.is_contaminated and not (points["panel"] == right.name).any()
    undecided = CONTAMINATED if unknown else ""
    ends = ["low", "high"][::sign]
    figures = []
    for panel in (left, right):
        tried = points[points["panel"] == panel.name].sort_values("labels")
        if tried.empty:
            figures.append(None)
            continue
        reached = {
            name: _fewest(tried[sign * tried[name] >= sign * assumptions.goal])
            for name in ("value", *ends)
        }
        line = tried[tried["labels"] == reached["value"]]
        first = (line if len(line) else tried).iloc[0]
        note = first["way"]
        note += ", the fewest tried" if reached["value"] == tried["labels"].min() else ""
        sure, hopeful = reached[ends[0]], reached[ends[1]]
        figures.append(Figure(reached["value"], (first["run"],), hopeful, sure, note=note))
    return Measured(*figures, ratio=_ratio_of_labels(*figures), undecided=undecided)


def _fewest(tried) -> float:
    return float(tried["labels"].min()) if len(tried) else math.inf


def _ratio_of_labels(left: Figure | None, right: Figure | None) -> Estimate | None:
    """Return the ratio whose ends take the better of one side with the worse of the other."""
    if left is None or right is None:
        return None
    pairs = (left.value, right.value), (left.low, right.high), (left.high, right.low)
    return Estimate(*(_divided(*pair) for pair in pairs), 0)


def _divided(a: float, b: float) -> float:
    if math.isinf(a) and math.isinf(b):
        return 1.0
    return math.inf if b == 0 < a else 1.0 if a == b else 0.0 if math.isinf(b) else a / b


def size(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the size of the models' files."""
    figures = [panel.value(RELEASE, contract.SIZE) for panel in (left, right)]
    return compared(*(one and replace(one, exact=True) for one in figures))


def leaving(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the bytes of an answer's request that go to somebody else's machine."""
    served, answers = left.run(SERVE), right.answers()
    ours = served and Figure(0.0, (served.id,), note="served on this machine", exact=True)
    theirs = None
    if answers is not None:
        build = (right.run(BUILD).id,)
        if right.is_local:
            theirs = Figure(0.0, build, note="called on this machine", exact=True)
        elif (bytes_sent := _sent(build[0])) is not None:
            note = "the request, mean of its calls"
            theirs = Figure(bytes_sent, build, note=note, exact=True)
    return Measured(ours, theirs)


def _sent(run_id: str) -> float | None:
    """Return the mean bytes of a call's request, as the ledger of calls has them."""
    from diptych.llmops.client.request import opened

    with opened(None) as calls:
        requests = calls.table(run=run_id)["input"].dropna()
    sizes = [len(json.dumps(request, ensure_ascii=False).encode()) for request in requests]
    return float(np.mean(sizes)) if sizes else None
