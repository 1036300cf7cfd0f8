"""What ``diptych list`` shows: notebooks and their parameters, read from the notebooks."""

import json
import shlex
import shutil
import textwrap
from dataclasses import asdict
from pathlib import Path

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.base.progress import printable
from diptych.execution.declaration import parameters_cell, read_parameters
from diptych.execution.notebooks import all_files, read_notebook, short_name, title


def every() -> list[dict]:
    """Return the facts of each notebook of the repository, as `one` gives them."""
    return [one(path) for path in all_files(workspace.repo_root() / "notebooks", (".ipynb",))]


def one(path: Path) -> dict:
    """Return a notebook's name, title and parameters.

    ``parameters`` is None, and ``problem`` says why, for a notebook that cannot be given any.

    Raises
    ------
    ParameterError
        If the file is no notebook.
    """
    content = read_notebook(path)
    facts = {"notebook": short_name(path), "title": title(content)}
    facts["takes_any"] = parameters_cell(path) is None
    try:
        return facts | {"parameters": [asdict(parameter) for parameter in read_parameters(path)]}
    except ParameterError as error:
        return facts | {"parameters": None, "problem": str(error)}


def notebook_table(notebooks: list[dict]) -> str:
    """Return one line a notebook: name, number of parameters, the question it answers."""
    rows = [(facts["notebook"], _count(facts["parameters"]), facts["title"]) for facts in notebooks]
    if not rows:
        return "No notebooks."
    table = _table(("notebook", "parameters", "question"), rows)
    return f"{table}\n\n`diptych list {_typed(rows[0][0])}` shows a notebook's parameters."


def parameter_table(facts: dict) -> str:
    """Return a notebook's parameters: name, type, default, help with its range or choices."""
    heading = printable(f"{facts['notebook']}: {facts['title']}") + "\n"
    if facts["parameters"] is None:
        return f"{heading}\n{facts['problem']}"
    if facts["takes_any"]:
        return f"{heading}\nIt has no cell tagged `parameters`: what -p gives is set on top of it."
    if not facts["parameters"]:
        return f"{heading}\nIt takes no parameters."
    rows = [
        (
            each["name"],
            each["type"],
            each["expression"] or json.dumps(each["default"]),
            each["help"],
        )
        for each in facts["parameters"]
    ]
    first = rows[0]
    table = _table(("name", "type", "default", "help"), rows)
    command = f"diptych run {_typed(facts['notebook'])} -p {first[0]}={first[2]}"
    return f"{heading}\n{table}\n\nRun it: {command}"


def _typed(name: str) -> str:
    """Return a name as it is typed in a shell."""
    return shlex.quote(f"notebooks/{name}.ipynb" if name.startswith("-") else name)


def _count(parameters: list | None) -> str:
    return "-" if parameters is None else str(len(parameters))


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return aligned columns; the last one is wrapped to the terminal."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [
        max(map(len, column)) for column in zip(header[:-1], *(r[:-1] for r in rows), strict=True)
    ]
    indent = sum(widths) + 2 * len(widths)
    room = max(shutil.get_terminal_size().columns - indent, 24)
    lines = []
    for row in (header, *rows):
        start = "".join(f"{cell:<{width + 2}}" for cell, width in zip(row, widths, strict=False))
        wrapped = textwrap.wrap(row[-1], room) or [""]
        lines += [start + wrapped[0], *(" " * indent + line for line in wrapped[1:])]
    return "\n".join(line.rstrip() for line in lines)
