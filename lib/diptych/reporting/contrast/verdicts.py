"""Who wins a dimension, and the words for it: made from the verdicts, so they cannot contradict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.core.evaluation import stats
from diptych.core.evaluation.stats import Estimate
from diptych.reporting.contrast.dimensions import HIGHER, SHARE, Dimension
from diptych.reporting.contrast.evidence import Figure
from diptych.reporting.contrast.measures import Assumptions, Measured

MLOPS, LLMOPS, TIE, UNMEASURED = WINNERS = ("MLOps", "LLMOps", "tie", "not measured")

VERBS = {"ms": ("takes", "as long"), "s": ("takes", "as long"), "USD": ("costs", "as much"),
         "labels": ("needs", "as many"), "": ("has", "as many")}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """The outcome of one dimension in one scenario.

    Attributes
    ----------
    winner : str
        One of `WINNERS`.
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
        found = [f.runs for f in (self.measured.left, self.measured.right) if f]
        return tuple(dict.fromkeys(run for runs in found for run in runs))

    def facts(self) -> dict:
        """Return it as plain JSON."""
        own, measured = self.dimension, self.measured
        gap = measured.difference
        return {
            "key": own.key,
            "group": own.group,
            "name": own.name,
            "when": own.when,
            "winner": self.winner,
            "why": self.why,
            "left": _facts(measured.left, own.unit),
            "right": _facts(measured.right, own.unit),
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
        "said": figure.said(unit),
        "interval": f"{figure.low:.3f} to {figure.high:.3f}" if known else "",
        "note": figure.note,
        "runs": list(figure.runs),
    }


def judge(dimension: Dimension, measured: Measured, given: Assumptions) -> Verdict:
    """Return who wins a dimension.

    A share is read against the margin: its interval must lie outside to win, inside to tie; where
    it reaches across, too few rows were measured. Amounts, which have no interval, tie where they
    differ by less than the ratio.
    """
    left, right = measured.left, measured.right
    if left is None or right is None:
        missing = [name for name, own in ((MLOPS, left), (LLMOPS, right)) if own is None]
        why = f"no run of {' nor of '.join(missing)} recorded it"
        return Verdict(dimension, measured, UNMEASURED, why)
    if dimension.kind == SHARE:
        winner, why = _by_margin(dimension, measured, given.margin)
    else:
        winner, why = _by_ratio(dimension, left.value, right.value, given.ratio)
    return Verdict(dimension, measured, winner, why)


def _by_margin(dimension: Dimension, measured: Measured, margin: float) -> tuple[str, str]:
    gap = measured.difference
    if gap is None:
        value = measured.left.value - measured.right.value
        gap, told = Estimate(value, value, value, 0), f"a difference of {value:+.3f} (no interval)"
    else:
        told = f"a difference of {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
        told += "" if measured.p is None else f", McNemar p {_probability(measured.p)},"
    read = stats.verdict(gap, margin)
    if read == "unclear":
        more = f"; about {measured.needed:,} rows would tell" if measured.needed else ""
        return UNMEASURED, f"too few rows: {told} reaches across the margin of {margin:g}{more}"
    if read == "tie":
        return TIE, f"{told} is inside the margin of {margin:g}"
    wins = (read == "better") == (dimension.better == HIGHER)
    return MLOPS if wins else LLMOPS, told.rstrip(",")


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
    said = []
    for winner in (MLOPS, LLMOPS):
        own = [v for v in verdicts if v.winner == winner]
        if own:
            reasons = _listed([v.dimension.when for v in own])
            said.append(f"Use {winner} when {reasons}.")
        else:
            said.append(f"Nothing measured here speaks for {winner}.")
    if own := [v.dimension.name for v in verdicts if v.winner == TIE]:
        said.append(f"It makes no difference for {_listed(own, 'and')}.")
    if own := [v.dimension.name for v in verdicts if v.winner == UNMEASURED]:
        said.append(f"Not measured: {_listed(own, 'and')}.")
    return said


def sentence(verdict: Verdict) -> str:
    """Return one verdict as a sentence with both figures."""
    own, measured = verdict.dimension, verdict.measured
    told = [
        f"{name} {figure.said(own.unit)}"
        for name, figure in ((MLOPS, measured.left), (LLMOPS, measured.right))
        if figure
    ]
    figures = f" ({', '.join(told)})" if told else ""
    return f"{own.name.capitalize()}: {verdict.winner}{figures}; {verdict.why}."


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Return how many dimensions each outcome has."""
    return {winner: sum(v.winner == winner for v in verdicts) for winner in WINNERS}


def _listed(words: Sequence[str], last: str = "or") -> str:
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end
