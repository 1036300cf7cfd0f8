"""A project of one's own, as `diptych init` writes it: notebooks, params, plugins, tests, CI."""

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from diptych.base import workspace
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
MARK = "# a Diptych project: `diptych` works from here\n[tool.diptych]\nenvironment = []\n"
PLUGINS = "# modules, or files of this project, that add names: `diptych plugins` lists them\n"
MOST_BYTES = 20_000_000  # of rows that are copied into the project
TABLE = ["mlops/1_data", "mlops/2_build", "mlops/3_release", "mlops/4_serve"]
TEXT = ["llmops/1_data", "llmops/2_build"]


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
    for name in ("notebooks", "params"):
        shutil.copytree(
            source / name, folder / name,
            ignore=shutil.ignore_patterns(".*", "__pycache__"), dirs_exist_ok=True,
        )  # fmt: skip
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


def _source() -> Path:
    """Return where the notebooks and params of Diptych itself lie."""
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
            "notebooks": TABLE + (TEXT if self.has_texts else []),
        }
        text = yaml.safe_dump(scenario, sort_keys=False)
        path = folder / "params" / "scenarios" / f"{self.name}.yaml"
        path.write_text(f"# diptych report {self.name}\n{text}", "utf-8")
        written.notes += self.warnings


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
    label = columns.get("label_column", "label")
    if label not in ("label", result.roles.get("label_column")):
        names = ", ".join(str(column["column"]) for column in result.columns)
        raise ParameterError(
            f"label_column: {label!r} is no column of {rows.name}, which has {names}"
        )
    if result.problem:
        raise ParameterError(f"{result.problem}\nSee all: diptych inspect {rows}")
    name = re.sub(r"[^a-z0-9]+", "_", rows.stem.lower()).strip("_") or "mine"
    chosen = {**columns, **result.roles}
    parameters = {key: value for key, value in chosen.items() if value or key == "text_column"}
    parameters.setdefault("label_column", "label")
    texts = bool(parameters.get("text_column"))
    return _Task(name, rows.absolute(), parameters, texts, list(result.warnings))
