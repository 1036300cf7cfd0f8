"""One zip that runs elsewhere: notebook, inputs, parameters, lock, and the run to compare with."""

import importlib.metadata
import json
import os
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from diptych.base import environment, hashing, workspace
from diptych.base.errors import ParameterError
from diptych.execution.comparison import inputs_of
from diptych.execution.notebooks import source
from diptych.execution.rerun import source_of
from diptych.execution.runs import Run

MEGABYTE = 10**6
SYSTEM = ("/usr", "/etc", "/lib", "/proc", "/sys", "/dev")
README = """{title}
{line}

Made from the run {run} of {started}. Its page is run/notebook.html, its figures are in
run/result.json.

Run it again, here:

    python -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/diptych run {notebook} -f parameters.yaml

or by papermill: papermill {notebook} out.ipynb -f parameters.yaml

Python {python}. requirements.txt has the versions it ran with.
{notes}"""


@dataclass
class Archive:
    """What goes into a zip.

    Attributes
    ----------
    files : dict of str to Path
        Inputs by their name in the zip.
    notes : list of str
        What is not in it, and why.
    place : Path
        Of the notebook in the zip.
    """

    files: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    place: Path = Path()


def write(run: Run, target: Path | None = None, limit_mb: float = 100) -> tuple[Path, list[str]]:
    """Write a run's archive.

    Parameters
    ----------
    target : Path, optional
        The zip's path; by default ``<run id>.zip`` here.
    limit_mb : float
        Megabytes of inputs; larger ones are left out and named.

    Returns
    -------
    tuple of (Path, list of str)
        The zip, and what is not in it.

    Raises
    ------
    ParameterError
        If the run was made outside the runner.
    """
    if "parameters" not in run.manifest:
        raise ParameterError(f"{run.id}: it was made outside the runner, so how is not known.")
    inputs = _inputs(run, limit_mb * MEGABYTE)
    target = Path(target or f"{run.id}.zip").absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.partial")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as file:
            for name, text in _texts(run, inputs).items():
                file.writestr(f"{target.stem}/{name}", text)
            for name, path in inputs.files.items():
                file.write(path, f"{target.stem}/{name}")
            for path in hashing.files_of(run.folder):
                name = path.relative_to(run.folder).as_posix()
                file.write(path, f"{target.stem}/run/{name}")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return target, inputs.notes


def _texts(run: Run, inputs: Archive) -> dict[str, str]:
    """Return the files that are made for the archive."""
    parameters = run.manifest["parameters"]
    name = (inputs.place / f"{Path(run.manifest['notebook']).stem}.ipynb").as_posix()
    return {
        name: json.dumps(source_of(run), indent=1, ensure_ascii=False) + "\n",
        "parameters.yaml": yaml.safe_dump(parameters, allow_unicode=True, sort_keys=False),
        "requirements.txt": _lock(run),
        "README.txt": _readme(run, name, inputs.notes),
    }


def _inputs(run: Run, limit: float) -> Archive:
    """Return the files that a run read, smallest first up to the limit.

    They keep their place beside the notebook, or in its repository if some lie elsewhere in it.
    """
    cwd = Path(run.manifest.get("cwd") or Path.cwd())
    places = {path: _place(path, cwd) for path in inputs_of(run)}
    files = {each for place in places.values() if place for each in _files(place)}
    files = {path for path in files if not _is_elsewhere(path)} - {
        Path(run.manifest.get("path", ""))
    }
    base = _base(files, cwd, (run.manifest.get("repository") or {}).get("root"))
    changed = [f"{path}: it has changed since the run, today's is in here"
               for path, digest in inputs_of(run).items() if (place := places[path])
               and not _is_elsewhere(place) and hashing.of_path(place) != digest]  # fmt: skip
    gone = [f"{path}: it is gone" for path, place in places.items()
            if not place and not _is_elsewhere(Path(path))]  # fmt: skip
    archive = Archive(notes=changed + gone,
                      place=cwd.relative_to(base))  # fmt: skip
    left = limit
    for path in sorted(files, key=lambda path: path.stat().st_size):
        size = path.stat().st_size
        if not path.is_relative_to(base):
            archive.notes.append(f"{path}: it lies outside the notebook's folder; put it there")
        elif size > left:
            archive.notes.append(f"{path}: {size / MEGABYTE:.3g} MB, over --limit")
        else:
            archive.files[path.relative_to(base).as_posix()] = path
            left -= size
    archive.notes += _variables(run)
    return archive


def _variables(run: Run) -> list[str]:
    """Return the environment variables that the code names and that were set."""
    code = "".join(source(cell) for cell in source_of(run)["cells"] if cell["cell_type"] == "code")
    return [
        f"environment variable {use['name']}: set it as it was"
        for use in run.manifest.get("cache", {}).get("uses", [])
        if use["kind"] == "variable" and use["found"] is not None and use["name"] in code
    ]


def _base(files: Iterable[Path], cwd: Path, repository: str | None) -> Path:
    """Return the folder that the archive is the image of."""
    root = Path(repository) if repository else cwd
    if not cwd.is_relative_to(root) or root == cwd:
        return cwd
    outside = any(path.is_relative_to(root) and not path.is_relative_to(cwd) for path in files)
    return root if outside else cwd


def _place(path: str, cwd: Path) -> Path | None:
    for base in (cwd, workspace.home()):
        place = Path(os.path.abspath(base / Path(path).expanduser()))
        if place.exists():
            return place
    return None


def _files(place: Path) -> list[Path]:
    return hashing.files_of(place) if place.is_dir() else [place]


def _is_elsewhere(path: Path) -> bool:
    """Say whether a file is of an installed package, Diptych or the system, or a setting."""
    roots = [workspace.PACKAGE, Path(sys.prefix), Path(sys.base_prefix), *map(Path, SYSTEM)]
    is_setting = (
        path.is_relative_to(Path.home()) and path.relative_to(Path.home()).parts[0][0] == "."
    )
    return is_setting or any(path.is_relative_to(root) for root in roots)


def _lock(run: Run) -> str:
    """Return the versions of what the run imported, and of all that it needs in turn."""
    packages = run.manifest.get("packages", {})
    versions = {environment.normal(name): version for name, version in packages.items()}
    todo = [*versions, "ipykernel"]
    while todo:
        name = todo.pop()
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in needed:
            other = environment.normal(environment.name_of(requirement))
            version = environment.version_of(other)
            if version and "extra ==" not in requirement and other not in versions:
                versions[other] = version
                todo.append(other)
    lines = {f"{name}=={version}" for name, version in versions.items() if name != "diptych"}
    lines.add("diptych" + (f"=={version}" if (version := run.manifest.get("diptych")) else ""))
    return "\n".join(sorted(lines)) + "\n"


def _readme(run: Run, notebook: str, notes: list[str]) -> str:
    title = run.manifest.get("title") or run.notebook
    missing = ["", "To know:", *(f"- {note}" for note in notes)] if notes else []
    return README.format(
        title=title,
        line="=" * len(title),
        run=run.id,
        started=run.manifest.get("started", "")[:16],
        notebook=notebook,
        python=run.manifest.get("python", ""),
        notes="\n".join([*missing, ""]),
    )
