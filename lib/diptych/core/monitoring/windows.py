"""Live rows in windows of time: what changed, and a challenger measured on later windows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from diptych.base import workspace
from diptych.core.evaluation import graders, stats
from diptych.core.evaluation.fairness import figure
from diptych.core.evaluation.metrics import Figure, Metric
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.monitoring import drift, sequential
from diptych.core.monitoring.drift import Profile
from diptych.core.store.predictions import Predictions

LOSS = 0.01  # of the metric; the share of a smaller one that came back would be noise
TRUE, ESTIMATED = "true", "estimated"
COLUMNS = ["value", "low", "high", "n", "reason"]


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


@dataclass(frozen=True, eq=False)
class LiveRows:
    """Labelled live rows with their windows, as each of some models answered them.

    Attributes
    ----------
    scored : mapping of str to ScoredRows
        By model, on the same rows.
    windows : array of str, shape (n,)
        The window of each row.
    metric : Metric
        The task's.
    """

    scored: Mapping[str, ScoredRows]
    windows: np.ndarray
    metric: Metric

    @property
    def names(self) -> list[str]:
        """The windows that have labelled rows, in order."""
        return sorted(set(self.windows.tolist()))

    def figure(self, model: str, names: Sequence[str]) -> Figure:
        """Return the metric of a model on the rows of some windows; NaN, with a note, of none."""
        return figure(self.metric, self.scored[model].take(np.isin(self.windows, list(names))))

    def table(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the metric of each model on each window.

        Returns
        -------
        DataFrame
            ``window``, ``model``, ``value``, ``low``, ``high``, ``n``, ``reason``: why the metric
            is not defined there or its interval not to be relied on, else "".
        """
        lines = [
            {"window": window, "model": model} | as_line(self.figure(model, [window]))
            for window in (self.names if names is None else names)
            for model in self.scored
        ]
        return pd.DataFrame(lines, columns=["window", "model", *COLUMNS])


def as_line(estimate: stats.Estimate) -> dict:
    """Return an estimate as a line of a table: value, low, high, n and the reason."""
    line = asdict(estimate)
    return line | {"reason": line.pop("note", "")}


@dataclass(frozen=True, eq=False)
class Quality:
    """How good the answers in service are: true where labels came, estimated where it can be.

    Attributes
    ----------
    live : LiveRows
        The labelled rows, of one model named `TRUE`.
    confidence : Series of float
        Probability of the predicted class of every row, its window as the index; NaN where there
        is none. The accuracy is estimated from it, and no other metric.
    gap : ConfidenceGap
        By how much the model was right more often than its confidence said, on the test set.
    """

    live: LiveRows
    confidence: pd.Series
    gap: drift.ConfidenceGap = drift.NO_GAP

    @classmethod
    def of(
        cls,
        metric: Metric,
        rows: ScoredRows,
        windows: Sequence,
        confidence: pd.Series,
        gap: drift.ConfidenceGap = drift.NO_GAP,
    ) -> "Quality":
        """Build it from the labelled rows, their windows and every row's confidence."""
        live = LiveRows({TRUE: rows}, np.asarray(windows, object), metric)
        return cls(live, confidence, gap)

    @property
    def metric(self) -> Metric:
        """The task's metric."""
        return self.live.metric

    def table(self) -> pd.DataFrame:
        """Return the metric of each window.

        Returns
        -------
        DataFrame
            ``window``, ``kind`` ("estimated" or "true"), ``value``, ``low``, ``high``, ``n``,
            ``reason``. A window has no true figure until labels came, and no estimated one unless
            the metric is the accuracy, and it has two rows and a probability of each. One without
            either, or where the metric is not defined, has a line of NaN with the reason.
        """
        lines = [
            {"window": window, "kind": ESTIMATED} | as_line(self._estimate(group))
            for window, group in self._estimable()
        ]
        true = self.live.table().drop(columns="model")
        lines += true.assign(kind=TRUE).to_dict("records")
        measured = {line["window"] for line in lines}
        nothing = Figure(np.nan, np.nan, np.nan, 0, "no label has come")
        lines += [
            {"window": window, "kind": TRUE} | as_line(nothing)
            for window in sorted({*self.confidence.index} - measured)
        ]
        frame = pd.DataFrame(lines, columns=["window", "kind", *COLUMNS])
        return frame.sort_values(["window", "kind"], ignore_index=True)

    def before_and_since(self, alarm: str | None) -> dict[str, stats.Estimate]:
        """Return the metric of all rows before the first alarm, and from it on."""
        figures = {}
        for when, since in (("before alarm", False), ("since alarm", True)):

            def asked(window: str, since: bool = since) -> bool:
                return (alarm is not None and window >= alarm) is since

            shares = [group for window, group in self._estimable() if asked(window)]
            if shares:
                figures[f"{ESTIMATED} score {when}"] = self._estimate(pd.concat(shares))
            names = [window for window in self.live.names if asked(window)]
            measured = self.live.figure(TRUE, names)
            if names and np.isfinite(measured.value):
                figures[f"{TRUE} score {when}"] = measured
        return figures

    def falls(self, reference: ScoredRows, margin: float) -> pd.DataFrame:
        """Say at which windows the metric has fallen, see `sequential.falls`.

        Parameters
        ----------
        reference : ScoredRows
            The test set, as the same model answers it.
        margin : float
            A loss that would not matter.
        """
        live = self.live
        return sequential.falls(live.scored[TRUE], live.windows, reference, live.metric, margin)

    def findings(self, falls: pd.DataFrame, margin: float) -> str:
        """Return in words what `falls` found, and in which windows there is no figure."""
        rang, title = falls[falls["alarm"]], self.metric.title
        # of a metric without an upper end the margin is a share, see `sequential.in_units`
        bounded = np.isfinite(self.metric.high)
        most = f"{margin:g}" if bounded else f"{margin:.2g} of the figure on the test set"
        lines = [f"No fall of {title} by more than {most} is shown in {len(self.live.names)} "
                 "windows with labels."]  # fmt: skip
        if len(rang):
            first = rang.iloc[0]
            where = first.window if first.since == first.window else f"{first.since} to "
            where += "" if first.since == first.window else first.window
            lines = [f"{title} fell: {abs(first.change):.3f} worse than on the test set over "
                     f"{first.n} rows of {where}, by more than {most}, as the {first.by} "
                     "showed."]  # fmt: skip
        gaps = self.table().query("value.isna()")
        lines += [f"{row.window}: {row.reason}." for row in gaps.itertuples()]
        return "\n".join(lines)

    def _estimate(self, confidence: pd.Series) -> stats.Estimate:
        return drift.estimated_accuracy(confidence, gap=self.gap)

    def _estimable(self) -> list[tuple[str, pd.Series]]:
        if not self.metric.right_or_wrong:
            return []
        groups = self.confidence.groupby(level=0, sort=True)
        return [(name, group) for name, group in groups if len(group) > 1 and group.notna().all()]


def alarmed(falls: pd.DataFrame) -> list[str]:
    """Return the windows at which the metric was shown to have fallen, in order."""
    return list(dict.fromkeys(falls.loc[falls["alarm"], "window"]))


def marks(drifted: Sequence[str], fell: Sequence[str]) -> dict[str, str]:
    """Return what a chart says of windows with an alarm: drift, fell, or both."""
    names = dict.fromkeys(drifted, "drift")
    both = {window: "drift, fell" if window in names else "fell" for window in fell}
    return dict(sorted((names | both).items()))


def first_alarm(*alarms: str | None) -> str | None:
    """Return the earliest window of some alarms, None if none was raised."""
    return min(filter(None, alarms), default=None)


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
        return f"alarm in {self.alarm}" if self.alarm else "no alarm: a routine refresh"


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


def outcome(live: LiveRows, split: WindowSplit) -> dict[str, Figure | float]:
    """Return the metric on the windows after the decision, and how much of a loss came back.

    Parameters
    ----------
    live : LiveRows
        Of "champion" and "challenger".

    Returns
    -------
    dict
        The metric of both on windows neither the training nor the gate has seen, with its
        interval; if the champion
        lost at least `LOSS` (of a metric without upper end, this share of its figure) against the
        windows before the alarm, also ``recovered``: the challenger's gain as a share of that loss.
    """
    seen = {*split.learn, *split.decide, *split.after}
    before = live.figure("champion", [name for name in live.names if name not in seen]).value
    old, new = (live.figure(model, split.after) for model in ("champion", "challenger"))
    both = {"champion afterwards": old, "challenger afterwards": new}
    values: dict[str, Figure | float] = {
        name: one for name, one in both.items() if np.isfinite([one.low, one.high]).all()
    }
    lost = live.metric.sign * (before - old.value)
    least = sequential.in_units(LOSS, live.metric, before)
    if split.alarm and np.isfinite(lost + new.value) and lost >= least:
        values["recovered"] = live.metric.sign * (new.value - old.value) / lost
    return values


def as_row(window: str, kind: str, estimate: stats.Estimate) -> dict:
    """Return a line of a table of shares: the window, what kind of share it is, the estimate."""
    return {"window": window, "kind": kind} | asdict(estimate)
