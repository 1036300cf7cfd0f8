"""A project of one's own, as `diptych init` writes it: notebooks, params, docs, tests, CI."""

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from diptych.base import groups, workspace
from diptych.base.errors import ParameterError

TEMPLATES = Path(__file__).parent / "templates" / "project"
FILES = {  # of the project: its template
    "Makefile": "Makefile",
    ".gitignore": "gitignore",
    ".github/workflows/test.yml": "ci.yml",
    "plugins.py": "plugins.txt",
    "tests/test_project.py": "test_project.txt",
    "README.md": "README.md",
}
if TYPE_CHECKING:
    from diptych.core.data.inspection import Inspection

COPIED = ("notebooks", "params", "docs", "teach")  # also in setup.py
LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:|#)([^)#]+)[^)]*\)")  # to a file beside: text, path
MARK = "# a Diptych project: `diptych` works from here\n[tool.diptych]\nenvironment = []\n"
PLUGINS = "# modules, or files of this project, that add names: `diptych plugins` lists them\n"
MOST_BYTES = 20_000_000  # of rows that are copied into the project
TABLE = ["mlops/1_data", "mlops/2_build", "mlops/3_release", "mlops/4_serve"]


@dataclass
class Written:
    """What was written.

    Attributes
    ----------
    folder : Path
    task : str
        Name of its file under ``params/tasks``, "" if no rows were named.
    notes : list of str
        What to look at.
    """

    folder: Path
    task: str = ""
    notes: list[str] = field(default_factory=list)


def init(folder: Path, rows: Path | None = None, **columns: str) -> Written:
    """Write a project into a new or empty folder.

    Parameters
    ----------
    folder : Path
    rows : Path, optional
        A table of one's own, for which a task and a scenario are written.
    **columns
        ``text_column``, ``label_column``, ``time_column``, ``group_column``, ``read_options``; the
        text column is left out where the table has none of this name.

    Raises
    ------
    ParameterError
        If the folder holds something, or the rows cannot be used: field, value and remedy. Nothing
        is written then.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParameterError(f"{folder}: is there already and not empty; name a new folder")
    task = None if rows is None else _task_of(Path(rows), columns)
    written = Written(folder, task.name if task else "")
    source = _source()
    for name in COPIED:
        shutil.copytree(
            source / name, folder / name,
            ignore=shutil.ignore_patterns(".*", "__pycache__"), dirs_exist_ok=True,
        )  # fmt: skip
    for page in [*folder.glob("docs/*.md"), *folder.glob("teach/*.md")]:
        page.write_text(_without_lost_links(page), "utf-8")
    (folder / "pyproject.toml").write_text(MARK, "utf-8")
    (folder / "params" / "plugins.yaml").write_text(f"{PLUGINS}plugins: [plugins.py]\n", "utf-8")
    names = {"NAME": folder.name, "SCENARIO": task.name if task else "sentiment"}
    names["TASKS"] = repr([task.name] if task else [])
    for path, template in FILES.items():
        text = (TEMPLATES / template).read_text("utf-8")
        for name, value in names.items():
            text = text.replace(f"@{name}@", value)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    if task:
        task.write(folder, written)
    return written


def next_step(folder: Path) -> str:
    """Return the command that makes the report of a new project.

    It names this Python where the shell would find no other that has Diptych.
    """
    inside = os.path.relpath(folder)
    place = shlex.quote(inside if len(inside) < len(str(folder)) else str(folder))
    pythons = {shutil.which(name) for name in ("python", "python3")}
    here = "" if sys.executable in pythons else f" PY={shlex.quote(sys.executable)}"
    return f"cd {place} && make report{here}"


def _without_lost_links(page: Path) -> str:
    """Return a page in which a link to a file that only Diptych's repository has is plain text."""

    def shown(match: re.Match[str]) -> str:
        return match[0] if (page.parent / match[2]).exists() else match[1]

    return LINK.sub(shown, page.read_text("utf-8"))


def _source() -> Path:
    """Return where the notebooks, params and docs of Diptych itself lie."""
    clone = workspace.PACKAGE.parents[1]
    return workspace.SHIPPED if workspace.SHIPPED.is_dir() else clone


@dataclass
class _Task:
    """The task and the scenario of a table."""

    name: str
    rows: Path
    parameters: dict[str, str]
    has_texts: bool
    warnings: list[str]

    def write(self, folder: Path, written: Written) -> None:
        """Write its files, and copy the rows unless they are many."""
        import yaml

        from diptych.reporting.contrast import own_table

        place = str(self.rows)
        if self.rows.is_file() and self.rows.stat().st_size <= MOST_BYTES:
            place = f"data/{self.rows.name}"
            (folder / "data").mkdir(exist_ok=True)
            shutil.copyfile(self.rows, folder / place)
            written.notes.append(f"the rows were copied to {place}")
        task = yaml.safe_dump({"task": place, **self.parameters}, sort_keys=False)
        head = f"# from {self.rows.name}: diptych run mlops/1_data -f tasks/{self.name}\n"
        (folder / "params" / "tasks" / f"{self.name}.yaml").write_text(head + task, "utf-8")
        scenario = {
            "title": self.name,
            "question": f"Can {self.parameters['label_column']} be predicted?",
            "files": [f"tasks/{self.name}"],
            "notebooks": TABLE,
        }
        if self.has_texts:
            scenario |= own_table.both_sides("time_column" in self.parameters)
        text = yaml.safe_dump(scenario, sort_keys=False)
        path = folder / "params" / "scenarios" / f"{self.name}.yaml"
        path.write_text(f"# diptych report {self.name}\n{text}", "utf-8")
        written.notes += self.warnings
        if self.has_texts and (advice := groups.missing("xllamacpp")):
            written.notes.append(f"its report asks a language model on this machine: {advice}")


def _task_of(rows: Path, columns: dict[str, str]) -> _Task:
    """Look at a table and return its task.

    Raises
    ------
    ParameterError
        If it cannot be used as it is.
    """
    from diptych.core.data import inspection, readers
    from diptych.core.data.sources import DataError
    from diptych.core.data.tasks import OwnRows

    try:
        place = readers.resolve(str(rows))
        result = inspection.inspect_file(OwnRows(place, **columns))
    except DataError as error:
        raise ParameterError(str(error)) from error
    for role in ("text_column", "label_column"):
        _check_named(role, columns.get(role, ""), result)
    if result.problem:
        raise ParameterError(f"{result.problem}\nSee all: diptych inspect {rows}")
    name = re.sub(r"[^a-z0-9]+", "_", rows.stem.lower()).strip("_") or "mine"
    chosen = {**columns, **result.roles}
    parameters = {key: value for key, value in chosen.items() if value or key == "text_column"}
    parameters.setdefault("label_column", "label")
    texts = bool(parameters.get("text_column"))
    return _Task(name, rows.absolute(), parameters, texts, list(result.warnings))


def _check_named(role: str, column: str, result: "Inspection") -> None:
    """Refuse a column that is named and that the table has not.

    Raises
    ------
    ParameterError
    """
    if column in ("", role.partition("_")[0], result.roles.get(role)):  # none, or the default
        return
    names = ", ".join(result.names)
    raise ParameterError(f"{role}: {column!r} is no column of {result.place}, which has {names}")
