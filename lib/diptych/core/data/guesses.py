"""What was guessed of a file's columns, each with the option that decides otherwise."""

from collections.abc import Sequence

from diptych.core.data.column import CATEGORY, NUMBER, TEXT, TIME, Column
from diptych.core.data.readers.table import Guess
from diptych.core.data.schema import Rows
from diptych.core.data.typing import kind_option

OTHER = {CATEGORY: TEXT}  # what a column is most likely, where it is not what was guessed
NEARLY = {
    "numbers": NUMBER,
    "kept as a code": NUMBER,
    "dates": TIME,
    "times": TIME,
    "thousands": NUMBER,
}


def of_rows(rows: Rows) -> list[Guess]:
    """Return what was decided about columns beyond what their values show without doubt.

    Parameters
    ----------
    rows : Rows
        As `schema.interpret` returns them.
    """
    typed = rows.typed
    entries = [
        _of_column(column, typed.notes[column.original])
        for column in typed.columns
        if column.original in typed.notes
    ]
    entries += [
        Guess(f"column {name!r}", "left out", why, _to_read(name, why))
        for name, why in typed.left_out.items()
    ]
    start = "time column "
    named = [note for note in rows.notes if note.startswith(start) and "times are like" in note]
    entries += [
        Guess(what, value, "as its values show", "zone=... dates=...")
        for what, value in (note.split(": ", 1) for note in named)
    ]
    return entries


def _of_column(column: Column, notes: Sequence[str]) -> Guess:
    why = "; ".join(notes)
    other = OTHER.get(column.kind, CATEGORY)
    if column.kind == CATEGORY:
        other = next((kind for word, kind in NEARLY.items() if word in why), other)
    option = kind_option(column.original, other)
    if column.kind == TIME and column.time and column.time.layout != "epoch":
        option = f"zone=... or {option}"
    return Guess(f"column {column.original!r}", column.kind, why, option)


def _to_read(name: str, why: str) -> str:
    nothing = ("it is empty", "it never changes", "it has a single value", "it has no name")
    return "" if why.startswith(nothing) else kind_option(name, CATEGORY)
