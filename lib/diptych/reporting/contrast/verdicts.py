"""Who wins a dimension, and the sentences on it: both come from the verdict and cannot disagree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.core.contract import OUTCOMES
from diptych.core.evaluation import stats
from diptych.core.evaluation.stats import Estimate
from diptych.reporting.contrast.dimensions import HIGHER, SHARE, Dimension
from diptych.reporting.contrast.evidence import Figure
from diptych.reporting.contrast.measures import Assumptions, Measured

MLOPS, LLMOPS, TIE, INCONCLUSIVE, UNMEASURED = OUTCOMES

NO_INTERVAL = "measured once, without an interval"

VERBS = {"ms": ("takes", "as long"), "s": ("takes", "as long"), "USD": ("costs", "as much"),
         "labels": ("needs", "as many"), "": ("has", "as many")}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """The outcome of one dimension in one scenario.

    Attributes
    ----------
    winner : str
        One of `diptych.core.contract.OUTCOMES`.
    why : str
        In words.
    """

    dimension: Dimension
    measured: Measured
    winner: str
    why: str

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of the runs it came from."""
        figures = filter(None, (self.measured.left, self.measured.right))
        return tuple(dict.fromkeys(run for figure in figures for run in figure.runs))

    def facts(self) -> dict:
        """Return it as plain JSON."""
        dimension, measured = self.dimension, self.measured
        gap, times = measured.difference, measured.ratio
        return {
            "key": dimension.key,
            "group": dimension.group,
            "name": dimension.name,
            "winner": self.winner,
            "why": self.why,
            "left": _facts(measured.left, dimension.unit),
            "right": _facts(measured.right, dimension.unit),
            "difference": None if gap is None else [gap.value, gap.low, gap.high],
            "ratio": None
            if times is None
            else [*map(_finite, (times.value, times.low, times.high))],
            "p": measured.p,
            "runs": list(self.runs),
        }


def _facts(figure: Figure | None, unit: str) -> dict | None:
    if figure is None:
        return None
    return {
        "value": _finite(figure.value),
        "low": _finite(figure.low),
        "high": _finite(figure.high),
        "n": figure.n,
        "text": figure.text(unit),
        "interval": figure.interval(unit),
        "note": figure.note,
        "runs": list(figure.runs),
    }


def _finite(value: float | None) -> float | None:
    """Return what JSON can hold; an infinite end is None."""
    return value if value is not None and math.isfinite(value) else None


def conclude(dimension: Dimension, measured: Measured, assumptions: Assumptions) -> Verdict:
    """Return who wins a dimension.

    The difference of two shares is held against the margin, the ratio of two amounts against the
    ratio that is no difference: to win, the whole interval must lie outside; to tie, inside; where
    it reaches across, the comparison is inconclusive. Without an interval it always is, but for
    two counts that any further measurement would give again.
    """
    left, right = measured.left, measured.right
    if measured.refused or measured.undecided:
        outcome = UNMEASURED if measured.refused else INCONCLUSIVE
        return Verdict(dimension, measured, outcome, measured.refused or measured.undecided)
    if left is None or right is None:
        missing = [name for name, side in ((MLOPS, left), (LLMOPS, right)) if side is None]
        why = f"no run of {' nor of '.join(missing)} recorded it"
        return Verdict(dimension, measured, UNMEASURED, why)
    if dimension.kind == SHARE:
        margin = assumptions.margin if measured.margin is None else measured.margin
        winner, why = _by_margin(dimension, measured, margin)
    elif left.exact and right.exact:
        winner, why = _by_count(dimension, left.value, right.value, assumptions.ratio)
    else:
        winner, why = _by_ratio(dimension, measured, assumptions.ratio)
    return Verdict(dimension, measured, winner, why)


def _by_margin(dimension: Dimension, measured: Measured, margin: float) -> tuple[str, str]:
    gap, sign = measured.difference, 1 if dimension.better == HIGHER else -1
    if gap is None:
        value = sign * (measured.left.value - measured.right.value)
        return INCONCLUSIVE, f"{_ahead(value, ())}; {NO_INTERVAL}"
    ahead = _ahead(sign * gap.value, sorted((sign * gap.low, sign * gap.high)))
    ahead += "" if measured.p is None else f", p {_probability(measured.p)}"
    outcome = stats.verdict(gap, margin)
    if outcome == "unclear":
        rows = _rows_to_decide(gap, margin)
        more = f"; about {rows:,} rows would tell if the difference stays" if rows else ""
        return INCONCLUSIVE, f"{ahead}; the interval reaches across the margin of {margin:g}{more}"
    if outcome == "tie":
        return TIE, f"{ahead}, which is inside the margin of {margin:g}"
    wins = (outcome == "better") == (dimension.better == HIGHER)
    return MLOPS if wins else LLMOPS, ahead


def effect(verdict: Verdict) -> str:
    """Return how far the leading side is ahead, with its interval, in a few characters."""
    dimension, measured = verdict.dimension, verdict.measured
    if verdict.winner == UNMEASURED or measured.undecided:
        return ""
    if dimension.kind == SHARE and (gap := measured.difference) is not None:
        ends = sorted((gap.low, gap.high))
        ends = ends if gap.value >= 0 else [-ends[1], -ends[0]]
        return f"{abs(gap.value):.3f} ({ends[0]:.3f} to {ends[1]:.3f})"
    if measured.ratio is None:
        return ""
    value, low, high = _above_one(measured.ratio)
    if math.isinf(high) or low == high:
        return ""
    return f"{_factor(value)} times ({_factor(low)} to {_factor(high)})"


def _ahead(gap: float, ends: Sequence[float]) -> str:
    """Return who is ahead and by how much, of a difference in favour of MLOps with its interval."""
    side = MLOPS if gap >= 0 else LLMOPS
    if gap < 0:
        ends = [-end for end in reversed(ends)]
    interval = f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    return f"{side} is ahead by {abs(gap):.3f}{interval}"


def _rows_to_decide(gap: Estimate, margin: float) -> int:
    """Return the rows with which the interval leaves the nearer edge of the margin, 0 if unknown.

    Its width falls with the root of the rows; a difference at the edge itself is never decided.
    """
    distance, half = abs(abs(gap.value) - margin), (gap.high - gap.low) / 2
    if not gap.n or distance < margin / 20:
        return 0
    exact = gap.n * (half / distance) ** 2
    return int(round(exact, 1 - math.floor(math.log10(exact)))) if exact > gap.n else 0


def _probability(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _by_count(dimension: Dimension, left: float, right: float, ratio: float) -> tuple[str, str]:
    """Compare two counts, which have no interval."""
    low, high = sorted((left, right))
    if low == high:
        return TIE, "the same"
    if high - low <= ratio * high:
        return TIE, f"they differ by less than {ratio:.0%}"
    if low <= 0:
        less = LLMOPS if left > right else MLOPS
        return _winner(dimension, left > right), f"{less} has none"
    times = left / right
    return _winner(dimension, left > right), _times(dimension, Estimate(times, times, times, 0))


def _by_ratio(dimension: Dimension, measured: Measured, ratio: float) -> tuple[str, str]:
    """Compare two amounts by the interval of their ratio."""
    left, right, times = measured.left, measured.right, measured.ratio
    if math.isinf(left.value) and math.isinf(right.value):
        return INCONCLUSIVE, "neither reaches it with what was tried"
    if times is None:
        return INCONCLUSIVE, NO_INTERVAL
    # amounts of which the smaller is at least this share of the larger are no different
    edge = 1 - ratio
    if times.low <= edge < times.high or times.low < 1 / edge < times.high:
        return INCONCLUSIVE, f"{_times(dimension, times)}; the interval holds no difference"
    if edge <= times.low and times.high <= 1 / edge:
        return TIE, f"they differ by less than {ratio:.0%}"
    winner = _winner(dimension, times.value > 1)
    if math.isinf(max(left.value, right.value)):
        return winner, f"{LLMOPS if math.isinf(right.value) else MLOPS} never reaches it"
    if min(left.value, right.value) == 0:
        less, more = (MLOPS, right) if left.value == 0 else (LLMOPS, left)
        return winner, f"{less} needs none, and the other side {more.text(dimension.unit)}"
    return winner, _times(dimension, times)


def _winner(dimension: Dimension, left_has_more: bool) -> str:
    return MLOPS if left_has_more == (dimension.better == HIGHER) else LLMOPS


def _times(dimension: Dimension, times: Estimate) -> str:
    """Return how many times as much one side takes, with the interval where there is one."""
    more = MLOPS if times.value > 1 else LLMOPS
    value, low, high = _above_one(times)
    verb, kind = VERBS.get(dimension.unit, ("has", "as much"))
    interval = f" ({_factor(low)} to {_factor(high)})" if low < high else ""
    return f"{more} {verb} {_factor(value)}{interval} times {kind}"


def _above_one(times: Estimate) -> tuple[float, float, float]:
    """Return a ratio and its interval, turned over if it is below 1."""
    if times.value >= 1:
        return times.value, times.low, times.high
    value, low, high = (
        1 / end if end else math.inf for end in (times.value, times.high, times.low)
    )
    return value, low, high


def _factor(factor: float) -> str:
    if math.isinf(factor):
        return "any number of"
    return f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}"


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Return how many dimensions each outcome has."""
    return {outcome: sum(v.winner == outcome for v in verdicts) for outcome in OUTCOMES}
