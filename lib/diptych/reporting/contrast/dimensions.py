"""What the two panels are compared by."""

from collections.abc import Callable
from dataclasses import dataclass

from diptych.reporting.contrast import measures
from diptych.reporting.contrast.evidence import HARDER, Panel
from diptych.reporting.contrast.measures import Assumptions, Measured

LOWER, HIGHER = "lower", "higher"
SHARE, RATIO = "share", "ratio"  # how a difference is read: against the margin, or as a multiple
COMMON = ("typos", "negation")  # always listed, measured or not


@dataclass(frozen=True)
class Dimension:
    """One line of the contrast.

    Attributes
    ----------
    key, group, name, unit : str
    better : {"higher", "lower"}
    kind : {"share", "ratio"}
    when : str
        "... when" this decides, as in "answers must come at once".
    measure : callable
        From both panels and the assumptions to `Measured`.
    """

    key: str
    group: str
    name: str
    unit: str
    better: str
    kind: str
    when: str
    measure: Callable[[Panel, Panel, Assumptions], Measured]


def of(left: Panel, right: Panel) -> list[Dimension]:
    """Return the dimensions of a scenario: those of every one, and how rows were made harder."""
    both = [panel.graded for panel in (left, right)]
    found = {name.partition(HARDER)[2] for rows in both if rows is not None for name in rows.index}
    ways = [*COMMON, *sorted(found - {*COMMON, ""})]
    harder = [
        Dimension(f"harder-{way}", "Under stress", f"loss under {way}", "", LOWER, SHARE,
                  f"rows come with {way}", measures.loss_under(way))
        for way in ways
    ]  # fmt: skip
    place = next(i for i, d in enumerate(ALWAYS) if d.group == "Under stress")
    return [*ALWAYS[:place], *harder, *ALWAYS[place:]]


ALWAYS = [
    Dimension("quality", "Quality", "quality on the test rows", "", HIGHER, SHARE,
              "it must be right on rows like those of the task", measures.quality),
    Dimension("by-hand", "Quality", "quality on rows written by hand", "", HIGHER, SHARE,
              "rows are unlike those of the task", measures.by_hand),
    Dimension("calibration", "Quality", "calibration error", "", LOWER, SHARE,
              "its confidence must mean something",
              measures.recorded("3_release", "calibration_error")),
    Dimension("drift", "Under stress", "loss since the drift alarm", "", LOWER, SHARE,
              "rows change and nobody reacts yet", measures.drift),
    Dimension("afterwards", "Under stress", "quality after the reaction to drift", "", HIGHER,
              SHARE, "rows change and somebody reacts", measures.afterwards),
    Dimension("asked-again", "Under stress", "answers that change when asked again", "", LOWER,
              SHARE, "the same question must get the same answer",
              measures.recorded("2_build", "changed_when_asked_again")),
    Dimension("p50", "Speed", "latency, half of the requests", "ms", LOWER, RATIO,
              "answers must come at once", measures.latency(50)),
    Dimension("p95", "Speed", "latency, 95 of 100 requests", "ms", LOWER, RATIO,
              "slow answers are not accepted", measures.latency(95)),
    Dimension("p99", "Speed", "latency, 99 of 100 requests", "ms", LOWER, RATIO,
              "no answer may be slow", measures.latency(99)),
    Dimension("first-token", "Speed", "time to the first word, half of the requests", "ms", LOWER,
              RATIO, "somebody waits and reads along", measures.first_word),
    Dimension("throughput", "Speed", "requests a second", "", HIGHER, RATIO,
              "many ask at once", measures.throughputs),
    Dimension("cost", "Cost", "cost of 1,000 answers", "USD", LOWER, RATIO,
              "there are many answers to pay for", measures.costs),
    Dimension("cost-correct", "Cost", "cost of 1,000 correct answers", "USD", LOWER, RATIO,
              "only correct answers are worth money", measures.cost_of_correct),
    Dimension("labels", "Effort", "labels until the goal is reached", "labels", LOWER, RATIO,
              "there are few labels", measures.labels),
    Dimension("labels-again", "Effort", "labels to react to drift", "labels", LOWER, RATIO,
              "labels of new rows come slowly", measures.recorded("6_improve", "labels")),
    Dimension("first-version", "Effort", "time to a first version", "s", LOWER, RATIO,
              "something must run soon", measures.first_version),
    Dimension("change", "Effort", "time to change its behaviour", "s", LOWER, RATIO,
              "its behaviour must change often", measures.change),
    Dimension("size", "Footprint", "size of the model", "MB", LOWER, RATIO,
              "it must fit on a small device", measures.recorded("3_release", "size_mb")),
    Dimension("memory", "Footprint", "memory while serving", "MB", LOWER, RATIO,
              "memory is scarce", measures.memory),
    Dimension("leaving", "Footprint", "data that leaves the machine, an answer", "bytes", LOWER,
              RATIO, "data must stay here", measures.leaving),
]  # fmt: skip
