"""How a run shows itself in a notebook: its id as a link, and its figures as a small table."""

import os
from collections.abc import Mapping
from html import escape
from pathlib import Path

PAGES = ("notebook.html", "notebook.ipynb", "result.json")


def link(folder: Path) -> str:
    """Return a run's id as a link to its page, or to its folder if it has none.

    The address is relative to the working folder, as links of a notebook are.
    """
    page = next((path for name in PAGES if (path := folder / name).exists()), folder)
    address = escape(os.path.relpath(page, Path.cwd()))
    return f'<a href="{address}" target="_blank">{escape(folder.name)}</a>'


def text(run_id: str, notebook: str, status: str, values: Mapping) -> str:
    """Return a run in one line: id, notebook, status, and how many values it recorded."""
    count = f"{len(values)} value{'' if len(values) == 1 else 's'}"
    return f"<Run {run_id}: {notebook or 'unnamed'}, {status}, {count}>"


def html(folder: Path, notebook: str, status: str, values: Mapping) -> str:
    """Return a run as a line about it and a table of its recorded values."""
    rows = "".join(_row(name, entry) for name, entry in values.items())
    head = (
        '<tr><th scope="col">recorded</th><th scope="col">value</th><th scope="col">95 %</th></tr>'
    )
    table = f'<table class="data"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    line = f"<p>{link(folder)} · {escape(notebook)} · {escape(status)}</p>"
    return line + (table if rows else "<p>It recorded no values.</p>")


def _row(name: str, entry) -> str:
    entry = entry if isinstance(entry, Mapping) else {"value": entry}
    low, high, unit = entry.get("low"), entry.get("high"), entry.get("unit") or ""
    between = "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
    cells = (escape(str(name)), f"{_number(entry.get('value'))} {escape(unit)}".strip(), between)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _number(value) -> str:
    if value is None:
        return "—"
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))
