"""Pictures of what a model decides: confusion, ROC and precision-recall, thresholds, residuals."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from diptych.base.workspace import write_atomic
from diptych.core.evaluation import fairness
from diptych.core.evaluation.metrics import METRICS, Metric
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.thresholds import Threshold, applied
from diptych.core.plots.html import saving, show
from diptych.core.plots.html import table as show_table
from diptych.core.plots.plots import interval_plot, reliability_plot
from diptych.core.plots.style import MARKERS, SERIES, figure, styled

BRACKETS = str.maketrans({"[": "(", "]": ")", "\n": " "})  # in the description of a picture
POINTS = 400  # of a drawn curve
MOST_DOTS = 3_000
NO_ANSWER = "no answer"
MOST_CLASSES = 20
LONGEST, CHARACTERS = 28, 62  # of a class's name; of all names that fit beside each other


def decision_plots(
    rows: ScoredRows,
    chosen: Threshold | None = None,
    caption: str = "",
    half_width: float | None = None,
) -> None:
    """Show the pictures that suit the rows: of errors for numbers, of decisions for labels.

    Labels have their confusion matrix; two classes with probabilities also ROC and
    precision-recall curves, and with a chosen threshold the metric against it. Grades of texts
    have none.

    Parameters
    ----------
    chosen : Threshold, optional
        At which the labels were predicted; without it, of the likelier class.
    caption : str
        Which rows these are.
    half_width : float, optional
        Of the prediction interval of numbers.
    """
    if rows.grades is not None:
        return
    if not rows.classes:
        residual_plot(rows, half_width=half_width, caption=caption)
        return
    confusion_plot(rows, caption=caption)
    if rows.positive and rows.probabilities is not None and 0 < rows.is_positive.mean() < 1:
        at = 0.5 if chosen is None else chosen.value
        roc_and_precision_plot(rows, threshold=at, caption=caption)
    if chosen is not None:
        threshold_plot(chosen, caption="Chosen on the validation set")


def card_pictures(
    rows: ScoredRows,
    folder: Path,
    chosen: Threshold | None = None,
    half_width: float | None = None,
) -> str:
    """Save the pictures that suit the rows beside a card, and return the Markdown that shows them.

    Those of `decision_plots`, and of labels with probabilities the reliability diagram.

    Parameters
    ----------
    folder : Path
        Of the card; the pictures go into ``pictures`` there.
    """
    with saving() as pictures:
        decision_plots(rows, chosen, half_width=half_width)
        if rows.classes and rows.probabilities is not None:
            # whatever was answered at the threshold
            likeliest = rows.probabilities.argmax(axis=1) == rows.true_codes
            reliability_plot(rows.probabilities.max(axis=1), likeliest)
    lines = []
    (folder / "pictures").mkdir(exist_ok=True)
    for number, (svg, alt) in enumerate(pictures, 1):
        write_atomic(folder / "pictures" / f"{number}.svg", svg)
        lines.append(f"![{alt.translate(BRACKETS)}](pictures/{number}.svg)\n")
    return "\n".join(["\n\n## Pictures\n", *lines]) if lines else ""


def group_plots(rows: ScoredRows, groups: pd.DataFrame, metric: Metric, caption: str = "") -> None:
    """Show a metric by group as a forest plot, the groups' rates, and the largest gaps.

    Parameters
    ----------
    groups : DataFrame, shape (n, columns)
        Names of groups, the rows in order, see `fairness`; without columns nothing is shown.
    """
    tables = []
    for column in groups:
        table = fairness.by_group(rows, groups[column], metric)
        tables.append(table.assign(name=f"{column} " + table["name"]))
    if not tables:
        return
    table = pd.concat(tables, ignore_index=True)
    measured = table[np.isfinite(table["value"])]
    overall = fairness.figure(metric, rows).value
    if len(measured):
        reference = (overall, "all rows") if np.isfinite(overall) else None
        interval_plot(
            measured[["name", "value", "low", "high", "n"]], xlabel=metric.title,
            reference=reference, caption=caption,
        )  # fmt: skip
    show_table(table, caption="By group")
    show_table(fairness.gaps(rows, groups, metric), caption="Largest gaps between groups")


@styled
def confusion_plot(rows: ScoredRows, *, alt: str = "", caption: str = "") -> None:
    """Show how often each true class is predicted as each, as counts and shares of the true class.

    Of more than `MOST_CLASSES` classes the most frequent ones are shown, the others together.

    Parameters
    ----------
    rows : ScoredRows
        Of labels; what is not answered stands in a column of its own.
    """
    table = _crosstab(rows)
    shares = table.div(table.sum(axis=1).clip(lower=1), axis=0)
    fig, axes = figure(90 + 30 * len(table))
    cells = np.zeros((*table.shape, 4))
    cells[..., :3] = _rgb(SERIES[0])
    cells[..., 3] = 0.03 + 0.45 * shares.to_numpy()
    axes.pcolormesh(cells)
    for i, j in np.ndindex(table.shape):
        text = f"{table.iat[i, j]:,}" + (f" ({shares.iat[i, j]:.0%})" if len(table) <= 6 else "")
        axes.text(j + 0.5, i + 0.5, text, ha="center", va="center")
    across, down = ([_cut(name) for name in names] for names in (table.columns, table.index))
    beside = max(map(len, across)) * len(across) <= CHARACTERS - max(map(len, down))
    upright = {} if beside else {"rotation": 90}
    axes.set_xticks(np.arange(table.shape[1]) + 0.5, across, **upright)
    axes.set_yticks(np.arange(len(table)) + 0.5, down)
    axes.set(xlabel="predicted", ylabel="true")
    axes.invert_yaxis()
    axes.grid(visible=False)
    right = sum(table.at[name, name] for name in table.index if name in table.columns)
    described = alt or (
        f"Confusion matrix of {int(table.to_numpy().sum()):,} rows and {len(table)} classes; "
        f"{int(right):,} are right. " + _worst(table)
    )
    show(fig, described, table.reset_index(names="true"), caption)


def _cut(name: object) -> str:
    """Return the name of a class, shortened in the middle where it is long."""
    text = str(name)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 9]}…{text[-8:]}"


def _crosstab(rows: ScoredRows) -> pd.DataFrame:
    truth, predicted = pd.Series(rows.truth), pd.Series(rows.predicted).fillna(NO_ANSWER)
    counts = truth.value_counts()
    names = sorted(rows.classes, key=lambda name: -counts.get(name, 0))
    if len(names) > MOST_CLASSES:
        frequent = set(names[: MOST_CLASSES - 1])
        truth, predicted = (
            truth.where(truth.isin(frequent), "others"),
            predicted.where(predicted.isin({*frequent, NO_ANSWER}), "others"),
        )
        names = [*names[: MOST_CLASSES - 1], "others"]
    table = pd.crosstab(truth, predicted)
    columns = [*names, *(name for name in table.columns if name not in names)]
    return table.reindex(index=names, columns=columns, fill_value=0)


def _worst(table: pd.DataFrame) -> str:
    wrong = table.stack()
    wrong = wrong[[true != predicted for true, predicted in wrong.index]]
    if wrong.empty or not wrong.max():
        return "No class is taken for another."
    true, predicted = wrong.idxmax()
    return f"The most frequent error: {true} taken for {predicted}, {int(wrong.max()):,} times."


@styled
def roc_and_precision_plot(
    rows: ScoredRows | Mapping[str, ScoredRows],
    *,
    threshold: float | None = None,
    alt: str = "",
    caption: str = "",
) -> None:
    """Show the ROC curve beside the precision-recall curve, with the chosen threshold marked.

    Parameters
    ----------
    rows : ScoredRows, or mapping of a name to such
        Of two classes, with probabilities; the same rows for every name.
    threshold : float, optional
        Marked on the curves of the first.
    """
    models = rows if isinstance(rows, Mapping) else {"": rows}
    fig, (roc, recall) = figure(330, columns=2)
    lines = []
    for number, (name, one) in enumerate(models.items()):
        color, curve = SERIES[number % len(SERIES)], _rates(one)
        roc.plot(curve["false positive rate"], curve["recall"], color=color, label=name or None)
        recall.plot(curve["recall"], curve["precision"], color=color)
        areas = [METRICS[key].estimate(one) for key in ("roc_auc", "average_precision")]
        lines.append([name, *(str(area) for area in areas)])
    first = next(iter(models.values()))
    share = float(first.is_positive.mean())
    dashed = {"color": "black", "linewidth": 1, "linestyle": (0, (4, 3)), "alpha": 0.6}
    roc.plot([0, 1], [0, 1], **dashed)
    recall.plot([0, 1], [share, share], **dashed)
    if threshold is not None:
        at = _at(first, threshold)
        dot = {"marker": MARKERS[1], "color": "black", "markersize": 8, "linestyle": ""}
        roc.plot(at["false positive rate"], at["recall"], **dot)
        recall.plot(at["recall"], at["precision"], **dot, label=f"threshold {threshold:.3f}")
    roc.set(xlabel="false positive rate", ylabel="recall", xlim=(0, 1.01), ylim=(0, 1.02))
    recall.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    for axes in (roc, recall):
        axes.tick_params(pad=7)  # else the zeros of both axes touch
    if len(models) > 1 or threshold is not None:
        fig.legend(loc="outside upper left", ncols=len(models) + 1)
    data = pd.DataFrame(lines, columns=["model", "ROC-AUC", "average precision"])
    described = alt or f"ROC and precision-recall curves of {first.positive}. " + "; ".join(
        f"{name or 'the model'}: ROC-AUC {roc_auc}, average precision {area}"
        for name, roc_auc, area in lines
    )
    show(fig, described, data if len(models) > 1 else data.drop(columns="model"), caption)


def _rates(rows: ScoredRows) -> pd.DataFrame:
    """Return recall, false positive rate and precision at every level of the score."""
    order = np.argsort(-rows.score, kind="stable")
    yes, score = rows.is_positive[order], rows.score[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    hits, flagged = np.cumsum(yes)[last], last + 1.0
    positives, negatives = max(yes.sum(), 1), max((~yes).sum(), 1)
    frame = pd.DataFrame({
        "recall": hits / positives,
        "false positive rate": (flagged - hits) / negatives,
        "precision": hits / flagged,
    })  # fmt: skip
    if len(frame) > POINTS:
        frame = frame.iloc[np.unique(np.linspace(0, len(frame) - 1, POINTS).astype(int))]
    start = pd.DataFrame({"recall": [0.0], "false positive rate": 0.0,
                          "precision": frame["precision"].iloc[0]})  # fmt: skip
    return pd.concat([start, frame], ignore_index=True)


def _at(rows: ScoredRows, threshold: float) -> dict[str, float]:
    rows = applied(rows, threshold)
    no = ~rows.is_positive
    return {
        "recall": METRICS["recall"].influences(rows)[0],
        "precision": METRICS["precision"].influences(rows)[0],
        "false positive rate": float(rows.says_positive[no].mean()) if no.any() else np.nan,
    }


@styled
def threshold_plot(chosen: Threshold, *, alt: str = "", caption: str = "") -> None:
    """Show a metric, or a cost, against the threshold, with the chosen one marked."""
    fig, axes = figure(260)
    axes.plot(chosen.curve["threshold"], chosen.curve["value"], color=SERIES[0])
    label = f"chosen: {chosen.value:.3f}"
    axes.axvline(chosen.value, color="black", linewidth=1, linestyle=(0, (4, 3)), label=label)
    fig.legend(loc="outside upper left")
    axes.set(xlabel="threshold of the probability", ylabel=chosen.metric.title)
    best = np.interp(chosen.value, chosen.curve["threshold"], chosen.curve["value"])
    described = alt or (
        f"{chosen.metric.title} against the threshold; {best:.3f} at the chosen one, "
        f"{chosen.value:.3f}."
    )
    thinned = chosen.curve.iloc[:: max(1, len(chosen.curve) // 20)]
    show(fig, described, thinned, caption)


@styled
def residual_plot(
    rows: ScoredRows, *, half_width: float | None = None, alt: str = "", caption: str = ""
) -> None:
    """Show errors of predicted numbers against the prediction.

    Parameters
    ----------
    rows : ScoredRows
        Of numbers. Of more than `MOST_DOTS` rows a sample is drawn.
    half_width : float, optional
        Of the prediction interval, drawn as a band.
    """
    picked = np.arange(len(rows))
    if len(rows) > MOST_DOTS:
        picked = np.random.default_rng(0).choice(len(rows), MOST_DOTS, replace=False)
    fig, axes = figure(300)
    axes.plot(rows.predicted[picked], rows.errors[picked], ".", color=SERIES[0], alpha=0.8)
    axes.axhline(0, color="black", linewidth=1)
    outside = np.nan
    if half_width is not None and np.isfinite(half_width):
        outside = float((np.abs(rows.errors) > half_width).mean())
        for side in (-half_width, half_width):
            axes.axhline(side, color=SERIES[1], linewidth=1.5, linestyle=(0, (4, 3)))
    axes.set(xlabel="predicted", ylabel="predicted minus true")
    errors = rows.errors
    data = pd.DataFrame({
        "rows": [len(rows)], "mean error": errors.mean(), "RMSE": np.sqrt((errors**2).mean()),
        "largest": np.abs(errors).max(), "share outside the interval": outside,
    })  # fmt: skip
    described = alt or (
        f"Errors of {len(rows):,} predictions: mean {errors.mean():.3g}, "
        f"largest {np.abs(errors).max():.3g}."
    )
    show(fig, described, data.dropna(axis=1), caption)


def _rgb(color: str) -> tuple:
    from matplotlib.colors import to_rgb

    return to_rgb(color)
