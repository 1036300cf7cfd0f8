"""Read the rows of a request by a model's typed columns: what training accepts, serving accepts.

Names may be the file's own (``price ($)``) or identifiers (``price``); values are read by
`diptych.core.data.column.Column.read_value`, as training reads them. Columns that the model does
not know are left out and named.
"""

import difflib
from dataclasses import dataclass, field

from diptych.core.data.column import NUMBER, CellError, TypedColumns
from diptych.mlops.serving.inputs import InputError, Reader, csv_lines


@dataclass(frozen=True)
class TypedReader(Reader):
    """Reads requests for a model of typed columns, or of one text column under its own name.

    Attributes
    ----------
    columns : TypedColumns
        In the order the model reads them; for ``kind`` ``"text"`` the one text column.
    ignored : set of str
        Names of the last request that are no columns of the model.
    """

    columns: TypedColumns = field(default_factory=lambda: TypedColumns([]))
    ignored: set[str] = field(default_factory=set, compare=False)

    def parse(self, body: bytes, content_type: str = "") -> tuple[list, list[str | None]]:
        """Return a request's rows of typed values and their ids, see `Reader.parse`."""
        self.ignored.clear()
        return super().parse(body, content_type)

    def _from_csv(self, body: bytes) -> tuple[list, None, str]:
        """Rows of CSV. The first line names the columns; only numbers and texts go without."""
        lines = csv_lines(body)
        columns = self.columns.columns
        if lines and self._is_header(lines[0]):
            names = [name.strip() for name in lines.pop(0)]
            order, width = self._order(names, "header"), len(names)
        elif self.kind == "text" or all(column.kind == NUMBER for column in columns):
            order, width = range(len(columns)), len(columns)
        else:
            names = ",".join(column.original for column in columns)
            raise InputError(f"csv: the first line names no column; begin with {names[:200]}")
        for i, line in enumerate(lines):
            if len(line) != width:
                raise InputError(
                    f"csv: row {i} has {len(line)} cells and not {width}; quote cells with commas"
                )
        return [[line[at] for at in order] for line in lines], None, "csv"

    def _is_header(self, cells: list[str]) -> bool:
        """Whether a first line names columns; one that nearly does is refused."""
        cells = [cell.strip() for cell in cells]
        known = [name for column in self.columns.columns for name in (column.original, column.name)]
        if set(cells) & set(known):
            return True
        for cell in cells:
            if near := difflib.get_close_matches(cell, known, n=1, cutoff=0.8):
                raise InputError(f"csv: the first line has {cell!r}; did you mean {near[0]!r}?")
        return False

    def _order(self, columns: list, where: str) -> list[int]:
        """Return where in `columns` each column of the model stands."""
        for name in columns:
            if not isinstance(name, str):
                raise InputError(f"{where}: {name!r} is no column name")
            if name and columns.count(name) > 1:
                raise InputError(f"{name}: stands {columns.count(name)} times in {where}")
        return [columns.index(name) for name in self._names(columns, where)]

    def _names(self, names, where: str) -> list[str]:
        """Return the name of each column as `names` spells it; remember those that are none."""
        spelled = []
        unknown = self.columns.unknown(names)
        for column in self.columns.columns:
            name = next((x for x in (column.original, column.name) if x in names), None)
            if name is None:
                near = difflib.get_close_matches(column.original, unknown, n=1)
                hint = f"did you mean it by {near[0]!r}?" if near else "add the column"
                raise InputError(f"{column.original}: is missing in {where}; {hint}")
            spelled.append(name)
        self.ignored.update(unknown)
        return spelled

    def _text(self, row, i: int, name: str) -> str:
        if isinstance(row, dict):
            row = row[self._names(row, f"row {i}")[0]]
        text = super()._text(row, i, name)
        column = self.columns.columns[0]
        if not text.strip():
            raise InputError(f"{column.original}: row {i} is empty; send a text")
        return text

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
