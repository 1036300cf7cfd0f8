"""Write a sweep as a page: the best point so far, the metric by each parameter, all points."""

from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from diptych.base import workspace
from diptych.base.secrets import Redactor
from diptych.core.plots.html import figure_html
from diptych.core.plots.style import SERIES, figure, styled
from diptych.execution.pages.export import provenance, render
from diptych.execution.sweeps.sweep import Result, Trial
from diptych.reporting.site.site import TEMPLATES

SHOWN = 200  # points in the page's table; the files have all
FAILURES = 50
COLUMNS = 6  # of figures besides the metric
NAMES = 40  # characters of a value on an axis


def write(result: Result) -> Path:
    """Write ``index.html`` into the sweep's folder and return it."""
    plan, ranked = result.plan, result.ranked
    others = [t for t in result.trials if t not in ranked and t.status != "failed"]
    rows = [*ranked, *sorted(others, key=lambda trial: trial.number)]
    measured = [*filter(None, [plan.metric, "95 % interval" if _intervals(rows) else ""])]
    others_recorded = _others_recorded(result)
    html = render(
        "sweep.html.j2",
        TEMPLATES,
        title=f"Sweep of {plan.base.name}",
        panel="",
        summary=_summary(result),
        count=len(result.trials),
        figures=[Markup(html) for html in _figures(result)],
        columns=[*plan.varied, *measured, *others_recorded, "seconds"],
        caption=_caption(result, len(rows)),
        rows=[_row(result, trial, len(measured), others_recorded) for trial in rows[:SHOWN]],
        failed=[_failure(result, trial) for trial in result.failed[:FAILURES]],
        provenance=provenance({
            "notebook": plan.base.shown,
            "parameters": {k: v for k, v in plan.base.values.items() if k not in plan.varied},
            "seed": plan.seed,
        }),
    )  # fmt: skip
    page = result.folder / "index.html"
    workspace.write_atomic(page, Redactor().text(html))
    return page


def _summary(result: Result) -> str:
    plan, best = result.plan, next(iter(result.ranked), None)
    tried = f"{len(result.trials)} points tried"
    if best is None:
        return f"{tried}; none has a metric to compare by."
    goal = "least" if plan.minimize else "greatest"
    return f"{tried}; the {goal} {plan.metric}, {best.value:.4g}, is at {_words(best)}."


def _caption(result: Result, count: int) -> str:
    order = "best first" if result.ranked else "in order"
    return f"Points, {order}" + (f"; the first {SHOWN} of {count}" if count > SHOWN else "")


def _others_recorded(result: Result) -> list[str]:
    """Return the figures that were recorded besides the metric, without their intervals."""
    names = dict.fromkeys(name for trial in result.trials for name in trial.recorded)
    plain = [
        name
        for name in names
        if name != result.plan.metric
        and not any(name == f"{other}_{end}" for other in names for end in ("low", "high"))
    ]
    return plain[:COLUMNS]


def _row(result: Result, trial: Trial, measured: int, others: list[str]) -> dict:
    cells = [_text(trial.point.get(name)) for name in result.plan.varied]
    if measured:
        cells.append("" if trial.value is None else f"{trial.value:.4g}")
    if measured > 1:
        cells.append("" if trial.low is None or trial.high is None
                     else f"{trial.low:.4g} to {trial.high:.4g}")  # fmt: skip
    cells += [_figure(trial.recorded.get(name)) for name in others]
    cells.append("" if trial.seconds is None else f"{trial.seconds:.1f}")
    return {"cells": cells, **_linked(result, trial)}


def _failure(result: Result, trial: Trial) -> dict:
    return {"point": _words(trial), "error": trial.error[:500], **_linked(result, trial)}


def _linked(result: Result, trial: Trial) -> dict:
    page = f"runs/{trial.run}/notebook.html"
    there = trial.run and (result.folder / page).exists()
    return {"run": trial.run, "href": page if there else ""}


def _intervals(trials: list[Trial]) -> bool:
    return any(trial.low is not None and trial.high is not None for trial in trials)


def _figures(result: Result) -> list[str]:
    trials = [trial for trial in result.trials if trial.value is not None]
    if len(trials) < 2:
        return []
    frame = pd.DataFrame([trial.point | {"value": trial.value} for trial in trials])
    drawn = [_best_so_far(frame, result)]
    return drawn + [_part(frame, name, result) for name in result.plan.varied
                    if frame[name].map(_text).nunique() > 1]  # fmt: skip


@styled
def _best_so_far(frame: pd.DataFrame, result: Result) -> str:
    """Draw every point in the order they ended, and the best up to each."""
    plan = result.plan
    values = frame["value"].to_numpy(dtype=float)
    best = (np.minimum if plan.minimize else np.maximum).accumulate(values)
    fig, axes = figure(260)
    at = np.arange(1, len(values) + 1)
    axes.plot(at, values, "o", color=SERIES[0], alpha=0.8, markersize=5)
    axes.step(at, best, where="post", color=SERIES[1])
    axes.set(xlabel="points done", ylabel=plan.metric)
    reached = int(np.argmax(best == best[-1])) + 1
    alt = (f"{plan.metric} of {len(values)} points in the order they ended; the best, "
           f"{best[-1]:.4g}, came as number {reached}.")  # fmt: skip
    return figure_html(fig, alt, caption="Best so far")


@styled
def _part(frame: pd.DataFrame, name: str, result: Result) -> str:
    """Draw the metric against one parameter: every point, and the median of each value."""
    metric, known = result.plan.metric, pd.api.types.is_numeric_dtype(frame[name])
    known &= not pd.api.types.is_bool_dtype(frame[name])
    texts = frame[name].map(_text)
    order = texts[frame[name].sort_values().index] if known else texts
    values = list(dict.fromkeys(order))
    place = {text: number for number, text in enumerate(values)}
    medians = frame.groupby(texts)["value"].median()[values]
    fig, axes = figure(240)
    axes.plot(texts.map(place), frame["value"], "o", color=SERIES[0], alpha=0.8, markersize=5)
    style = "-" if known else "none"
    axes.plot(range(len(values)), medians, "D", linestyle=style, color=SERIES[1], markersize=5)
    step = max(1, len(values) // 12)
    axes.set_xticks(range(0, len(values), step), [text[:NAMES] for text in values[::step]])
    axes.set(xlabel=name, ylabel=metric)
    table = pd.DataFrame({name: values, f"median {metric}": medians.to_numpy()})
    spoken = ", ".join(f"{text} {value:.4g}" for text, value in medians.head(12).items())
    return figure_html(fig, f"Median {metric} by {name}: {spoken}.", table, f"By {name}")


def _words(trial: Trial) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in trial.point.items())


def _figure(value) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:NAMES]


def _text(value) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
