"""The validation report of a table: are these rows fit to train and test a model?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.core.data import splits
from diptych.core.data.sources import DataError
from diptych.core.data.tasks import Task

OK, WARN, FAIL = "ok", "warn", "fail"
SPLITS = ("train", "valid", "test", "live")
RARE = 0.25  # of the share each class would have if all were alike
LONGEST = 20_000  # characters of a text


@dataclass(frozen=True)
class Validation:
    """The outcome of the checks.

    Attributes
    ----------
    table : DataFrame
        One row a check: ``check``, ``status`` (ok, warn or fail), ``found``, ``detail``.
    """

    table: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether no check failed (warnings may stand)."""
        return not (self.table["status"] == FAIL).any()

    def __str__(self) -> str:
        width = max(len(check) for check in self.table["check"])
        lines = [
            f"{row.status:4}  {row.check:{width}}  {row.found}{'; ' * bool(row.detail)}{row.detail}"
            for row in self.table.itertuples()
        ]
        return "\n".join(lines)

    def raise_if_failed(self) -> None:
        """Raise if a check failed.

        Raises
        ------
        DataError
            Naming the checks that failed and what they found.
        """
        failed = self.table[self.table["status"] == FAIL]
        if len(failed):
            reasons = "; ".join(
                f"{row.check}: {row.found}, {row.detail}" for row in failed.itertuples()
            )
            raise DataError(f"data: {len(failed)} of {len(self.table)} checks failed. {reasons}")


def validate(frame: pd.DataFrame, task: Task) -> Validation:
    """Check canonical rows.

    Parameters
    ----------
    frame : DataFrame
        As `versions.read` returns them, shape (n, ...).
    task : Task
        Says which columns, classes and bounds to expect.

    Returns
    -------
    Validation
        Wrong columns or types, or no rows, end the checks: the others could not be made.
    """
    checks = [_columns(frame, task)]
    if checks[-1][1] == OK:
        checks.append(_types(frame, task))
    if checks[-1][1] == OK:
        content = pd.Series(splits.content_hash(frame, task.features), index=frame.index)
        checks += [_missing(frame, task), _ids(frame)]
        checks += [_lengths(frame)] if task.kind == "text" else [_values(frame, task)]
        checks += [_labels(frame, task), _balance(frame), _presence(frame, task)]
        checks += [_copies(frame, content), _leakage(frame, content)]
        checks += [_near(frame)] if task.kind == "text" else []
        checks.append(_order(frame, task))
    checks += [("left out", WARN, note, "") for note in task.notes]
    return Validation(pd.DataFrame(checks, columns=["check", "status", "found", "detail"]))


def _columns(frame: pd.DataFrame, task: Task) -> tuple:
    wrong = [f"{name} is missing" for name in task.schema.names if name not in frame]
    wrong += [f"{name} is unknown" for name in frame if name not in task.schema.names]
    if frame.empty:
        return "columns", FAIL, "no rows", "give rows"
    if wrong:
        return "columns", FAIL, ", ".join(wrong), "the rows are not those of this task"
    return "columns", OK, f"{frame.shape[1]} as declared", ""


def _types(frame: pd.DataFrame, task: Task) -> tuple:
    wrong = []
    for field in task.schema:
        got, expected = frame[field.name].dtype, str(field.type)
        if expected == "string":
            fits = pd.api.types.is_string_dtype(frame[field.name].dropna())
        else:
            fits = got == ("float32" if expected == "float" else "datetime64[us, UTC]")
        wrong += [] if fits else [f"{field.name} is {got}, not {expected}"]
    if wrong:
        return "types", FAIL, ", ".join(wrong), "convert these columns"
    return "types", OK, "as declared", ""


def _missing(frame: pd.DataFrame, task: Task) -> tuple:
    counts = frame.drop(columns="time").isna().sum()
    counts = counts[counts > 0]
    figure = ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"
    if set(counts.index) - set(task.features) or (task.kind == "text" and len(counts)):
        return "missing values", FAIL, figure, "only numbers may be missing"
    detail = "models take a missing number as it is, or as the column's mean" if len(counts) else ""
    return "missing values", WARN if len(counts) else OK, figure, detail


def _ids(frame: pd.DataFrame) -> tuple:
    repeated = frame["id"][frame["id"].duplicated()]
    if len(repeated):
        return "ids", FAIL, f"{len(repeated):,} repeated", f"first {repeated.iloc[0]}"
    return "ids", OK, f"{len(frame):,} distinct", ""


def _lengths(frame: pd.DataFrame) -> tuple:
    texts = frame["text"].dropna()
    characters = texts.str.len()
    figure = f"{characters.min():.0f} to {characters.max():,.0f} characters"
    if blank := int(texts.str.strip().eq("").sum()):
        return "text length", FAIL, figure, f"{blank:,} texts are blank"
    if long := int((characters > LONGEST).sum()):
        return "text length", WARN, figure, f"{long:,} texts have over {LONGEST:,} characters"
    return "text length", OK, figure, ""


def _values(frame: pd.DataFrame, task: Task) -> tuple:
    values = frame[task.features].to_numpy()
    low, high = task.bounds or (-np.inf, np.inf)
    infinite, outside = np.isinf(values), (values < low) | (values > high)
    finite = values[np.isfinite(values)]
    figure = f"{finite.min():g} to {finite.max():g}" if finite.size else "no number"
    for bad, what in ((infinite, "infinite"), (outside, f"outside {low:g} to {high:g}")):
        if bad.any():
            column = task.features[int(bad.any(axis=0).argmax())]
            return "values", FAIL, figure, f"{bad.sum():,} are {what}, first in {column}"
    same = [c for c, x in zip(task.features, values.T, strict=True) if (x == x[0]).all()]
    if same:
        return "values", WARN, figure, f"{len(same)} columns never change, such as {same[0]}"
    return "values", OK, figure, ""


def _labels(frame: pd.DataFrame, task: Task) -> tuple:
    classes = sorted(frame["label"].dropna().unique())
    unknown = [name for name in classes if task.labels and name not in task.labels]
    if unknown:
        return "classes", FAIL, ", ".join(unknown), f"expected {', '.join(task.labels)}"
    if len(classes) < 2:
        return "classes", FAIL, ", ".join(classes) or "none", "at least two are needed"
    return "classes", OK, f"{len(classes)}", ", ".join(classes)


def _balance(frame: pd.DataFrame) -> tuple:
    shares = frame.loc[frame["split"] == "train", "label"].value_counts(normalize=True)
    if shares.empty:
        return "class balance", FAIL, "no train rows", "give more rows"
    figure = f"{shares.index[-1]} {shares.iloc[-1]:.1%} to {shares.index[0]} {shares.iloc[0]:.1%}"
    if shares.iloc[-1] < RARE / len(shares):
        return "class balance", WARN, figure, "accuracy hides how the rarest class does"
    return "class balance", OK, figure, "rarest to most frequent, train rows"


def _presence(frame: pd.DataFrame, task: Task) -> tuple:
    expected = (*SPLITS, *task.apart)
    counts = frame.groupby("split")["label"].agg(["size", "nunique"])
    figure = ", ".join(f"{name} {counts['size'].get(name, 0):,}" for name in expected)
    if unknown := sorted(set(counts.index) - set(expected)):
        return "splits", FAIL, figure, f"unknown: {', '.join(unknown)}"
    if empty := [name for name in expected if name not in counts.index]:
        return "splits", FAIL, figure, f"no rows in {', '.join(empty)}; give more rows"
    classes = frame["label"].nunique()
    if thin := [name for name in expected if counts["nunique"][name] < classes]:
        needed = set(thin) & {"train", "valid", "test"}
        return (
            "splits",
            FAIL if needed else WARN,
            figure,
            f"a class is missing in {', '.join(thin)}",
        )
    return "splits", OK, figure, "every class in each"


def _copies(frame: pd.DataFrame, content: pd.Series) -> tuple:
    count = int(pd.DataFrame({"content": content, "split": frame["split"]}).duplicated().sum())
    detail = "the same content again within a split counts twice in its score" if count else ""
    return "duplicates", WARN if count else OK, f"{count:,} rows", detail


def _leakage(frame: pd.DataFrame, content: pd.Series) -> tuple:
    train = frame["split"] == "train"
    seen = frame["split"][~train & content.isin(content[train])].value_counts()
    figure = ", ".join(f"{name} {count:,}" for name, count in seen.items()) or "none"
    if set(seen.index) - {"live"}:
        return "leakage", FAIL, figure, "rows with the content of a train row; remove them"
    if len(seen):  # what is said again later is no leak, but it flatters the live score
        return "leakage", WARN, figure, "live rows repeat the content of train rows"
    return "leakage", OK, figure, "no row of another split has the content of a train row"


def _near(frame: pd.DataFrame) -> tuple:
    near = splits.near_copies(frame["text"].fillna(""), (frame["split"] == "train").to_numpy())
    seen = frame["split"][near].value_counts()
    figure = ", ".join(f"{name} {count:,}" for name, count in seen.items()) or "none"
    detail = f"rows of other splits that share {splits.ALIKE:.0%} of their 5-grams with a train row"
    return "near copies", WARN if len(seen) else OK, figure, detail


def _order(frame: pd.DataFrame, task: Task) -> tuple:
    if frame["time"].isna().all():
        return "time order", OK, "no times", ""
    stream = frame[~frame["split"].isin(task.apart)]
    if missing := int(stream["time"].isna().sum()):
        return "time order", FAIL, f"{missing:,} rows without a time", "give every row a time"
    live = stream["split"] == "live"
    figure = f"{stream['time'].min():%Y-%m-%d} to {stream['time'].max():%Y-%m-%d}"
    begins = stream.loc[live, "time"].min()
    if early := int((stream.loc[~live, "time"] >= begins).sum()):
        return (
            "time order",
            FAIL,
            figure,
            f"{early:,} rows of other splits are as late as live",
        )
    return "time order", OK, figure, f"live begins {begins:%Y-%m-%d}" if live.any() else ""
