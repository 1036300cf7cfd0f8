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
        gap = measured.difference
        return {
            "key": dimension.key,
            "group": dimension.group,
            "name": dimension.name,
            "when": dimension.when,
            "winner": self.winner,
            "why": self.why,
            "left": _facts(measured.left, dimension.unit),
            "right": _facts(measured.right, dimension.unit),
            "difference": None if gap is None else [gap.value, gap.low, gap.high],
            "p": measured.p,
            "runs": list(self.runs),
        }


def _facts(figure: Figure | None, unit: str) -> dict | None:
    if figure is None:
        return None
    known = figure.estimate is not None
    return {
        "value": figure.value if math.isfinite(figure.value) else None,
        "low": figure.low,
        "high": figure.high,
        "n": figure.n,
        "text": figure.text(unit),
        "interval": f"{figure.low:.3f} to {figure.high:.3f}" if known else "",
        "note": figure.note,
        "runs": list(figure.runs),
    }


def conclude(dimension: Dimension, measured: Measured, assumptions: Assumptions) -> Verdict:
    """Return who wins a dimension.

    The difference of two shares is held against the margin: to win, its interval must lie outside;
    to tie, inside; where it reaches across, the comparison is inconclusive. Amounts, which have no
    interval, tie where they differ by less than the ratio.
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
    else:
        winner, why = _by_ratio(dimension, left.value, right.value, assumptions.ratio)
    return Verdict(dimension, measured, winner, why)


def _by_margin(dimension: Dimension, measured: Measured, margin: float) -> tuple[str, str]:
    gap = measured.difference
    if gap is None:
        value = measured.left.value - measured.right.value
        gap = Estimate(value, value, value, 0)
        difference = f"a difference of {value:+.3f} (no interval)"
    else:
        difference = f"a difference of {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
        difference += "" if measured.p is None else f", p {_probability(measured.p)},"
    outcome = stats.verdict(gap, margin)
    if outcome == "unclear":
        more = f"; about {measured.needed:,} rows would decide" if measured.needed else ""
        return INCONCLUSIVE, f"{difference} reaches across the margin of {margin:g}{more}"
    if outcome == "tie":
        return TIE, f"{difference} is inside the margin of {margin:g}"
    wins = (outcome == "better") == (dimension.better == HIGHER)
    return MLOPS if wins else LLMOPS, difference.rstrip(",")


def _probability(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _by_ratio(dimension: Dimension, left: float, right: float, ratio: float) -> tuple[str, str]:
    low, high = sorted((left, right))
    if low == high:
        return TIE, "neither reaches it" if math.isinf(low) else "the same"
    if high - low <= ratio * high and math.isfinite(high):
        return TIE, f"they differ by less than {ratio:.0%}"
    winner = MLOPS if (left > right) == (dimension.better == HIGHER) else LLMOPS
    more, less = (MLOPS, LLMOPS) if left > right else (LLMOPS, MLOPS)
    if math.isinf(high):
        return winner, f"{more} never reaches it"
    if low <= 0:
        return winner, f"{less} has none"
    verb, kind = VERBS.get(dimension.unit, ("has", "as much"))
    return winner, f"{more} {verb} {_times(high / low)} {kind}"


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor < 10 else f"{factor:,.0f} times"


def prose(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the verdicts in sentences: when to use which, where it is the same, what is open."""
    sentences = []
    for winner in (MLOPS, LLMOPS):
        reasons = [v.dimension.when for v in verdicts if v.winner == winner]
        if reasons:
            sentences.append(f"Use {winner} when {_listed(reasons)}.")
        else:
            sentences.append(f"Nothing measured here speaks for {winner}.")
    for outcome, opening in (
        (TIE, "It makes no difference for"),
        (INCONCLUSIVE, "Inconclusive:"),
        (UNMEASURED, "Not measured:"),
    ):
        if names := [v.dimension.name for v in verdicts if v.winner == outcome]:
            sentences.append(f"{opening} {_listed(names, 'and')}.")
    return sentences


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Return how many dimensions each outcome has."""
    return {outcome: sum(v.winner == outcome for v in verdicts) for outcome in OUTCOMES}


def _listed(words: Sequence[str], last: str = "or") -> str:
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end
