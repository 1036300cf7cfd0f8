"""The quality gate: one set of rules that decides releases in MLOps and LLMOps.

A rule whose figure is missing blocks the release; only an explicit limit of None waives it. The
limits are parameters of the notebooks ``3_release`` and ``6_improve`` of both lifecycles.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from diptych.core.evaluation.stats import Estimate, accuracy, paired_difference, unpaired_difference

PASS, FAIL, NOT_MEASURED = "pass", "fail", "not measured"
WAIVED, NO_CHAMPION = "no limit", "no champion"


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """What was measured of one model on the test rows; None is "not measured".

    Parameters
    ----------
    name : str
    score : Estimate
        The task's metric, higher is better.
    slices : mapping of slice name to Estimate
    calibration_error : float
        As `stats.calibration_error` gives it.
    latency_p95_ms, size_mb : float
    extra : mapping of name to float
        Further figures, lower is better, such as cost per answer in USD.
    correct : array of shape (n,)
        1 where the model is right, else 0, row by row; lets two models be compared in pairs.
    slice_of : array of shape (n,)
        Slice of each row of `correct`.
    """

    name: str
    score: Estimate | None = None
    slices: Mapping[str, Estimate] = field(default_factory=dict)
    calibration_error: float | None = None
    latency_p95_ms: float | None = None
    size_mb: float | None = None
    extra: Mapping[str, float | None] = field(default_factory=dict)
    correct: Sequence | None = None
    slice_of: Sequence | None = None

    @classmethod
    def from_rows(
        cls, name: str, correct: Sequence, slice_of: Sequence | None = None, **measured
    ) -> "Candidate":
        """Build a candidate whose score and slices are the accuracies of its rows.

        Where all rows are of one slice, it is no slice: the score is the same.
        """
        correct = np.asarray(correct, bool)
        slices = {}
        if slice_of is not None:
            slice_of = np.asarray(slice_of)
            _same_length("slice_of", slice_of, "correct", correct)
            parts = sorted(set(slice_of.tolist()))
            slice_of = slice_of if len(parts) > 1 else None
            for part in parts if slice_of is not None else ():
                rows = correct[slice_of == part]
                slices[str(part)] = accuracy(rows, np.ones_like(rows))
        score = accuracy(correct, np.ones_like(correct))
        return cls(
            name=name, score=score, slices=slices, correct=correct, slice_of=slice_of, **measured
        )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a release must keep to; None waives a rule, and the decision says so.

    Parameters
    ----------
    floor : float
        The lower end of the score's interval must reach it: the rows must show that the floor
        is met, not merely fail to refute it.
    max_calibration_error, max_latency_ms, max_size_mb : float
    margin, slice_margin : float
        A loss against the champion, overall and in a slice, that would not matter (>= 0).
    extra : mapping of name to float
        Highest value allowed of each `Candidate.extra` figure.
    """

    floor: float | None
    max_calibration_error: float | None
    max_latency_ms: float | None
    max_size_mb: float | None
    margin: float | None = 0.0
    slice_margin: float | None = 0.02
    extra: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Decision:
    """The outcome of `decide`.

    `checks` has one row per rule: rule, measured, limit, status ("pass", "fail", "not measured",
    "no limit", "no champion") and reason, a sentence.
    """

    checks: pd.DataFrame
    promoted: bool
    reason: str

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each rule, as the audit keeps it."""
        return dict(zip(self.checks["rule"], self.checks["status"], strict=True))


def decide(candidate: Candidate, champion: Candidate | None, limits: Limits) -> Decision:
    """Decide whether `candidate` may replace `champion`.

    Against the champion a loss counts only if the data show it: the rule fails if the whole 95 %
    interval of the difference lies below minus the margin. With `correct` on both sides the
    difference is paired row by row, else it is taken from the two intervals. A slice too small
    to show a loss passes; its reason gives the interval, so the reader sees how little it says.

    Raises
    ------
    ValueError
        If a margin is negative, or `correct` has different lengths on the two sides. Rows are
        paired by position: both sides must hold the same test rows in one order.
    """
    checks = [
        _floor(candidate.score, limits.floor),
        *_against_champion(candidate, champion, limits),
        _at_most("calibration error", candidate.calibration_error, limits.max_calibration_error),
        _at_most("latency p95", candidate.latency_p95_ms, limits.max_latency_ms, " ms"),
        _at_most("size", candidate.size_mb, limits.max_size_mb, " MB"),
        *(_at_most(name, candidate.extra.get(name), most) for name, most in limits.extra.items()),
    ]
    table = pd.DataFrame(checks, columns=["rule", "measured", "limit", "status", "reason"])
    blocking = table[table["status"].isin([FAIL, NOT_MEASURED])]
    if blocking.empty:
        applied = int((table["status"] == PASS).sum())
        reason = f"{candidate.name} is promoted: it passes all {applied} rules that apply."
    else:
        reason = f"{candidate.name} is refused. " + " ".join(blocking["reason"])
    return Decision(table, blocking.empty, reason)


def _floor(score: Estimate | None, floor: float | None) -> tuple:
    if floor is None:
        return ("metric floor", _text(score), "", WAIVED, "No floor is set for the metric.")
    if not _measured(score):
        return ("metric floor", "", f"{floor:g}", NOT_MEASURED, "The metric was not measured.")
    good = score.low >= floor
    reason = (
        f"The metric's interval starts at {score.low:.3f}, "
        f"{'at or above' if good else 'below'} the floor of {floor:g}."
    )
    return ("metric floor", str(score), f"{floor:g}", PASS if good else FAIL, reason)


def _against_champion(candidate: Candidate, champion: Candidate | None, limits: Limits):
    """Yield the checks of the score and of every slice that either model has."""
    for name in ("margin", "slice_margin"):
        value = getattr(limits, name)
        if value is not None and not value >= 0:
            raise ValueError(f"{name} is {value}: give the loss that would not matter, >= 0.")
    if champion and candidate.correct is not None and champion.correct is not None:
        _same_length("The candidate", candidate.correct, "the champion", champion.correct)
    yield _no_worse(None, candidate, champion, limits.margin)
    for part in sorted({*candidate.slices, *(champion.slices if champion else ())}):
        yield _no_worse(part, candidate, champion, limits.slice_margin)


def _no_worse(part: str | None, candidate, champion, margin) -> tuple:
    """Return the check of the slice `part`, or of all rows if it is None."""
    rule = "no worse than champion" if part is None else f"slice {part}"
    new = candidate.score if part is None else candidate.slices.get(part)
    if margin is None:
        return (rule, _text(new), "", WAIVED, f"No margin is set for {rule}.")
    limit = f">= {-margin:g}" if margin else ">= 0"
    if champion is None:
        return (rule, _text(new), limit, NO_CHAMPION, "There is no champion to compare with.")
    old = champion.score if part is None else champion.slices.get(part)
    if part is not None and old is None:
        reason = f"The champion {champion.name} has no rows in {part}."
        return (rule, _text(new), limit, NO_CHAMPION, reason)
    for model, estimate in ((candidate, new), (champion, old)):
        if not _measured(estimate):
            where = "overall" if part is None else f"on {part}"
            reason = f"The score of {model.name} {where} was not measured."
            return (rule, _text(new), limit, NOT_MEASURED, reason)
    difference = _difference(part, candidate, champion, new, old)
    worse = difference.high < -margin
    reason = (
        f"{'Overall' if part is None else f'On {part}'}, {candidate.name} minus {champion.name} "
        f"is {difference} over {difference.n} rows: "
        f"{'a loss' if worse else 'no loss shown'}{f' beyond {margin:g}' if margin else ''}."
    )
    return (rule, str(difference), limit, FAIL if worse else PASS, reason)


def _difference(part, candidate, champion, new: Estimate, old: Estimate) -> Estimate:
    """Compare in pairs where both models have row-level results, else by the two intervals."""
    known = candidate.correct is not None and champion.correct is not None
    if known and (part is None or candidate.slice_of is not None):
        rows = slice(None) if part is None else np.asarray(candidate.slice_of).astype(str) == part
        a, b = (np.asarray(model.correct)[rows] for model in (candidate, champion))
        if len(a) >= 2:
            return paired_difference(a, b)
    return unpaired_difference(new, old)


def _at_most(rule: str, measured: float | None, most: float | None, unit: str = "") -> tuple:
    shown = _text(measured) + (unit if _measured(measured) else "")
    if most is None:
        return (rule, shown, "", WAIVED, f"No limit is set for {rule}.")
    limit = f"<= {most:g}{unit}"
    if not _measured(measured):
        return (rule, shown, limit, NOT_MEASURED, f"The {rule} was not measured.")
    good = measured <= most
    reason = f"The {rule} is {shown}, {'within' if good else 'above'} the limit of {most:g}{unit}."
    return (rule, shown, limit, PASS if good else FAIL, reason)


def _measured(figure: Estimate | float | None) -> bool:
    if isinstance(figure, Estimate):
        return all(map(math.isfinite, (figure.value, figure.low, figure.high)))
    return figure is not None and math.isfinite(figure)


def _text(figure: Estimate | float | None) -> str:
    if not _measured(figure):
        return ""
    return str(figure) if isinstance(figure, Estimate) else f"{float(f'{figure:.4g}'):,g}"


def _same_length(name_a: str, a: Sequence, name_b: str, b: Sequence) -> None:
    if len(a) != len(b):
        raise ValueError(
            f"{name_a} has {len(a)} rows and {name_b} {len(b)}: score both on the same test rows."
        )
