"""What is the table and what stands around it: names, empty rows and columns, totals.

For text files and sheets alike; a typed format needs none of it.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from diptych.core.data.readers.conventions import is_number
from diptych.core.data.readers.table import Guess
from diptych.core.data.sources import DataError

TOTALS = {
    "total", "totals", "grand total", "sum", "sums", "summe", "gesamt", "gesamtsumme", "insgesamt",
    "gesamtergebnis", "somme", "total general", "total général", "totale", "totaal", "suma",
    "razem", "итого", "всего", "合计", "合計", "总计",
}  # fmt: skip


def refuse_repeated(names: Sequence[str], place: str) -> None:
    """Refuse a table with a name that stands for two columns.

    Raises
    ------
    DataError
        Naming it, and where it stands.
    """
    seen: dict[str, int] = {}
    for at, name in enumerate(names, 1):
        if name in seen:
            raise DataError(
                f"task: {place} has the column {name!r} twice, as column {seen[name]} and {at}; "
                "give one of them another name in the file, or if the first line holds no names: "
                "read_options: header=no"
            )
        seen[name] = at


def named(header: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return names for all columns, and the positions of those that had none."""
    unnamed = [at for at, name in enumerate(header) if not name.strip()]
    taken = {name for name in header if name.strip()}
    names = list(header)
    for at in unnamed:
        name = f"column_{at + 1}"
        while name in taken:
            name += "_"
        names[at] = name
        taken.add(name)
    return names, unnamed


def without_unnamed(
    frame: pd.DataFrame, unnamed: Sequence[int], notes: list[str], guesses: list[Guess]
) -> pd.DataFrame:
    """Leave out unnamed columns that are empty, and say what the others are called."""
    empty = [frame.columns[at] for at in unnamed if frame.iloc[:, at].isna().all()]
    full = [frame.columns[at] for at in unnamed if frame.columns[at] not in empty]
    if empty:
        notes.append(f"{_columns(len(empty))} without a name and without values left out")
    if full:
        named = ", ".join(repr(name) for name in full[:5])
        why = f"{_columns(len(full))} with values had no name"
        guesses.append(Guess("column names", named, why))
    return frame.drop(columns=empty)


def tidied(
    frame: pd.DataFrame, options: Mapping[str, str], notes: list[str], guesses: list[Guess]
) -> pd.DataFrame:
    """Leave out rows that are none: without a value, the header once more, a totals row.

    What is left out is said in `notes`, and in `guesses` where an option decides it. Columns that
    `leave_out` names go, too.

    Raises
    ------
    DataError
        If `leave_out` names a column that is not there.
    """
    unwanted = [name.strip() for name in options.get("leave_out", "").split(",") if name.strip()]
    if unknown := [name for name in unwanted if name not in frame]:
        raise DataError(
            f"read_options: leave_out={unknown[0]}: there is no such column; the columns are "
            f"{', '.join(map(repr, frame.columns[:20]))}."
        )
    blank = frame.isna().all(axis=1)
    if frame.shape[1] > 1 and (count := int(blank.sum())):
        notes.append(f"{count:,} row{'s' * (count > 1)} without any value left out")
        frame = frame[~blank]
    if frame.shape[1] > 1 and len(again := _header_again(frame)):
        notes.append(f"the header, which stands again {len(again):,} times below, left out there")
        frame = frame.drop(index=again)
    if options.get("totals") != "keep" and _ends_in_totals(frame, options):
        word = _first_value(frame.iloc[-1])
        notes.append(f"the last row, {word!r}, holds totals and is left out")
        guesses.append(
            Guess("totals row", "left out", f"the last row begins with {word!r}", "totals=keep")
        )
        frame = frame.iloc[:-1]
    return frame.drop(columns=unwanted).reset_index(drop=True)


def _columns(number: int) -> str:
    return f"{number} column{'s' * (number > 1)}"


def _header_again(frame: pd.DataFrame) -> pd.Index:
    left = frame
    for name in frame.columns:
        left = left[left[name].astype("object") == name]
        if left.empty:
            break
    return left.index


def _first_value(row: pd.Series) -> str:
    return next((str(value).strip() for value in row if not pd.isna(value)), "")


def _ends_in_totals(frame: pd.DataFrame, options: Mapping[str, str]) -> bool:
    """Whether the last row begins with a word for a total and else holds only numbers."""
    if len(frame) < 3 or frame.shape[1] < 2:
        return False
    values = [value for value in frame.iloc[-1] if not pd.isna(value)]
    if not values or str(values[0]).strip().rstrip(":").lower() not in TOTALS:
        return False
    if options.get("totals") == "drop":
        return True
    column = next(n for n in frame.columns if not pd.isna(frame[n].iloc[-1]))
    if (frame[column].iloc[:-1].astype("object") == values[0]).any():
        return False  # a category of this name
    return len(values) > 1 and all(is_number(str(value)) for value in values[1:])
