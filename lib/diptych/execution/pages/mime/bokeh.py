"""Bokeh documents, drawn by the BokehJS of the installed package.

Bokeh displays a script in which its document stands as JSON. The document is read out; the script
is never run. JavaScript inside a document (``CustomJS``, a table's ``HTMLTemplateFormatter``) is
emptied: it would be a script of the notebook.
"""

import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from diptych.execution.pages.mime.canvas import Canvas, missing, note

EXEC = "application/vnd.bokehjs_exec.v0+json"
LOAD = "application/vnd.bokehjs_load.v0+json"
DOCS = re.compile(r"\bdocs_json\s*=\s*(?=[{'\"])")
ITEMS = re.compile(r"\brender_items\s*=\s*(?=\[)")
ISLAND = re.compile(
    r"<script type=\"application/json\"[^<>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE
)
DECODER = json.JSONDecoder()
COMPILED = ("CustomJS", "HTMLTemplateFormatter")  # models whose text BokehJS compiles
EXTRA = {  # part of the library: what in a document needs it
    "bokeh-widgets": r'"name":\s*"(\w*(Button|Slider|Select|Input|Picker|Spinner|Tabs|Group|Choice|'
    r'DataTable|Paragraph|PreText|Div|Dropdown|Toggle|Switch|Help\w*|Tooltip))"',
    "bokeh-tables": r'"name":\s*"(DataTable|TableColumn|DataCube)"',
    "bokeh-gl": r'"output_backend":\s*"webgl"',
    "bokeh-mathjax": r'"name":\s*"(TeX|MathML|Ascii)"|\$\$|\\\\\[|\\\\\(',
}


def draw(data: Mapping, canvas: Canvas, still: str = "") -> str | None:
    """Return an output's document as HTML, "" for one that only loads Bokeh; None if no Bokeh."""
    if LOAD in data:
        return ""
    if EXEC not in data:
        return None
    script = str(data.get("application/javascript", ""))
    return "".join(document(*parts, canvas) for parts in in_html(script)) or still or None


def document(docs: Mapping, items: list, canvas: Canvas) -> str:
    """Return a document as HTML.

    Parameters
    ----------
    docs : mapping
        Documents by id, as ``docs_json``.
    items : list
        What is rendered where, as ``render_items``.
    """
    text = json.dumps(docs)
    versions = {str(doc.get("version")) for doc in docs.values() if isinstance(doc, Mapping)}
    if (installed := version()) is None:
        return missing("Bokeh", "bokeh")
    if versions and not any(v.split(".")[0] == installed.split(".")[0] for v in versions):
        drawn_by = ", ".join(sorted(versions))
        return note(f"A figure of Bokeh {drawn_by} stands here; Bokeh {installed} cannot draw it.")
    scripts = [library("bokeh")]
    scripts += [library(name) for name, needs in EXTRA.items() if re.search(needs, text)]
    canvas.need("bokeh", *scripts)
    silent = [0]
    data = {"docs": _without_callbacks(docs, silent), "items": items}
    left_out = note("Callbacks of this figure were left out (--trust).") if silent[0] else ""
    return canvas.chart("bokeh", data, _title(text)) + left_out


def in_html(text: str) -> Iterator[tuple[dict, list]]:
    """Yield (documents, items) that stand in a script or a page of Bokeh's."""
    islands = [match[1] for match in ISLAND.finditer(text)] if "Bokeh" in text else []
    for match in DOCS.finditer(text):
        items = ITEMS.search(text, match.end())
        if items is None:
            continue
        try:
            docs = _value(text, match.end())
            yield docs, DECODER.raw_decode(text, items.end())[0]
        except (ValueError, TypeError):
            continue
    for island in islands if not DOCS.search(text) or "getElementById" in text else ():
        items = ITEMS.search(text)
        try:
            docs = json.loads(island)
        except ValueError:
            continue
        if items and isinstance(docs, dict):
            yield docs, DECODER.raw_decode(text, items.end())[0]


def _value(text: str, place: int) -> dict:
    """Read ``docs_json``, which is an object or an object in a string."""
    if text[place] == "'":
        inside = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL).match(text, place)
        if inside is None:
            raise ValueError("no string")
        return json.loads(re.sub(r"\\(['\\])", r"\1", inside[1]))
    value = DECODER.raw_decode(text, place)[0]
    return json.loads(value) if isinstance(value, str) else value


@cache
def version() -> str | None:
    """Return the version of the installed Bokeh; None if there is none."""
    try:
        return importlib.metadata.version("bokeh")
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def library(name: str) -> str:
    """Return a part of BokehJS."""
    origin = importlib.util.find_spec("bokeh").origin
    path = Path(origin).parent / "server" / "static" / "js" / f"{name}.min.js"
    return path.read_text(encoding="utf-8")


def _without_callbacks(value, silent: list[int]):
    if isinstance(value, list):
        return [_without_callbacks(part, silent) for part in value]
    if not isinstance(value, Mapping):
        return value
    attributes, name = value.get("attributes"), str(value.get("name", ""))
    if isinstance(attributes, Mapping) and name.startswith(COMPILED):
        emptied = dict.fromkeys(attributes.keys() & {"code", "template", "expr"}, "")
        silent[0] += bool(emptied)
        value = {**value, "attributes": {**attributes, **emptied}}
    return {key: _without_callbacks(part, silent) for key, part in value.items()}


def _title(text: str) -> str:
    match = re.search(r'"name": "Title".{0,80}?"text": ("(?:[^"\\]|\\.)*")', text)
    return json.loads(match[1]) if match else "Bokeh figure"
