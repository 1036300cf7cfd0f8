"""Keep a run of an interactive session as the runner keeps its own: executed cells and manifest."""

import ast
import contextlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from diptych.base import environment as host
from diptych.base import hashing, process_environment, workspace
from diptych.base.errors import ParameterError
from diptych.base.secrets import Redactor
from diptych.execution import runs
from diptych.execution.cache import fingerprint
from diptych.execution.cells import (
    FAILED,
    Cell,
    Log,
    code_cells,
    notebook_of_session,
    sources_before,
)
from diptych.execution.declaration import Parameter, parse, read_parameters
from diptych.execution.notebooks import code_digest

INJECTED = "injected-parameters"  # papermill's tag
NEVER = "it ran in a session of its own, where nobody knows all that its cells used"


def declared(notebook: str, namespace: Mapping) -> tuple[list[Parameter], Path | None]:
    """Return what the notebook of this session declares, and its path if it is known.

    A copy declares parameters of its own. Where its path is not known, as under papermill, or its
    file is not saved yet, the parameters cell is among the cells that ran.

    Parameters
    ----------
    notebook : str
        The name it starts with, such as ``"mlops/2_build"``.
    namespace : mapping
        Its variables.

    Raises
    ------
    ParameterError
        If its file has no good parameters cell.
    """
    if process_environment.run_folder():
        path = process_environment.run_folder() / "notebook.ipynb"
        return (read_parameters(path), None) if path.is_file() else (_usual(notebook), None)
    path = _open_notebook(notebook, namespace)
    known = read_parameters(path) if path else []
    for text in sources_before(namespace):
        names = _annotated(text)
        if names and names >= {parameter.name for parameter in known if path}:
            with contextlib.suppress(ParameterError):
                known = parse(text, notebook)
    if not known:
        known = _usual(notebook)
        present = [parameter for parameter in known if parameter.name in namespace]
        known = present or known  # another notebook may start under this name
    return known, path


def _usual(notebook: str) -> list[Parameter]:
    """Return what the notebook of this name declares, nothing if there is none."""
    path = workspace.repo_root() / "notebooks" / f"{notebook}.ipynb"
    return read_parameters(path) if path.is_file() else []


def _open_notebook(notebook: str, namespace: Mapping) -> Path | None:
    """Return the file that Jupyter has open, if it is the notebook that starts under this name."""
    path = notebook_of_session(namespace)
    sources = [cell.source for cell in code_cells(path)]
    starts = any("start(" in text and notebook in text for text in sources)
    return path if starts else None


def _annotated(text: str) -> set[str]:
    """Return the names of a cell that only declares parameters with their types."""
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError):
        return set()
    if not statements or not all(isinstance(one, ast.AnnAssign) for one in statements):
        return set()
    return {one.target.id for one in statements if isinstance(one.target, ast.Name)}


def keep(
    folder: Path,
    name: str,
    log: Log,
    declared: Sequence[Parameter],
    values: Mapping[str, object],
    started: datetime,
) -> None:
    """Write ``notebook.ipynb`` and ``manifest.json`` of the run in progress into its folder.

    Parameters
    ----------
    folder : Path
        The run's; its ``result.json`` is written already.
    name : str
        The notebook's, such as ``"mlops/2_build"``.
    log : Log
        Of the cells: those of the pass if the run is complete, all that ran if it is a draft.
    declared : sequence of Parameter
    values : mapping
        Every parameter's value by name.
    started : datetime
        When the run began.
    """
    drafted = log.draft()
    cells = [*log.needed(), *(log.executed if drafted else log.sequence)]
    content = notebook_of(cells, declared, values)
    redactor = Redactor()
    path = folder / "notebook.ipynb"
    workspace.write_atomic(path, redactor.json(content) + "\n")
    from diptych.execution.runner import PreparedRun  # heavy

    shown = workspace.shown(log.path) if log.path else name
    place = (name, shown, (name, ""))
    prepared = PreparedRun(path, tuple(declared), (), dict(values), place, cwd=Path.cwd())
    manifest = _manifest(prepared, content, started) | _provenance(log.path)
    manifest |= {"id": folder.name, "status": "draft" if drafted else "ok", "draft": drafted}
    text = redactor.json(manifest)
    workspace.write_atomic(folder / "manifest.json", text + "\n")


def notebook_of(
    cells: Iterable[Cell], declared: Sequence[Parameter], values: Mapping[str, object]
) -> dict:
    """Return cells as a notebook: parameters with their defaults, the values, then the cells.

    A cell that failed, and whose failure did not end the run, has Jupyter's tag for that.
    """
    lines = [
        f"{p.name}{f': {p.type}' if p.typed else ''} = {p.expression or repr(p.default)}"
        + (f"  # {p.help}" if p.help else "")
        for p in declared
    ]
    different = [
        f"{p.name} = {values[p.name]!r}"
        for p in declared
        if p.name in values and not p.expression and values[p.name] != p.default
    ]
    shown = [_code("parameters", "\n".join(lines), ["parameters"])]
    if different:
        shown.append(_code(INJECTED, "\n".join(["# Parameters", *different]), [INJECTED]))
    for number, cell in enumerate(cells):
        tags = ["raises-exception"] if cell.state == FAILED else []
        shown.append(_code(f"cell-{number:03d}", cell.source, tags))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": shown, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _code(name: str, source: str, tags: list[str]) -> dict:
    metadata = {"tags": tags} if tags else {}
    lines = source.splitlines(keepends=True)
    return {"cell_type": "code", "execution_count": None, "id": name, "metadata": metadata,
            "outputs": [], "source": lines}  # fmt: skip


def _provenance(path: Path | None) -> dict:
    """Return the state of the repository that the notebook lies in, as the runner does."""
    repository = host.repository((path or Path.cwd() / "notebook").absolute().parent)
    commit = repository.get("commit")
    return {
        "path": str(path.absolute()) if path else "",
        "git": f"{commit}-dirty" if commit and repository["changed"] else commit,
        "repository": repository,
        "diptych": host.version_of("diptych"),
    }


def _manifest(prepared, content: dict, started: datetime) -> dict:
    """Return what the runner's manifests hold, and no key: nobody links such a run."""
    ended = datetime.now(UTC)
    plain = [cell for cell in content["cells"] if INJECTED not in cell["metadata"].get("tags", [])]
    code = code_digest({"cells": plain})
    folder = prepared.notebook.parent
    result = json.loads((folder / "result.json").read_bytes())
    try:
        parts = fingerprint.parts_of(prepared) | {"code": code, "prose": "", "images": {}}
    except hashing.TooMany:
        parts = {}
    return {
        "name": prepared.name,
        "notebook": prepared.shown,
        "parameters": prepared.values,
        "sha256": {"code": code, "files": {}, "lib": host.source_digest()},
        "evaluated": {},
        "cwd": str(Path.cwd()),
        "python": platform.python_version(),
        "packages": host.packages(),
        "host": host.machine(),
        "started": started.isoformat(),
        "ended": ended.isoformat(),
        "seconds": round((ended - started).total_seconds(), 3),
        "cost": 0,
        "session": True,
        "cache": {"key": "", "parts": parts, "uses": [], "never": NEVER, "why": "",
                  "content": runs.content_of(folder, result),
                  "files": runs.files_digest(folder)},
    }  # fmt: skip
