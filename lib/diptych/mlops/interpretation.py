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


def of_columns(columns: pd.DataFrame, rows: int) -> list[str]:
    """Say what the columns of a table hold.

    Parameters
    ----------
    columns : DataFrame
        A line a column, with its share of ``missing`` values and its ``distinct`` ones.
    """
    gaps = columns[columns["missing"] > 0].sort_values("missing", ascending=False)
    same = columns[columns["distinct"] <= 1]
    sentences = [f"{rows:,} rows have {len(columns)} columns."]
    if len(gaps):
        sentences.append(
            f"Values are missing in {listed(gaps.index)}, most in {gaps.index[0]} "
            f"({gaps['missing'].iloc[0]:.0%}): ask why before a model fills them in."
        )
    else:
        sentences.append("No value is missing.")
    if len(same):
        sentences.append(f"{listed(same.index)} {_is(same)} the same in all rows: no model can "
                         "learn from that.")  # fmt: skip
    return sentences


def of_leaks(leaked: Mapping[str, float]) -> list[str]:
    """Say what a split at random lets through, and one by content does not.

    Parameters
    ----------
    leaked : mapping of str to float
        Share of test rows whose content is in the train rows, too, by way to split.
    """
    (first, naive), (second, grouped) = leaked.items()
    return [
        f"Split {first}, {naive:.1%} of the test rows stand in the training set as well; with "
        f"{second}, {grouped:.1%}.",
        "Each of them would be answered from memory. The helper splits by content, too, and by the "
        "groups and times of your columns."
        if naive > grouped
        else "These rows repeat nothing, so both splits are sound; with duplicates only the second "
        "would be.",
    ]


def of_versions(
    before: pd.DataFrame, after: pd.DataFrame, files: pd.DataFrame, number: int
) -> list[str]:
    """Say what time travel gives back, and what the files alone would."""
    return [
        f"The table by hand had {len(before):,} rows at version 0 and has {len(after):,} now; both "
        "can be read, because Delta adds files and a log, and removes nothing.",
        f"Read without the log, its files give {len(files):,} rows, old and new together: a folder "
        "of Parquet is no table once it has been written twice.",
        f"Later stages name the version that they read, {number} here: a figure without the "
        "version of its rows cannot be repeated.",
    ]


def of_validation(table: pd.DataFrame) -> list[str]:
    """Say which checks want attention."""
    failed, warned = (table[table["status"] == status]["check"] for status in ("fail", "warn"))
    sentences = [
        f"{(table['status'] == 'ok').sum()} of {len(table)} checks hold, {len(warned)} warn and "
        f"{len(failed)} fail."
    ]
    if len(failed):
        sentences.append(f"Until {listed(failed)} {_is(failed)} repaired, nothing is trained.")
    if len(warned):
        sentences.append(
            f"Read the detail of {listed(warned)}: a warning is recorded and does not stop the run."
        )
    if not len(failed) and not len(warned):
        sentences.append("That these hold says nothing of what no check asks: add one of your own.")
    return sentences


def of_near_copies(near: Any) -> list[str]:
    """Say whether rows of other splits repeat a train row in other words."""
    if near.count is None:
        return [f"{near.note.rstrip('.')}.", "So nothing is known of copies in other words."]
    looked = len(near.nearest)
    return [
        f"{near.count} of {looked:,} rows that were looked at mean the same as a train row.",
        "Each makes the score a little too good; leave them out of the test set, or out of train."
        if near.count
        else "No score is too good for that reason.",
    ]


def of_balance(balance: pd.DataFrame, number: bool) -> list[str]:
    """Say whether the label moves over time."""
    lines = balance[balance["label"] == "mean"] if number else balance
    spans = lines.groupby("label", sort=False)["value"].agg(["min", "max", "size"])
    if spans.empty or spans["size"].max() < 2:
        return ["There is one period only, so nothing can be said of change over time."]
    widest = (spans["max"] - spans["min"]).idxmax()
    low, high = spans.loc[widest, ["min", "max"]]
    rows = lines[lines["label"] == widest]
    apart = rows["low"].max() > rows["high"].min()
    what = "The mean" if number else f"The share of {widest}"
    return [
        f"{what} lies between {figure(low)} and {figure(high)} over {spans['size'].max()} periods.",
        "That is more than chance: keep the newest periods apart as live rows, and expect errors "
        "where the balance moves."
        if apart
        else "All intervals overlap, so the balance is steady and any period teaches it.",
    ]


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
            f"{'the mean error' if metric.needs == 'numbers' else 'the ' + metric.title}, beyond "
            "chance."
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


def of_candidate(candidate: Any, champion: Any, rows: int) -> list[str]:
    """Say which models meet."""
    text = f"The candidate is {candidate.family}"
    if champion is None:
        return [f"{text}; no model is in service yet, so it meets a constant answer on {rows:,} "
                "test rows: that is the least that it has to beat."]  # fmt: skip
    return [f"{text}, the champion {champion}; they meet on {rows:,} test rows, both today.",
            "If they are the same, nothing is gained by a change, and the gate says "
            "so."]  # fmt: skip


def of_gain(gain: pd.DataFrame, number: bool) -> list[str]:
    """Say whether a candidate beats a constant answer, by hand."""
    row = gain.iloc[0]
    unit = "of the label's unit a row" if number else "of the rows"
    shown = row["low"] > 0
    return [
        f"Against a constant answer it gains {figure(row['value'], row['low'], row['high'])} "
        f"{unit}.",
        "The interval lies above 0, so the rule of the gate below can pass."
        if shown
        else "The interval holds 0: it is not shown to know more than the most frequent "
        "answer, and "
        "the gate will not promote it.",
    ]


def of_small_slices(by_slice: pd.DataFrame, least: int = 30) -> list[str]:
    """Say of how many slices nothing can be known.

    Parameters
    ----------
    by_slice : DataFrame
        By slice ``mean``, the loss, and ``size``, its rows.
    """
    small = by_slice[by_slice["size"] < least]
    if small.empty:
        return []
    return [
        f"{len(small)} of {len(by_slice)} slices hold under {least} rows ({listed(small.index)}): "
        "for want of rows no rule can find them weak, which is inconclusive and no proof that they "
        "are well served."
    ]


def of_gate(decision: Any, test: pd.DataFrame) -> list[str]:
    """Say what decided, and what would change it."""
    checks = decision.checks
    sentences = [decision.reason if decision.reason.endswith(".") else f"{decision.reason}."]
    failed = checks[checks["status"] == "fail"]["rule"]
    unknown = checks[checks["status"].isin(["inconclusive", "not measured"])]
    if len(failed):
        sentences.append(f"{listed(failed)} {_is(failed)} failed: go back to 2_build for these.")
    if len(unknown):
        needed = unknown["rows_needed"].max() if "rows_needed" in unknown else math.nan
        more = f", and about {needed:,.0f} labelled rows would" if math.isfinite(needed) else ""
        sentences.append(
            f"{listed(unknown['rule'])} cannot be decided by {len(test):,} test rows{more}; "
            "that is "
            "not the same as passed."
        )
    if not len(failed) and not len(unknown):
        sentences.append(
            f"{(checks['status'] == 'pass').sum()} of {len(checks)} rules pass, the others have no "
            "limit or nothing to compare with: set limits before a model matters."
        )
    return sentences


def of_logged(stored: pd.Series, number: Any) -> list[str]:
    """Say what stands in MLflow beside a version."""
    return [
        f"Version {number} has {len(stored)} entries in MLflow: the setting, what it was "
        "decided on, "
        "the digest of its files and its figures.",
        "Whoever finds the version later can fit it again from these, and see whether the "
        "files are "
        "still what was measured.",
    ]


def of_history(history: pd.DataFrame, version: Any, promoted: bool) -> list[str]:
    """Say what is in service now, and how to go back."""
    now = f"{version} is the champion now" if promoted else f"{version} stays a challenger"
    return [
        f"{now}; the audit has {len(history)} entries.",
        "To go back is to point the alias at the version before, which takes a second and no build."
        if len(history) > 1
        else "There is no version to go back to yet: keep the rule or the model that served "
        "before.",
    ]


def of_card(candidate: Any, measured: Any, metric: Any) -> list[str]:
    """Say for whom a card is, and what it leaves open."""
    score = measured.score
    return [
        f"{candidate.family} is released with {figure(score.value, score.low, score.high)} in "
        f"{metric.title} and {measured.size_mb:.2f} MB.",
        "The card says what was measured; who may use it, and what a wrong answer costs, is "
        "for you "
        "to add.",
    ]


def of_stream(counts: pd.DataFrame, version: Any, family: str, promoted: bool) -> list[str]:
    """Say what is served to whom."""
    gate = "passed the gate" if promoted else "did not pass the gate"
    if counts.empty:
        return [f"{version} ({family}) {gate}; there are no live rows to send."]
    return [
        f"{version} ({family}), which {gate}, answers {counts['rows'].sum():,} live rows in "
        f"{len(counts)} windows from {counts['window'].iloc[0]} to {counts['window'].iloc[-1]}.",
        f"The smallest window has {counts['rows'].min():,} rows: changes that show in fewer "
        "cannot be "
        "seen by the monitor.",
    ]


def of_request(answers: pd.DataFrame, answer: Mapping, milliseconds: float) -> list[str]:
    """Say what one request gave, and whether both clients agree."""
    columns = answers.iloc[:, 0].tolist(), answers.iloc[:, 1].tolist()
    fields = listed([name for name in answer if name != "predictions"])
    return [
        f"The first row is answered with {listed(columns[0])} in {milliseconds:.1f} ms; MLflow's "
        f"client got {'the same' if columns[0] == columns[1] else listed(columns[1])}.",
        f"Beside the answer come {fields}: let a client log them with its own request, so that an "
        "answer can be traced to the version that gave it.",
    ]


def of_latency(percentiles: pd.Series, under_way: float, planned: int, failed: int) -> list[str]:
    """Say what the tail of the latency costs."""
    half, slow, slowest = percentiles.to_list()
    tail = slowest / half if half > 0 else math.nan
    return [
        f"The median request took {half:.1f} ms, one in twenty over {slow:.1f} ms, "
        "one in a "
        f"hundred over {slowest:.1f} ms: the tail is {tail:.1f} times the median.",
        f"{under_way:.1f} of {planned} were under way on average, and {failed:,} failed.",
        "A tail of more than three times the median is queueing: more processes help, a "
        "faster model "
        "hardly."
        if tail > 3
        else "The tail is short: a faster model would help all requests alike.",
    ]


def of_load(curve: pd.DataFrame) -> list[str]:
    """Say from how many requests under way on more of them gain nothing."""
    known = curve.dropna(subset=["requests_per_s"])
    if len(known) < 2:
        return ["Fewer than two levels could be measured; set levels to see the curve bend."]
    best = known.loc[known["requests_per_s"].idxmax()]
    first = known.iloc[0]
    return [
        f"Throughput goes from {first['requests_per_s']:,.0f} requests a second at "
        f"{first['concurrency']:.0f} under way to {best['requests_per_s']:,.0f} at "
        f"{best['concurrency']:.0f}; p50 from {first['p50_ms']:.1f} to {best['p50_ms']:.1f} ms.",
        f"Plan for less than {best['concurrency']:.0f} at once: beyond it requests only wait.",
    ]


def of_log(log: pd.DataFrame, shares: pd.Series, number: bool) -> list[str]:
    """Say what is on record."""
    sentences = [f"{len(log):,} requests, {len(log):,} records."]
    if not number and len(shares):
        sentences.append(
            f"{shares.index[0]} is answered most, to {shares.iloc[0]:.0%} of the rows."
        )
    return [*sentences, "Compare this share with that of the training set: one that moves "
    "without a "
            "reason in the world is the first sign of drift."]  # fmt: skip


def of_labels(known: pd.DataFrame) -> list[str]:
    """Say how many labels have come.

    Parameters
    ----------
    known : DataFrame
        By ``window`` its ``rows`` and how many of them have ``labels``.
    """
    without = known[known["labels"] < known["rows"]]
    rows, labels = known["rows"].sum(), known["labels"].sum()
    return [
        f"{rows:,} answers in {len(known)} windows are on record, {labels:,} of them with a label.",
        f"{listed(without['window'])} still {'waits' if len(without) == 1 else 'wait'} for labels: "
        "until these come, only drift and an estimate can ring."
        if len(without)
        else "All labels are known; in service they come late, or never, which label_delay shows.",
    ]


def of_column(name: str, statistic: float, p_value: float, psi: float, rows: int) -> list[str]:
    """Say what one statistic on one column shows.

    Parameters
    ----------
    statistic, p_value : float
        Of the Kolmogorov-Smirnov test.
    psi : float
        Population stability index.
    rows : int
        Of the window.
    """
    moved = p_value < 0.001
    level = "says steady" if psi < 0.1 else "says moved" if psi < 0.25 else "says moved much"
    if rows < 100:
        level = f"is mostly noise of {rows} rows in ten bins"
    return [
        f"{name}: the two distributions are {figure(statistic)} apart at most (p = {p_value:.2g}), "
        f"and its stability index of {figure(psi)} {level}.",
        f"Over {rows:,} rows that is more than chance in a thousand; look at what changed "
        "before you "
        "retrain."
        if moved
        else f"Over {rows:,} rows that is chance. With many columns and windows some p-value "
        "is small "
        "by luck, which is why the monitor sets its threshold for all of them at once.",
    ]


def of_drift(drift: pd.DataFrame, alarmed: Sequence, scores: pd.DataFrame) -> list[str]:
    """Say where inputs or answers have moved."""
    if not len(alarmed):
        return [f"No alarm in {len(drift)} windows: inputs and answers lie as at the release.",
                "That says nothing of the labels: they may mean something else by "
                "now."]  # fmt: skip
    worst = scores.sort_values("score").iloc[-1] if "score" in scores and len(scores) else None
    text = f"{len(alarmed)} of {len(drift)} windows have an alarm, the first is {alarmed[0]}"
    if worst is not None:
        column = worst.get("column", worst.get("name", ""))
        text += f"; {column} has moved most" if column else ""
    return [f"{text}.", "Drift is no loss by itself: see below whether the quality fell with it."]


def of_quality(reference: Any, scores: pd.DataFrame, fell: Sequence, metric: Any) -> list[str]:
    """Say whether quality fell, and whether the estimate could have told."""
    true = scores[scores["kind"] == "true"].dropna(subset="value")
    if true.empty:
        return ["No label has come yet, so quality is only estimated; ask for some labels of the "
                "newest window."]  # fmt: skip
    worst = true.sort_values("value", ascending=metric.sign > 0).iloc[0]
    sentences = [
        f"{metric.title} was {figure(reference.value)} on the test set and is "
        f"{figure(worst['value'], worst['low'], worst['high'])} in {worst['window']}, the worst of "
        f"{len(true)} windows."
    ]
    guess = scores[(scores["kind"] == "estimated") & (scores["window"] == worst["window"])]
    if len(guess):
        value = guess["value"].iloc[0]
        sentences.append(
            f"Its own confidence promised {figure(value)} there, "
            f"{figure(abs(value - worst['value']))} "
            f"too {'much' if value > worst['value'] else 'little'}: only labels show a loss."
        )
    sentences.append(
        f"{listed(fell)} {_is(fell)} a fall beyond chance: go to 6_improve."
        if len(fell)
        else "No fall is shown beyond chance; wait, or label more rows."
    )
    return sentences


def of_words(words: pd.DataFrame, shift: pd.DataFrame, text: bool) -> list[str]:
    """Say what is new in windows with an alarm."""
    if not text:
        return ["These rows are no texts, so no word is new; the table of drift names the columns "
                "that moved."]  # fmt: skip
    if words.empty:
        return ["No word is new in windows with an alarm, or there is no alarm to explain."]
    first = words.iloc[:, 0].head(5)
    sentences = [f"{listed(first)} are the words whose share grew most."]
    if len(shift):
        sentences.append("By meaning, the texts of the windows above 1 differ from the test set.")
    return [*sentences, "Label rows with these words first: the model has never learnt them."]


def of_plan(plan: Any, rows: int) -> list[str]:
    """Say on which rows a challenger learns, and on which it is judged."""
    return [
        f"{plan.reason}: the challenger learns from {rows:,} labelled rows of {listed(plan.learn)} "
        f"and is judged on {listed(plan.decide)}.",
        "The rows that decide are later than those it learns from, as in service: on shuffled rows "
        "it would have seen their time.",
    ]


def of_retraining(curve: pd.DataFrame, metric: Any) -> list[str]:
    """Say what each further window of labels gained.

    Parameters
    ----------
    curve : DataFrame
        ``labels`` learnt, and ``value`` on the rows that decide; the first line is the champion.
    """
    before, last = curve.iloc[0]["value"], curve.iloc[-1]["value"]
    gain = metric.sign * (last - before)
    return [
        f"The champion has {figure(before)} in {metric.title} on the rows that decide; after "
        f"{curve.iloc[-1]['labels']:,.0f} new labels the challenger has {figure(last)}.",
        "Each window of labels is worth its price while this line still gets better."
        if gain > 0
        else "The new labels gain nothing here: what changed is not what they teach, or they "
        "are too "
        "few.",
    ]


def of_pairs(only_new: int, only_old: int, p_value: float, regression: bool) -> list[str]:
    """Say what a paired test by hand shows."""
    what = "is nearer to the truth on" if regression else "alone is right on"
    return [
        f"The challenger {what} {only_new:,} rows, the champion on {only_old:,}; rows on "
        "which they "
        f"do equally well say nothing. p = {p_value:.2g}.",
        "That is more than chance."
        if p_value < 0.05 and only_new > only_old
        else "That does not show the challenger to be better; the gate asks for an interval "
        "above 0.",
    ]


def of_later(outcome: pd.DataFrame, plan: Any, metric: Any) -> list[str]:
    """Say how champion and challenger do over all windows."""
    after = outcome[outcome["window"].isin(plan.decide)].dropna(subset="value")
    if after["model"].nunique() < 2:
        return ["The windows that decide hold too little to compare the two."]
    values = after.groupby("model")["value"].mean()
    lead = metric.sign * (values["challenger"] - values["champion"])
    side = f"{figure(abs(lead))} {'better' if lead > 0 else 'worse'} than" if lead else "as good as"
    return [
        f"On the windows that decide, the challenger is {side} the champion in {metric.title}.",
        "On windows marked *learnt* it has seen the answers, so its lead there counts for nothing.",
    ]


def of_rollback(history: pd.DataFrame, promoted: bool, rehearsed: bool) -> list[str]:
    """Say what is in service, and whether the way back works."""
    return [
        "The challenger "
        f"{'is the champion now' if promoted else 'is refused and stays on record'}; "
        f"the audit has {len(history)} entries.",
        "The way back was rehearsed: one call to the version before, one forward again."
        if promoted and rehearsed
        else "No way back was rehearsed, for nothing was replaced.",
    ]


def of_verdict(verdict: pd.DataFrame, what: str) -> list[str]:
    """Say what later stages read of a run."""
    return [
        f"{len(verdict)} values are on record: {what}.",
        "Later stages, sweeps and the contrast read these and nothing else, so a changed cell "
        "counts once the cells down to here ran again.",
    ]
