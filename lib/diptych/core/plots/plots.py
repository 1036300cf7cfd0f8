"""Figures and tables of the notebooks: one house style, words and numbers beside every picture.

A figure is shown as one HTML output: a picture that reads in light and dark, the description a
screen reader speaks, and a table of the same data.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from diptych.core.evaluation import stats
from diptych.core.plots.html import figure_html, show, table
from diptych.core.plots.style import MARKERS, SERIES, figure, styled

__all__ = [
    "drift_plot",
    "figure",
    "interval_plot",
    "latency_plot",
    "learning_curve",
    "line_with_band",
    "reliability_plot",
    "show",
    "table",
]


MOST_MARKERS = 100  # on a line; more hide it


def interval_plot(
    frame: pd.DataFrame,
    *,
    xlabel: str = "accuracy",
    reference: tuple[float, str] | None = None,
    alt: str = "",
    caption: str = "",
) -> None:
    """Show values with their intervals, one row each, the frame's first row on top.

    Parameters
    ----------
    frame : DataFrame
        ``name``, ``value``, ``low`` and ``high`` (NaN: no interval); further columns only appear
        in the table.
    reference : tuple of float and str, optional
        A value to compare with, drawn as a dashed line, and its label.
    alt : str
        Description of the figure; written from the data when empty.
    """
    fig, description = _intervals(frame, xlabel, reference)
    show(fig, alt or description, frame, caption)


def interval_html(
    frame: pd.DataFrame,
    *,
    xlabel: str = "accuracy",
    reference: tuple[float, str] | None = None,
    caption: str = "",
) -> str:
    """Return as HTML what `interval_plot` shows, without the table."""
    fig, description = _intervals(frame, xlabel, reference)
    return figure_html(fig, description, caption=caption)


@styled
def _intervals(frame: pd.DataFrame, xlabel: str, reference: tuple[float, str] | None) -> Any:
    """Return the figure of `interval_plot` and its description."""
    fig, axes = figure(56 + 26 * len(frame))
    rows = np.arange(len(frame))
    value, low, high = (frame[key].to_numpy(dtype=float) for key in ("value", "low", "high"))
    axes.hlines(rows, low, high, color=SERIES[0], linewidth=2)
    axes.plot(value, rows, "o", color=SERIES[0], markersize=8)
    for row, number in zip(rows, value, strict=True):
        axes.annotate(
            f"{number:.3f}",
            (1, row),
            (8, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
        )
    if reference:
        _reference(axes, reference, upright=True)
    axes.set(yticks=rows, yticklabels=frame["name"].astype(str), xlabel=xlabel)
    axes.set_ylim(len(frame) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    spoken = (
        f"{name} {v:.3f}" + ("" if np.isnan(lo) else f" ({lo:.3f} to {hi:.3f})")
        for name, v, lo, hi in zip(frame["name"], value, low, high, strict=True)
    )
    return fig, f"{xlabel} with intervals: {', '.join(spoken)}."


@styled
def line_with_band(
    x: Sequence,
    y: Sequence[float],
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    series: str | Sequence[str] = "",
    *,
    xlabel: str,
    ylabel: str,
    marks: Mapping | Sequence = (),
    reference: tuple[float, str] | None = None,
    log: bool = False,
    alt: str = "",
    caption: str = "",
) -> None:
    """Show values along an axis as lines, each in the band of its interval.

    Parameters
    ----------
    x : sequence, shape (n,)
        Numbers, dates, or names in the order they should appear.
    y, low, high : sequences of float, shape (n,)
        The values and their intervals.
    series : str or sequence of str, shape (n,)
        The line each row belongs to; one name, or none, for a single line.
    marks : mapping of an x to its label, or sequence of x
        Places to point out, such as windows with an alarm (the label of a bare sequence).
    reference : tuple of float and str, optional
        A level drawn as a dashed line, and its label.
    log : bool
        Logarithmic x axis.
    """
    data = pd.DataFrame({"series": series, "x": list(x), "y": np.asarray(y, dtype=float)})
    data["low"] = data["y"] if low is None else np.asarray(low, dtype=float)
    data["high"] = data["y"] if high is None else np.asarray(high, dtype=float)
    marks = marks if isinstance(marks, Mapping) else dict.fromkeys(marks, "alarm")
    fig, axes = figure(310)
    place = _place(axes, data["x"])
    if log:
        axes.set_xscale("log")
        axes.set_xticks(data["x"].unique(), [f"{value:,}" for value in data["x"].unique()])
        axes.minorticks_off()
    for number, (name, line) in enumerate(data.groupby("series", sort=False)):
        color, at = SERIES[number % len(SERIES)], place(line["x"])
        axes.fill_between(at, line["low"], line["high"], color=color, alpha=0.16, linewidth=0)
        if low is not None or high is not None:
            edges = {"color": color, "linewidth": 0.8, "linestyle": (0, (3, 2))}
            axes.plot(at, line["low"], **edges)
            axes.plot(at, line["high"], **edges)
        marker = MARKERS[number % len(MARKERS)] if len(line) <= MOST_MARKERS else ""
        axes.plot(at, line["y"], marker=marker, color=color, label=name)
    _mark(axes, marks, place)
    if reference:
        _reference(axes, reference)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if (lines := data["series"].nunique()) > 1:
        fig.legend(loc="outside upper left", ncols=lines)
    shown = data.rename(columns={"x": xlabel, "y": ylabel})
    if marks:
        shown["mark"] = [marks.get(value, "") for value in data["x"]]
    unused = [] if lines > 1 else ["series"]
    unused += [] if low is not None or high is not None else ["low", "high"]
    show(fig, alt or _describe(data, xlabel, ylabel, marks), shown.drop(columns=unused), caption)


def learning_curve(
    frame: pd.DataFrame, *, ylabel: str = "accuracy", alt: str = "", caption: str = ""
) -> None:
    """Show quality against the number of labelled rows, on a logarithmic axis.

    Parameters
    ----------
    frame : DataFrame
        ``rows``, ``value``, ``low``, ``high`` and, for several lines, ``series``.
    """
    line_with_band(
        frame["rows"],
        frame["value"],
        frame["low"],
        frame["high"],
        frame.get("series", ""),
        xlabel="labelled rows",
        ylabel=ylabel,
        log=True,
        alt=alt,
        caption=caption,
    )


@styled
def reliability_plot(
    confidence: Sequence[float] | Mapping[str, Sequence[float]],
    correct: Sequence[bool],
    *,
    bins: int = 10,
    alt: str = "",
    caption: str = "",
) -> None:
    """Show how often predictions are right against how sure the model was.

    Bins of about equal size with their Wilson interval (DeGroot and Fienberg 1983, The
    Statistician 32, 12-22). A calibrated model lies on the diagonal.

    Parameters
    ----------
    confidence : sequence of float, shape (n,), or mapping of a name to such a sequence
        Probability of the predicted class, for one or several models.
    correct : sequence of bool, shape (n,)
    """
    models = confidence if isinstance(confidence, Mapping) else {"": confidence}
    lines = {name: stats.reliability(values, correct, bins) for name, values in models.items()}
    data = pd.concat(lines, names=["model"]).reset_index("model").reset_index(drop=True)
    data.columns = ["model", "stated confidence", "share correct", "rows", "low", "high"]
    fig, axes = figure(330)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle=(0, (4, 3)), alpha=0.6)
    for number, (name, line) in enumerate(lines.items()):
        color, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
        axes.vlines(line["confidence"], line["low"], line["high"], color=color, linewidth=1.2)
        axes.plot(line["confidence"], line["accuracy"], marker=marker, color=color, label=name)
    least = max(0.0, min(data["stated confidence"].min(), data["low"].min()) - 0.03)
    limits = (least, 1.02)
    axes.set(xlim=limits, ylim=limits, xlabel="stated confidence", ylabel="share correct")
    if len(models) > 1:
        fig.legend(loc="outside upper left", ncols=len(models))
    gap = (data["stated confidence"] - data["share correct"]).abs()
    described = alt or (
        f"Share of correct predictions against stated confidence in {len(data)} bins; the largest "
        f"distance to the diagonal is {gap.max():.3f}, at confidence "
        f"{data['stated confidence'][gap.idxmax()]:.2f}."
    )
    show(fig, described, data if len(models) > 1 else data.drop(columns="model"), caption)


@styled
def latency_plot(
    milliseconds: Sequence[float] | Mapping[str, Sequence[float]],
    *,
    limit: float | None = None,
    alt: str = "",
    caption: str = "",
) -> None:
    """Show the share of requests answered within a time, with p50, p95 and p99 marked.

    Parameters
    ----------
    milliseconds : sequence of float, shape (n,), or mapping of a name to such a sequence
    limit : float, optional
        The latency promised, in milliseconds.
    """
    groups = milliseconds if isinstance(milliseconds, Mapping) else {"": milliseconds}
    fig, axes = figure(300)
    axes.set_xscale("log")
    shares, rows = np.linspace(0, 1, 201), []
    for number, (name, measured) in enumerate(groups.items()):
        values = np.asarray(measured, dtype=float)
        color, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
        marked = np.quantile(values, [0.5, 0.95, 0.99])
        spoken = "p50 {:.3g}, p95 {:.3g}, p99 {:.3g} ms".format(*marked)
        label = f"{name}: {spoken}" if name else spoken
        # 201 quantiles draw the same curve as any number of requests
        axes.plot(np.quantile(values, shares), shares, color=color)
        axes.plot(marked, [0.5, 0.95, 0.99], marker, color=color, markersize=8, label=label)
        rows.append([label, name, *marked, values.max(), len(values)])
    if limit:
        _reference(axes, (limit, f"limit {limit:g} ms"), upright=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="milliseconds", ylabel="share of requests", ylim=(0, 1.03))
    fig.legend(loc="outside upper left")
    names = ["label", "series", "p50 ms", "p95 ms", "p99 ms", "slowest ms", "requests"]
    data = pd.DataFrame(rows, columns=names)
    described = alt or f"Share of requests answered within a time. {'; '.join(data['label'])}."
    unused = ["label"] if len(groups) > 1 else ["label", "series"]
    show(fig, described, data.drop(columns=unused), caption)


@styled
def load_curve(curve: pd.DataFrame, *, alt: str = "", caption: str = "") -> None:
    """Show latency against throughput, a point for each number of requests under way.

    Parameters
    ----------
    curve : DataFrame
        From `diptych.core.evaluation.load_curve.of_rounds`; levels without figures are left out.
    """
    known = curve.dropna(subset=["p50_ms", "requests_per_s"])
    fig, axes = figure(300)
    axes.set(xscale="log", yscale="log", xlabel="requests a second", ylabel="milliseconds")
    for number, (name, label) in enumerate((("p50_ms", "p50"), ("p95_ms", "p95"))):
        color, marker = SERIES[number], MARKERS[number]
        ends = known[name] - known[f"{name} low"], known[f"{name} high"] - known[name]
        axes.errorbar(
            known["requests_per_s"], known[name], ends, fmt=marker + "-", color=color, label=label
        )
    for level, rate, latency in known[["concurrency", "requests_per_s", "p50_ms"]].itertuples(
        index=False
    ):
        axes.annotate(f"{level:g} at once", (rate, latency), (4, -12), textcoords="offset points")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    fig.legend(loc="outside upper left", ncols=2)
    points = [
        f"{line.concurrency} at once: p50 {line.p50_ms:.3g} ms, {line.requests_per_s:.3g} a second"
        for line in known.itertuples()
    ]
    described = alt or f"Latency against throughput. {'; '.join(points)}."
    shown = ["concurrency", "requests", "failed", "p50_ms", "p95_ms", "requests_per_s"]
    show(fig, described, curve[shown], caption or "Latency against throughput, 95 % intervals")


@styled
def drift_plot(
    scores: pd.DataFrame,
    threshold: float,
    *,
    score: str = "drift",
    xlabel: str = "window",
    alt: str = "",
    caption: str = "",
) -> None:
    """Show drift per feature and window: the darker, the further; a dot from the threshold on.

    Parameters
    ----------
    scores : DataFrame, shape (features, windows)
        Index: features; columns: windows in order; values at least 0, NaN where not measured.
    threshold : float
        The score from which a window counts as drifted.
    score : str
        Name of the measure, such as ``"PSI"``.
    """
    from matplotlib.colors import to_rgba

    values = scores.to_numpy(dtype=float)
    top = max(np.nanmax(values, initial=0.0), threshold)
    cells = np.zeros((*values.shape, 4))
    cells[...] = to_rgba(SERIES[1])
    cells[..., 3] = np.nan_to_num(0.05 + 0.6 * np.clip(values / top, 0, 1))
    fig, axes = figure(72 + 24 * len(scores))
    axes.pcolormesh(cells)
    drifted = np.argwhere(values >= threshold)
    axes.plot(drifted[:, 1] + 0.5, drifted[:, 0] + 0.5, "o", color="black", markersize=5)
    features, windows = [str(f) for f in scores.index], [str(w) for w in scores.columns]
    axes.set(yticks=np.arange(len(features)) + 0.5, yticklabels=features, xlabel=xlabel)
    step = -(-len(windows) // 7)
    axes.set_xticks(np.arange(0, len(windows), step) + 0.5, windows[::step])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    key = f"● {score} {threshold:g} or more; darkest is {top:.2g}"
    fig.legend([], [], title=key, loc="outside upper left", borderpad=0)
    hits: dict[str, list[str]] = {}
    for row, column in drifted:
        hits.setdefault(features[row], []).append(windows[column])
    named = "; ".join(f"{name} in {', '.join(at)}" for name, at in hits.items()) or "none"
    described = alt or f"{score} by feature and {xlabel}. At {threshold:g} or more: {named}."
    show(fig, described, scores.reset_index(names="feature").rename(columns=str), caption)


def _place(axes: Any, x: pd.Series) -> Any:
    """Return the function that puts values of `x` on the axis; names are set out in order."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    if pd.api.types.is_numeric_dtype(x):
        return lambda values: pd.Series(values).to_numpy(dtype=float)
    if pd.api.types.is_datetime64_any_dtype(x):
        locator = AutoDateLocator(maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        return lambda values: pd.to_datetime(pd.Series(values)).dt.tz_localize(None).to_numpy()
    order = {value: position for position, value in enumerate(dict.fromkeys(x))}
    step = -(-len(order) // 7)
    axes.set_xticks(range(0, len(order), step), [str(value) for value in order][::step])
    return lambda values: np.array([order[value] for value in values])


def _mark(axes: Any, marks: Mapping, place: Any) -> None:
    """Point out places by a triangle, a dotted line and, where the label changes, its words."""
    before = None
    for at, label in zip(place(list(marks)), marks.values(), strict=True) if marks else ():
        axes.axvline(at, color="black", linewidth=1, linestyle=(0, (1, 2)), alpha=0.7)
        top = axes.get_xaxis_transform()
        axes.plot(at, 1, "v", color="black", markersize=8, transform=top, clip_on=False)
        if label != before:
            axes.annotate(label, (at, 1), (0, 8), xycoords=top, textcoords="offset points")
        before = label


def _reference(axes: Any, reference: tuple[float, str], upright: bool = False) -> None:
    """Draw a dashed line whose label stands just outside the axes."""
    level, label = reference
    style = {"color": "black", "linewidth": 1, "linestyle": (0, (4, 3)), "alpha": 0.7}
    if upright:
        axes.axvline(level, **style)
        place, corner, offset = axes.get_xaxis_transform(), (float(level), 1.0), (-2, 4)
    else:
        axes.axhline(level, **style)
        place, corner, offset = axes.get_yaxis_transform(), (1.0, float(level)), (5, -4)
    axes.annotate(label, corner, offset, xycoords=place, textcoords="offset points")


def _describe(data: pd.DataFrame, xlabel: str, ylabel: str, marks: Mapping) -> str:
    """Say in words what a line plot shows."""
    parts = []
    for name, line in data.dropna(subset="y").groupby("series", sort=False):
        first, last = line.iloc[0], line.iloc[-1]
        least, most = line["y"].min(), line["y"].max()
        parts.append(
            f"{name} from {first['y']:.3f} at {_word(first['x'])} to {last['y']:.3f} at "
            f"{_word(last['x'])}, between {least:.3f} and {most:.3f}".strip()
        )
    marked = ", ".join(f"{label} at {_word(at)}" for at, label in marks.items())
    return f"{ylabel} by {xlabel}: {'; '.join(parts)}." + (f" Marked: {marked}." if marked else "")


def _word(x: Any) -> str:
    return f"{x:%Y-%m-%d}" if isinstance(x, pd.Timestamp) else str(x)
