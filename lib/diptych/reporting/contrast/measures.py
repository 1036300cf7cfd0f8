"""How each dimension of the contrast is measured: from recorded runs, and from nothing else."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.core.evaluation import stats
from diptych.core.evaluation.stats import Estimate
from diptych.reporting.contrast.evidence import HARDER, LEFT, Figure, Panel
from diptych.reporting.contrast.labels import bought

STAGES = ("4_serve", "3_release")  # where a server's use of the machine may be recorded


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
        The quality whose price in labels is asked for.
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
    """Both figures of a dimension, None where a side did not measure it.

    Attributes
    ----------
    difference : Estimate or None
        Left less right, where it has an interval.
    p : float or None
        Of McNemar's exact test, where rows are right or wrong.
    needed : int or None
        Rows that would show a difference of the margin.
    """

    left: Figure | None = None
    right: Figure | None = None
    difference: Estimate | None = None
    p: float | None = None
    needed: int | None = None


def quality(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare what both said of the test rows that the right panel judged."""
    return _on_rows(left, right, given, _ids(right.table("2_build", "results")))


def by_hand(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare what both said of the rows that people wrote by hand."""
    return _on_rows(left, right, given, _ids(right.table("2_build", "by_hand")))


def _ids(table: pd.DataFrame | None) -> pd.Index:
    names = pd.Index([] if table is None else table["id"].astype(str).unique())
    return names[~names.str.contains(HARDER, regex=False)] if len(names) else names


def _on_rows(left: Panel, right: Panel, given: Assumptions, rows: pd.Index) -> Measured:
    """Compare what both said of the same rows; a side that judged none of them has no figure."""
    grades = [panel.graded for panel in (left, right)]
    own = [None if g is None or not len(rows) else g[g.index.intersection(rows)] for g in grades]
    figures = [_share(grade, panel) for grade, panel in zip(own, (left, right), strict=True)]
    if None in figures:
        return Measured(*figures)
    same = own[0].index.intersection(own[1].index)
    if len(same) < 2:
        return Measured()
    a, b = (grade[same].to_numpy() for grade in own)
    gap = stats.paired_difference(a, b, seed=given.seed)
    p = stats.mcnemar(a, b) if np.isin([a, b], (0, 1)).all() else None
    figures = [_share(grade[same], panel) for grade, panel in zip(own, (left, right), strict=True)]
    return Measured(*figures, gap, p, stats.rows_needed(a, b, given.margin))


def _share(grades: pd.Series | None, panel: Panel) -> Figure | None:
    if grades is None or len(grades) < 2:
        return None
    if grades.isin((0, 1)).all():
        found = stats.wilson(int(grades.sum()), len(grades))
    else:
        found = stats.bootstrap(grades)
    return Figure.of(found, panel.run("2_build").id)


def loss_under(way: str) -> Callable:
    """Return a measure of what rows lost, each against itself, when made harder in this way."""

    def measure(left: Panel, right: Panel, given: Assumptions) -> Measured:
        found = [_before_and_after(panel, way) for panel in (left, right)]
        if all(one is not None for one in found):
            both = found[0].index.intersection(found[1].index)
            found = [one.loc[both] for one in found]
        figures = [
            None
            if one is None or len(one) < 2
            else Figure.of(
                stats.paired_difference(one["before"], one["after"], seed=given.seed),
                panel.run("2_build").id,
            )
            for one, panel in zip(found, (left, right), strict=True)
        ]
        if None in figures:
            return Measured(*figures)
        # a loss lies in -1..1; halved and moved it is a grade, whose paired difference is doubled
        half = [(1 + one["before"] - one["after"]) / 2 for one in found]
        gap = stats.paired_difference(*half, seed=given.seed)
        return Measured(*figures, Estimate(2 * gap.value, 2 * gap.low, 2 * gap.high, gap.n))

    return measure


def _before_and_after(panel: Panel, way: str) -> pd.DataFrame | None:
    """Return each row's grade as it was and made harder in this way, by the row's own id."""
    if panel.graded is None:
        return None
    after = panel.graded[panel.graded.index.str.endswith(HARDER + way)]
    after.index = after.index.str.removesuffix(HARDER + way)
    both = pd.DataFrame({"before": panel.graded.reindex(after.index), "after": after}).dropna()
    return both if len(both) else None


def drift(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare what was lost since the alarm, from the windows whose labels are in."""
    figures = [_since_alarm(panel) for panel in (left, right)]
    return Measured(*figures, _apart(*figures))


def _since_alarm(panel: Panel) -> Figure | None:
    before = panel.value("5_monitor", "true accuracy before alarm", "accuracy before alarm")
    since = panel.value("5_monitor", "true accuracy since alarm", "accuracy since alarm")
    if not (before and since and before.estimate and since.estimate):
        return None
    lost = stats.unpaired_difference(before.estimate, since.estimate)
    alarm = panel.fact("5_monitor", "drift") or panel.fact("5_monitor", "alarm")
    note = f"alarm in {alarm}" if alarm else ""
    return Figure(lost.value, before.runs, lost.low, lost.high, note=note)


def _apart(left: Figure | None, right: Figure | None) -> Estimate | None:
    if not (left and right and left.estimate and right.estimate):
        return None
    return stats.unpaired_difference(left.estimate, right.estimate)


def afterwards(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare what was in service after the reaction to drift, on rows that came later."""
    return Measured(_afterwards(left), _afterwards(right))


def _afterwards(panel: Panel) -> Figure | None:
    promoted = panel.fact("6_improve", "promoted")
    name = "challenger afterwards" if promoted else "champion afterwards"
    note = "what was retrained or rewritten" if promoted else "what was there, for nothing beat it"
    return None if promoted is None else panel.value("6_improve", name, note=note)


def recorded(stage: str, *names: str, note: str = "") -> Callable:
    """Return a measure of a value that both panels record under one name."""

    def measure(left: Panel, right: Panel, given: Assumptions) -> Measured:
        figures = [panel.value(stage, *names, note=note) for panel in (left, right)]
        return Measured(*figures, _apart(*figures))

    return measure


def latency(share: int) -> Callable:
    """Return a measure of this percentile of the latency, as served or else as asked to build."""

    def measure(left: Panel, right: Panel, given: Assumptions) -> Measured:
        served = [
            panel.value("4_serve", f"p{share}_ms", note=_at_once(panel, "4_serve"))
            for panel in (left, right)
        ]
        said = right.said()
        if served[1] is None and said is not None and said["latency_ms"].notna().all():
            value = float(said["latency_ms"].quantile(share / 100))
            ids = (right.run("2_build").id,)
            served[1] = Figure(value, ids, note=_at_once(right, "2_build") + ", while building")
        return Measured(*served)

    return measure


def first_word(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare how long the first word takes; what does not stream shows it with its last."""
    ours = left.value("4_serve", "first_token_p50_ms", "p50_ms", note="with the whole answer")
    theirs = right.value("4_serve", "first_token_p50_ms")
    said = right.said()
    if theirs is None and said is not None and said["first_token_ms"].notna().all():
        ids = (right.run("2_build").id,)
        note = _at_once(right, "2_build") + ", while building"
        theirs = Figure(float(said["first_token_ms"].median()), ids, note=note)
    return Measured(ours, theirs)


def _at_once(panel: Panel, stage: str) -> str:
    many = panel.parameter(stage, "concurrency")
    return f"{many} at once" if many else ""


def throughput(panel: Panel) -> Figure | None:
    """Return the requests a panel answered a second, as served or else as asked in ``2_build``."""
    served = panel.value("4_serve", "requests_per_s")
    said = None if panel.name == LEFT else panel.said()
    at_once = panel.parameter("2_build", "concurrency")
    if served is None and said is not None and at_once and said["latency_ms"].gt(0).all():
        note = f"from the latency of {at_once} calls at once, while building"
        rate = 1000 * at_once / float(said["latency_ms"].mean())
        return Figure(rate, (panel.run("2_build").id,), note=note)
    return served


def throughputs(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare the requests answered a second."""
    return Measured(throughput(left), throughput(right))


def compute(panel: Panel, given: Assumptions) -> Figure | None:
    """Return what 1,000 answers cost in US dollars of compute on this machine."""
    cpu = next(filter(None, (panel.value(s, "cpu_ms_per_request") for s in STAGES)), None)
    if cpu is None:
        return None
    note = f"{cpu.value:.3g} ms of CPU an answer"
    return Figure(cpu.value / 3600 * given.usd_per_cpu_hour, cpu.runs, note=note)


def cost(panel: Panel, given: Assumptions) -> Figure | None:
    """Return what 1,000 answers cost in US dollars: compute here, tokens elsewhere."""
    if panel.name == LEFT or panel.is_local:
        return compute(panel, given)
    said = panel.said()
    if said is None or said["usd"].isna().any() or not said["usd"].sum():
        return None
    return Figure(1000 * float(said["usd"].mean()), (panel.run("2_build").id,), note="tokens")


def costs(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare what 1,000 answers cost."""
    return Measured(cost(left, given), cost(right, given))


def cost_of_correct(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare what 1,000 correct answers cost."""
    found, figures = quality(left, right, given), []
    for panel, share in ((left, found.left), (right, found.right)):
        price = cost(panel, given)
        good = price and share and share.value > 0
        runs = good and (*price.runs, *share.runs)
        figures.append(Figure(price.value / share.value, runs) if good else None)
    return Measured(*figures)


def labels(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare the labels with which the goal was reached first, infinitely many if never."""
    points, figures = bought(left, right), []
    for panel in (left, right):
        own = points[points["panel"] == panel.name].sort_values("labels")
        enough = own[own["value"] >= given.goal]
        if own.empty:
            figures.append(None)
            continue
        first = (own if enough.empty else enough).iloc[0]
        least = np.inf if enough.empty else float(first["labels"])
        note = first["way"] + (", the fewest tried" if len(enough) == len(own) else "")
        figures.append(Figure(least, (first["run"],), note=note))
    return Measured(*figures)


def first_version(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare the seconds of the runs that lead to a first version."""
    stages, note = ("1_data", "2_build", "3_release"), "the runs of stages 1 to 3"
    return Measured(*(panel.seconds(*stages, note=note) for panel in (left, right)))


def change(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare the seconds of the run that changes what is in service."""
    note = "the run of stage 6"
    return Measured(*(panel.seconds("6_improve", note=note) for panel in (left, right)))


def memory(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare the memory of the servers."""
    figures = [[panel.value(stage, "memory_mb") for stage in STAGES] for panel in (left, right)]
    return Measured(*(next(filter(None, found), None) for found in figures))


def leaving(left: Panel, right: Panel, given: Assumptions) -> Measured:
    """Compare the bytes of an answer's question that go to somebody else's machine."""
    served, said = left.run("4_serve"), right.said()
    ours = served and Figure(0.0, (served.id,), note="served on this machine")
    theirs = None
    if said is not None and right.is_local:
        theirs = Figure(0.0, (right.run("2_build").id,), note="asked on this machine")
    elif said is not None and (size := _sent(right.run("2_build").id)) is not None:
        theirs = Figure(size, (right.run("2_build").id,), note="the question, mean of its calls")
    return Measured(ours, theirs)


def _sent(run_id: str) -> float | None:
    """Return the bytes of a call's question, as the ledger has them."""
    from diptych.llmops.client.request import opened

    with opened(None) as book:
        asked = book.table(run=run_id)["input"].dropna()
    sizes = [len(json.dumps(question, ensure_ascii=False).encode()) for question in asked]
    return float(np.mean(sizes)) if sizes else None
