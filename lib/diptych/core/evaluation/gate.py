"""The quality gate: one set of rules that decides releases in MLOps and LLMOps.

Each rule passes, fails, or is *inconclusive*: the rows do not decide it. Only a candidate whose
deciding rules all pass is promoted. A rule whose figure is missing blocks the release; only an
explicit limit of None waives it. The limits are parameters of the notebooks ``3_release`` and
``6_improve`` of both lifecycles.
"""

import math
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from diptych.core.evaluation import fairness
from diptych.core.evaluation.fairness import Gap
from diptych.core.evaluation.metrics import (
    FEWEST,
    METRICS,
    NUMBERS,
    Figure,
    Metric,
    MetricError,
    class_counts,
)
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.stats import Estimate, unpaired_difference

PASS, FAIL, INCONCLUSIVE, NOT_MEASURED = "pass", "fail", "inconclusive", "not measured"
WAIVED, NO_CHAMPION = "no limit", "no champion"
NO_WORSE, BETTER = "no worse", "better"
RIGHT_OR_WRONG = replace(METRICS["grade"], title="accuracy")
CHANCE = 0.9  # of deciding on as many rows as the gate asks for
Check = tuple[str, str, str, str, str, int | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """What was measured of one model on the test rows; None is "not measured".

    Parameters
    ----------
    name : str
    score : Estimate
        The task's metric.
    metric : Metric
    rows : ScoredRows
        Row by row; lets two models be compared in pairs.
    slice_of : array of shape (n,)
        Slice of each of `rows`.
    slices : mapping of slice name to Estimate
    gaps : mapping of column to Gap
        The largest gap of the metric between groups of rows, by the column that groups them.
    calibration_error : Estimate or float
        As `calibration.error` gives it.
    latency_p95_ms, size_mb : float
    extra : mapping of name to float
        Further figures, lower is better, such as cost per answer in USD.
    digest : str
        Of all that decides its answers; "" where it is not known. A candidate with the champion's
        is the champion.
    """

    name: str
    score: Estimate | None = None
    metric: Metric = RIGHT_OR_WRONG
    rows: ScoredRows | None = None
    slice_of: np.ndarray | None = None
    slices: Mapping[str, Estimate] = field(default_factory=dict)
    gaps: Mapping[str, Gap] = field(default_factory=dict)
    calibration_error: Estimate | float | None = None
    latency_p95_ms: float | None = None
    size_mb: float | None = None
    extra: Mapping[str, float | None] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def of_rows(
        cls,
        name: str,
        metric: Metric,
        rows: ScoredRows,
        slice_of: ArrayLike | None = None,
        groups: pd.DataFrame | None = None,
        **figures: Any,
    ) -> "Candidate":
        """Build a candidate whose score, slices and gaps are the metric of its rows.

        Where all rows are of one slice, it is no slice: the score is the same.

        Parameters
        ----------
        groups : DataFrame, shape (n, columns), optional
            The groups of each row by each column, in order.
        """
        slices: dict[str, Figure] = {}
        parts = None if slice_of is None else np.asarray(slice_of).astype(str)
        if parts is not None:
            _same_length("slice_of", parts, "rows", rows)
            names = sorted(set(parts.tolist()))
            parts = parts if len(names) > 1 else None
        if parts is not None:
            slices = {part: _score(metric, rows.take(parts == part)) for part in names}
        groups = pd.DataFrame() if groups is None else groups
        gaps = {name: fairness.largest_gap(rows, groups[name], metric) for name in groups}
        score = metric.estimate(rows)
        return cls(
            name=name, score=score, metric=metric, rows=rows, slices=slices, slice_of=parts,
            gaps=gaps, **figures,
        )  # fmt: skip

    def by_group(self, groups: pd.DataFrame) -> pd.DataFrame:
        """Return the metric by slice and by each column of groups, for a card.

        Parameters
        ----------
        groups : DataFrame, shape (n, columns)
            Of the rows that were measured, in order.

        Returns
        -------
        DataFrame
            ``group``, the metric with its interval, ``n``; no rows where there are no groups.
        """
        columns = {name: groups[name].to_numpy() for name in groups}
        if self.slice_of is not None:
            columns = {"slice": self.slice_of} | columns
        title, lines = self.metric.title, []
        for column, names in columns.items():
            if self.rows is None:
                break
            for line in fairness.by_group(self.rows, names, self.metric).to_dict("records"):
                shown = Figure(line["value"], line["low"], line["high"], line["n"])
                value = line["reason"] if line["reason"] else str(shown)
                lines.append({"group": f"{column} {line['name']}", title: value, "n": line["n"]})
        return pd.DataFrame(lines, columns=["group", title, "n"])

    @classmethod
    def from_rows(
        cls, name: str, grades: ArrayLike, slice_of: ArrayLike | None = None, **figures: Any
    ) -> "Candidate":
        """Build a candidate from right (1) and wrong (0) answers, or grades between."""
        rows = ScoredRows.of_grades(grades)
        right_or_wrong = bool(np.isin(grades, (0, 1)).all())
        metric = RIGHT_OR_WRONG if right_or_wrong else METRICS["grade"]
        return cls.of_rows(name, metric, rows, slice_of, **figures)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a release must keep to; None waives a rule, and the decision says so.

    Parameters
    ----------
    floor : float
        What the whole interval of the score must reach: the rows must show that the floor is met,
        not merely fail to refute it. Of a metric where less is better it is a ceiling.
    max_calibration_error : float
        What the whole interval must lie below.
    max_latency_ms, max_size_mb : float
    margin, slice_margin : float
        A loss against the champion, overall and in a slice, that would not matter (>= 0): in the
        metric's units, or as a share of the champion's figure where the metric has no upper end.
    max_gap : float
        What the whole interval of the largest gap between groups must lie below, for each column
        of `Candidate.gaps`.
    question : str
        What must be shown against the champion: ``"no worse"``, the whole interval of the
        difference lies above minus the margin, or ``"better"``, it lies above 0.
    level : float
        Of the intervals of differences from champion and baseline; higher where the same labels
        were looked at before, see `diptych.core.monitoring.sequential.decision_level`.
    extra : mapping of name to float
        Highest value allowed of each `Candidate.extra` figure.
    """

    floor: float | None
    max_calibration_error: float | None
    max_latency_ms: float | None
    max_size_mb: float | None
    margin: float | None = 0.05
    slice_margin: float | None = 0.1
    max_gap: float | None = None
    question: str = NO_WORSE
    level: float = 0.95
    extra: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("margin", "slice_margin"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} is {value}: give the loss that would not matter, >= 0.")
        if self.question not in (NO_WORSE, BETTER):
            raise ValueError(f"question is {self.question!r}: take {NO_WORSE!r} or {BETTER!r}.")


@dataclass(frozen=True, eq=False)
class Decision:
    """The outcome of `decide`.

    Attributes
    ----------
    checks : DataFrame
        One row a rule: rule, measured, limit, status ("pass", "fail", "inconclusive", "not
        measured", "no limit", "no champion"), reason (a sentence), rows_needed (labelled rows
        that would decide an inconclusive rule, in all; NaN elsewhere).
    outcome : str
        "pass", "fail" or "inconclusive".
    """

    checks: pd.DataFrame
    outcome: str
    reason: str

    @property
    def promoted(self) -> bool:
        """Whether the candidate may go into service."""
        return self.outcome == PASS

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each rule, as the audit keeps it."""
        return dict(zip(self.checks["rule"], self.checks["status"], strict=True))


def decide(
    candidate: Candidate,
    champion: Candidate | None,
    limits: Limits,
    baseline: Candidate | None = None,
) -> Decision:
    """Decide whether `candidate` may replace `champion`.

    Against the champion and the baseline the difference is paired row by row where both have
    `rows`, else it is taken from the two intervals. A slice whose rows do not decide is counted
    in the reason and blocks nothing; every other rule that does not pass blocks.

    Parameters
    ----------
    baseline : Candidate, optional
        What always gives the same answer; the candidate must be shown to be better.

    Raises
    ------
    ValueError
        If the two sides were not measured on the same rows by the same metric.
    """
    for other in (champion, baseline):
        _check_alike(candidate, other)
    deciding = [
        _floor(candidate, limits.floor),
        *_against_baseline(candidate, baseline, limits.level),
        _against_champion(candidate, champion, limits),
        *_calibrated(candidate, limits.max_calibration_error),
        *_gaps(candidate, limits.max_gap),
        _at_most("latency p95", candidate.latency_p95_ms, limits.max_latency_ms, " ms"),
        _at_most("size", candidate.size_mb, limits.max_size_mb, " MB"),
        *(_at_most(name, candidate.extra.get(name), most) for name, most in limits.extra.items()),
    ]
    parts = sorted({*candidate.slices, *(champion.slices if champion else ())})
    slices = [_slice(part, candidate, champion, limits.slice_margin) for part in parts]
    table = pd.DataFrame([*deciding, *slices], columns=COLUMNS)
    table["rows_needed"] = table["rows_needed"].astype(float)
    blocking = table[table["status"].isin([FAIL, NOT_MEASURED])]
    first = table.head(len(deciding))
    open_rules = first[first["status"] == INCONCLUSIVE]
    return _conclude(candidate.name, table, blocking, open_rules)


COLUMNS = ["rule", "measured", "limit", "status", "reason", "rows_needed"]


def _conclude(
    name: str, table: pd.DataFrame, blocking: pd.DataFrame, open_rules: pd.DataFrame
) -> Decision:
    slices = int((table["rule"].str.startswith("slice ") & (table["status"] == INCONCLUSIVE)).sum())
    left = f" {slices} slices are inconclusive." if slices > 1 else (
        " 1 slice is inconclusive." if slices else ""
    )  # fmt: skip
    if not blocking.empty:
        return Decision(table, FAIL, f"{name} is refused. {' '.join(blocking['reason'])}{left}")
    if not open_rules.empty:
        reason = f"{name} is not promoted: the rows do not decide. {' '.join(open_rules['reason'])}"
        return Decision(table, INCONCLUSIVE, reason + left)
    applied = int((table["status"] == PASS).sum())
    return Decision(
        table, PASS, f"{name} is promoted: it passes all {applied} rules that apply.{left}"
    )


def _floor(candidate: Candidate, floor: float | None) -> Check:
    score, metric = candidate.score, candidate.metric
    rule = "metric floor" if metric.higher_is_better else "metric ceiling"
    if floor is None:
        return (rule, _text(score), "", WAIVED, f"No {rule[7:]} is set for the metric.", None)
    limit = f"{'>=' if metric.higher_is_better else '<='} {floor:g}"
    why = _unmeasured(score)
    if score is None or why is not None:
        reason = f"The metric was not measured{why}."
        return (rule, _text(score), limit, *_without(candidate, reason))
    sign = metric.sign
    worst, best = sorted((sign * score.low, sign * score.high))
    reached, missed = worst >= sign * floor, best < sign * floor
    status = PASS if reached else FAIL if missed else INCONCLUSIVE
    place = {PASS: "reaches", FAIL: "misses", INCONCLUSIVE: "lies on both sides of"}[status]
    reason = (
        f"The interval of {metric.title}, {score.low:.3f} to {score.high:.3f}, {place} {floor:g}"
    )
    needed = None
    if status == INCONCLUSIVE:
        needed = _more(score.n, (score.high - score.low) / 2, abs(score.value - floor))
        reason += _asks(needed)
    return (rule, str(score), limit, status, f"{reason}.", needed)


def _against_baseline(
    candidate: Candidate, baseline: Candidate | None, level: float
) -> list[Check]:
    if baseline is None:
        return []
    rule, limit = "better than the baseline", "> 0"
    for side in (candidate, baseline):
        if (why := _unmeasured(side.score)) is not None:
            return [(rule, "", limit, *_without(side, f"{side.name} was not measured{why}."))]
    gap = _improvement(candidate, baseline, None, level)
    spread = _spread(candidate, baseline, None, gap) * _wider(level)
    return [
        _question(rule, candidate, baseline, gap, "Overall", (BETTER, 0.0, abs(gap.value)), spread)
    ]


def _without(side: Candidate, reason: str) -> tuple[str, str, int | None]:
    """Return status, reason and rows of a rule whose score decides nothing.

    Rows that do not hold a score, such as too few of a class, are inconclusive; no rows at all,
    such as of calls that failed, are not measured.
    """
    if side.score is None or side.rows is None:
        return NOT_MEASURED, reason, None
    if not side.rows.classes:
        return INCONCLUSIVE, reason, None
    least = int(class_counts(side.rows).min())
    needed = math.ceil(len(side.rows) * FEWEST / least) if 0 < least < FEWEST else None
    more = f" About {needed:,} labelled rows in all would hold {FEWEST}." if needed else ""
    return INCONCLUSIVE, reason + more, needed


def _against_champion(candidate: Candidate, champion: Candidate | None, limits: Limits) -> Check:
    better = limits.question == BETTER
    rule = "better than champion" if better else "no worse than champion"
    if champion and candidate.digest and candidate.digest == champion.digest:
        reason = f"It is the champion (SHA-256 {candidate.digest[:12]}…): nothing is to release."
        return (rule, "the same", "another model", FAIL, reason, None)
    if limits.margin is None:
        return (rule, _text(candidate.score), "", WAIVED, f"No margin is set for {rule}.", None)
    if champion is None:
        reason = "There is no champion to compare with."
        return (rule, _text(candidate.score), "", NO_CHAMPION, reason, None)
    margin = _in_units(limits.margin, champion)
    limit = "> 0" if better else f">= {-margin:g}"
    for side in (candidate, champion):
        if (why := _unmeasured(side.score)) is not None:
            reason = f"The score of {side.name} overall was not measured{why}."
            return (rule, _text(candidate.score), limit, *_without(side, reason))
    gap = _improvement(candidate, champion, None, limits.level)
    shows = 2 * margin if better else margin
    spread = _spread(candidate, champion, None, gap) * _wider(limits.level)
    return _question(
        rule, candidate, champion, gap, "Overall", (limits.question, margin, shows), spread
    )


def _slice(
    part: str, candidate: Candidate, champion: Candidate | None, margin: float | None
) -> Check:
    rule, new = f"slice {part}", candidate.slices.get(part)
    if margin is None:
        return (rule, _text(new), "", WAIVED, f"No margin is set for {rule}.", None)
    if champion is None or part not in champion.slices:
        missing = f"The champion {champion.name} has no rows in {part}." if champion else (
            "There is no champion to compare with."
        )  # fmt: skip
        return (rule, _text(new), "", NO_CHAMPION, missing, None)
    margin = _in_units(margin, champion)
    limit = f">= {-margin:g}"
    for side in (candidate, champion):
        if part not in side.slices:
            reason = f"The score of {side.name} on {part} was not measured."
            return (rule, _text(new), limit, NOT_MEASURED, reason, None)
        if (why := _unmeasured(side.slices[part])) is not None:
            reason = f"The slice {part} is inconclusive{why}."
            return (rule, _text(new), limit, INCONCLUSIVE, reason, None)
    gap = _improvement(candidate, champion, part)
    spread = _spread(candidate, champion, part, gap)
    return _question(
        rule, candidate, champion, gap, f"On {part}", (NO_WORSE, margin, margin), spread
    )


def _question(
    rule: str, new: Candidate, old: Candidate, gap: Estimate, where: str,
    question: tuple[str, float, float], spread: float,
) -> Check:  # fmt: skip
    """Answer "no worse" or "better" from the interval of an improvement.

    `question` is the question, the margin, and the distance from the line of decision that the
    rows should be able to show.
    """
    asked_for, margin, shows = question
    line = 0.0 if asked_for == BETTER else -margin
    limit = "> 0" if asked_for == BETTER else f">= {-margin:g}"
    lost = gap.high <= line if asked_for == BETTER else gap.high < line
    shown = gap.low > line if asked_for == BETTER else gap.low >= line
    status = PASS if shown else FAIL if lost else INCONCLUSIVE
    shown_gap = f"{gap.value:.3f} ({gap.low:.3f} to {gap.high:.3f})"
    pair = f"{new.name} minus {old.name}"
    if not new.metric.higher_is_better:
        pair = f"the gain of {new.name} over {old.name} in {new.metric.title}"
    outcome = _outcome(asked_for, status, margin)
    reason = f"{where}, {pair} is {shown_gap} over {gap.n} rows: {outcome}"
    needed = None
    if status == INCONCLUSIVE:
        needed = _needed(spread, shows, gap.n)
        what = f"show a gain of {shows:.3g}" if asked_for == BETTER else (
            "show that there is none, where both are equal"
        )  # fmt: skip
        reason += _asks(needed, what)
    return (rule, shown_gap, limit, status, f"{reason}.", needed)


def _outcome(question: str, status: str, margin: float) -> str:
    """Return in words what a difference shows."""
    if question == BETTER:
        words = {PASS: "a gain", FAIL: "no gain", INCONCLUSIVE: "a gain is not shown"}
        return words[status]
    loss = f"loss beyond {margin:g}"
    words = {PASS: f"no {loss}", FAIL: f"a {loss}", INCONCLUSIVE: f"a {loss} is not excluded"}
    return words[status]


def _improvement(new: Candidate, old: Candidate, part: str | None, level: float = 0.95) -> Estimate:
    """Compare in pairs where both models have rows, else by the two intervals."""
    if pair := _pair(new, old, part):
        return new.metric.improvement(*pair, level=level)
    gap, wider = unpaired_difference(_figure(new, part), _figure(old, part)), _wider(level)
    low, high = (gap.value + (end - gap.value) * wider for end in (gap.low, gap.high))
    if new.metric.higher_is_better:
        return Estimate(gap.value, low, high, gap.n)
    return Estimate(-gap.value, -high, -low, gap.n)


def _wider(level: float) -> float:
    """Return how much wider an interval of this level is than one of 95 %."""
    from scipy.stats import norm

    return 1.0 if level == 0.95 else float(norm.ppf(0.5 + level / 2) / norm.ppf(0.975))


def _spread(new: Candidate, old: Candidate, part: str | None, gap: Estimate) -> float:
    """Return the standard deviation of one row's part in a difference."""
    if pair := _pair(new, old, part):
        return new.metric.spread(*pair)
    return (gap.high - gap.low) / 2 / 1.96 * math.sqrt(gap.n)


def _pair(new: Candidate, old: Candidate, part: str | None) -> tuple[ScoredRows, ScoredRows] | None:
    """Return the rows of both, of a slice if one is named; None where they are not two or more."""
    if new.rows is None or old.rows is None:
        return None
    pair = new.rows, old.rows
    if part is not None:
        inside = np.asarray(new.slice_of) == part
        pair = new.rows.take(inside), old.rows.take(inside)
    return pair if len(pair[0]) >= 2 else None


def _figure(side: Candidate, part: str | None) -> Estimate:
    """Return the score, or that of a slice.

    Raises
    ------
    ValueError
        If it was not measured.
    """
    figure = side.score if part is None else side.slices[part]
    if figure is None:
        raise ValueError(f"{side.name} has no score.")
    return figure


def _needed(spread: float, shows: float, n: int) -> int | None:
    """Return the rows on which a difference of `shows` from the line is seen (`CHANCE`)."""
    from scipy.stats import norm

    if not shows > 0 or not math.isfinite(spread):
        return None
    return max(math.ceil(((1.96 + norm.ppf(CHANCE)) * spread / shows) ** 2), n + 1)


def _more(n: int, half: float, distance: float) -> int | None:
    """Return the rows on which an interval of this half width would clear the distance."""
    if not distance > 0:
        return None
    return max(math.ceil(n * (half / distance) ** 2), n + 1)


def _asks(needed: int | None, what: str = "decide if the figure stays") -> str:
    return f"; about {needed:,} labelled rows in all would {what}" if needed else (
        "; no number of rows is sure to decide it"
    )  # fmt: skip


def _calibrated(candidate: Candidate, most: float | None) -> list[Check]:
    """Check the calibration error; numbers have none."""
    if candidate.metric.needs == NUMBERS:
        return []
    return [_calibration(candidate.calibration_error, most)]


def _calibration(error: Estimate | float | None, most: float | None) -> Check:
    rule = "calibration error"
    if most is None:
        return _waived(rule, _text(error))
    if not isinstance(error, Estimate):
        return _at_most(rule, error, most)
    limit = f"<= {most:g}"
    if (why := _unmeasured(error)) is not None:
        return (rule, _text(error), limit, NOT_MEASURED, f"The {rule} was not measured{why}.", None)
    status = PASS if error.high <= most else FAIL if error.low > most else INCONCLUSIVE
    place = {PASS: "within", FAIL: "above", INCONCLUSIVE: "on both sides of"}[status]
    reason = f"The interval of the {rule}, {error.low:.3f} to {error.high:.3f}, is {place} {most:g}"
    needed = None
    if status == INCONCLUSIVE:
        needed = _more(error.n, error.high - error.value, most - error.value)
        reason += _asks(needed)
    return (rule, str(error), limit, status, f"{reason}.", needed)


def _gaps(candidate: Candidate, most: float | None) -> list[Check]:
    if most is None:
        return []
    limit = f"<= {most:g}"
    if not candidate.gaps:
        reason = "No gap between groups was measured: name the column of the groups."
        return [("largest gap", "", limit, NOT_MEASURED, reason, None)]
    return [_gap(f"gap by {column}", gap, most) for column, gap in candidate.gaps.items()]


def _gap(rule: str, gap: Gap, most: float) -> Check:
    limit, needed = f"<= {most:g}", None
    if (why := _unmeasured(gap)) is not None:
        return (rule, _text(gap), limit, INCONCLUSIVE, f"The {rule} is inconclusive{why}.", None)
    status = PASS if gap.high <= most else FAIL if gap.low > most else INCONCLUSIVE
    place = {PASS: "within", FAIL: "above", INCONCLUSIVE: "on both sides of"}[status]
    reason = (
        f"The interval of the {rule}, {gap.low:.3f} to {gap.high:.3f} ({gap.between}), is {place} "
        f"{most:g}"
    )
    if status == INCONCLUSIVE:
        needed = _more(gap.n, gap.high - gap.value, most - gap.value)
        reason += _asks(needed)
    if gap.left_out:
        reason += f"; of groups, {gap.left_out} have rows too few to be compared"
    return (rule, str(gap), limit, status, f"{reason}.", needed)


def _at_most(rule: str, figure: float | None, most: float | None, unit: str = "") -> Check:
    shown = _text(figure) + (unit if _unmeasured(figure) is None else "")
    if most is None:
        return _waived(rule, shown)
    limit, why = f"<= {most:g}{unit}", _unmeasured(figure)
    if figure is None or why is not None:
        return (rule, shown, limit, NOT_MEASURED, f"The {rule} was not measured{why}.", None)
    good = figure <= most
    reason = f"The {rule} is {shown}, {'within' if good else 'above'} the limit of {most:g}{unit}."
    return (rule, shown, limit, PASS if good else FAIL, reason, None)


def _waived(rule: str, shown: str) -> Check:
    return (rule, shown, "", WAIVED, f"No limit is set for {rule}.", None)


def _in_units(margin: float, champion: Candidate) -> float:
    """Return a margin in the metric's units."""
    if math.isfinite(champion.metric.high) or champion.score is None:
        return margin
    return margin * abs(champion.score.value)


def _score(metric: Metric, rows: ScoredRows) -> Figure:
    """Return a slice's score; one that cannot be had is NaN with the reason."""
    try:
        return metric.estimate(rows)
    except MetricError as error:
        return Figure(math.nan, math.nan, math.nan, len(rows), str(error))


def _unmeasured(figure: Estimate | float | None) -> str | None:
    """Return why a figure may decide nothing (": " and a reason, or ""); None if it may."""
    if isinstance(figure, Estimate):
        if note := getattr(figure, "note", ""):
            return f": {note}"
        return None if math.isfinite(figure.value + figure.low + figure.high) else ""
    return None if figure is not None and math.isfinite(figure) else ""


def _text(figure: Estimate | float | None) -> str:
    if figure is None or (not isinstance(figure, Estimate) and not math.isfinite(figure)):
        return ""
    if isinstance(figure, Estimate):
        return str(figure) if math.isfinite(figure.value) else ""
    return f"{float(f'{figure:.4g}'):,g}"


def _check_alike(candidate: Candidate, other: Candidate | None) -> None:
    if other is None:
        return
    if candidate.metric.spec != other.metric.spec:
        raise ValueError(
            f"{candidate.name} was measured by {candidate.metric.title} and {other.name} by "
            f"{other.metric.title}: measure both by one metric."
        )
    if candidate.rows is not None and other.rows is not None:
        _same_length(candidate.name, candidate.rows, other.name, other.rows)


def _same_length(name_a: str, a: Sized, name_b: str, b: Sized) -> None:
    if len(a) != len(b):
        raise ValueError(
            f"{name_a} has {len(a)} rows and {name_b} {len(b)}: score both on the same test rows."
        )
