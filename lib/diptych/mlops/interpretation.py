"""What the outputs of the MLOps notebooks show, in sentences computed from their values.

Each function takes what its cell has and returns two or three sentences: what the output shows,
with its numbers, and what to do about it. They are true of any data, and of none.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def figure(value: Any, low: Any = None, high: Any = None) -> str:
    """Write a figure, with its interval if it has one."""
    if value is None or not math.isfinite(value):
        return "not measured"
    form = ".3f" if abs(value) < 10 else ",.4g"
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:{form}}"
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def listed(names: Sequence, most: int = 5) -> str:
    """Write some names one after the other; how many more there are is counted."""
    names = [str(name) for name in names]
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


def of_rows(train: pd.DataFrame, test: pd.DataFrame, classes: str) -> list[str]:
    """Say what there is to learn from, and how small a difference the test set can show."""
    n = len(test)
    sentences = [f"{len(train):,} train rows and {n:,} test rows hold {classes}."]
    if not n:
        return [*sentences, "Nothing can be measured without test rows; add rows in 1_data."]
    if pd.api.types.is_numeric_dtype(test["label"]):
        wide = 1.96 * test["label"].std() / math.sqrt(n)
        return [
            *sentences,
            f"Of {n:,} rows, the mean of the label itself is known to within {figure(wide)}: "
            "smaller differences between two models show only in a paired comparison, as below.",
        ]
    wide = 100 * 1.96 * math.sqrt(0.9 * 0.1 / n)
    return [
        *sentences,
        f"Of {n:,} rows, a share of 90 % is known to within {wide:.1f} points: smaller differences "
        "between two models need more test rows, or a paired comparison, as below.",
    ]


def of_search(trials: pd.DataFrame, setting: Mapping, name: str) -> list[str]:
    """Say what a search by hand has shown.

    Parameters
    ----------
    trials : DataFrame
        As Optuna's ``trials_dataframe`` returns it.
    setting : mapping
        The best.
    """
    values = trials["value"].dropna()
    if values.empty:
        return [f"No setting of {name} could be scored; look at the error of the first one."]
    best = ", ".join(
        f"{key.rpartition('__')[2]} = {value:.3g}"
        if isinstance(value, float)
        else f"{key.rpartition('__')[2]} = {value}"
        for key, value in setting.items()
    )
    spread = values.max() - values.min()
    return [
        f"Of {len(values)} settings of {name}, {best or 'the defaults'} score best: "
        f"{figure(values.max())}; the settings differ by {figure(spread)}.",
        "Where settings differ this little, another family or more labels promise more than a "
        "longer search."
        if spread < 0.02
        else "The setting matters here: raise `trials` for the search on all rows below.",
    ]


def of_tried(tried: pd.DataFrame, metric: Any) -> list[str]:
    """Say which settings were tried, and how far the best of each family are apart."""
    known = tried.dropna(subset="validation")
    if known.empty:
        return ["No setting could be scored, so nothing is selected; see the reasons above."]
    best = known.groupby("family", sort=False)["validation"].agg(
        "max" if metric.sign > 0 else "min"
    )
    best = best.sort_values(ascending=metric.sign < 0)
    text = f"{len(known)} settings of {len(best)} models were scored; {best.index[0]} leads"
    if len(best) > 1:
        text += f" {best.index[1]} by {figure(abs(best.iloc[0] - best.iloc[1]))} in {metric.title}"
    sentences = [f"{text}."]
    failed = tried[tried["validation"].isna()]
    if len(failed):
        sentences.append(
            f"{listed(failed['family'].unique())} could not be fitted; the reason stands in the "
            "table."
        )
    return [*sentences, "A small lead may be luck; the test set below decides nothing but shows "
            "whether it holds."]  # fmt: skip


def of_leaderboard(table: pd.DataFrame, metric: Any, margin: float) -> list[str]:
    """Say which models are really apart, and what to take where they are not.

    Parameters
    ----------
    table : DataFrame
        As `diptych.mlops.leaderboard.Leaderboard.table` returns it.
    """
    if table.empty:
        return ["There is no model to compare."]
    first = table.iloc[0]
    text = f"{first['name']} is ahead with {figure(first['value'], first['low'], first['high'])}"
    sentences = [f"{text} in {metric.title} on {first['n']:,.0f} test rows."]
    open_ones = table[table["verdict"].isin(["unclear", "tie"])]
    worse = table[table["verdict"] == "worse"]
    if len(worse):
        sentences.append(f"{listed(worse['name'])} {_is(worse)} shown to be worse.")
    if len(open_ones):
        ties = table[table["verdict"] == "tie"]["name"]
        needed = open_ones["rows needed"].dropna()
        more = f" about {needed.max():,.0f} test rows would tell" if len(needed) else ""
        sentences.append(
            f"{listed(open_ones['name'])} {_is(open_ones)} not shown to be worse"
            + (f", {listed(ties)} within the margin of {margin:g}" if len(ties) else "")
            + f":{more or ' more test rows would tell'}; until then take the cheaper one."
        )
    elif len(table) > 1:
        sentences.append("The choice is clear; take it to 3_release.")
    return sentences


def _is(frame: Sequence) -> str:
    return "is" if len(frame) == 1 else "are"


def of_confidence(model: Any, score: Any) -> list[str]:
    """Say whether probabilities, or intervals, can be believed."""
    if model.regression:
        half = model.half_width
        if half is None:
            return ["Too few validation rows give no prediction interval; add rows before you "
                    "promise one."]  # fmt: skip
        errors = abs(score.rows.errors)
        return [
            f"Half of the errors are below {figure(float(pd.Series(errors).median()))}, and the "
            f"interval is {figure(half)} on either side.",
            f"It leaves out {(errors > half).mean():.0%} of the test rows, where 10 % are planned: "
            "clearly more means that the test rows are unlike the validation set.",
        ]
    error = score.calibration_error
    wrong = int((~score.correct).sum())
    sure = int((~score.correct & (score.confidence >= 0.9)).sum())
    believable = math.isfinite(error.low) and error.low < 0.02
    return [
        f"The confidence is off by {figure(error.value, error.low, error.high)}: "
        + ("as a probability it can be believed here." if believable else
           "do not read it as a probability before it is calibrated on more rows."),
        f"{wrong:,} of {len(score.correct):,} answers are wrong, {sure:,} of them with a "
        "confidence of 0.9 or more: read these first, for no threshold finds them.",
    ]  # fmt: skip


def of_importances(table: pd.DataFrame, name: str) -> list[str]:
    """Say on what a model's answers rest."""
    if table.empty:
        return [f"{name} does not show what it looks at; take a linear model or trees to see it."]
    share = table["value"].iloc[:3].sum() / table["value"].sum()
    return [
        f"{name} looks at {listed(table['name'].head(3))} most; these are {share:.0%} of what the "
        f"{len(table)} largest move.",
        "Ask of each whether it will be known when the model answers, and whether it may be used: "
        "one that tells the label by accident is a leak, and the figure is then too good.",
    ]


def of_slices(weak: pd.DataFrame, overall: float, metric: Any) -> list[str]:
    """Say where a model is weak beyond chance, and which slices are too small to tell."""
    known = weak.dropna(subset="value")
    known = known[~known["name"].str.endswith(", accuracy")]  # another metric than the average's
    if known.empty:
        return ["No slice holds enough rows for a figure; name other columns in slice_column."]
    worst = known.iloc[0]
    worse = known["high"] < overall if metric.sign > 0 else known["low"] > overall
    small = known[known["n"] < 30]
    reached = figure(worst["value"], worst["low"], worst["high"])
    text = f"The weakest slice is {worst['name']} with {reached}"
    sentences = [f"{text}; all test rows reach {figure(overall)}."]
    if worse.any():
        sentences.append(
            f"{listed(known[worse]['name'])} {_is(known[worse])} weak beyond chance: look at these "
            "errors, and label more rows of that kind."
        )
    else:
        sentences.append("No slice is shown to be weak: the intervals all hold the average.")
    if len(small):
        verb = "holds" if len(small) == 1 else "hold"
        sentences.append(f"{listed(small['name'])} {verb} under 30 rows, which is inconclusive.")
    return sentences


def of_learning_curve(curve: pd.DataFrame, metric: Any) -> list[str]:
    """Say whether more labels would help."""
    known = curve.dropna(subset="value")
    if len(known) < 2:
        return ["The curve has fewer than two points; more shares of the rows would draw it."]
    before, last = known.iloc[-2], known.iloc[-1]
    gain = metric.sign * (last["value"] - before["value"])
    half = abs(last["high"] - last["low"]) / 2
    rises = gain > half
    return [
        f"From {before['rows']:,.0f} to {last['rows']:,.0f} rows, {metric.title} goes from "
        f"{figure(before['value'])} to {figure(last['value'])}.",
        "It still rises by more than half its interval: labels are worth more than another search."
        if rises
        else "That is within the interval: these rows do not show that more labels help, nor that "
        "they do not. Compare them with what better features or another kind of model gain.",
    ]


def of_robustness(
    test: float, honest: pd.DataFrame, drops: pd.DataFrame, name: str, metric: Any
) -> list[str]:
    """Say what is left of a model's figure on rows that nobody generated, and on perturbed ones.

    Parameters
    ----------
    test : float
        The model's figure on the test set.
    honest : DataFrame
        Of hand-written rows, by model; it may be empty.
    drops : DataFrame
        What each perturbation costs, named ``perturbation, model``.
    """
    sentences = []
    here = honest[honest["name"] == name]["value"] if len(honest) else pd.Series(dtype=float)
    if len(here) and math.isfinite(here.iloc[0]):
        hand = figure(here.iloc[0])
        if metric.sign * (test - here.iloc[0]) > 0:
            text = f"falls from {figure(test)} on test rows to {hand} on hand-written ones"
        else:
            text = f"holds on hand-written rows: {hand}, and {figure(test)} on test rows"
        sentences.append(f"{name} {text}.")
    ours = drops[drops["name"].str.endswith(f", {name}")].dropna(subset="value")
    if ours.empty:
        return [*sentences, "No perturbation was tried, so nothing is known of noise in live rows."]
    worst = ours.sort_values("value").iloc[-1]
    what = worst["name"].rpartition(", ")[0]
    if worst["low"] > 0:
        sentences.append(
            f"{what} costs most: {figure(worst['value'], worst['low'], worst['high'])} of "
            f"{'the mean error' if metric.needs == 'numbers' else 'the accuracy'}, beyond chance."
        )
    else:
        sentences.append(
            f"No perturbation is shown to cost it anything; {what} comes nearest with "
            f"{figure(worst['value'], worst['low'], worst['high'])}."
        )
    sentences.append(
        "A figure on generated or tidy rows promises nothing for rows unlike them: label some live "
        "rows, and add rows of the kind that costs most to the training set."
    )
    return sentences


def of_verdict(verdict: pd.DataFrame, what: str) -> list[str]:
    """Say what later stages read of a run."""
    return [
        f"{len(verdict)} values are on record: {what}.",
        "Later stages, sweeps and the contrast read these and nothing else, so a changed cell "
        "counts once the cells down to here ran again.",
    ]
