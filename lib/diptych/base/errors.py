"""Errors that a user reads: bad input before a kernel starts, or a notebook that failed."""

import re
from collections.abc import Iterable

from diptych.base import groups

ARROW = re.compile(r"^-+> *\d+ (.*)$", re.MULTILINE)  # how IPython points at a line


class Plain:
    """An error whose message says all: IPython shows it without the lines it passed through."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class ParameterError(Plain, ValueError):
    """Input refused before a kernel starts.

    Attributes
    ----------
    problems : tuple of str
        One sentence or two each: the file (or ``-p``), the name, the value and the remedy.
    """

    def __init__(self, problems: str | Iterable[str]):
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class WorkspaceError(OSError):
    """The workspace or the repository cannot be found or made."""


class NotebookFailed(RuntimeError):  # noqa: N818 (reads as what happened)
    """A notebook stopped before its end.

    Attributes
    ----------
    cell : int
        Position of the failing cell in the executed notebook, from 0.
    ename, evalue : str
        Class and message of the exception.
    traceback : str
        Plain text, without colours or secrets.
    label : str
        Heading the cell stands under, "" if none.
    notebook : str
        Name such as ``"mlops/2_build"``, set by the runner.
    run : diptych.execution.runs.Run or None
        The folder kept, set by the runner.
    """

    def __init__(self, cell: int, ename: str, evalue: str, traceback: str, label: str = ""):
        super().__init__(cell, ename, evalue, traceback, label)
        self.cell, self.ename, self.evalue = cell, ename, evalue
        self.traceback, self.label = traceback, label
        self.notebook = "notebook"
        self.run = None

    def __str__(self) -> str:
        under = f", under {self.label!r}" if self.label else ""
        what = f"{self.ename}: {self.evalue}" if self.evalue else self.ename
        if self.ename == NotebookFailed.__name__:  # one it builds on, which says all of that itself
            what = self.evalue.strip()
        lines = [f"{self.notebook} failed in cell {self.cell + 1}{under}: {what}"]
        if advice := groups.remedy(self.evalue):
            lines.append(advice)
        if self.line:
            lines.append(f"The line: {self.line}")
        if self.run is not None:
            lines.append(f"The partial notebook is kept: {self.run.folder / 'notebook.ipynb'}")
        return "\n".join(lines)

    @property
    def line(self) -> str:
        """The cell's line at which it failed, "" if the traceback does not point at one."""
        if self.ename == NotebookFailed.__name__:
            return ""
        pointed = ARROW.search(self.traceback)
        return pointed[1].strip() if pointed else ""
