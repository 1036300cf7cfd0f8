"""Run folders: their names, and reading them back."""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from diptych.run import workspace

STAMP = "%Y%m%d-%H%M%S"


@dataclass(frozen=True)
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
    """

    id: str
    folder: Path
    manifest: dict = field(default_factory=dict)
    result: dict = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``ok``, ``failed``, or ``incomplete`` (opened outside the runner, never finished)."""
        outside = "ok" if self.result.get("complete") else "incomplete"
        return self.manifest.get("status", outside)

    @property
    def notebook(self) -> str:
        """Name of the notebook, such as ``"mlops/2_build"``."""
        return self.manifest.get("name") or self.result.get("notebook", "")


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


def find_runs(notebook: str = "", root: Path | None = None) -> list[Run]:
    """Return the runs, newest first, of one notebook or all.

    Runs in progress, killed or unreadable are left out.
    """
    found = []
    for folder in (root or workspace.runs()).iterdir():
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        try:
            run = load_run(folder.name, root)
        except LookupError:
            continue
        if notebook in ("", run.notebook):
            found.append(run)
    return sorted(found, key=_started, reverse=True)


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
