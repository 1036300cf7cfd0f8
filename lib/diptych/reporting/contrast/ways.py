"""Every way to do the task on the same rows: models, not panels, are compared."""

import math
from collections.abc import Sequence

import pandas as pd

from diptych.core import contract
from diptych.core.contract import BUILD, DATA, LLMOPS, RecordError
from diptych.core.evaluation import fairness, stats
from diptych.core.evaluation.metrics import NUMBERS, Metric
from diptych.core.evaluation.stats import Estimate
from diptych.core.monitoring.sequential import in_units
from diptych.reporting.contrast import cascade
from diptych.reporting.contrast.amounts import TOGETHER, common_level, cpu
from diptych.reporting.contrast.evidence import (
    CONTAMINATED,
    GRADED,
    LEFT,
    Panel,
    is_perturbed,
    metric_of,
    scored,
)
from diptych.reporting.contrast.measures import Assumptions
from diptych.reporting.contrast.way import MEAN, NAMES, Way

COLUMNS = [
    "way", "panel", "selected", "value", "low", "high", "n", "labels", "usd", "usd low",
    "usd high", "usd n", "against the best", "best for its labels", "best for its cost", "model",
    "where", "run",
]  # fmt: skip
NOT_MEASURED = "not measured"


def gathered(left: Panel, right: Panel) -> tuple[list[Way], list[str]]:
    """Return the ways of both panels and those measured elsewhere, and what cannot be compared."""
    ways, others = [], left.others
    failed = list(others.missing)
    for panel in (left, right):
        for name in _names(panel):
            try:
                ways.append(_of_panel(panel, name, (left, right)))
            except RecordError as error:
                failed.append(str(error).partition(". ")[0])
    return [*ways, *others.ways], failed


def cascades(ways: Sequence[Way], left: Panel, right: Panel) -> list[cascade.Cascade]:
    """Return the cascades of the ways, see `diptych.reporting.contrast.cascade`."""
    metric, _ = metric_of(left, right)
    if metric is None:
        return []
    sides = [[way for way in ways if (way.side == LEFT) is first] for first in (True, False)]
    return cascade.of(*sides, metric)


def table(ways: Sequence[Way], left: Panel, right: Panel, assumptions: Assumptions) -> pd.DataFrame:
    """Return a line for each way, best first.

    The rows are those that all ways answered with as many rows as the run's; of a way that was
    recorded on fewer, its own among them.

    Returns
    -------
    DataFrame
        ``way``, ``panel``, ``selected`` (by its panel), the metric's ``value``, ``low`` and
        ``high`` on ``n`` rows, ``labels`` it has seen, ``usd`` for 1,000 answers (of CPU) with its
        interval over ``usd n`` measurements, ``against the best`` (*best*, *tie*, *worse* or
        *inconclusive*, by the paired interval and the margin), ``best for its labels`` and ``best
        for its cost`` (nothing is better with no more), ``model``, ``where`` and ``run``. The
        attribute ``metric`` holds the `Metric`; ``note`` says why labels are not known. Without
        lines where no run recorded a metric, or the panels differ in it.
    """
    metric, _ = metric_of(left, right)
    lines = pd.DataFrame(columns=COLUMNS)
    same = _same(ways, (left, right))
    if metric is not None and len(same) > 1:
        measured = [_line(way, same, metric, assumptions) for way in ways]
        places = [k for k, line in enumerate(measured) if math.isfinite(line["value"])]
        if places:
            places.sort(key=lambda k: -metric.sign * measured[k]["value"])
            lines = pd.DataFrame([measured[k] for k in places])
            lines = _judged(lines, [ways[k] for k in places], same, metric, assumptions)
    note = CONTAMINATED if right.is_contaminated else ""
    lines.attrs |= {"metric": metric, "note": note}
    return lines.reindex(columns=COLUMNS)


def _names(panel: Panel) -> list[str]:
    """Return a panel's own ways; LLMOps has the predictions of MLOps beside its answers."""
    column, _, tables = GRADED[panel.name]
    frame = panel.table(BUILD, tables[0])
    names = [] if frame is None else list(frame[column].dropna().unique())
    if panel.name == LEFT:
        return names
    variants = panel.fact(BUILD, contract.EXAMPLES_SHOWN) or {}
    return [name for name in names if name in variants]


def _of_panel(panel: Panel, name: str, panels: tuple) -> Way:
    """Return a model or prompt of a panel; of the one in service what an answer took."""
    rows = panel.of_variant(name)
    rows = rows[~is_perturbed(rows.index)]
    hand = rows.index.str.startswith("hw-")
    selected = panel.fact(BUILD, GRADED[panel.name][1]) == name
    spent = cpu(panel, common_level(*panels, TOGETHER)) if selected else None
    if spent is not None:
        spent = Estimate(spent.value, spent.low, spent.high, spent.n)
    return Way(
        _named(panel, name, panels), panel.name, rows[~hand],
        panel.run(BUILD).id, selected, _labels(panel, name), rows[hand],
        validation=_validation(panel) if selected else None,
        cpu_ms=spent or (None if name == "baseline" else panel.others.cpu_ms.get(name)),
        model="" if panel.name == LEFT or panel.is_box_alone else panel.speakers,
    )  # fmt: skip


def _named(panel: Panel, name: str, panels: tuple) -> str:
    if panel.name == LEFT:
        metric, _ = metric_of(*panels)
        is_number = metric is not None and metric.needs == NUMBERS
        return MEAN if is_number and name == "baseline" else NAMES.get(name, name)
    return f"model in the box, {name}" if panel.is_box_alone else name


def _validation(panel: Panel) -> pd.DataFrame | None:
    """Return what the selected model answers to the validation rows of recorded ones."""
    ids = [way.validation.index for way in panel.others.ways if way.validation is not None]
    if panel.name != LEFT or not ids or (panel.lines["grader"] != "label").any():
        return None
    from diptych.core.data import versions
    from diptych.mlops import build

    run = panel.run(BUILD)
    data = versions.read((run.result.get("task") or {})["task"])
    data = data[data["id"].astype(str).isin(set().union(*ids))]
    model = build.load(run.id)
    lines = build.predictions({model.family: model}, data, "label").rename(
        columns={"label": "truth"}
    )
    return (
        lines.assign(id=lines["id"].astype(str)).set_index("id").reindex(columns=list(panel.lines))
    )


def _labels(panel: Panel, name: str) -> float:
    """Return the labels that a way has seen, NaN where that is not recorded."""
    if panel.is_contaminated:
        return math.nan
    if panel.name == LLMOPS:
        return float((panel.fact(BUILD, contract.EXAMPLES_SHOWN) or {}).get(name, math.nan))
    rows = panel.value(DATA, contract.TRAIN_ROWS)
    return math.nan if rows is None else rows.value


def _same(ways: Sequence[Way], panels: tuple) -> pd.Index:
    """Return the test rows that every way of the panels answered, and so did most others.

    Another way counts unless it has fewer than half of those that the panels' ways have.
    """
    same = None
    ours = [way for way in ways if way.run in {run.id for p in panels for run in p.runs.values()}]
    for way in ours or ways:
        same = way.rows.index if same is None else same.intersection(way.rows.index)
    if same is None:
        return pd.Index([], dtype=object)
    least = len(same) / 2
    for way in ways:
        both = same.intersection(way.rows.index)
        same = both if len(both) >= least else same
    return same.sort_values()


def _line(way: Way, same: pd.Index, metric: Metric, assumptions: Assumptions) -> dict:
    """Return one way's line; the verdict against the best comes later."""
    rows = way.rows.loc[same.intersection(way.rows.index)]
    measured = {"value": math.nan, "low": math.nan, "high": math.nan}
    if len(rows) > 1:
        estimate = fairness.figure(metric, scored(rows, way.rows, metric))
        measured = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    usd = way.usd(assumptions.usd_per_cpu_hour)
    names = ("usd", "usd low", "usd high", "usd n")
    costs = dict.fromkeys(names, math.nan)
    if usd is not None:
        costs = dict(zip(names, (usd.value, usd.low, usd.high, usd.n), strict=True))
    known = {"way": way.name, "panel": way.side, "selected": way.selected, "labels": way.labels,
             "model": way.model, "where": way.where, "run": way.run}  # fmt: skip
    return known | measured | costs | {"n": len(rows)}


def _judged(
    lines: pd.DataFrame, ways: Sequence[Way], same: pd.Index, metric: Metric,
    assumptions: Assumptions,
) -> pd.DataFrame:  # fmt: skip
    """Compare each way with the best one, row by row, and mark both frontiers."""
    margin = in_units(assumptions.margin, metric, lines["value"].iloc[0])
    words = ["best", *(_against(way, ways[0], same, metric, margin) for way in ways[1:])]
    return lines.assign(**{
        "against the best": words,
        "best for its labels": frontier(lines["labels"].fillna(math.inf)),
        "best for its cost": frontier(lines["usd"].fillna(math.inf)),
    })  # fmt: skip


def frontier(takes: pd.Series) -> list[bool]:
    """Say of ways, best first, whether none before takes as little."""
    return [
        bool(math.isfinite(takes.iloc[k]) and not (takes.iloc[:k] <= takes.iloc[k]).any())
        for k in range(len(takes))
    ]


def _against(way: Way, best: Way, same: pd.Index, metric: Metric, margin: float) -> str:
    both = same.intersection(way.rows.index).intersection(best.rows.index)
    if len(both) < 2:
        return NOT_MEASURED
    pair = [scored(one.rows.loc[both], one.rows, metric) for one in (way, best)]
    gap = metric.improvement(*pair)
    if gap.note or not math.isfinite(gap.low):
        return "inconclusive"
    outcome = stats.verdict(Estimate(gap.value, gap.low, gap.high, gap.n), margin)
    return "inconclusive" if outcome == "unclear" else outcome


def standing_for(panel: Panel, compared: Sequence[Way]) -> Way | None:
    """Return the way that stands for a panel's quality: its representative, else the selected."""
    own = (way for way in compared if way.side == panel.name and way.selected)
    return panel.representative or next(own, None)


def better(way: Way, other: Way, part: str, metric: Metric) -> Estimate | None:
    """Return how much better a way is than another on the rows that both answered.

    Parameters
    ----------
    part : {"rows", "by_hand"}
    """
    frames = [getattr(one, part) for one in (way, other)]
    if any(frame is None for frame in frames):
        return None
    both = frames[0].index.intersection(frames[1].index)
    if len(both) < 2:
        return None
    gap = metric.improvement(*(scored(frame.loc[both], frame, metric) for frame in frames))
    if gap.note or not math.isfinite(gap.low):
        return None
    return Estimate(gap.value, gap.low, gap.high, gap.n)


def with_forecast(lines: pd.DataFrame, forecast: pd.DataFrame) -> pd.DataFrame:
    """Return the table with models whose price is known and whose quality was not measured."""
    more = [
        {"way": row.model, "panel": LLMOPS, "usd": row.usd, "against the best": NOT_MEASURED,
         "model": "hosted", "where": f"price from {row.source}; quality not measured", "run": ""}
        for row in forecast.dropna(subset="usd").itertuples()
    ]  # fmt: skip
    if not more:
        return lines
    whole = pd.concat([lines, pd.DataFrame(more).reindex(columns=COLUMNS)], ignore_index=True)
    marks = ["selected", "best for its labels", "best for its cost"]
    whole[marks] = whole[marks].eq(True)
    whole.attrs |= lines.attrs
    return whole
