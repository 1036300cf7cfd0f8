"""Run a run again: check each thing that it was made of, say what differs, and compare."""

import json
from collections.abc import Iterable
from pathlib import Path

from diptych.base import environment, hashing, workspace
from diptych.base.errors import ParameterError
from diptych.execution import comparison
from diptych.execution.cache import dependencies
from diptych.execution.engine import Engine
from diptych.execution.notebooks import code_digest, read_notebook
from diptych.execution.runner import PreparedRun, prepare, run_prepared
from diptych.execution.runs import Run

REDACTED = "[redacted"
INJECTED = "injected-parameters"
HERE = ("folder", "shadows")  # of the process that looks; a run again starts where it did before


def differences(run: Run) -> list[str]:
    """Return in words what a run was made of that is no longer the same.

    Compared are the notebook's code, files and all else that it was seen to read, packages,
    Python, the repository, and the machine.
    """
    manifest = run.manifest
    lines = [*_notebook(manifest), *_packages(manifest)]
    uses = [use for use in manifest.get("cache", {}).get("uses", []) if use["kind"] not in HERE]
    lines += filter(None, map(dependencies.changed, uses))
    seen = {use.get("path") for use in uses}
    for path, digest in comparison.inputs_of(run).items():
        if path not in seen and (change := _file(path, digest, manifest.get("cwd"))):
            lines.append(change)
    return list(dict.fromkeys(lines))


def prepare_again(run: Run, overrides: Iterable[str] = (), as_it_was: bool = False) -> PreparedRun:
    """Return a run, ready to be run again with the same parameters.

    Parameters
    ----------
    overrides : iterable of "name=value"
        Win over the run's parameters.
    as_it_was : bool
        Take the code of the run, not the notebook as it is now; also where that is gone.

    Raises
    ------
    ParameterError
        If the run has no manifest, or its parameters are not those of the notebook any more.
    """
    manifest = run.manifest
    if "parameters" not in manifest:
        raise ParameterError(f"{run.id}: it was made outside the runner, so how is not known.")
    overrides = list(overrides)
    replaced = {text.partition("=")[0].strip() for text in overrides}
    hidden = [name for name, value in manifest["parameters"].items()
              if REDACTED in json.dumps(value) and name not in replaced]  # fmt: skip
    if hidden:
        raise ParameterError(f"{hidden[0]}: not kept, because it held a secret. Give -p.")
    path = Path(manifest.get("path") or manifest["notebook"])
    if as_it_was or not path.is_file():
        path = _restored(run)
    cwd = manifest.get("cwd")
    cwd = cwd if cwd and Path(cwd).is_dir() else None
    pairs = [
        (name, value) for name, value in manifest["parameters"].items() if name not in replaced
    ]
    return prepare(path, (), [*pairs, *overrides], cwd=cwd)


def rerun(prepared: PreparedRun, engine: Engine | None = None) -> Run:
    """Run what `prepare_again` returned, though nothing may have changed."""
    return run_prepared(prepared, engine=engine, force=True)


def source_of(run: Run) -> dict:
    """Return the notebook of a run as it was before it ran: no outputs, no injected cell."""
    content = json.loads((run.folder / "notebook.ipynb").read_bytes())
    cells = []
    for cell in content["cells"]:
        if INJECTED in cell.get("metadata", {}).get("tags", []):
            continue
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
            cell["metadata"].pop("execution", None)
        cells.append(cell)
    content["metadata"].pop("papermill", None)
    return content | {"cells": cells}


def _restored(run: Run) -> Path:
    """Write the notebook of a run as it was, under its name, and return its path."""
    folder = workspace.home() / "cache" / "rerun" / run.id
    path = folder / f"{Path(run.manifest['notebook']).stem}.ipynb"
    folder.mkdir(parents=True, exist_ok=True)
    workspace.write_atomic(path, json.dumps(source_of(run), indent=1, ensure_ascii=False))
    return path


def _notebook(manifest: dict) -> list[str]:
    path = Path(manifest.get("path") or manifest.get("notebook", ""))
    try:
        now = code_digest(read_notebook(path))
    except ParameterError:
        return [f"notebook {workspace.shown(path)} (gone)"]
    lines = [f"code of {workspace.shown(path)}"] if now != manifest["sha256"]["code"] else []
    commit = environment.repository(path.absolute().parent).get("commit")
    before = (manifest.get("repository") or {}).get("commit")
    if before and commit != before:
        lines.append(f"commit {before[:12]} -> {str(commit)[:12]}")
    return lines


def _packages(manifest: dict) -> list[str]:
    import platform

    lines = []
    for name, version in manifest.get("packages", {}).items():
        if (now := environment.version_of(name)) != version:
            lines.append(f"package {name} {version} -> {now or 'none'}")
    for what, before, now in (
        ("Python", manifest.get("python"), platform.python_version()),
        ("machine", manifest.get("host"), environment.machine()),
    ):
        if before and before != now:
            changed = f"{before} -> {now}" if what == "Python" else _machines(before, now)
            lines.append(f"{what} {changed}")
    return lines


def _machines(before: dict, now: dict) -> str:
    return ", ".join(f"{k} {before.get(k)} -> {now[k]}" for k in now if before.get(k) != now[k])


def _file(path: str, digest: str, cwd: str | None) -> str:
    here = Path(cwd) if cwd else Path.cwd()
    for base in (here, Path.cwd(), workspace.home(), workspace.PACKAGE.parent):
        place = base / path
        if place.exists():
            return "" if hashing.of_path(place) == digest else f"file {path} has changed"
    return f"file {path} (gone)"
