"""Live rows in windows of time: what changed, and a challenger measured on later windows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from diptych.base import workspace
from diptych.core.evaluation import graders, stats
from diptych.core.monitoring import drift
from diptych.core.monitoring.drift import Profile
from diptych.core.store.predictions import Predictions

LOSS = 0.01  # of accuracy; the share of a smaller one that came back would be noise


def add_labels(
    endpoint: str, data: pd.DataFrame, windows: pd.Series, delay: int, grader: str
) -> None:
    """Record the labels that are known: those of all windows but the last `delay`.

    Where the task's `grader` compares with a reference, that is what is recorded.
    """
    names = sorted(windows.unique())
    known = windows.index[windows.isin(names[: max(len(names) - delay, 0)])]
    labels = graders.get(grader).expected(data.set_index("id")).reindex(known).dropna()
    with Predictions(workspace.ledger_path()) as predictions:
        predictions.label(endpoint, labels.to_dict())


@dataclass(frozen=True)
class InputWatch:
    """What a log shows of the inputs, window by window.

    Attributes
    ----------
    drift : DataFrame
        One row a window, as `diptych.core.monitoring.drift.alarms` returns it.
    scores : DataFrame, shape (features, windows)
        Shift of each feature in units of its alarm threshold: above 1 is an alarm.
    failed : DataFrame
        ``window``, ``feature`` and ``reason`` of what could not be compared.
    """

    drift: pd.DataFrame
    scores: pd.DataFrame
    failed: pd.DataFrame

    @property
    def alarmed(self) -> list[str]:
        """The windows whose alarm rang, in order."""
        return self.drift.loc[self.drift["alarm"], "window"].tolist()

    @property
    def first_alarm(self) -> str | None:
        """The first window whose alarm rang, or None."""
        return next(iter(self.alarmed), None)


def watch_inputs(profile: Profile, described: pd.DataFrame, windows: Sequence) -> InputWatch:
    """Compare each window of a log with the profile.

    Parameters
    ----------
    profile : Profile
    described : DataFrame, n rows
        With all columns of the profile.
    windows : array of str, shape (n,)
        Window of each row.
    """
    tables = drift.compare_windows(profile, described, windows)
    scores, failed = {}, []
    for window, table in tables.items():
        problems = table.loc[table["reason"] != "", ["feature", "reason"]]
        failed.append(problems.assign(window=window))
        by_feature = table.set_index("feature")
        scores[window] = by_feature["shift"] / by_feature["threshold"]
    failed = pd.concat(failed, ignore_index=True)[["window", "feature", "reason"]]
    return InputWatch(drift.alarms(tables), pd.DataFrame(scores), failed)


def accuracy_by_window(windows: Sequence, probability: pd.Series, right: pd.Series) -> pd.DataFrame:
    """Return the accuracy of each window, estimated from the model's confidence and true.

    Parameters
    ----------
    windows : array of str, shape (n,)
        Window of each row.
    probability : Series of float, shape (n,)
        Of the predicted class; missing where the model gives none.
    right : Series of float, shape (n,)
        1 or 0, missing until the row's label came.

    Returns
    -------
    DataFrame
        ``window``, ``kind`` ("estimated" or "true"), ``value``, ``low``, ``high`` (of the true
        ones Wilson's), ``n``. A window has no true row until labels came, and no estimated one
        unless it has two rows and a probability of each.
    """
    rows = []
    frame = pd.DataFrame({"probability": probability.to_numpy(), "right": right.to_numpy()})
    for window, group in frame.groupby(np.asarray(windows), sort=True):
        if len(group) > 1 and group["probability"].notna().all():
            estimate = drift.estimated_accuracy(group["probability"])
            rows.append(as_row(window, "estimated", estimate))
        known = group["right"].dropna()
        if len(known):
            rows.append(as_row(window, "true", stats.wilson(int(known.sum()), len(known))))
    return pd.DataFrame(rows, columns=["window", "kind", "value", "low", "high", "n"])


@dataclass(frozen=True)
class WindowSplit:
    """Which windows a retraining may learn from, which decide, and which only show the outcome.

    A challenger is measured on windows *later* than those it learnt from: on shuffled rows it
    would look better than it will be in service.
    """

    alarm: str | None
    learn: list[str]
    decide: list[str]
    after: list[str]

    @property
    def reason(self) -> str:
        """Why to retrain, in words."""
        return f"drift alarm in {self.alarm}" if self.alarm else "no alarm: a routine refresh"


def split_windows(windows: list[str], alarm: str | None, learn: int, decide: int) -> WindowSplit:
    """Split the live windows for a retraining.

    Parameters
    ----------
    windows : list of str
        All live windows in order.
    alarm : str or None
        Window of the first alarm; without one it is a routine refresh in mid-stream.
    learn, decide : int
        Number of windows to learn from (the alarm's and the next ones) and to decide on.

    Raises
    ------
    ValueError
        If the alarm's window is unknown, or too few windows follow.
    """
    if alarm and alarm not in windows:
        raise ValueError(f"alarm: {alarm!r} is none of the windows {', '.join(windows)}")
    start = windows.index(alarm) if alarm else max(len(windows) // 2 - learn, 0)
    cut = start + learn
    if cut + decide > len(windows):
        raise ValueError(
            f"learn_windows, decide_windows: {learn} + {decide} windows are asked for and there "
            f"are {len(windows) - start}{f' from the alarm in {alarm} on' if alarm else ''}; "
            f"{_remedy(len(windows) - start)}"
        )
    decided = cut + decide
    return WindowSplit(alarm, windows[start:cut], windows[cut:decided], windows[decided:])


def _remedy(left: int) -> str:
    """Say what to do about windows that do not suffice for a retraining."""
    finer = "cut the live rows finer: 4_serve with -p window=rows -p windows=12, then 5_monitor"
    if left < 2:
        return f"wait for later rows, or {finer} (two live rows or more for each)"
    return f"take fewer (-p learn_windows={left - 1} -p decide_windows=1), or {finer}"


def training_rows(data: pd.DataFrame, windows: pd.Series, split: WindowSplit) -> pd.DataFrame:
    """Return the champion's train rows and the live rows whose labels came in time."""
    learnt = data["id"].map(windows).isin(split.learn)
    return data[(data["split"] == "train") | learnt]


def in_windows(data: pd.DataFrame, windows: pd.Series, names: list[str]) -> pd.DataFrame:
    """Return the live rows of some windows."""
    return data[data["id"].map(windows).isin(names)]


def by_window(
    correct: Mapping[str, pd.Series], windows: pd.Series, names: Sequence[str]
) -> pd.DataFrame:
    """Score models on each window.

    Parameters
    ----------
    correct : mapping of str to Series
        By model: whether it is right, by row id.
    windows : Series
        Each live row's window, by row id.
    names : sequence of str
        The windows.

    Returns
    -------
    DataFrame
        ``window``, ``model``, ``value``, ``low``, ``high`` (Wilson), ``n``.
    """
    lines = []
    totals = {
        model: right.groupby(right.index.map(windows)).agg(["sum", "size"])
        for model, right in correct.items()
    }
    for window in names:
        for model, total in totals.items():
            right, rows = total.loc[window] if window in total.index else (0, 0)
            share = stats.wilson(int(right), int(rows))
            lines.append({"window": window, "model": model} | asdict(share))
    return pd.DataFrame(lines, columns=["window", "model", "value", "low", "high", "n"])


def outcome(scores: pd.DataFrame, split: WindowSplit) -> dict[str, float]:
    """Return the accuracy on the windows after the decision, and how much of a loss came back.

    Parameters
    ----------
    scores : DataFrame
        As `by_window` returns it for "champion" and "challenger".

    Returns
    -------
    dict
        Accuracy of both on windows neither the training nor the gate has seen; if the champion
        lost at least `LOSS` against the windows before the alarm, also ``recovered``: the
        challenger's gain as a share of that loss.
    """
    seen = {*split.learn, *split.decide, *split.after}

    def mean(model: str, windows) -> float | None:
        rows = scores[(scores["model"] == model) & scores["window"].isin(windows)]
        return float((rows["value"] * rows["n"]).sum() / rows["n"].sum()) if len(rows) else None

    before = mean("champion", set(scores["window"]) - seen)
    old, new = mean("champion", split.after), mean("challenger", split.after)
    values = {"champion afterwards": old, "challenger afterwards": new}
    if split.alarm and None not in (before, old, new) and before - old >= LOSS:
        values["recovered"] = (new - old) / (before - old)
    return {name: value for name, value in values.items() if value is not None}


def before_and_since(accuracy: pd.DataFrame, alarm: str | None) -> dict[str, stats.Estimate]:
    """Pool the true and the estimated accuracy before the first alarm and from it on."""
    shares = {}
    since = accuracy["window"] >= alarm if alarm else pd.Series(False, index=accuracy.index)
    for name, rows in (("before alarm", accuracy[~since]), ("since alarm", accuracy[since])):
        for kind, group in rows.groupby("kind", sort=True):
            n = int(group["n"].sum())
            right = round(float((group["value"] * group["n"]).sum()))
            shares[f"{kind} accuracy {name}"] = stats.wilson(right, n)
    return shares


def as_row(window: str, kind: str, estimate: stats.Estimate) -> dict:
    """Return a row of a table of shares: the window, what kind of share it is, the estimate."""
    return {"window": window, "kind": kind} | asdict(estimate)
