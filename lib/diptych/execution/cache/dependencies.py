"""What a run found outside its folder, noted while it runs, so that the cache can look again.

A stage that reads a table, a registered version or the ledger's rows depends on state that no key
holds. Whoever reads it says here where it is; the runner keeps that with the run, and a run is
taken from the cache only while each of these places still holds the same.
"""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from diptych.base import hashing, process_environment, workspace
from diptych.execution import runs
from diptych.execution.cache import inputs

NOTES = "uses.jsonl"


def rows(database: Path, query: str, arguments: Sequence = ()) -> None:
    """Note what a query of an SQLite file gives; the answer must be small."""
    _note("rows", path=_short(database), query=query, arguments=list(arguments))


def files(path: Path) -> None:
    """Note the content of a file, or of a folder and all that is in it."""
    _note("files", path=_short(path))


def table(folder: Path, version: int) -> None:
    """Note the rows of one version of a Delta table; -1 is the newest."""
    _note("table", path=_short(folder), version=version)


def latest(notebook: str, task: dict) -> None:
    """Note the latest complete run of a notebook on a task."""
    _note("latest", notebook=notebook, task=task)


def best(notebook: str, task: dict, figure: str, data: str, lowest: bool = False) -> None:
    """Note the best complete run of a notebook on a task; see `diptych.execution.runs.best`."""
    _note("best", notebook=notebook, task=task, figure=figure, data=data, lowest=lowest)


def declare(*paths: str | Path) -> None:
    """Declare what the notebook in progress reads, where that cannot be seen.

    A run is linked instead of repeated only while all it read is the same. What a subprocess, a
    database or a library's compiled code reads is not seen, so such a run is never linked, unless
    its author vouches for what that was.

    Parameters
    ----------
    *paths : str or Path
        Files, folders, and patterns such as ``"data/*.csv"``; none says that there is nothing.

    Examples
    --------
    >>> import diptych as dt
    >>> dt.uses("sales.duckdb", "data/*.csv")
    """
    for use in inputs.declared(map(str, paths), Path.cwd()):
        _append(use)
    _append({"kind": "declared"})


def never(why: str) -> None:
    """Note that a run must not be taken from the cache, because nobody can look again."""
    _note("never", why=why)


def look(use: dict):
    """Return what a noted place holds now, as plain JSON; None if it holds nothing."""
    read = _LOOKS[use["kind"]]  # an unknown kind must not pass for a place that holds nothing
    try:
        return read(use)
    except (OSError, sqlite3.Error, ValueError, LookupError):
        return None


def take(folder: Path) -> list[dict]:
    """Return what was noted in a staged run folder, each place once, and remove the notes."""
    try:
        lines = (folder / NOTES).read_text("utf-8").splitlines()
    except OSError:
        return []
    (folder / NOTES).unlink()
    noted = {}
    for line in lines:
        use = json.loads(line)
        where = json.dumps({k: v for k, v in use.items() if k != "found"}, sort_keys=True)
        noted[where] = use
    return list(noted.values())


def changed(use: dict) -> str:
    """Return in words how a place differs from what was noted; "" if it does not."""
    if use["kind"] == "never":
        return use["why"]
    if use["kind"] not in _LOOKS:
        return f"it used {use['kind']}, which this version of Diptych does not know"
    now = look(use)
    return "" if now == use["found"] else difference(use, now)


def difference(use: dict, now) -> str:
    """Return in words how what a place holds differs from what was noted."""
    match use["kind"]:
        case "rows":
            return f"{use['path']} no longer holds what the run wrote or read there"
        case "table":
            return f"the data table {Path(use['path']).name} is not what it was"
        case "latest":
            return f"the latest run of {use['notebook']} is another one"
        case "best":
            return f"the best run of {use['notebook']} is another one"
        case _:
            return inputs.difference(use, now)


def _note(kind: str, **where) -> None:
    """Append one line to the notes of the run in progress, if there is one."""
    folder = process_environment.run_folder()
    if folder is None or not folder.is_dir():
        return
    use = {"kind": kind, **where}
    _append(use | {"found": None if kind == "never" else look(use)})


def _append(use: dict) -> None:
    folder = process_environment.run_folder()
    if folder is not None and folder.is_dir():
        with open(folder / NOTES, "a", encoding="utf-8") as file:
            file.write(json.dumps(use) + "\n")


def _short(path: Path) -> str:
    """Return a path relative to the workspace, if inside: another machine has another one."""
    path, home = Path(path).absolute(), workspace.home()
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)


def _rows(use: dict):
    path = workspace.home() / use["path"]
    if not path.is_file():
        return None
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        return [list(row) for row in database.execute(use["query"], use["arguments"])]
    finally:
        database.close()


def _table(use: dict):
    """Return the digest that the commit carries, if all files of that version are there."""
    folder = workspace.home() / use["path"]
    commits = sorted((folder / "_delta_log").glob("[0-9]*.json"))
    if use["version"] >= 0:
        commits = [path for path in commits if int(path.stem) <= use["version"]]
    if not commits or use["version"] not in (-1, int(commits[-1].stem)):
        return None
    files, facts = {}, {}
    for commit in commits:
        for line in commit.read_text("utf-8").splitlines():
            entry = json.loads(line)
            if add := entry.get("add"):
                files[add["path"]] = add["size"]
            if remove := entry.get("remove"):
                files.pop(remove["path"], None)
            facts = entry.get("commitInfo", facts)
    if any((folder / unquote(name)).stat().st_size != size for name, size in files.items()):
        return None
    return facts.get("digest") or hashing.of_file(commits[-1])


def _latest(use: dict):
    run = runs.latest(use["notebook"], use["task"])
    return run and runs.content(run)


def _best(use: dict):
    lowest = use.get("lowest", False)
    run = runs.best(use["notebook"], use["task"], use["figure"], use["data"], lowest)
    return run and runs.content(run)


_LOOKS = {"rows": _rows, "table": _table, "latest": _latest, "best": _best, **inputs.LOOKS}
