"""``--name "{week}/{region}"``: one stable folder for each report, with ``latest`` in it.

``latest`` leads to the newest run that ended well; a run that failed never replaces it.
"""

import os
import re
import secrets
import shutil
import string
from datetime import date, datetime
from pathlib import Path

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.base.progress import say
from diptych.execution.notebooks import nearest
from diptych.execution.runner import PreparedRun
from diptych.execution.runs import Run, load_run

LATEST = "latest"
FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f]')
RESERVED = (LATEST, "index.html")
LONGEST = 100  # characters of a folder's name


def path_of(template: str, prepared: PreparedRun, today: datetime | None = None) -> str:
    """Return the path that a template gives for a run, such as ``2026-W05/north``.

    Parameters
    ----------
    template : str
        With fields in braces: parameters, and ``date``, ``year``, ``month``, ``day``, ``week``
        (``2026-W05``), ``notebook``; ``{date:%Y-%m}`` formats a date. Parameters win.
    today : datetime, optional
        The time that the date parts are of, by default now, here.

    Raises
    ------
    ParameterError
        If a field is unknown or empty, or its value cannot be part of a folder's name.
    """
    values = _date_parts(today or datetime.now()) | {"notebook": prepared.name.replace("/", "-")}
    values |= {name: _value(name, prepared) for name in prepared.values}
    evaluated = {p.name: p.expression for p in prepared.declared if p.expression}
    folders = [_folder(part, values, evaluated) for part in template.strip("/").split("/")]
    return "/".join(folders)


def publish(run: Run, root: Path, path: str) -> Path:
    """Let ``root/path/latest`` lead to a run, unless it failed, and return that path."""
    place = root / path / LATEST
    if run.status != "ok":
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    _warn_of_another(run, place, path)
    beside = place.with_name(f".{LATEST}.{secrets.token_hex(4)}")
    try:
        os.symlink(os.path.relpath(run.folder, place.parent), beside, target_is_directory=True)
        os.replace(beside, place)
    except OSError:  # no symbolic links here
        shutil.rmtree(beside, ignore_errors=True)
        _copy(run.folder, beside, place)
    return place


def reports() -> Path:
    """Return the folder of stable paths in the workspace."""
    return workspace.home() / "reports"


def led_to(root: Path | None = None) -> set[Path]:
    """Return the run folders that a ``latest`` of the workspace leads to."""
    return {path.resolve() for path in (root or reports()).rglob(LATEST) if path.exists()}


def _copy(folder: Path, beside: Path, place: Path) -> None:
    """Put a copy of a folder in place of another, which is away only for a moment."""
    shutil.copytree(folder, beside)
    former = beside.with_name(f"{beside.name}.former")
    if place.exists():
        os.rename(place, former)
    os.rename(beside, place)
    shutil.rmtree(former, ignore_errors=True)


def _warn_of_another(run: Run, place: Path, path: str) -> None:
    """Say if ``latest`` was a run of another notebook or other parameters."""
    try:
        before = load_run(place.resolve().name, place.resolve().parent)
    except (LookupError, OSError):
        return
    old, new = before.manifest.get("parameters", {}), run.manifest.get("parameters", {})
    other = [name for name in new if new[name] != old.get(name) and name != "upstream"]
    if before.notebook != run.notebook:
        say(f"--name {path}: {LATEST} was a run of {before.notebook}, now it is {run.notebook}")
    elif other:
        changes = ", ".join(f"{name} {old.get(name)} -> {new[name]}" for name in other)
        say(f"--name {path}: {LATEST} was another report ({changes}); the name should tell them "
            "apart")  # fmt: skip


def _date_parts(now: datetime) -> dict:
    return {
        "date": now.date(),
        "year": f"{now:%Y}",
        "month": f"{now:%m}",
        "day": f"{now:%d}",
        "week": f"{now:%G-W%V}",
    }


def _value(name: str, prepared: PreparedRun):
    """Return a parameter's value as a format takes it: a date as such."""
    value = prepared.values[name]
    kinds = {p.name: p.annotation.scalars for p in prepared.declared}.get(name, set())
    if isinstance(value, str) and "datetime" in kinds:
        return datetime.fromisoformat(value)
    if isinstance(value, str) and "date" in kinds:
        return date.fromisoformat(value)
    return value


def _folder(part: str, values: dict, evaluated: dict) -> str:
    """Return one folder's name."""
    try:
        pieces = list(string.Formatter().parse(part))
    except ValueError as error:
        raise ParameterError(f"--name: {part}: {error}.") from error
    text = ""
    for literal, field, spec, conversion in pieces:
        text += literal
        if field is None:
            continue
        if conversion or field not in values:
            raise ParameterError(f"--name: {{{field}}}: {_unknown(field, values, evaluated)}")
        text += _formatted(field, values[field], spec or "")
    if text in ("", ".", "..") or text.casefold() in RESERVED or len(text) > LONGEST:
        raise ParameterError(f"--name: {part} gives {text[:60]!r}: not the name of a folder.")
    if FORBIDDEN.search(text) or text != text.strip(". "):
        raise ParameterError(
            f"--name: {part} gives {text!r}: a folder's name has none of "
            '/ \\ : * ? " < > | and no dot or space at its ends. Leave it out of the name.'
        )
    return text


def _formatted(field: str, value, spec: str) -> str:
    if value is None or value == "" or isinstance(value, list | dict):
        raise ParameterError(f"--name: {{{field}}} is {value!r}, which names no folder.")
    try:
        text = format(value, spec)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"--name: {{{field}:{spec}}} does not fit {value!r}: {error}."
        ) from error
    if "/" in text or "\\" in text:
        raise ParameterError(f"--name: {field} = {text!r}: a slash would make another folder.")
    return text


def _unknown(field: str, values: dict, evaluated: dict) -> str:
    if field in evaluated:
        return f"its default {evaluated[field]} is known to the kernel only. Give -p {field}=VALUE."
    return f"unknown. {nearest(field, values)}There are {', '.join(values)}."
