"""Remove old runs: never the only good one, never what another run or a stable path leads to."""

import json
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from diptych.base import hashing, workspace
from diptych.execution import stable_paths
from diptych.execution.runs import Run, find_runs

LEFTOVER_S = 86400  # a staged folder as old as this belongs to no run in progress


@dataclass(frozen=True)
class Pruning:
    """What would be removed, and what stays although it is old.

    Attributes
    ----------
    runs : list of Run
    leftovers : list of Path
        Folders of runs that were killed.
    protected : dict of str to str
        Why a run stays that the rules would have removed, by its id.
    size : int
        Bytes that the removal frees.
    """

    runs: list[Run] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    protected: dict[str, str] = field(default_factory=dict)
    size: int = 0


def plan(keep: int = 0, older_than_s: float = 0, notebook: str = "") -> Pruning:
    """Say what to remove; nothing is touched.

    Parameters
    ----------
    keep : int
        How many runs of each notebook with the same parameters stay, the newest; 0 for no limit.
    older_than_s : float
        Only runs that started longer ago; 0 for any.
    notebook : str
        Only runs of this notebook.
    """
    every = find_runs()
    candidates = _old(every, keep, older_than_s, notebook)
    reasons = _protected(every, candidates)
    removed = [run for run in candidates if run.id not in reasons]
    leftovers = _leftovers() if not notebook else []
    size = sum(map(_size, [run.folder for run in removed] + leftovers))
    return Pruning(removed, leftovers, {run.id: reasons[run.id] for run in candidates
                                        if run.id in reasons}, size)  # fmt: skip


def remove(pruning: Pruning) -> None:
    """Remove what `plan` said: each run at once, so that nobody reads half of one."""
    for folder in [run.folder for run in pruning.runs] + pruning.leftovers:
        aside = folder.with_name(f".{folder.name.lstrip('.')}.removed")
        folder.rename(aside)
        shutil.rmtree(aside)
        (workspace.home() / "cache" / "asked" / folder.name).unlink(missing_ok=True)


def _old(every: list[Run], keep: int, older_than_s: float, notebook: str) -> list[Run]:
    """Return the runs that the rules name."""
    seen: dict[tuple, int] = {}
    candidates = []
    for run in every:  # newest first
        if notebook and run.notebook != notebook:
            continue
        alike = (run.notebook, json.dumps(_parameters(run), sort_keys=True))
        seen[alike] = seen.get(alike, 0) + 1
        if seen[alike] > keep and _age_s(run) >= older_than_s:
            candidates.append(run)
    return candidates


def _protected(every: list[Run], candidates: list[Run]) -> dict[str, str]:
    """Return why runs must stay, by id."""
    named = {run.id for run in candidates}
    reasons = {}
    newest: dict[str, Run] = {}
    for run in every:
        if run.status == "ok":
            newest.setdefault(run.notebook, run)
    stays = {run.id for run in every if run.id not in named}
    good_left = {run.notebook for run in every if run.id in stays and run.status == "ok"}
    for name, run in newest.items():
        if name not in good_left:
            reasons[run.id] = f"the newest good run of {name}"
    places = stable_paths.led_to()
    reasons |= {run.id: "a stable path leads to it" for run in candidates
                if run.folder.resolve() in places}  # fmt: skip
    by_id = {run.id: run for run in every}
    todo = [run.result.get("upstream") for run in every if run.id in stays or run.id in reasons]
    todo += [run.result.get("upstream") for run in _of_sweeps()]
    while todo:
        upstream = todo.pop()
        if upstream in by_id and upstream not in stays and upstream not in reasons:
            reasons[upstream] = "another run builds on it"
            todo.append(by_id[upstream].result.get("upstream"))
    return reasons


def _of_sweeps() -> list[Run]:
    """Return the runs of the workspace's sweeps, which lie beside the others."""
    roots = (workspace.home() / "sweeps").glob("*/runs")
    return [run for root in roots for run in find_runs(root=root)]


def _leftovers() -> list[Path]:
    """Return folders that killed runs left."""
    before = time.time() - LEFTOVER_S
    folders = [*workspace.runs().glob(".*.partial"), *workspace.runs().glob(".*.removed")]
    return [folder for folder in folders if folder.stat().st_mtime < before]


def _parameters(run: Run) -> dict:
    values = run.manifest.get("parameters") or {}
    return {name: value for name, value in values.items() if name != "upstream"}


def _age_s(run: Run) -> float:
    try:
        started = datetime.fromisoformat(run.manifest["started"])
    except (KeyError, ValueError):
        return time.time() - run.folder.stat().st_mtime
    return (datetime.now(UTC) - started).total_seconds()


def _size(folder: Path) -> int:
    """Return the bytes that only this folder holds; a file linked from elsewhere stays."""
    facts = (path.stat() for path in hashing.files_of(folder))
    return sum(fact.st_size for fact in facts if fact.st_nlink == 1)
