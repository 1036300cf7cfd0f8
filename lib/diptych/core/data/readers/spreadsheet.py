"""Sheets: xlsx, xlsm, xlsb, xls and ods, by python-calamine.

Measured against openpyxl on 100,000 rows of 10 columns: nine times as fast (2.5 s, not 22.8), and
it also takes xls, xlsb and ods. A cell of a sheet has a type, so only text columns need
conventions. A cell with an error (#DIV/0!) is null.
"""

import io
from collections.abc import Mapping
from typing import Any

from diptych.core.data.readers.conventions import conventions_of
from diptych.core.data.readers.header import has_header
from diptych.core.data.readers.table import Guess, RawTable, Source
from diptych.core.data.readers.tidy import named, tidied, without_unnamed
from diptych.core.data.readers.typed import columns_of, text_of
from diptych.core.data.sources import DataError, first_line

SAMPLE = 500  # rows looked at for the header
EXACT = 2**53  # a sheet's numbers are floats: whole numbers from here on are rounded


def read_spreadsheet(source: Source) -> RawTable:
    """Read one sheet of a workbook; a cell keeps its type.

    Raises
    ------
    DataError
        If it is damaged, locked or empty, or there is no such sheet.
    """
    import python_calamine

    guesses: list[Guess] = []
    notes: list[str] = []
    options = source.options
    try:
        with python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(source.data)) as book:
            name = _sheet(book.sheet_names, options.get("sheet", ""), source.place, guesses)
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=True)
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"task: {source.place} cannot be read as a spreadsheet ({first_line(error)}). Save it "
            "again without a password, or as CSV."
        ) from error
    rows = rows[int(options.get("skip_rows", 0)) :]
    rows = [[_cell(value) for value in row] for row in rows]
    rows = _without_title([r for r in rows if any(v is not None for v in r)], options, guesses)
    if not rows:
        raise DataError(
            f"task: the sheet {name!r} of {source.place} is empty; name another with "
            f"read_options: sheet=... It has {', '.join(map(repr, book.sheet_names))}."
        )
    frame = _frame(rows, source, guesses, notes)
    frame = tidied(frame, options, notes, guesses)
    conventions, marks = conventions_of(frame, "", options)
    return RawTable(frame, guesses + marks, notes, conventions)


def _sheet(names: list[str], chosen: str, place: str, guesses: list[Guess]) -> str:
    if chosen in names:
        return chosen
    if chosen.isdigit() and 0 < int(chosen) <= len(names):
        return names[int(chosen) - 1]
    listed = ", ".join(map(repr, names))
    if chosen or not names:
        raise DataError(f"read_options: {place} has no sheet {chosen!r}; its sheets are {listed}.")
    if len(names) > 1:
        guesses.append(
            Guess(
                "sheet",
                names[0],
                f"the first of {len(names)}: {listed}",
                f"sheet={_word(names[1])}",
            )
        )
    return names[0]


def _word(name: str) -> str:
    return f'"{name}"' if " " in name else name


def _cell(value: Any) -> Any:
    """Return a cell's value; an empty cell is null, a whole float a whole number."""
    if value == "" or value is None:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return int(value)
    return value


def _without_title(
    rows: list[list], options: Mapping[str, str], guesses: list[Guess]
) -> list[list]:
    """Leave out what stands above the table: rows with one cell where the table has several."""
    if "skip_rows" in options or len(rows) < 3:
        return rows
    filled = [sum(v is not None for v in row) for row in rows[:20]]
    start = next((at for at, count in enumerate(filled) if count > 1), 0)
    if start and start + 2 < len(rows):
        why = f"the first {start} rows have one cell"
        guesses.append(Guess("rows above the table", str(start), why, "skip_rows=0"))
        return rows[start:]
    return rows


def _frame(rows: list[list], source: Source, guesses: list[Guess], notes: list[str]) -> Any:
    texts = [["" if v is None else text_of(v) for v in row] for row in rows[: SAMPLE + 1]]
    if "header" in source.options:
        header = source.options["header"] == "yes"
    else:
        header, why = has_header(texts[0], texts[1:], source.expected)
        value = "yes" if header else "no"
        guesses.append(Guess("header", value, why, f"header={'no' if header else 'yes'}"))
    first = texts[0] if header else [f"column_{at + 1}" for at in range(len(texts[0]))]
    names, unnamed = named([name.strip() for name in first])
    if header and len(rows) == 1:
        raise DataError(f"task: {source.place} has columns but no rows; give a file with rows.")
    frame = columns_of(names, rows[header:], source.place, notes)
    for name in frame.select_dtypes("float"):
        if (frame[name].abs() >= EXACT).any():
            notes.append(
                f"the column {name!r} holds numbers of more than 15 digits, which a sheet rounds; "
                "keep such ids as text"
            )
    return without_unnamed(frame, unnamed, notes, guesses)
