"""Whether a site shows these runs already, so that an unchanged report is not written again."""

import json
from collections.abc import Sequence
from pathlib import Path

from diptych.run import closure, digests, workspace
from diptych.run.runs import Run


def made_from(scenarios: Sequence, contrast: Run | None = None) -> str:
    """Return one digest of all that pages are made of: runs, words, code and templates."""
    shown = [
        {
            "scenario": [scenario.name, scenario.title, scenario.question],
            "runs": [[run.id, *_contents(run.folder)] for run in scenario.runs],
        }
        for scenario in scenarios
    ]
    compared = digests.files_of(contrast.folder) if contrast else []
    code, _ = closure.used_by(["import diptych.report.site"])
    templates = [path for name in ("run", "report") for path in
                 digests.files_of(workspace.PACKAGE / name / "templates")]  # fmt: skip
    files = [*code, *templates, *compared]
    return digests.of_json([shown, [digests.of_file(path) for path in files]])


def mark(site: Path, new: Path, made: str) -> None:
    """Note what a site is made from and how its pages are, which still lie in `new`."""
    note = _note(site)
    note.parent.mkdir(parents=True, exist_ok=True)
    workspace.write_atomic(note, json.dumps({"made_from": made, "pages": _pages(new)}))


def holds(site: Path, made: str) -> bool:
    """Say whether a site was made from this, and its pages are whole."""
    try:
        content = json.loads(_note(site).read_bytes())
        return content["made_from"] == made and content["pages"] == _pages(site)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _contents(folder: Path) -> list[str]:
    names = ("manifest.json", "result.json", "notebook.ipynb")
    return [digests.of_file(folder / name) for name in names if (folder / name).exists()]


def _pages(site: Path) -> dict[str, str]:
    files = digests.files_of(site)
    return {path.relative_to(site).as_posix(): digests.fresh(path) for path in files}


def _note(site: Path) -> Path:
    return workspace.home() / "cache" / "sites" / f"{digests.of_json(str(site))}.json"
