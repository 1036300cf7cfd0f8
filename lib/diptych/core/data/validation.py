"""The validation report of a table: are these rows fit to train and test a model?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.core.data import leaks, splits
from diptych.core.data.column import BOOLEAN, CATEGORY, NUMBER
from diptych.core.data.sources import DataError
from diptych.core.data.tasks import Task

OK, WARN, FAIL = "ok", "warn", "fail"
SPLITS = ("train", "valid", "test", "live")
RARE = 0.25  # of the share each class would have if all were alike
LONGEST = 20_000  # characters of a text
BEYOND = 0.01  # share of numbers outside the train rows' range from which it is a warning
HOLLOW = 0.5  # share of missing values from which a column is named
STORED = {"float": "float32", "double": "float64", "bool": ("bool", "boolean")}


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

    def and_checks(self, checks: Mapping[str, object]) -> "Validation":
        """Return the checks with those of your own; one that does not hold fails.

        Parameters
        ----------
        checks : mapping of str to bool or Series of bool
            By name; of a series every row must hold, and a missing value does not.

        Raises
        ------
        DataError
            If one is neither.
        """
        lines = []
        for name, holds in checks.items():
            rows = pd.Series(holds)
            if not pd.api.types.is_bool_dtype(rows):
                raise DataError(
                    f"checks: {name!r} is {type(holds).__name__}; give True or False, or a column "
                    'of them, such as frame["age"] >= 0'
                )
            wrong = int((~rows.astype("boolean").fillna(False)).sum())
            counted = f"{len(rows) - wrong:,} of {len(rows):,} hold" if len(rows) > 1 else (
                "does not hold" if wrong else "holds"
            )  # fmt: skip
            lines.append((name, FAIL if wrong else OK, counted, "a check of your own"))
        added = pd.DataFrame(lines, columns=list(self.table))
        return Validation(pd.concat([self.table, added], ignore_index=True))

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
        checks += [_categories(frame, task), _repeated_label(frame, task)] if task.columns else []
        if task.regression:
            checks += [_numbers(frame), _outliers(frame), _presence(frame, task)]
        else:
            checks += [_labels(frame, task), _balance(frame), _presence(frame, task)]
        checks += [_copies(frame, content), _leakage(frame, content, task)]
        checks += [_conflicts(frame, content, task)] if task.from_user else []
        checks += [_near(frame)] if task.kind == "text" else []
        checks.append(_order(frame, task))
    checks += [("left out" if "left out" in x else "read", WARN, x, "") for x in task.notes]
    return Validation(pd.DataFrame(checks, columns=["check", "status", "found", "detail"]))


def _columns(frame: pd.DataFrame, task: Task) -> tuple:
    names = dict.fromkeys(task.schema.names)
    wrong = [f"{name} is missing" for name in names if name not in frame]
    wrong += [f"{name} is unknown" for name in frame if name not in names]
    if frame.empty:
        return "columns", FAIL, "no rows", "name a file with rows"
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
            fits = str(got) in STORED.get(expected, "datetime64[us, UTC]")
        wrong += [] if fits else [f"{field.name} is {got}, not {expected}"]
    if wrong:
        return "types", FAIL, ", ".join(wrong), "run 1_data on these rows first"
    if task.columns:
        kinds = pd.Series([column.kind for column in task.columns]).value_counts()
        return "types", OK, ", ".join(f"{count} {kind}" for kind, count in kinds.items()), ""
    return "types", OK, "as declared", ""


def _missing(frame: pd.DataFrame, task: Task) -> tuple:
    counts = frame.drop(columns="time").isna().sum()
    counts = counts[counts > 0]
    shown = [f"{name} {count:,}" for name, count in counts.items()]
    figure = ", ".join(shown[:8]) + (f" and {len(shown) - 8} more columns" if shown[8:] else "")
    if set(counts.index) - set(task.features) or (task.kind == "text" and len(counts)):
        return "missing values", FAIL, figure, "only features may be missing; fill or remove these"
    if not task.columns:
        detail = "models take a missing number as it is, or as the column's mean"
        detail = detail if len(counts) else ""
        return "missing values", WARN if len(counts) else OK, figure or "none", detail
    if hollow := list(counts[counts > HOLLOW * len(frame)].index):
        detail = f"over half of {', '.join(hollow[:5])}; that a value is missing is learnt, too"
        return "missing values", WARN, figure, detail
    detail = "that a value is missing is learnt, too" if len(counts) else ""
    return "missing values", OK, figure or "none", detail


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
    features = task.features
    if task.columns:
        features = [column.name for column in task.columns if column.kind == NUMBER]
    if not features:
        return "values", OK, "no numbers", ""
    values = frame[features].to_numpy()
    low, high = task.bounds or (-np.inf, np.inf)
    infinite, outside = np.isinf(values), (values < low) | (values > high)
    finite = values[np.isfinite(values)]
    figure = f"{finite.min():g} to {finite.max():g}" if finite.size else "no number"
    for bad, what in ((infinite, "infinite"), (outside, f"outside {low:g} to {high:g}")):
        if bad.any():
            column = features[int(bad.any(axis=0).argmax())]
            return "values", FAIL, figure, f"{bad.sum():,} are {what}, first in {column}"
    same = [c for c, x in zip(features, values.T, strict=True) if (x == x[0]).all()]
    if same:
        return "values", WARN, figure, f"{len(same)} columns never change, such as {same[0]}"
    return "values", OK, figure, ""


def _categories(frame: pd.DataFrame, task: Task) -> tuple:
    """Count the values of categories, and name those that no train row has."""
    names = [x.name for x in task.columns if x.kind in (CATEGORY, BOOLEAN)]
    if not names:
        return "categories", OK, "no categories", ""
    counts = [frame[name].nunique() for name in names]
    figure = f"{len(names)} columns, {min(counts)} to {max(counts):,} values"
    train, unseen = frame["split"] == "train", []
    for name in names:
        others = frame.loc[~train, name].dropna()
        if count := int((~others.isin(frame.loc[train, name].dropna().unique())).sum()):
            unseen.append(f"{name} {count:,}")
    if unseen:
        detail = f"rows of other splits with a value that no train row has: {', '.join(unseen[:5])}"
        return "categories", WARN, figure, detail
    return "categories", OK, figure, "train rows have every value"


def _repeated_label(frame: pd.DataFrame, task: Task) -> tuple:
    """Name columns that tell the label by themselves: they may be known only after it."""
    telling = leaks.telling(frame, task.columns)
    looked = f", of {leaks.MOST:,} rows drawn" if len(frame) > leaks.MOST else ""
    if not telling:
        return "label in a column", OK, "none", f"no column tells the label by itself{looked}"
    original = {column.name: column.original for column in task.columns}
    names = ",".join(original[name] for name, _ in telling[:5])
    figure = ", ".join(f"{name} {share:.1%}" for name, share in telling[:5]) + looked
    remedy = (
        "of rows are told right by this column alone; if it is known only after the label, set "
        f"read_options to leave_out={repr(names) if ' ' in names else names}"
    )
    return "label in a column", WARN, figure, remedy


def _labels(frame: pd.DataFrame, task: Task) -> tuple:
    classes = sorted(frame["label"].dropna().unique())
    unknown = [name for name in classes if task.labels and name not in task.labels]
    if unknown:
        return "classes", FAIL, ", ".join(unknown), f"expected {', '.join(task.labels)}"
    if len(classes) < 2:
        return "classes", FAIL, ", ".join(classes) or "none", "at least two are needed"
    listed = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    return "classes", OK, f"{len(classes)}", listed


def _balance(frame: pd.DataFrame) -> tuple:
    shares = frame.loc[frame["split"] == "train", "label"].value_counts(normalize=True)
    if shares.empty:
        return "class balance", FAIL, "no train rows", "name some rows train"
    figure = f"{shares.index[-1]} {shares.iloc[-1]:.1%} to {shares.index[0]} {shares.iloc[0]:.1%}"
    if shares.iloc[-1] < RARE / len(shares):
        return "class balance", WARN, figure, "accuracy hides how the rarest class does"
    return "class balance", OK, figure, "rarest to most frequent, train rows"


def _numbers(frame: pd.DataFrame) -> tuple:
    """Describe the label's numbers."""
    numbers = frame["label"].dropna()
    figure = f"{numbers.min():g} to {numbers.max():g}, {numbers.nunique():,} different"
    if infinite := int(np.isinf(numbers).sum()):
        return "label range", FAIL, figure, f"{infinite:,} are infinite; remove these rows"
    train = numbers[frame["split"] == "train"]
    if train.nunique() < 2:
        return "label range", FAIL, figure, "train rows hold fewer than two different numbers"
    outside = numbers[(numbers < train.min()) | (numbers > train.max())]
    seen = frame.loc[outside.index, "split"].value_counts()
    if len(outside):
        detail = ", ".join(f"{name} {count:,}" for name, count in seen.items())
        detail = f"beyond the range of the train rows, where trees cannot reach: {detail}"
        return "label range", WARN if len(outside) > BEYOND * len(frame) else OK, figure, detail
    return "label range", OK, figure, "train rows span it"


def _outliers(frame: pd.DataFrame) -> tuple:
    """Count numbers over three interquartile ranges outside the middle half (Tukey 1977)."""
    numbers = frame["label"].dropna()
    first, middle, third = numbers.quantile([0.25, 0.5, 0.75])
    far = numbers[(numbers < first - 3 * (third - first)) | (numbers > third + 3 * (third - first))]
    figure = f"half lie in {first:g} to {third:g}, the median is {middle:g}"
    if third > first and len(far):
        one = frame.loc[(far - middle).abs().idxmax()]
        detail = f"{len(far):,} are far out, such as {one['label']:g} (row {one['id']}); "
        detail += "RMSE hangs on them: correct them if they are wrong, or set metric to mae"
        return "label outliers", WARN, figure, detail
    return "label outliers", OK, figure, "none is far out"


def _presence(frame: pd.DataFrame, task: Task) -> tuple:
    expected = (*SPLITS, *task.apart)
    counts = frame.groupby("split")["label"].agg(["size", "nunique"])
    figure = ", ".join(f"{name} {counts['size'].get(name, 0):,}" for name in expected)
    if unknown := sorted(set(counts.index) - set(expected)):
        return "splits", FAIL, figure, f"unknown: {', '.join(unknown)}"
    if empty := [name for name in expected if name not in counts.index]:
        if empty == ["live"] and task.from_user:
            detail = "no rows in live: 4_serve and later have nothing to serve; name some live"
            return "splits", WARN, figure, detail
        detail = f"no rows in {', '.join(empty)}; {len(frame):,} rows are too few to split"
        return "splits", FAIL, figure, detail
    if task.regression:
        return "splits", OK, figure, ""
    classes = frame["label"].nunique()
    if thin := [name for name in expected if counts["nunique"][name] < classes]:
        rare = frame["label"].value_counts()
        detail = (
            f"a class is missing in {', '.join(thin)} (rarest: {rare.index[-1]}, "
            f"{rare.iloc[-1]:,} rows); merge rare classes, leave them out, or add rows of them"
        )
        return "splits", WARN, figure, detail
    return "splits", OK, figure, "every class in each"


def _conflicts(frame: pd.DataFrame, content: pd.Series, task: Task) -> tuple:
    """Count rows whose content occurs with another label, too."""
    labels = frame["label"].groupby(content).transform("nunique")
    rows = frame[labels > 1]
    if task.regression and len(rows):
        spread = frame["label"].groupby(content).transform("std")[labels > 1]
        detail = "of equal content and different number: no model can tell them apart"
        figure = f"{len(rows):,} rows, {spread.mean():.3g} apart (deviation)"
        return "conflicts", OK if len(rows) < HOLLOW * len(frame) else WARN, figure, detail
    if rows.empty:
        return "conflicts", OK, "none", "no content has two labels"
    one = frame[content == content[rows.index[0]]]
    example = f"{one['id'].iloc[0]} ({one['label'].iloc[0]}) and "
    other = one[one["label"] != one["label"].iloc[0]].iloc[0]
    example += f"{other['id']} ({other['label']})"
    detail = (
        f"of equal content and different label, such as {example}; no model can be right on all: "
        "correct the labels, or add a column that tells the rows apart"
    )
    return "conflicts", WARN, f"{len(rows):,} rows", detail


def _copies(frame: pd.DataFrame, content: pd.Series) -> tuple:
    count = int(pd.DataFrame({"content": content, "split": frame["split"]}).duplicated().sum())
    detail = "the same content again within a split counts twice in its score" if count else ""
    return "duplicates", WARN if count else OK, f"{count:,} rows", detail


def _leakage(frame: pd.DataFrame, content: pd.Series, task: Task) -> tuple:
    train = frame["split"] == "train"
    seen = frame["split"][~train & content.isin(content[train])].value_counts()
    figure = ", ".join(f"{name} {count:,}" for name, count in seen.items()) or "none"
    if set(seen.index) - {"live"} and task.from_user:  # the file's splits, groups, or few values
        detail = "rows with the content of a train row make the score too good if they are copies"
        return "leakage", WARN, figure, detail
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
        detail = f"{early:,} rows of other splits are as late as live"
        return "time order", WARN if task.from_user else FAIL, figure, detail
    return "time order", OK, figure, f"live begins {begins:%Y-%m-%d}" if live.any() else ""
