"""Whether a site shows these runs already, so that an unchanged report is not written again."""

import json
from collections.abc import Sequence
from pathlib import Path

from diptych.base import hashing, workspace
from diptych.execution.cache import import_graph
from diptych.execution.runs import Run


def made_from(scenarios: Sequence, contrast: Run | None = None) -> str:
    """Return one digest of all that pages are made from: runs, titles, code and templates."""
    shown = [
        {
            "scenario": [scenario.name, scenario.title, scenario.question],
            "runs": [[run.id, *_contents(run.folder)] for run in scenario.runs],
        }
        for scenario in scenarios
    ]
    compared = hashing.files_of(contrast.folder) if contrast else []
    code, _ = import_graph.used_by(["import diptych.reporting.site.site"])
    templates = [
        path
        for name in ("execution/pages", "reporting")
        for path in hashing.files_of(workspace.PACKAGE / name / "templates")
    ]
    files = [*code, *templates, *compared]
    return hashing.of_json([shown, [hashing.of_file(path) for path in files]])


def mark(site: Path, new: Path, digest: str) -> None:
    """Note what a site is made from and how its pages are, which still lie in `new`."""
    note = _note(site)
    note.parent.mkdir(parents=True, exist_ok=True)
    workspace.write_atomic(note, json.dumps({"made_from": digest, "pages": _pages(new)}))


def holds(site: Path, digest: str) -> bool:
    """Say whether a site was made from this, and its pages are whole."""
    try:
        content = json.loads(_note(site).read_bytes())
        return content["made_from"] == digest and content["pages"] == _pages(site)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _contents(folder: Path) -> list[str]:
    names = ("manifest.json", "result.json", "notebook.ipynb")
    return [hashing.of_file(folder / name) for name in names if (folder / name).exists()]


def _pages(site: Path) -> dict[str, str]:
    files = [path for path in hashing.files_of(site) if path.suffix != ".pdf"]  # printed later
    return {path.relative_to(site).as_posix(): hashing.of_file_now(path) for path in files}


def _note(site: Path) -> Path:
    return workspace.home() / "cache" / "sites" / f"{hashing.of_json(str(site))}.json"
