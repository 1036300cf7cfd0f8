"""What was understood of a file, before anything is run on it: ``diptych inspect``."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from diptych.core.data import guesses, leaks, readers, schema, splits, stratify, typing
from diptych.core.data.column import NUMBER, TEXT, TIME, Column
from diptych.core.data.sources import DataError
from diptych.core.data.tasks import OWN_LIVE_SHARE, OwnRows

LABEL_NAMES = re.compile(
    r"(?i)^(label|labels|target|class|y|outcome|category|sentiment|churn(ed)?|fraud|survived)$"
)
ROLES = ("text_column", "label_column", "time_column", "group_column")
MOST_EXAMPLES = 3
FEW_CLASSES = 20  # different values of a column that may be the label


@dataclass
class Inspection:
    """What was understood of a file.

    Attributes
    ----------
    place : str
    rows : int
    names : list of str
        Of all columns, as the file has them.
    guesses : list of dict
        ``guessed``, ``value``, ``because``, ``to override``.
    columns : list of dict
        As `columns_table` has them.
    left_out : dict of str to str
        Columns that no model is given, and why.
    roles : dict of str to str
        The parameters that name columns.
    classes : dict of str to int
        Rows of each class.
    label : str
        What the label is, where it is a number.
    warnings : list of str
        What to look at: rows left out, conflicts, columns that tell the label.
    problem : str
        Why the file cannot be used as it is; "" if it can.
    command : str
        What to type next.
    """

    place: str
    rows: int
    names: list[str]
    guesses: list[dict]
    columns: list[dict] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    label: str = ""
    warnings: list[str] = field(default_factory=list)
    problem: str = ""
    command: str = ""


def inspect_file(own: OwnRows) -> Inspection:
    """Read a file and say what was understood.

    Parameters
    ----------
    own : OwnRows
        Columns that it names wrongly, or only by default, are looked for.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    raw = own.read_raw()
    own, remarks = _with_roles(own, raw.frame)
    names = [str(name) for name in raw.frame]
    result = Inspection(readers.shown(own.place), len(raw.frame), names, _records(raw.guessed()))
    result.roles = {name: getattr(own, name) for name in ROLES}
    result.warnings = [*raw.notes, *remarks]
    plain = not own.text_column and "text" not in raw.frame  # then all columns are read anyhow
    result.command = command(replace(own, text_column="text") if plain else own)
    try:
        rows = own.interpret(raw)
    except DataError as error:
        result.problem = str(error)
        typed = typing.infer(raw.frame, replace(own.conventions(raw), kinds={}), [own.label_column])
        result.columns = _records(columns_table(typed.read(raw.frame), typed.columns))
        result.left_out = typed.left_out
        return result
    result.guesses += _records(readers.guess_table(guesses.of_rows(rows)))
    result.columns = _records(columns_table(rows.frame, rows.columns))
    result.left_out = rows.typed.left_out
    label = rows.frame["label"]
    if rows.regression:
        result.label = f"a number, {_shown(label, NUMBER)}, median {label.median():g}"
    else:
        result.classes = {str(k): int(n) for k, n in label.value_counts().items()}
    guessed = {*rows.typed.sentences()}  # they are among the guesses
    result.warnings += [note for note in rows.notes if note not in guessed]
    result.warnings += _warnings(rows)
    return result


def columns_table(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return what is known of each typed column.

    Returns
    -------
    DataFrame
        ``column`` (as the file spells it), ``kind``, ``missing`` (a share), ``different``,
        ``values`` (range or examples), ``read as``.
    """
    names = ["column", "kind", "missing", "different", "values", "read as"]
    lines = []
    for column in columns:
        values = frame[column.name]
        missing = round(float(values.isna().mean()), 3)
        line = (column.original, column.kind, missing, int(values.nunique()))
        lines.append((*line, _shown(values.dropna(), column.kind), _reading(column)))
    return pd.DataFrame(lines, columns=names)


def _shown(values: pd.Series, kind: str) -> str:
    if values.empty:
        return ""
    if kind == NUMBER:
        return f"{values.min():g} to {values.max():g}"
    if kind == TIME:
        return f"{values.min():%Y-%m-%d} to {values.max():%Y-%m-%d}"
    counts = values.head(100_000).astype("str").value_counts()
    shown = [str(value)[:40] for value in counts.index[:MOST_EXAMPLES]]
    return ", ".join(shown) + (", ..." if len(counts) > MOST_EXAMPLES else "")


def _reading(column: Column) -> str:
    if column.kind == TIME:
        return column.form.describe()
    parts = [f"decimal {column.decimal}" if column.decimal != "." else ""]
    parts += [f"thousands {column.thousands!r}" if column.thousands else ""]
    sign = f"without {column.sign}" if column.sign else ""
    parts += ["5% is 0.05" if column.fraction else sign, "K, M, B" if column.letters else ""]
    return ", ".join(filter(None, parts)) if column.kind == NUMBER else ""


def command(own: OwnRows) -> str:
    """Return the command that takes a file into the first stage."""
    words = ["diptych", "run", "mlops/1_data", "-p", f"task={own.place}"]
    defaults = OwnRows(own.place)
    for name in (*ROLES, "read_options"):
        if getattr(own, name) != getattr(defaults, name):
            words += ["-p", f"{name}={getattr(own, name)}"]
    return shlex.join(words)


def _with_roles(own: OwnRows, frame: pd.DataFrame) -> tuple[OwnRows, list[str]]:
    """Name the columns that were not named: text, label and time."""
    remarks = []
    if own.label_column not in frame:
        guess = _label(frame, own)
        absent = "no label was named"
        if own.label_column != OwnRows.label_column:
            absent = f"there is no column {own.label_column!r}"
        remarks.append(f"{absent}; {guess!r} may be the label" if guess else absent)
        own = replace(own, label_column=guess or own.label_column)
    others = [name for name in frame if name not in (own.label_column, "id", "slice", "split")]
    known = {name: kind for name, kind in own.conventions().kinds.items() if name in others}
    typed = schema.typed_columns(frame[others], replace(own.conventions(), kinds=known), ())
    features = [column for column in typed.columns if column.kind != TIME]
    if own.text_column not in frame:
        alone = len(features) == 1 and features[0].kind == TEXT
        own = replace(own, text_column=features[0].original if alone else "")
    elif own.text_column == "text" and len(features) > 1:
        remarks.append("'text' alone is read; set text_column to '' to read all columns")
    times = [column.original for column in typed.columns if column.kind == TIME]
    if not own.time_column and times:
        named, hold = ", ".join(map(repr, times)), "hold" if len(times) > 1 else "holds"
        remarks.append(
            f"{named} {hold} times: if one is when a row came about, give it as time_column "
            f"(-p 'time_column={times[0]}'): models then learn from earlier rows, are tested on "
            f"them, and meet the latest {OWN_LIVE_SHARE:.0%} after release"
        )
    return own, remarks


def _label(frame: pd.DataFrame, own: OwnRows) -> str:
    """Return the column that is most likely the label, by name or as the last of few values."""
    used = {own.text_column, own.time_column, own.group_column, "id", "slice", "split"}
    names = [name for name in frame if name not in used]
    for name in names:
        if LABEL_NAMES.match(str(name)):
            return name
    few = [name for name in names if 2 <= frame[name].astype("str").nunique() <= FEW_CLASSES]
    return next(reversed(few), "")


def _warnings(rows: schema.Rows) -> list[str]:
    warnings = []
    content = pd.Series(splits.content_hash(rows.frame, rows.features), index=rows.frame.index)
    conflicts = rows.frame["label"].groupby(content).transform("nunique") > 1
    if (count := int(conflicts.sum())) and not rows.regression:
        warnings.append(f"{count:,} rows have equal content and different labels")
    original = {column.name: column.original for column in rows.columns}
    for name, share in leaks.telling(rows.frame, rows.columns):
        warnings.append(
            f"column {original[name]!r} tells the label of {share:.1%} of rows by itself; if it is "
            "known only after the label, leave it out (read_options: leave_out=)"
        )
    rare = rows.frame["label"].value_counts()
    if not rows.regression and rare.iloc[-1] < len(stratify.NEEDED):
        warnings.append(
            f"class {rare.index[-1]!r} has {rare.iloc[-1]} rows, too few for every split"
        )
    if not rows.regression and schema.are_bare(rare.index):
        warnings.append(
            "the labels are no names, so a language model is not told what they mean "
            f"(read_options: {schema.label_option(sorted(rare.index))})"
        )
    return warnings


def _records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def as_text(result: Inspection) -> str:
    """Return an inspection as plain text, in sections."""
    sections = [f"{result.place}: {result.rows:,} rows"]
    sections.append(_guessed(result.guesses))
    sections.append(_section("Columns", result.columns))
    if result.left_out:
        lines = [f"  {name!r}: {why}" for name, why in result.left_out.items()]
        sections.append("\n".join(["Left out", *lines]))
    roles = [f"  {name}: {value or '(none)'}" for name, value in result.roles.items()]
    sections.append("\n".join(["Parts", *roles]))
    if result.classes:
        shown = [f"{name} {count:,}" for name, count in list(result.classes.items())[:20]]
        more = f" and {len(result.classes) - 20} more" if len(result.classes) > 20 else ""
        sections.append(f"Classes\n  {', '.join(shown)}{more}")
    if result.label:
        sections.append(f"Label\n  {result.label}")
    if result.warnings:
        sections.append("\n".join(["Look at", *(f"  - {line}" for line in result.warnings)]))
    if result.problem:
        sections.append(f"Problem\n  {result.problem}")
    sections.append(f"Next\n  {result.command}")
    return "\n\n".join(filter(None, sections))


def _guessed(records: list[dict]) -> str:
    lines = []
    for record in records:
        lines.append(f"  {record['guessed']}: {record['value']} ({record['because']})")
        if record["to override"]:
            lines.append(f"      otherwise: {record['to override']}")
    return "\n".join(["Guessed (otherwise: what --read-options takes)", *lines]) if lines else ""


def _section(title: str, records: list[dict]) -> str:
    if not records:
        return ""
    lines = pd.DataFrame(records).to_string(index=False, max_colwidth=70).splitlines()
    return "\n".join([title, *(f"  {line}" for line in lines)])
