"""The key of a run: what its page depends on as far as is known before it runs, in named parts.

The notebook (its place, code, prose, images and settings, not its outputs), parameters, the content
of files that a parameter names, the content of the upstream run, the modules and files the code
uses, the lock file, packages, Python, the working folder,
and the environment variables declared in ``pyproject.toml``:

    [tool.diptych]
    environment = ["MY_REGION"]
"""

import os
import platform
import re
import tomllib
from pathlib import Path

from diptych.base import environment, hashing, workspace
from diptych.execution import runs
from diptych.execution.cache import import_graph
from diptych.execution.cache.inputs import import_folders, pictures_in
from diptych.execution.notebooks import code_digest, read_notebook, source

UPSTREAM = "upstream"
# Of a cell or a notebook, in its metadata: set by the programs that run or show it.
LEFT_BEHIND = {"execution", "collapsed", "scrolled", "papermill", "ExecuteTime", "language_info",
               "widgets", "signature", "kernelspec"}  # fmt: skip
WORDS = {
    "notebook": "the notebook's place",
    "code": "a code cell",
    "prose": "the prose, an attachment or a setting of the notebook",
    "images": "image",
    "folder": "the working folder",
    "diptych": "Diptych",
    "parameters": "parameter",
    "data": "file of the parameter",
    "upstream": "what it builds on",
    "lib": "module",
    "files": "file",
    "lock": "requirements.lock",
    "python": "Python",
    "packages": "package",
    "environment": "environment variable",
    "page": "option of the page",
}


def parts_of(prepared) -> dict:
    """Return the parts of the key of a prepared run.

    Parameters
    ----------
    prepared : diptych.execution.runner.PreparedRun

    Raises
    ------
    TooMany
        If a parameter names a folder of too many files to look at.
    """
    content = read_notebook(prepared.notebook)
    cells = [source(cell) for cell in content["cells"] if cell["cell_type"] == "code"]
    modules, read = import_graph.used_by(cells, import_folders(prepared.folder))
    values = {name: value for name, value in prepared.values.items() if name != UPSTREAM}
    root = _root()
    return {
        "notebook": prepared.place[0],  # another may hold the same code
        "code": code_digest(content),
        "prose": hashing.of_json(_without_results(content)),
        "images": _images(content, (prepared.notebook.parent, prepared.folder)),
        "folder": prepared.place[1],
        "diptych": environment.own_version(),
        "parameters": values,
        "data": {
            name: files
            for name, value in values.items()
            if (files := _data(value, prepared.folder))
        },
        "upstream": _upstream(prepared.values.get(UPSTREAM)),
        "lib": {_name(path, root): hashing.of_file(path) for path in modules},
        "files": {_name(path, root): hashing.of_path(path) for path in read},
        "lock": _lock(),
        "python": platform.python_version(),
        "packages": environment.packages(),
        "environment": _environment(),
        "page": _page(prepared.look.options),
    }


def _page(options: dict) -> dict:
    """Return the options of a page, with the content of the files that they name."""
    names = {name for name in ("logo", "css", "template") if options.get(name)}
    return options | {name: hashing.of_file(Path(options[name])) for name in names}


def digest(parts: dict) -> str:
    """Return the key."""
    return hashing.of_json(parts)


def changes(before: dict, after: dict) -> list[str]:
    """Return in words how a key differs from an earlier one."""
    differences = []
    for part, words in WORDS.items():
        old, new = before.get(part), after.get(part)
        if old == new:
            continue
        if not isinstance(old, dict) or not isinstance(new, dict):
            shown = f" {old} -> {new}" if part == "python" else ""
            differences.append(f"{words}{shown}")
            continue
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                differences.append(f"{words} {name}{_between(part, old.get(name), new.get(name))}")
    return differences


def _between(part: str, old, new) -> str:
    if part in ("parameters", "packages"):
        return f" {old!r} -> {new!r}" if part == "parameters" else f" {old} -> {new}"
    return "" if old is not None and new is not None else " (new)" if new else " (gone)"


def _without_results(content: dict) -> dict:
    """Return a notebook without code, and without what running or looking at it leaves behind."""
    settings = {k: v for k, v in content.get("metadata", {}).items() if k not in LEFT_BEHIND}
    cells = [
        {
            "source": "" if cell["cell_type"] == "code" else source(cell),
            "kind": cell["cell_type"],
            "attachments": cell.get("attachments", {}),
            "metadata": {k: v for k, v in cell.get("metadata", {}).items() if k not in LEFT_BEHIND},
        }
        for cell in content["cells"]
    ]
    return {"metadata": settings, "cells": cells}


def _images(content: dict, folders: tuple[Path, ...]) -> dict[str, str]:
    """Return the digest of every image file that the prose shows, "" for a missing one."""
    digests = {}
    for cell in content["cells"]:
        for name in pictures_in(source(cell)) if cell["cell_type"] == "markdown" else ():
            paths = [path for folder in folders if (path := folder / name).is_file()]
            digests[name] = hashing.of_file(paths[0]) if paths else ""
    return digests


def _name(path: Path, root: Path) -> str:
    """Return a file's name wherever this runs: in the package, in the repository, or here."""
    for base in (workspace.PACKAGE.parent, root):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return workspace.shown(path)


def _data(value, folder: Path) -> dict[str, str]:
    """Return the digest of every file or folder that a parameter's value names."""
    digests = {}
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str) or not text or len(text) > 4096 or "\0" in text:
            continue
        for base in (folder, _root()):
            path = base / Path(text).expanduser()
            # a plain word that happens to be a folder's name is no path
            if path.is_file() or (path.is_dir() and re.search(r"[/\\.]", text)):
                digests[text] = hashing.of_path(path)
                break
    return digests


def _upstream(run_id) -> str:
    """Return the content of the upstream run; of a missing one, its id."""
    if not run_id:
        return ""
    try:
        return runs.content(runs.load_run(str(run_id)))
    except LookupError:
        return str(run_id)


def _lock() -> str:
    path = _root() / "requirements.lock"
    return hashing.of_file(path) if path.is_file() else ""


def _environment() -> dict[str, str]:
    """Return digests of the declared variables' values, which may be secret; "" if not set."""
    try:
        project = tomllib.loads((_root() / "pyproject.toml").read_text("utf-8"))
        names = project.get("tool", {}).get("diptych", {}).get("environment", [])
    except (OSError, ValueError):
        names = []
    values = {str(name): os.environ.get(str(name)) for name in names}
    return {name: "" if v is None else hashing.of_json(v) for name, v in values.items()}


def _root() -> Path:
    return workspace.repo_root()
