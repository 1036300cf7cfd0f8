"""Random tables, and writing them in every format: what the property test is made of."""

import csv
import gzip
import io
import json
import sqlite3
import zipfile
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from deltalake import write_deltalake
from hypothesis import strategies as st

NAMES = [
    "age",
    "price (€)",
    "share %",
    "Größe",
    "first name",
    "日付",
    "a.b",
    "x-y",
    "class",
    "Ärger",
]
NAMES += [
    '5" disk',
    "a;b",
    "x, y",
    "p|q",
    "it's",
    "n/a",
    "is_new",
    "total",
    "UPPER",
    "note",
    "q1",
    "naïve",
]
WORDS = ["café", "Müller", "naïve", "Straße", "niño", "lamp", "very good", "it's", "5 nails", "n/a"]
PLAIN = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn", "Zl", "Zp"])


@dataclass
class Table:
    """Columns by name; a gap is None."""

    kinds: dict[str, str]
    columns: dict[str, list]

    def rows(self) -> list[tuple]:
        return list(zip(*self.columns.values(), strict=True))


def values(kind: str, free: bool) -> st.SearchStrategy:
    if kind == "whole":
        return st.integers(-999_999, 999_999)
    if kind == "large":
        return st.integers(2**53, 2**63 - 1)
    if kind == "decimal":
        return st.integers(-(10**9), 10**9).map(lambda n: n / 1000)
    if kind == "truth":
        return st.booleans()
    if kind == "class":
        return st.sampled_from(["red", "green", "blue or so"])
    words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
    return st.text(PLAIN | st.sampled_from(',;\t|"\n'), min_size=1, max_size=12) if free else words


@st.composite
def tables(draw, free: bool = True) -> Table:
    """Draw a table; without `free`, texts are words that cp1252 can write."""
    names = draw(st.lists(st.sampled_from(NAMES[:5] + NAMES[6:] if not free else NAMES), min_size=1,
                          max_size=5, unique=True))  # fmt: skip
    length = draw(st.integers(2, 12))
    kinds, columns = {}, {}
    for name in names:
        kinds[name] = draw(st.sampled_from(["whole", "large", "decimal", "truth", "class", "text"]))
        value = values(kinds[name], free)
        gaps = draw(st.booleans())
        columns[name] = draw(
            st.lists(st.none() | value if gaps else value, min_size=length, max_size=length)
        )
    return Table(kinds, columns)


@dataclass
class Style:
    """How a text file is written."""

    separator: str = ","
    decimal: str = "."
    thousands: str = ""
    encoding: str = "utf-8"
    end: str = "\n"
    every_quote: bool = False
    suffix: str = ".csv"


@st.composite
def styles(draw) -> tuple[Style, bool]:
    """Draw a style, and whether its encoding can write any text."""
    decimal = draw(st.sampled_from(".,"))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]))
    style = Style(
        separator=draw(st.sampled_from(",;\t|")),
        decimal=decimal,
        thousands=draw(st.sampled_from(["", "", "." if decimal == "," else ",", " ", "'"])),
        encoding=encoding,
        end=draw(st.sampled_from(["\n", "\r\n"])),
        every_quote=draw(st.booleans()),
        suffix=draw(st.sampled_from([".csv", ".txt", ".csv.gz", ".zip"])),
    )
    return style, encoding.startswith("utf-8") or encoding == "utf-16"


def as_text(value, style: Style) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    grouped = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
    return grouped.translate(str.maketrans({",": style.thousands, ".": style.decimal}))


def write_text(table: Table, style: Style, folder: Path) -> tuple[str, list[list[str]]]:
    """Write a text file and return its path and the fields that stand in it."""
    fields = [[as_text(value, style) for value in row] for row in table.rows()]
    stream = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if style.every_quote else csv.QUOTE_MINIMAL
    writer = csv.writer(
        stream, delimiter=style.separator, lineterminator=style.end, quoting=quoting
    )
    writer.writerows([list(table.columns), *fields])
    data = stream.getvalue().encode(style.encoding)
    path = folder / f"table{style.suffix}"
    if style.suffix.endswith(".gz"):
        data = gzip.compress(data)
    if style.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("table.csv", data)
    else:
        path.write_bytes(data)
    return str(path), fields


TYPES = {"whole": pa.int64(), "large": pa.int64(), "decimal": pa.float64(), "truth": pa.bool_()}


def arrow_of(table: Table) -> pa.Table:
    return pa.table(
        {
            name: pa.array(column, TYPES.get(table.kinds[name], pa.string()))
            for name, column in table.columns.items()
        }
    )


def write_typed(table: Table, kind: str, folder: Path) -> str:
    """Write a typed file and return its location."""
    path = folder / f"table.{kind}"
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows()]
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    elif kind == "json":
        path.write_text(json.dumps(rows, indent=1), "utf-8")
    elif kind == "parquet":
        pa.parquet.write_table(arrow_of(table), path)
    elif kind == "feather":
        pa.feather.write_feather(arrow_of(table), str(path))
    elif kind == "arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, arrow_of(table).schema) as f:
            f.write_table(arrow_of(table))
    elif kind == "delta":
        write_deltalake(str(path), arrow_of(table))
    elif kind == "folder":
        path.mkdir()
        half = len(rows) // 2
        pa.parquet.write_table(arrow_of(table).slice(0, half), path / "a.parquet")
        pa.parquet.write_table(arrow_of(table).slice(half), path / "b.parquet")
    elif kind == "xlsx":
        path.write_bytes(workbook({"data": [list(table.columns), *table.rows()]}))
    elif kind == "sqlite":
        with sqlite3.connect(path) as database:
            pd.DataFrame(rows).astype("object").to_sql("data", database, index=False)
        database.close()
        return f"sqlite:///{path}"
    return str(path)


FORMATS = ["jsonl", "json", "parquet", "feather", "arrow", "delta", "folder", "xlsx"]


def workbook(sheets: dict[str, list]) -> bytes:
    """Return a workbook with these rows, numbers and truth values typed, as Excel writes it."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    names = list(sheets)
    listed = "".join(
        f'<sheet name="{escape(n)}" sheetId="{i}" r:id="r{i}"/>' for i, n in enumerate(names, 1)
    )
    related = "".join(
        f'<Relationship Id="r{i}" Type="{office}/worksheet" Target="worksheets/s{i}.xml"/>'
        for i in range(1, len(names) + 1)
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>')
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
            f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{listed}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships">{related}</Relationships>',
        )
        for number, name in enumerate(names, 1):
            rows = "".join(
                f'<row r="{r}">{"".join(_cell(v, c, r) for c, v in enumerate(row))}</row>'
                for r, row in enumerate(sheets[name], 1)
            )
            archive.writestr(
                f"xl/worksheets/s{number}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
            )
    return stream.getvalue()


def _cell(value, column: int, row: int) -> str:
    place = f"{chr(65 + column)}{row}"
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value!r}</v></c>'
    text = escape(value)
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
