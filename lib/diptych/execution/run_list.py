"""What ``diptych runs`` shows: the runs so far, chosen, sorted, as text or as a page."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.base.progress import printable
from diptych.execution import index_page
from diptych.execution.history import parameters_of, runs_table
from diptych.execution.notebooks import nearest
from diptych.execution.runs import load_run

PAGE = "runs.html"
LONGEST = 40  # characters of a cell


@dataclass(frozen=True)
class Choice:
    """Which runs to show, and how.

    Attributes
    ----------
    notebook, task, figure : str
        As `runs_table` takes them.
    where : tuple of (name, value)
        Parameters, or ``status``, that the runs must have.
    sort : str
        A column; "" is newest first.
    newest : int
        At most so many; 0 for all.
    root : Path or None
        The folder of runs.
    """

    notebook: str = ""
    task: str = ""
    figure: str = ""
    where: tuple[tuple[str, str], ...] = ()
    sort: str = ""
    newest: int = 0
    root: Path | None = None


def choose(choice: Choice):
    """Return the chosen runs as a DataFrame; columns that are empty are left out.

    Raises
    ------
    ParameterError
        As `runs_table` does, and if no run has such a parameter, or there is no such column.
    """
    frame = runs_table(choice.notebook, choice.task, figure=choice.figure, root=choice.root)
    for name, value in choice.where:
        frame = frame[[_has(run, choice.root, name, value) for run in frame["run"]]]
    if choice.sort:
        if choice.sort not in frame:
            hint = nearest(choice.sort, frame.columns)
            raise ParameterError(
                f"--sort {choice.sort}: no such column. {hint}There are {', '.join(frame.columns)}."
            )
        frame = frame.sort_values(choice.sort, kind="stable", na_position="last")
    if choice.newest:
        frame = frame.head(choice.newest)
    empty = [name for name in frame if name != "run" and frame[name].isin(["", None]).all()]
    empty += [name for name in frame if frame[name].isna().all() and name not in empty]
    return frame.drop(columns=empty) if len(frame) else frame


def as_text(frame) -> str:
    """Return the runs as aligned columns."""
    if not len(frame):
        return "No runs."
    shown = frame.copy()
    if "started" in shown:
        shown["started"] = shown["started"].map(lambda time: f"{time:%Y-%m-%d %H:%M}")
    for name in shown.columns:
        shown[name] = [_cell(value) for value in shown[name]]
    width = shutil.get_terminal_size().columns
    return shown.to_string(index=False, line_width=max(width, 80) if width > 80 else None)


def page(runs: list[str], root: Path | None = None) -> Path:
    """Write the runs as a page with titles, figures and small pictures, and return it."""
    folder = root or workspace.runs()
    cards = []
    for run_id in runs:
        run = load_run(run_id, folder)
        if (run.folder / "notebook.html").exists():
            link = run.folder / "notebook.html"
            cards.append(index_page.card_of(run) | {"path": run.id, "link": link.as_uri()})
    target = workspace.home() / PAGE
    return index_page.write(target, cards, "Runs")


def _has(run_id: str, root: Path | None, name: str, value: str) -> bool:
    run = load_run(run_id, root)
    known = {**parameters_of(run), "status": run.status}
    return name in known and str(known[name]) == value


def _cell(value) -> str:
    if value is None or value != value:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else printable(str(value))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
