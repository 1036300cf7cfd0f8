"""Live rows in windows of time, and a challenger judged on windows later than those it learnt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from diptych.base import workspace
from diptych.core.evaluation import stats
from diptych.core.store.predictions import Predictions

LOSS = 0.01  # of accuracy; the share of a smaller one that came back would be noise


def add_labels(endpoint: str, data: pd.DataFrame, windows: pd.Series, delay: int) -> None:
    """Record the labels that are known: those of all windows but the last `delay`."""
    names = sorted(windows.unique())
    known = windows.index[windows.isin(names[: max(len(names) - delay, 0)])]
    labels = data.set_index("id")["label"].reindex(known).dropna()
    with Predictions(workspace.ledger_path()) as ledger:
        ledger.label(endpoint, labels.to_dict())


@dataclass(frozen=True)
class InputWatch:
    """What a log shows of the inputs, window by window.

    Attributes
    ----------
    drift : DataFrame
        One row a window, as `core.drift.alarms` returns it.
    scores : DataFrame, shape (features, windows)
        Shift of each feature in units of its alarm threshold: above 1 is an alarm.
    """

    drift: pd.DataFrame
    scores: pd.DataFrame

    @property
    def alarmed(self) -> list[str]:
        """The windows whose alarm rang, in order."""
        return self.drift.loc[self.drift["alarm"], "window"].tolist()

    @property
    def first_alarm(self) -> str | None:
        """The first window whose alarm rang, or None."""
        return next(iter(self.alarmed), None)


@dataclass(frozen=True)
class Plan:
    """Which windows a retraining may learn from, which decide, and which only show the outcome.

    A challenger is judged on windows *later* than those it learnt from: on shuffled rows it
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


def plan(windows: list[str], alarm: str | None, learn: int, decide: int) -> Plan:
    """Lay out a retraining.

    Parameters
    ----------
    windows : list of str
        All live windows in order.
    alarm : str or None
        Window of the first alarm; without one the plan is a routine refresh in mid-stream.
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
            "take fewer, or wait for more rows"
        )
    return Plan(alarm, windows[start:cut], windows[cut : cut + decide], windows[cut + decide :])


def training_rows(data: pd.DataFrame, windows: pd.Series, plan: Plan) -> pd.DataFrame:
    """Return the champion's train rows and the live rows whose labels came in time."""
    learnt = data["id"].map(windows).isin(plan.learn)
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
    for window in names:
        for model, right in correct.items():
            own = right[right.index.map(windows) == window]
            found = stats.wilson(int(own.sum()), len(own))
            lines.append((window, model, found.value, found.low, found.high, found.n))
    return pd.DataFrame(lines, columns=["window", "model", "value", "low", "high", "n"])


def outcome(scores: pd.DataFrame, plan: Plan) -> dict[str, float]:
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
    seen = {*plan.learn, *plan.decide, *plan.after}

    def mean(model: str, windows) -> float | None:
        rows = scores[(scores["model"] == model) & scores["window"].isin(windows)]
        return float((rows["value"] * rows["n"]).sum() / rows["n"].sum()) if len(rows) else None

    before = mean("champion", set(scores["window"]) - seen)
    old, new = mean("champion", plan.after), mean("challenger", plan.after)
    found = {"champion afterwards": old, "challenger afterwards": new}
    if plan.alarm and None not in (before, old, new) and before - old >= LOSS:
        found["recovered"] = (new - old) / (before - old)
    return {name: value for name, value in found.items() if value is not None}


def before_and_since(accuracy: pd.DataFrame, alarm: str | None) -> dict[str, stats.Estimate]:
    """Pool the true and the estimated accuracy before the first alarm and from it on."""
    found = {}
    since = accuracy["window"] >= alarm if alarm else pd.Series(False, index=accuracy.index)
    for name, rows in (("before alarm", accuracy[~since]), ("since alarm", accuracy[since])):
        for kind, group in rows.groupby("kind", sort=True):
            n = int(group["n"].sum())
            right = round(float((group["value"] * group["n"]).sum()))
            found[f"{kind} accuracy {name}"] = stats.wilson(right, n)
    return found


def as_row(window: str, kind: str, estimate: stats.Estimate) -> dict:
    """Return the row of a table that says what a window's accuracy is, and how it is known."""
    return {
        "window": window,
        "kind": kind,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
    }
