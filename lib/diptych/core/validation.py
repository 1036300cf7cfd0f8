"""The validation report of a table: may a model be trained on these rows, and judged by them?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.core import splits
from diptych.core.sources import DataError
from diptych.core.tasks import FRAME, Task

OK, WARN, FAIL = "ok", "warn", "fail"
NEEDED = ("train", "valid", "test", "live")
RARE = 0.05  # a class below this share is warned about


@dataclass(frozen=True)
class Validation:
    """The checks: one row each with ``check``, ``status`` and ``detail``."""

    table: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether no check failed (warnings may stand)."""
        return not (self.table["status"] == FAIL).any()

    def raise_if_failed(self) -> None:
        """Raise `DataError` naming the checks that failed."""
        failed = self.table[self.table["status"] == FAIL]
        if len(failed):
            told = "; ".join(f"{row.check}: {row.detail}" for row in failed.itertuples())
            raise DataError(f"data: {len(failed)} checks failed: {told}")


def validate(frame: pd.DataFrame, task: Task) -> Validation:
    """Check canonical rows.

    Parameters
    ----------
    frame : DataFrame
        As `versions.read` returns them.

    Returns
    -------
    Validation
        A missing column ends the checks, since the others could not be made.
    """
    columns = _columns(frame, task)
    rows = [columns]
    if columns[1] == OK:
        rows += [
            _types(frame, task),
            _nulls(frame),
            _ranges(frame, task),
            _ids(frame),
            _duplicates(frame, task),
            _leakage(frame, task),
            _balance(frame),
            _splits(frame),
            _order(frame),
        ]
    rows += [("left out", WARN, note) for note in task.notes]
    return Validation(pd.DataFrame(rows, columns=["check", "status", "detail"]))


def _columns(frame, task):
    expected = [*FRAME, *task.features]
    wrong = [f"{c} is missing" for c in expected if c not in frame]
    wrong += [f"{c} is unknown" for c in frame if c not in expected]
    return ("columns", FAIL if wrong else OK, ", ".join(wrong) or f"{len(expected)} as declared")


def _types(frame, task):
    strings = ["id", "label", "slice", "split", *(["text"] if task.kind == "text" else [])]
    wrong = [c for c in strings if not pd.api.types.is_string_dtype(frame[c].dropna())]
    if task.kind != "text":
        wrong += [c for c in task.features if not pd.api.types.is_float_dtype(frame[c])]
    if not isinstance(frame["time"].dtype, pd.DatetimeTZDtype):
        wrong.append("time")
    return (
        "types",
        FAIL if wrong else OK,
        f"wrong: {', '.join(wrong)}" if wrong else "as declared",
    )


def _nulls(frame):
    counts = frame.drop(columns="time").isna().sum()
    bad = counts[counts > 0]
    must = {"id", "text", "label", "split", "slice"} & set(bad.index)
    detail = ", ".join(f"{name} {count}" for name, count in bad.items()) or "none"
    return ("missing values", FAIL if must else WARN if len(bad) else OK, detail)


def _ranges(frame, task):
    if task.kind == "text":
        words = frame["text"].str.split().str.len()
        empty = int((words == 0).sum())
        detail = f"{words.min()} to {words.max()} words" + (f", {empty} empty" if empty else "")
        return ("ranges", FAIL if empty else OK, detail)
    values = frame[task.features].to_numpy()
    infinite = int(np.isinf(values).sum())
    detail = f"{np.nanmin(values):g} to {np.nanmax(values):g}, {infinite} infinite"
    return ("ranges", FAIL if infinite else OK, detail)


def _ids(frame):
    count = int(frame["id"].duplicated().sum())
    return ("duplicate ids", FAIL if count else OK, f"{count} of {len(frame):,}")


def _duplicates(frame, task):
    count = int(pd.Series(splits.content_hash(frame, task.features)).duplicated().sum())
    return ("duplicate contents", WARN if count else OK, f"{count} of {len(frame):,}")


def _leakage(frame, task):
    content = pd.Series(splits.content_hash(frame, task.features), index=frame.index)
    train = set(content[frame["split"] == "train"])
    judged = frame["split"].isin(["valid", "test", "handwritten"])
    count = int((judged & content.isin(train)).sum())
    return ("leakage", FAIL if count else OK, f"{count} rows of other splits stand in train too")


def _balance(frame):
    shares = frame["label"].value_counts(normalize=True).sort_index()
    detail = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return ("class balance", WARN if shares.min() < RARE else OK, detail)


def _splits(frame):
    classes = frame.groupby("split")["label"].nunique()
    thin = [name for name in NEEDED if classes.get(name, 0) < frame["label"].nunique()]
    bad = [name for name in thin if name != "live"]
    detail = f"a class is missing in {', '.join(thin)}" if thin else "every class in every split"
    return ("splits", FAIL if bad else WARN if thin else OK, detail)


def _order(frame):
    timed = frame[frame["time"].notna()]
    if timed.empty:
        return ("time", OK, "the rows have no time")
    live = timed["split"] == "live"
    late = not live.any() or timed[~live]["time"].max() <= timed[live]["time"].min()
    detail = f"{timed['time'].min():%Y-%m-%d} to {timed['time'].max():%Y-%m-%d}"
    return ("time", OK if late else FAIL, detail + ("" if late else "; live rows overlap"))
