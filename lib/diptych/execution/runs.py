"""Run folders: their names, and reading them back."""

import json
import math
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from diptych.base import hashing, workspace
from diptych.base.errors import ParameterError
from diptych.execution import run_card
from diptych.execution.notebooks import nearest

FORMAT = 2  # of result.json; notebooks of an earlier one recorded other names
STAMP = "%Y%m%d-%H%M%S"
SHOWN = ("notebook.ipynb", "notebook.html", "manifest.json")  # for people: no stage reads them


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run.

    Attributes
    ----------
    id : str
        Name of the folder; it ends in ``-failed`` if the notebook failed.
    folder : Path
        Holds ``notebook.ipynb``, ``notebook.html``, ``result.json`` and ``manifest.json``.
    manifest : dict
        What the runner recorded; empty for a run made outside the runner.
    result : dict
        What the notebook recorded; empty if nothing.
    linked : bool
        Whether the runner took it from the cache.
    """

    id: str
    folder: Path
    manifest: dict = field(default_factory=dict)
    result: dict = field(default_factory=dict)
    linked: bool = field(default=False, compare=False)

    @property
    def status(self) -> str:
        """``ok``, ``failed``, ``draft``, or ``incomplete`` (outside the runner, never finished)."""
        if self.result.get("draft") and self.manifest.get("status", "ok") == "ok":
            return "draft"
        outside = "ok" if self.result.get("complete") else "incomplete"
        return self.manifest.get("status", outside)

    @property
    def is_current(self) -> bool:
        """Whether its notebook recorded the names that today's notebooks read.

        A notebook that writes ``result.json`` by itself has no facts, and its names are its own.
        """
        written = self.result.get("format")
        return written == FORMAT or ("facts" not in self.result and not self.is_newer)

    @property
    def is_newer(self) -> bool:
        """Whether a Diptych that came after this one made it."""
        written = self.result.get("format")
        return isinstance(written, int) and written > FORMAT

    @property
    def notebook(self) -> str:
        """Name of the notebook, such as ``"mlops/2_build"``."""
        return self.manifest.get("name") or self.result.get("notebook", "")

    def __repr__(self) -> str:
        return run_card.text(self.id, self.notebook, self.status, self._values())

    def _repr_html_(self) -> str:
        return run_card.html(self.folder, self.notebook, self.status, self._values())

    def _values(self) -> Mapping:
        values = self.result.get("values")
        return values if isinstance(values, dict) else {}


def new_id(notebook: str, values: Mapping[str, object], now: datetime) -> str:
    """Return a new run's id: time, notebook, task if there is one, random suffix."""
    parts = [now.astimezone(UTC).strftime(STAMP), notebook.replace("/", "-")]
    task = values.get("task")
    if isinstance(task, str) and task:
        parts.append(Path(task).stem)
    slugs = [re.sub(r"[^A-Za-z0-9_]+", "-", part).strip("-")[:40] for part in parts]
    return "-".join([*filter(None, slugs), secrets.token_hex(2)])


def load_run(run_id: str, root: Path | None = None) -> Run:
    """Read one run.

    Raises
    ------
    LookupError
        If there is no such run or it cannot be read.
    """
    folder = (root or workspace.runs()) / run_id
    try:
        contents = [_read(folder / name) for name in ("manifest.json", "result.json")]
    except (OSError, ValueError) as error:
        raise LookupError(f"{run_id}: the run in {folder} cannot be read ({error})") from error
    if not any(contents):
        raise LookupError(f"{run_id}: no run in {folder}")
    return Run(run_id, folder, *contents)


def load_current(run_id: str, root: Path | None = None) -> Run:
    """Read a run to build on it or to compare it.

    Raises
    ------
    LookupError
        As `load_run` does, and if the run is an earlier Diptych's, which recorded other names,
        or a newer one's.
    """
    run = load_run(run_id, root)
    if run.is_newer:
        raise LookupError(
            f"{run.id} was made by a newer Diptych; update this one, or run {run.notebook} again"
        )
    if not run.is_current:
        raise LookupError(
            f"{run.id} was made by an earlier Diptych, which recorded other names; "
            f"run {run.notebook} again with the same parameters"
        )
    return run


def note_request(run: Run) -> None:
    """Note that a run was requested now: a linked one is the latest, however old it is."""
    path = workspace.home() / "cache" / "asked" / run.id
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(workspace.now().strftime(f"{STAMP}.%f"))


def latest(notebook: str, task: Mapping) -> Run | None:
    """Return the complete run of `notebook` with these shared parameters requested last.

    A run of an earlier Diptych is left out: its notebook recorded other names. So is a run on
    another content of the file that the task names (``source``), unless the file is gone.
    """
    return next(complete(notebook, task), None)


def complete(notebook: str, task: Mapping) -> Iterator[Run]:
    """Yield the complete runs that `latest` may return, the one requested last first."""
    for run in _complete(notebook):
        recorded = dict(run.result.get("task") or {})
        if "source" not in task:
            recorded.pop("source", None)
        if recorded == task:
            yield run


def of_version(notebook: str, task: Mapping, version: int) -> Run | None:
    """Return the latest complete run of the notebook of data on one stored version of its rows.

    Whatever their source holds now, and whether that version was pinned then or not.
    """
    open_ = ("source", "data_version")
    wanted = {name: value for name, value in task.items() if name not in open_}
    for run in _complete(notebook):
        recorded = {k: v for k, v in (run.result.get("task") or {}).items() if k not in open_}
        if recorded == wanted and _data_version(run, notebook) == version:
            return run
    return None


def _complete(notebook: str) -> Iterator[Run]:
    root = workspace.runs()
    for folder in sorted(root.iterdir(), key=_requested, reverse=True):
        if folder.name.startswith(".") or not (folder / "result.json").exists():
            continue
        try:
            run = load_run(folder.name, root)
        except LookupError:
            continue
        if run.notebook == notebook and run.is_current and run.result.get("complete"):
            yield run


def best(notebook: str, task: Mapping, figure: str, data: str, lowest: bool = False) -> Run | None:
    """Return the complete run with the highest value of a figure; of equals the latest.

    Parameters
    ----------
    notebook, task
        As `latest` takes them.
    figure : str
        Name of a recorded value. A run that has none comes last.
    data : str
        Notebook whose fact ``data_version`` says on which rows a run was made: those on another
        version than its latest run are left out.
    lowest : bool
        Take the lowest instead, as of an error.
    """
    pinned = latest(data, task)
    version = pinned and _data_version(pinned, data)
    candidates = [
        run for run in complete(notebook, task)
        if pinned is None or _data_version(run, data) == version
    ]  # fmt: skip
    sign = -1 if lowest else 1
    return max(candidates, key=lambda run: _figure(run, figure, sign), default=None)


def _figure(run: Run, name: str, sign: int) -> float:
    value = run.result.get("values", {}).get(name, {}).get("value")
    return -math.inf if value is None else sign * value


def _data_version(run: Run, data: str):
    """Return the version of the data that a run was made on, however many runs back."""
    while run.notebook != data:
        try:
            run = load_run(run.result.get("upstream") or "")
        except LookupError:
            return None
    return run.result.get("facts", {}).get("data_version")


def content(run: Run) -> str:
    """Return a digest of what a run hands to later stages: its results, its files, its upstream.

    The ids of the runs it builds on are no part of it, their contents are: two runs that found
    the same are one to whoever builds on them.
    """
    if known := run.manifest.get("cache", {}).get("content"):
        return known
    return content_of(run.folder, run.result)


def content_of(folder: Path, result: Mapping) -> str:
    """Return `content` of a folder that may still be staged."""
    parts = {"result": _without_ids(result), "files": {}}
    for path in hashing.files_of(folder):
        name = path.relative_to(folder).as_posix()
        if name not in (*SHOWN, "result.json"):
            parts["files"][name] = hashing.of_file(path)
    if upstream := result.get("upstream"):
        try:
            parts["upstream"] = content(load_run(upstream))
        except LookupError:
            parts["upstream"] = upstream
    return hashing.of_json(parts)


def files_digest(folder: Path) -> str:
    """Return one digest of all that later stages read of a run's folder, which may be staged."""
    files = {path.relative_to(folder).as_posix(): path for path in hashing.files_of(folder)}
    return hashing.of_json({n: hashing.of_file(p) for n, p in files.items() if n not in SHOWN})


def is_changed(folder: Path) -> bool:
    """Say whether a run's folder was changed after the run; a run of before cannot tell."""
    try:
        noted = _read(folder / "manifest.json").get("cache", {}).get("files", "")
    except (OSError, ValueError):
        return False
    return bool(noted) and noted != files_digest(folder)


def named(name: str) -> Run:
    """Return a run by its id or folder, or the newest run of a notebook.

    Raises
    ------
    ParameterError
        If there is none.
    """
    folder = Path(name).expanduser().absolute()
    for root, run_id in ((None, name), (folder.parent, folder.name)):
        try:
            return load_run(run_id, root)
        except LookupError:
            continue
    known = find_runs()
    if newest := next((run for run in known if run.notebook == name), None):
        return newest
    hint = nearest(name, [*(run.id for run in known), *(run.notebook for run in known)])
    raise ParameterError(f"{name}: no such run. {hint}Give a run's id, its folder or a notebook.")


def find_runs(notebook: str = "", root: Path | None = None) -> list[Run]:
    """Return the runs, newest first, of one notebook or all.

    Runs in progress, killed or unreadable are left out.
    """
    readable = []
    for folder in (root or workspace.runs()).iterdir():
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        try:
            run = load_run(folder.name, root)
        except LookupError:
            continue
        if notebook in ("", run.notebook):
            readable.append(run)
    return sorted(readable, key=_started, reverse=True)


def _without_ids(tree):
    """Return a result without the parameter and the field ``upstream``."""
    if not isinstance(tree, dict):
        return tree
    return {name: _without_ids(value) for name, value in tree.items() if name != "upstream"}


def _requested(folder: Path) -> tuple[str, str]:
    """Return when a run was last requested, else the second it started."""
    try:
        stamp = (workspace.home() / "cache" / "asked" / folder.name).read_text()
    except OSError:
        stamp = folder.name[:15]
    return stamp, folder.name


def _started(run: Run) -> tuple[str, str]:
    """Return the second a run started, and its finer time if the runner recorded it."""
    return run.id[:15], run.manifest.get("started", "")


def _read(path: Path) -> dict:
    if not path.exists():
        return {}
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no mapping")
    return content
