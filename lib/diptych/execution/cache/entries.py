"""Runs by their key: an unchanged one is linked, not run again.

An entry names a run folder, the digest of each file in it, and what the run found elsewhere: what
our own code says it read (`diptych.execution.cache.dependencies`) and what the kernel saw being
read (`diptych.execution.cache.inputs`). It counts only while all of that holds: a changed file or
variable, a removed table or a registry begun anew make the run again. A run that read what cannot
be looked at again (the clock, the network) counts only for an age that the caller chose.
Entries are written whole, so of two runs of one key at once the later is linked from then on, and
both are kept.
"""

import json
import os
import secrets
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from diptych.base import hashing, workspace
from diptych.base.errors import ParameterError
from diptych.execution import runs
from diptych.execution.cache import dependencies, import_graph, inputs
from diptych.execution.cache import fingerprint as keys
from diptych.execution.notebooks import HERE, kernel_name, read_notebook
from diptych.execution.runs import Run


@dataclass
class Lookup:
    """What the cache holds for a run to come.

    Attributes
    ----------
    key : str
        "" if there is none.
    parts : dict
        Of the key.
    run : Run or None
        The run to link.
    why : str
        Why there is none although there was one once; "" if this is the first.
    declared : tuple of dict or None
        What the notebook's author declared as its inputs; None if nothing was declared.
    """

    key: str = ""
    parts: dict = field(default_factory=dict)
    run: Run | None = None
    why: str = ""
    declared: tuple[dict, ...] | None = None


def find(prepared, root: Path, force: bool = False, kernel: str = "") -> Lookup:
    """Look for an earlier run that can be linked in place of a prepared one.

    Parameters
    ----------
    prepared : diptych.execution.runner.PreparedRun
    root : Path
        Where the run folder is wanted; a run that lies elsewhere is linked there.
    force : bool
        Find the key, but no run.
    kernel : str
        Kernel to run in instead of the notebook's own. A run in one of another environment has no
        key: its packages are not seen from here.
    """
    content = read_notebook(prepared.notebook)
    kernel = kernel or kernel_name(content)
    if kernel not in HERE:
        return Lookup(why=f"it runs in the kernel {kernel}, whose packages are not seen from here")
    try:
        parts = keys.parts_of(prepared)
    except hashing.TooMany as error:
        return Lookup(why=str(error))
    import_graph.remember()
    lookup = Lookup(keys.digest(parts), parts, declared=_declared(content, prepared.notebook))
    path = _path(lookup.key)
    if force or not path.exists():
        lookup.why = "--force" if force else ""
        return lookup
    try:
        entry = json.loads(path.read_bytes())
        folder = workspace.home() / entry["folder"]
        lookup.why = _broken(folder, entry) or _too_old(entry, prepared.link_for)
        if not lookup.why:
            lookup.run = runs.load_run(folder.name, _linked(folder, Path(root)).parent)
    except (OSError, ValueError, LookupError, TypeError) as error:
        lookup.why = f"its entry in the cache is damaged ({type(error).__name__})"
    return lookup


def note(staged: Path, manifest: dict, lookup: Lookup) -> None:
    """Add to a manifest what its key was made of and what the run used elsewhere."""
    noted = dependencies.take(staged)
    folder = lookup.parts.get("folder", "")  # "" for a notebook of ours, whose draws are seeded
    seen = inputs.take(staged, folder)
    never = [use["why"] for use in noted if use["kind"] == "never"]
    is_declared = lookup.declared is not None or any(use["kind"] == "declared" for use in noted)
    uses = [use for use in noted if use["kind"] not in ("never", "declared")]
    places = {Path(manifest["path"]).parent, Path(manifest["cwd"])} if folder else ()
    seen.uses += inputs.displayed(staged / "notebook.ipynb", places)
    result = staged / "result.json"
    manifest["cache"] = {
        "key": lookup.key,
        "parts": lookup.parts,
        "uses": [*uses, *(lookup.declared or ()), *seen.uses],
        "never": next(iter(never), "") or (seen.never if lookup.key else lookup.why),
        "unknown": [] if is_declared else seen.unknown + seen.drawn * bool(folder),
        "why": lookup.why,
        "content": runs.content_of(staged, json.loads(result.read_bytes())) if result.exists()
        else "",
        "files": runs.files_digest(staged),
    }  # fmt: skip


def add(run: Run) -> None:
    """Let a finished run be linked from now on."""
    facts = run.manifest["cache"]
    if facts["never"] or run.status != "ok":
        return
    home = workspace.home()
    inside = run.folder.is_relative_to(home)
    entry = {
        "folder": run.folder.relative_to(home).as_posix() if inside else str(run.folder),
        "files": _digests(run.folder),
        "uses": facts["uses"],
        "upstream": run.result.get("upstream") or "",
        "unknown": facts["unknown"],
        "ended": run.manifest["ended"],
    }
    path = _path(facts["key"])
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace.write_atomic(path, json.dumps(entry, indent=1))


def why(run: Run) -> str:
    """Return in words why a run was made and not linked, and whether it would be linked now."""
    facts = run.manifest.get("cache")
    if not facts or not facts.get("parts"):
        reason = (facts or {}).get("never") or "it was made outside the runner"
        return f"{run.id}: it has no key: {reason}."
    lines = []
    if facts["why"]:
        lines.append(f"not linked: {facts['why']}")
    before = _earlier(run)
    if before is None:
        lines.append(f"no earlier run of {run.notebook} to compare with")
    else:
        changes = _changes(before.manifest["cache"], facts)
        lines += [f"changed: {text}" for text in changes]
        lines += [] if changes else ["nothing that it was made of had changed"]
    if facts["never"]:
        lines.append(f"never linked: {facts['never']}")
    lines += [f"not linkable: {text}" for text in facts.get("unknown", ())]
    since = [text for use in facts["uses"] if (text := dependencies.changed(use))]
    lines += [f"changed since: {text}" for text in since]
    against = f" against {before.id}" if before else ""
    return "\n".join([f"{run.id}{against}", *(f"  {line}" for line in lines)])


def _changes(before: dict, after: dict) -> list[str]:
    """Return in words how what a run was made of differs from an earlier one."""
    places = {_where(use): use.get("found") for use in after["uses"]}
    return keys.changes(before["parts"], after["parts"]) + [
        dependencies.difference(use, places[_where(use)])
        for use in before["uses"]
        if _where(use) in places and places[_where(use)] != use.get("found")
    ]


def _where(use: dict) -> str:
    return json.dumps({k: v for k, v in use.items() if k != "found"}, sort_keys=True)


def _declared(content: dict, notebook: Path) -> tuple[dict, ...] | None:
    """Return the inputs that a notebook's metadata declare: ``"diptych": {"inputs": [...]}``.

    Raises
    ------
    ParameterError
        If they are no list of paths.
    """
    settings = content.get("metadata", {}).get("diptych", {})
    patterns = settings.get("inputs") if isinstance(settings, dict) else None
    if patterns is None:
        return None
    if not isinstance(patterns, list) or not all(isinstance(text, str) for text in patterns):
        raise ParameterError(
            f"{workspace.shown(notebook)}: inputs = {patterns!r} in its metadata is no list of "
            'paths. Write "diptych": {"inputs": ["sales.csv", "data/*.csv"]}.'
        )
    return tuple(inputs.declared(patterns, Path(notebook).absolute().parent))


def _earlier(run: Run) -> Run | None:
    """Return the latest run before this one that succeeded and has a key, and is most like it.

    That is one of the same parameters, else of the same task, else any.
    """
    started, parameters = run.manifest["started"], _parameters(run)
    earlier = [
        other
        for other in runs.find_runs(run.notebook, run.folder.parent)
        if other.status == "ok"
        and other.manifest.get("cache", {}).get("parts")
        and other.manifest["started"] < started
    ]
    same = [other for other in earlier if _parameters(other) == parameters]
    task = parameters.get("task")
    alike = [other for other in earlier if _parameters(other).get("task") == task]
    return next(iter(same or alike or earlier), None)


def _parameters(run: Run) -> dict:
    """Return a run's parameters without the run that it builds on."""
    return {k: v for k, v in run.manifest["parameters"].items() if k != keys.UPSTREAM}


def _too_old(entry: dict, link_for: float) -> str:
    """Return why an entry does not count, if it read what cannot be looked at again."""
    if not entry["unknown"]:
        return ""
    ended = datetime.fromisoformat(entry["ended"])
    is_young = (datetime.now(UTC) - ended).total_seconds() < link_for
    return "" if is_young else entry["unknown"][0]


def _broken(folder: Path, entry: dict) -> str:
    """Return why an entry does not count, "" if it does."""
    if not folder.is_dir():
        return f"its run folder {folder.name} is gone"
    if (now := _digests(folder)) != entry["files"]:
        names = [name for name in {*now, *entry["files"]}
                 if now.get(name) != entry["files"].get(name)]  # fmt: skip
        return f"{min(names)} of {folder.name} is damaged"
    upstream = entry["upstream"]
    if upstream and not (workspace.runs() / upstream / "result.json").is_file():
        return f"the run {upstream} it builds on is gone"
    return next(filter(None, map(dependencies.changed, entry["uses"])), "")


def _digests(folder: Path) -> dict[str, str]:
    files = hashing.files_of(folder)
    return {path.relative_to(folder).as_posix(): hashing.of_file_now(path) for path in files}


def _linked(folder: Path, root: Path) -> Path:
    """Return the folder as it lies under `root`: itself, or hard links to its files."""
    place = root.absolute() / folder.name
    if place == folder or place.exists():
        return place
    root.mkdir(parents=True, exist_ok=True)
    beside = root / f".{folder.name}.{secrets.token_hex(2)}.partial"
    try:
        shutil.copytree(folder, beside, copy_function=_link)
        os.rename(beside, place)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        if not place.exists():
            raise
    return place


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


def _path(key: str) -> Path:
    return workspace.home() / "cache" / "entries" / key[:2] / f"{key}.json"
