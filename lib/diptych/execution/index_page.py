"""The page that leads to every report of a folder: title, parameters, figures, a small picture."""

import base64
import io
import json
import os
from pathlib import Path

from diptych.base import workspace
from diptych.base.secrets import Redactor
from diptych.execution.runs import Run

CARD = ".card.json"  # beside `latest`
INDEX = "index.html"
PICTURE = (320, 200)  # pixels, at most
MOST_BYTES = 60_000  # of a small picture that cannot be made smaller
FIGURES = 8


def enter(run: Run, root: Path, path: str) -> None:
    """Note what the index shows of a run that ended well at a stable path."""
    if run.status == "ok":
        card = card_of(run) | {"path": path, "link": f"{path}/latest/notebook.html"}
        text = Redactor().json(card)
        workspace.write_atomic(root / path / CARD, text)


def write_all(root: Path) -> Path:
    """Write the index of all stable paths of a folder, and return it."""
    root.mkdir(parents=True, exist_ok=True)
    return write(root / INDEX, _cards(root), "Reports")


def write(target: Path, cards: list[dict], title: str) -> Path:
    """Write a page of cards, as `card_of` makes them with ``path`` and ``link``."""
    from diptych.execution.pages.export import render

    ordered = sorted(cards, key=lambda card: card["path"])
    ordered.sort(key=lambda card: card["started"][:10], reverse=True)
    page = render("index.html.j2", title=title, panel="", cards=ordered, provenance=[])
    workspace.write_atomic(target, Redactor().text(page))
    return target


def card_of(run: Run) -> dict:
    """Return what the index shows of a run."""
    values = run.result.get("values")
    figures = values.items() if isinstance(values, dict) else ()
    return {
        "run": run.id,
        "title": run.manifest.get("title") or run.notebook,
        "notebook": run.notebook,
        "started": run.manifest.get("started", ""),
        "parameters": {name: _shown(value) for name, value in
                       run.manifest.get("parameters", {}).items() if value not in ("", None)},
        "figures": {name: _shown(entry.get("value") if isinstance(entry, dict) else entry)
                    for name, entry in list(figures)[:FIGURES]},
        "picture": _picture(run.folder / "notebook.ipynb"),
    }  # fmt: skip


def _cards(root: Path) -> list[dict]:
    cards = []
    for folder, _, names in os.walk(root):
        if CARD in names:
            try:
                cards.append(json.loads((Path(folder) / CARD).read_bytes()))
            except (OSError, ValueError):
                continue
    return cards


def _shown(value) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _picture(notebook: Path) -> str:
    """Return the first picture of a notebook as a small data URI, "" if it has none."""
    try:
        cells = json.loads(notebook.read_bytes())["cells"]
    except (OSError, ValueError, KeyError):
        return ""
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    for data in outputs:
        if "image/png" in data:
            return _small("".join(data["image/png"]))
        if vector := "".join(data.get("image/svg+xml", "")).encode():
            return _uri("image/svg+xml", vector) if len(vector) <= MOST_BYTES else ""
    return ""


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _small(encoded: str) -> str:
    content = base64.b64decode(encoded)
    try:
        from PIL import Image

        image = Image.open(io.BytesIO(content))
        image.thumbnail(PICTURE)
        sink = io.BytesIO()
        image.save(sink, "PNG", optimize=True)
        content = sink.getvalue()
    except (ImportError, OSError):
        if len(content) > MOST_BYTES:
            return ""
    return _uri("image/png", content)
