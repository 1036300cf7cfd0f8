"""How a figure or a table becomes HTML that any page can carry: small, escaped, the same each time.

It uses no more than JupyterLab leaves in a notebook that is not trusted; a table in a live one has
a script, by which a reader sorts, filters and pages it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from diptych.base import process_environment, workspace
from diptych.core.plots.svg import image_html, svg_text

SCROLL = 'class="scroll" style="overflow-x:auto" role="group" tabindex="0"'
SAVED: ContextVar[list | None] = ContextVar("saved", default=None)
LIVE = 500  # rows of a table that a reader can page through


def show(fig: Any, alt: str, table: pd.DataFrame | None = None, caption: str = "") -> None:
    """Display a figure as one HTML output; a terminal or a script gets its description.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
    alt : str
        What the figure shows, in words, for readers who cannot see it.
    table : DataFrame, optional
        The data drawn; folded away under the figure.
    caption : str
        A line under the figure.

    Raises
    ------
    ValueError
        If `alt` is empty.
    """
    if (saved := SAVED.get()) is None:
        display_html(figure_html(fig, alt, table, caption), alt)
    else:
        saved.append((svg_text(fig), alt))


@contextmanager
def saving() -> Iterator[list[tuple[str, str]]]:
    """Let `show` display no figure but add it, as the text of an SVG file, and its description."""
    saved: list[tuple[str, str]] = []
    token = SAVED.set(saved)
    try:
        yield saved
    finally:
        SAVED.reset(token)


def figure_html(fig: Any, alt: str, table: pd.DataFrame | None = None, caption: str = "") -> str:
    """Return what `show` displays."""
    if not alt.strip():
        raise ValueError("alt: it is empty; describe the figure for readers who cannot see it")
    parts = [f'<div {SCROLL} aria-label="Figure">{image_html(fig, alt)}</div>']
    if caption:
        parts.append(f"<figcaption>{escape(caption)}</figcaption>")
    if table is not None:
        rows = table_html(table)
        parts.append(f"<details><summary>Table of the same data</summary>{rows}</details>")
    label = escape(caption or "Figure")
    inside = "\n".join(parts)
    return f'<figure role="figure" aria-label="{label}" style="margin:0">\n{inside}\n</figure>'


def table(frame: pd.DataFrame, caption: str = "", rows: int = 60) -> None:
    """Display a frame as a table: escaped, rounded, numbers to the right.

    In a notebook that a person works in, a click on a heading sorts it; a long one has a filter and
    pages.

    Parameters
    ----------
    rows : int
        The first so many rows are shown; the rest is counted.
    """
    live = process_environment.in_live_notebook()
    html = table_html(frame, caption, rows, hidden=LIVE if live else 0)
    if live and len(frame) > 1:
        html += f'<script class="of-table">{_script()}</script>'
    display_html(html, frame.head(rows).to_string())


@cache
def _script() -> str:
    file = workspace.PACKAGE / "assets" / "lab" / "table.js"
    return re.sub(r"\n\s*|^//.*\n", "\n", file.read_text("utf-8"), flags=re.MULTILINE).strip()


def table_html(frame: pd.DataFrame, caption: str = "", rows: int = 60, hidden: int = 0) -> str:
    """Return what `table` displays, without its script.

    Parameters
    ----------
    hidden : int
        So many rows in all are there for a script to show.
    """
    numbered = frame.index.names == [None] and pd.api.types.is_integer_dtype(frame.index)
    if not numbered:
        frame = frame.reset_index()
    shown = frame.head(max(rows, hidden))
    columns = [_column(shown.iloc[:, i]) for i in range(shown.shape[1])]
    head = "".join(
        f'<th scope="col"{side}>{escape(str(name))}</th>'
        for name, (side, _) in zip(frame.columns, columns, strict=True)
    )
    lines = (
        ("<tr>" if i < rows else "<tr hidden>")
        + "".join(f"<td{side}>{texts[i]}</td>" for side, texts in columns)
        + "</tr>"
        for i in range(len(shown))
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    cut = f"<p>and {len(frame) - rows:,} more rows</p>" if len(frame) > rows else ""
    label = escape(caption or "Table")
    return (
        f'<div {SCROLL} aria-label="{label}"><table class="data">{title}\n<thead><tr>{head}</tr>'
        "</thead>\n<tbody>\n" + "\n".join(lines) + f"\n</tbody></table>{cut}</div>"
    )


def display_html(html: str, text: str) -> None:
    """Display HTML in a notebook; print its text elsewhere."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(text)
    else:
        display({"text/html": html, "text/plain": text}, raw=True)


def _column(values: pd.Series) -> tuple[str, list[str]]:
    """Return a column's alignment and its cells as escaped text."""
    if pd.api.types.is_bool_dtype(values):
        return LEFT, [NONE if pd.isna(v) else "yes" if v else "no" for v in values]
    if pd.api.types.is_datetime64_any_dtype(values):
        whole_days = bool((values.dropna() == values.dropna().dt.normalize()).all())
        form = "%Y-%m-%d" if whole_days else "%Y-%m-%d %H:%M"
        return DATE, [NONE if pd.isna(v) else v.strftime(form) for v in values]
    if pd.api.types.is_numeric_dtype(values):
        return RIGHT, _numbers(values)
    return LEFT, [_cell(value) for value in values]


NONE = "—"
DATE = ' style="text-align:left;white-space:nowrap"'
LEFT, RIGHT = ' style="text-align:left"', ' class="num" style="text-align:right"'


def _numbers(values: pd.Series) -> list[str]:
    """Format a column with as many decimals as its largest number leaves room for.

    Among shares, the whole numbers above 1 are counts and stay whole.
    """
    if pd.api.types.is_integer_dtype(values):
        # years stay whole, counts get their commas
        # a nullable column may hold nothing but gaps
        form = "{:,}" if (values.abs() >= 10_000).any() else "{}"
        return [NONE if pd.isna(v) else form.format(v) for v in values]
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    whole = np.isfinite(numbers) & (numbers == np.round(numbers))
    top = np.abs(numbers[np.isfinite(numbers) & ~whole]).max(initial=0)
    counts = whole & ((np.abs(numbers) > 1) & (top <= 1) | (top == 0))
    if not counts.any():
        top = np.abs(numbers[np.isfinite(numbers)]).max(initial=0)
    decimals = 3 if top < 10 else 2 if top < 100 else 1 if top < 1000 else 0
    least = 10.0**-decimals
    texts = []
    for number, count in zip(numbers, counts, strict=True):
        small = 0 < number < least / 2
        texts.append(f"&lt;{least:g}" if small else f"{number:,.{0 if count else decimals}f}")
    return [NONE if text == "nan" else text for text in texts]


def _cell(value: Any) -> str:
    if hasattr(value, "_repr_html_"):  # such as the id of a run, which leads to its page
        return value._repr_html_()
    if isinstance(value, float | np.floating):
        return NONE if np.isnan(value) else f"{value:.3f}"
    return NONE if value is None or value is pd.NaT or value is pd.NA else escape(str(value))
