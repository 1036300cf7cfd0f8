"""The two-panel page: both notebooks of a stage side by side, aligned by their shared headings.

Between them stands the hinge: the verdicts on these two runs, every value that both recorded with
one name and meaning, with its interval, and the seconds of each run.
"""

import copy
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from diptych.core import contract
from diptych.execution.notebooks import title as question_of
from diptych.execution.pages.export import Nav, body, provenance, render
from diptych.execution.pages.limits import drop_largest
from diptych.execution.runs import Run
from diptych.reporting.format import interval, with_unit
from diptych.reporting.site.contrast_page import SIDES

TEMPLATES = Path(__file__).parents[1] / "templates"
HEADING = re.compile(r"\A\s*##\s+(.+?)\s*$", re.MULTILINE)
INNER = re.compile(r"(?<=\n)##\s+\S", re.MULTILINE)
TITLE = re.compile(r"\A\s*#\s+.+?$", re.MULTILINE)


@dataclass
class Side:
    """One panel of the page.

    Attributes
    ----------
    run : Run
    notebook : dict
        The executed notebook.
    href : str
        Its own page.
    resolve : callable
        As in `diptych.execution.pages.export.notebook_to_html`.
    """

    run: Run
    notebook: dict
    href: str
    resolve: Callable[[str], str | None]


@dataclass
class Row:
    """The cells of both notebooks under one heading; "" where one has no such heading."""

    heading: str
    left: Markup | str
    right: Markup | str


def sections(notebook: Mapping) -> dict[str, list]:
    """Return a notebook's cells by level-2 heading, in order, without the headings.

    The cells before the first heading are under ``""``, without the title.
    """
    parts: dict[str, list] = {"": []}
    heading = ""
    for number, cell in enumerate(_by_heading(copy.deepcopy(notebook["cells"]))):
        if cell["cell_type"] == "markdown":
            if number == 0:
                cell["source"] = TITLE.sub("", cell["source"], count=1)
            if match := HEADING.match(cell["source"]):
                heading = match[1]
                parts.setdefault(heading, [])
                cell["source"] = cell["source"][match.end() :]
            if not cell["source"].strip():
                continue
        parts[heading].append(cell)
    return parts


def _by_heading(cells: Sequence) -> Iterator:
    """Yield cells; a markdown cell with several level-2 headings is one cell for each."""
    for cell in cells:
        if cell["cell_type"] != "markdown":
            yield cell
            continue
        places = [match.start() for match in INNER.finditer(cell["source"])]
        for start, end in itertools.pairwise([0, *places, None]):
            part = copy.copy(cell)
            part["source"] = cell["source"][start:end]
            yield part


def hinge(left: Run, right: Run, verdicts: Sequence[Mapping] = ()) -> list[dict]:
    """Return the verdicts on these two runs, the values that both recorded, and their seconds.

    Parameters
    ----------
    verdicts : sequence of mapping
        Of the contrast, see `diptych.reporting.site.contrast_page.read_verdicts`; verdicts on other
        runs are left out.
    """
    both = [
        verdict
        for verdict in verdicts
        if verdict["left"]
        and verdict["right"]
        and (verdict["left"]["runs"][0], verdict["right"]["runs"][0]) == (left.id, right.id)
    ]
    rows = [
        {
            "name": verdict["name"],
            "winner": verdict["winner"],
            **{
                side: (verdict[side]["text"], verdict[side]["interval"])
                for side in ("left", "right")
            },
        }
        for verdict in both
    ]
    shown = [(verdict["left"]["value"], verdict["right"]["value"]) for verdict in both]
    ours, theirs = (run.result.get("values", {}) for run in (left, right))
    rows += [
        _line(contract.label(left.notebook, name), ours[name], theirs[name])
        for name in ours
        if name in theirs
        and contract.label(left.notebook, name) == contract.label(right.notebook, name)
        and (ours[name]["value"], theirs[name]["value"]) not in shown
    ]
    took = [run.manifest.get("seconds") for run in (left, right)]
    if None not in took:
        seconds = [{"value": round(float(value), 1), "unit": "s"} for value in took]
        rows.append(_line("the run took", *seconds))
    return rows


def _line(name: str, left: Mapping, right: Mapping) -> dict:
    return {"name": name, "winner": "", "left": _text(left), "right": _text(right)}


def _text(entry: Mapping) -> tuple[str, str]:
    return with_unit(entry), interval(entry)


def pair_to_html(
    left: Side,
    right: Side,
    *,
    title: str,
    home_link: str,
    nav: Nav,
    verdicts: Sequence[Mapping] = (),
) -> str:
    """Render two notebooks of a stage as one page.

    Printed text and tables beyond `diptych.execution.pages.limits.LIMIT` are left out, the largest
    first, and say so.
    """
    sides = {"left": sections(left.notebook), "right": sections(right.notebook)}
    cells = [cell for parts in sides.values() for part in parts.values() for cell in part]
    drop_largest({"cells": cells})
    scripts: dict[str, str] = {}
    return render(
        "pair.html.j2",
        TEMPLATES,
        title=title,
        panel="",
        home=home_link,
        nav=nav,
        sides=[
            {"side": name, "href": side.href, "question": question_of(side.notebook),
             "failed": side.run.status != "ok", "provenance": provenance(side.run.manifest)}
            for name, side in (("left", left), ("right", right))
        ],
        chips=SIDES,
        rows=_rows(sides, left, right, scripts),
        hinge=hinge(left.run, right.run, verdicts),
        scripts=scripts,
    )  # fmt: skip


def _rows(sides: Mapping[str, dict], left: Side, right: Side, scripts: dict) -> list[Row]:
    headings = [*sides["left"], *(name for name in sides["right"] if name not in sides["left"])]
    return [
        Row(
            heading,
            _rendered(left, sides["left"].get(heading), f"l{number}-", scripts),
            _rendered(right, sides["right"].get(heading), f"r{number}-", scripts),
        )
        for number, heading in enumerate(headings)
    ]


def _rendered(side: Side, cells: list | None, prefix: str, scripts: dict) -> Markup | str:
    if not cells:
        return ""
    part = copy.copy(side.notebook)
    part["cells"] = cells
    return body(part, prefix=prefix, resolve=side.resolve, scripts=scripts).html
