"""What a cell displayed, as HTML: one module a kind of data, the richest first."""

import html
import json
from collections.abc import Mapping

from diptych.execution.pages.mime import bokeh, latex, markup, pictures, plotly, vega, widgets
from diptych.execution.pages.mime.canvas import Canvas
from diptych.execution.pages.sanitize import terminal

__all__ = ["Canvas", "shown"]

JSON_KIND = "application/json"
SCRIPT = "application/javascript"
GEOJSON = "application/geo+json"


def shown(output: Mapping, canvas: Canvas, prose) -> str:
    """Return a display or a result as HTML.

    Parameters
    ----------
    output : mapping
        Of a notebook, with ``data`` and ``metadata``.
    canvas : Canvas
    prose : callable
        Renders Markdown that a cell displayed.
    """
    data, metadata = output.get("data", {}), output.get("metadata", {})
    if canvas.look.trust and (trusted := _trusted(data)):
        return trusted
    still = pictures.draw(data, metadata, canvas) or ""
    drawn = widgets.draw(data, canvas, lambda inner: shown(inner, canvas, prose))
    for draw in (plotly.draw, vega.draw, bokeh.draw, markup.draw):
        drawn = draw(data, canvas, still) if drawn is None else drawn
    if drawn is not None:
        return drawn
    if "text/markdown" in data:
        return f'<div class="shown prose">{prose(data["text/markdown"])}</div>'
    return still or _text(data)


def _text(data: Mapping) -> str:
    """Return what is text: LaTeX, JSON, printed words; a line for a script."""
    if "text/latex" in data:
        return f'<div class="shown formula">{latex.draw(data["text/latex"])}</div>'
    for kind in (JSON_KIND, GEOJSON):
        if kind in data:
            return _json(data[kind])
    if SCRIPT in data:
        return markup.left_out(["script"])
    if "text/plain" in data:
        return f'<pre class="printed" tabindex="0">{terminal(data["text/plain"])}</pre>'
    other = [kind for kind, value in data.items() if isinstance(value, str)]
    if other:
        return f'<pre class="printed" tabindex="0">{html.escape(str(data[other[0]]))}</pre>'
    return "".join(_json(value) for value in list(data.values())[:1])


def _json(value) -> str:
    text = html.escape(json.dumps(value, indent=2, ensure_ascii=False))
    return f'<pre class="printed" tabindex="0">{text}</pre>'


def _trusted(data: Mapping) -> str:
    """Return a script that its reader trusts, as it is."""
    if "text/html" not in data and SCRIPT in data:
        return f"<script>{data[SCRIPT]}</script>"
    return ""
