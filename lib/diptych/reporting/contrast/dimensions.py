"""The dimensions by which the two panels are compared."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from diptych.core.data.perturb import MARK
from diptych.core.evaluation.metrics import Metric
from diptych.reporting.contrast import amounts, measures
from diptych.reporting.contrast.amounts import ALONE, TOGETHER
from diptych.reporting.contrast.evidence import OTHER_WORDINGS, Panel, metric_of
from diptych.reporting.contrast.measures import Assumptions, Measured

LOWER, HIGHER = "lower", "higher"
SHARE, RATIO = "share", "ratio"  # what a difference is held against: the margin, or the ratio
COMMON = ("typos", "negation")  # perturbations that are listed even where none is measured
STRESS = "Under stress"


@dataclass(frozen=True)
class Dimension:
    """One line of the contrast.

    Attributes
    ----------
    key, group, name, unit : str
    better : {"higher", "lower"}
    kind : {"share", "ratio"}
    measure : callable
        From both panels and the assumptions to `Measured`.
    """

    key: str
    group: str
    name: str
    unit: str
    better: str
    kind: str
    measure: Callable[[Panel, Panel, Assumptions], Measured]


def of(left: Panel, right: Panel) -> list[Dimension]:
    """Return the dimensions of a scenario: those of every one, and one for each perturbation."""
    grades = [panel.grades for panel in (left, right) if panel.grades is not None]
    measured = {row.partition(MARK)[2] for grade in grades for row in grade.index}
    perturbations = [*COMMON, *sorted(measured - {*COMMON, ""})]
    metric, _ = metric_of(left, right)
    lost = "quality drop" if metric is None else (
        f"{metric.title} {'drop' if metric.higher_is_better else 'rise'}"
    )  # fmt: skip
    perturbed = [
        Dimension(f"perturbed-{name}", STRESS, f"{lost} under {name}", "", LOWER, SHARE,
                  measures.drop_under(name))
        for name in perturbations
    ]  # fmt: skip
    sliced = [
        Dimension(f"slice-{name}", "Quality", f"quality on {name}", "", HIGHER, SHARE,
                  measures.on_slice(rows))
        for name, rows in left.slices().items()
    ]  # fmt: skip
    place = next(i for i, d in enumerate(ALWAYS) if d.group == STRESS)
    named = [by_metric(dimension, metric) for dimension in ALWAYS]
    if left.task in OTHER_WORDINGS:
        named = [replace(one, name=one.name.replace("the hand-written test set", "other wordings"))
                 for one in named]  # fmt: skip
    perturbed = [*sliced, *perturbed]
    return [*named[:place], *perturbed, *named[place:]]


def by_metric(dimension: Dimension, metric: Metric | None) -> Dimension:
    """Return a dimension with the task's metric in its name, and whether less of that is better."""
    title = BY_METRIC.get(dimension.key)
    if metric is None or title is None:
        return dimension
    named = replace(dimension, name=title.format(metric.title))
    lower = not metric.higher_is_better and dimension.kind == SHARE and dimension.key != "drift"
    return replace(named, better=LOWER) if lower else named


BY_METRIC = {
    "quality": "{} on the test set",
    "hand-written": "{} on the hand-written test set",
    "drift": "{} lost since the drift alarm",
    "afterwards": "{} after the reaction to drift",
    "labels": "labels needed to reach the goal, by {}",
}


ALWAYS = [
    Dimension("quality", "Quality", "quality on the test set", "", HIGHER, SHARE,
              measures.quality),
    Dimension("hand-written", "Quality", "quality on the hand-written test set", "", HIGHER,
              SHARE, measures.hand_written),
    Dimension("calibration", "Quality", "calibration error", "", LOWER, SHARE,
              measures.calibration),
    Dimension("drift", STRESS, "quality lost since the drift alarm", "", LOWER, SHARE,
              measures.drift),
    Dimension("afterwards", STRESS, "quality after the reaction to drift", "", HIGHER,
              SHARE, measures.afterwards),
    Dimension("instability", STRESS, "answer instability", "", LOWER, SHARE,
              measures.instability),
    Dimension("p50", "Speed", "latency of one request at a time, p50", "ms", LOWER, RATIO,
              amounts.under_load("p50_ms", ALONE)),
    Dimension("p95", "Speed", "latency of one request at a time, p95", "ms", LOWER, RATIO,
              amounts.under_load("p95_ms", ALONE)),
    Dimension("loaded-p95", "Speed", "latency under load, p95", "ms", LOWER, RATIO,
              amounts.under_load("p95_ms", TOGETHER)),
    Dimension("equal-use", "Speed", "latency at equal utilisation, p95", "ms", LOWER, RATIO,
              amounts.equal_utilisation),
    Dimension("first-token", "Speed", "time to first token (TTFT), p50", "ms", LOWER, RATIO,
              amounts.first_token),
    Dimension("throughput", "Cost", "requests a second", "", HIGHER, RATIO,
              amounts.throughputs),
    Dimension("cost", "Cost", "cost of 1,000 answers", "USD", LOWER, RATIO,
              amounts.costs),
    Dimension("cost-correct", "Cost", "cost of 1,000 correct answers", "USD", LOWER, RATIO,
              amounts.cost_of_correct),
    Dimension("labels", "Labels", "labels needed to reach the goal", "labels", LOWER, RATIO,
              amounts.labels),
    Dimension("size", "Footprint", "size of the model", "MB", LOWER, RATIO,
              amounts.size),
    Dimension("memory", "Footprint", "memory while serving", "MB", LOWER, RATIO,
              amounts.under_load("memory_mb", TOGETHER)),
    Dimension("leaving", "Footprint", "data that leaves the machine per answer", "bytes", LOWER,
              RATIO, amounts.leaving),
]  # fmt: skip
