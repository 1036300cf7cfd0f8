"""Read the rows of a request by a model's typed columns: what training accepts, serving accepts.

Names may be the file's own (``price ($)``) or identifiers (``price``); values are read by
`diptych.core.data.column.Column.read_value`, as training reads them. Columns that the model does
not know are left out and named.
"""

import difflib
from dataclasses import dataclass, field

from diptych.core.data.column import NUMBER, CellError, TypedColumns
from diptych.mlops.serving.inputs import InputError, Reader, csv_lines

DELIMITERS = (",", ";", "\t", "|")  # the first of those that do as well


@dataclass(frozen=True)
class TypedReader(Reader):
    """Reads requests for a model of typed columns, or of one text column under its own name.

    Attributes
    ----------
    columns : TypedColumns
        In the order the model reads them; for ``kind`` ``"text"`` the one text column.
    """

    columns: TypedColumns = field(default_factory=lambda: TypedColumns([]))

    @property
    def _spellings(self) -> list[tuple[str, ...]]:
        """The file's name of each column, and ours where no other column has it in the file."""
        columns = self.columns.columns
        files = {column.original for column in columns}
        return [
            (column.original, *{column.original.strip(), column.name} - files) for column in columns
        ]

    def _lines(self, body: bytes) -> list[list[str]]:
        """Cells of CSV, with the separator by which the first line names the most columns."""

        def named(delimiter: str) -> int:
            first = csv_lines(body.split(b"\n", 1)[0], delimiter)
            return len({cell.strip() for line in first for cell in line} & self._known)

        try:
            delimiter = max(DELIMITERS, key=named)
        except InputError:  # a quoted name that goes on in the next line
            delimiter = DELIMITERS[0]
        return csv_lines(body, delimiter)

    def _cells(self, lines: list[list[str]]) -> list:
        return lines

    def _is_header(self, lines: list[list[str]], told: bool) -> bool:
        """Whether the first line names columns; one that nearly does is refused.

        Only numbers and texts go without a header: a category or a date could be a name.
        """
        cells = [cell.strip() for cell in lines[0]]
        if told or set(cells) & self._known:
            return True
        for cell in cells:
            if near := difflib.get_close_matches(cell, self._known, n=1, cutoff=0.8):
                raise InputError(f"csv: the first line has {cell!r}; did you mean {near[0]!r}?")
        if self.kind == "text" or all(column.kind == NUMBER for column in self.columns.columns):
            return super()._is_header(lines, told)
        names = ",".join(column.original for column in self.columns.columns)
        raise InputError(f"csv: the first line names no column; begin with {names[:200]}")

    def _numbers(self, row, i: int, name: str) -> list:
        columns = self.columns.columns
        if isinstance(row, dict):
            row = [row[x] for x in self._names(row, f"row {i}")]
        if not isinstance(row, list) or len(row) != len(columns):
            problem = f"has {len(row)}" if isinstance(row, list) else "is no list"
            names = ", ".join(column.original for column in columns)
            raise InputError(
                f"{name}: row {i} {problem}; send {len(columns)} values: {names[:200]}"
            )
        try:
            return [column.read_value(x) for column, x in zip(columns, row, strict=True)]
        except CellError as error:
            raise InputError(f"{error} (row {i})") from error
