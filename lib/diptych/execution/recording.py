"""Figures that any notebook records: ``dt.record(loss=0.31)``, or scrapbook's ``glue``.

They are values of the run as those of Diptych's own notebooks are: in ``result.json``, in
``diptych runs``, and a column each of a sweep's table.
"""

import contextlib
import json
import math
from pathlib import Path

from diptych.base import process_environment, workspace
from diptych.base.secrets import Redactor
from diptych.execution.runs import FORMAT

NOTES = "recorded.jsonl"
RESULT = "result.json"
SCRAP = "application/scrapbook.scrap.json+json"
Value = bool | int | float | str | None


def record(**figures) -> None:
    """Record figures of this notebook's run under their names.

    A later figure of a name replaces an earlier one. Where the notebook does not run by
    ``diptych``, there is no run to record them with, and they are printed.

    Parameters
    ----------
    **figures : number, text, bool, None, or (value, low, high)
        With `low` and `high` an interval. An object with ``value``, ``low`` and ``high``, and a
        NumPy scalar, are taken as well. What is not finite is recorded as None.

    Raises
    ------
    TypeError
        If a figure is something else, such as an array; nothing is recorded then.

    Examples
    --------
    >>> import diptych as dt
    >>> dt.record(loss=0.31, rows=120)
    recorded: loss 0.31, rows 120
    """
    entries = {name: _entry(name, figure) for name, figure in figures.items()}
    folder = process_environment.run_folder()
    if folder is None or not folder.is_dir():
        shown = ", ".join(f"{name} {entry['value']}" for name, entry in entries.items())
        print(f"recorded: {shown}")
        return
    with (folder / NOTES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entries) + "\n")


def collect(folder: Path, notebook: str, complete: bool) -> None:
    """Put what a staged run recorded, and glued, into its ``result.json``.

    What is there already stays: a stage's own record wins. Figures of a run that failed are
    kept, and the result is not complete.
    """
    figures = _glued(folder / "notebook.ipynb") | _noted(folder / NOTES)
    if not figures:
        return
    content = {"format": FORMAT, "notebook": notebook, "task": {}, "upstream": None}
    content |= {"complete": complete, "facts": {}, "replayed_seconds": 0}
    with contextlib.suppress(OSError, ValueError):
        content |= json.loads((folder / RESULT).read_bytes())
    values = content.get("values")
    content["values"] = figures | (values if isinstance(values, dict) else {})
    workspace.write_atomic(folder / RESULT, Redactor().json(content))


def _noted(path: Path) -> dict[str, dict]:
    """Return what `record` noted, and remove the notes."""
    figures = {}
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            figures |= json.loads(line)
        path.unlink()
    return figures


def _glued(notebook: Path) -> dict[str, dict]:
    """Return the scalars that scrapbook's ``glue`` left in a notebook's outputs."""
    try:
        text = notebook.read_text("utf-8")
        cells = json.loads(text)["cells"] if SCRAP in text else []
    except (OSError, ValueError, KeyError):
        return {}
    figures = {}
    for cell in cells:
        for output in cell.get("outputs", []):
            scrap = output.get("data", {}).get(SCRAP)
            if isinstance(scrap, dict) and isinstance(scrap.get("data"), Value):
                figures[str(scrap.get("name"))] = _entry(str(scrap.get("name")), scrap["data"])
    return figures


def _entry(name: str, figure) -> dict:
    if isinstance(figure, tuple) and len(figure) == 3:
        value, low, high = figure
    elif all(hasattr(figure, part) for part in ("value", "low", "high")):
        value, low, high = figure.value, figure.low, figure.high
    else:
        value, low, high = figure, None, None
    parts = {"value": value, "low": low, "high": high}
    return {part: _plain(name, content) for part, content in parts.items()} | {"unit": ""}


def _plain(name: str, value) -> Value:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a NumPy or torch scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, Value):
        raise TypeError(
            f"record: {name} is {type(value).__name__}. Record a number, text, True or False, or "
            "(value, low, high)"
        )
    return value
