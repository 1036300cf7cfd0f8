"""Plotly figures, drawn by the plotly.js of the installed package."""

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from diptych.execution.pages.mime.canvas import Canvas, missing

KIND = "application/vnd.plotly.v1+json"
CALL = re.compile(r"Plotly\.(?:newPlot|react|plot)\(\s*[\"'][^\"']*[\"']\s*,\s*(?=\[)")
COMMA = re.compile(r"\s*,\s*(?=[\[{])")
DECODER = json.JSONDecoder()


def draw(data: Mapping, canvas: Canvas, still: str = "") -> str | None:
    """Return an output's figure as HTML; None if it has none."""
    return figure(data[KIND], canvas, still) if isinstance(data.get(KIND), Mapping) else None


def figure(spec: Mapping, canvas: Canvas, still: str = "") -> str:
    """Return one figure, a mapping with ``data`` and ``layout``, as HTML."""
    script = library()
    if script is None:
        return still or missing("plotly", "plotly")
    canvas.need("plotly", script)
    parts = {key: spec[key] for key in ("data", "layout", "config", "frames") if key in spec}
    return canvas.chart("plotly", parts, _title(spec) or "Plotly figure", still)


def in_html(text: str) -> Iterator[dict]:
    """Yield the figures that ``fig.to_html()`` wrote as a script: their data, not the script."""
    for match in CALL.finditer(text):
        values, place = [], match.end()
        while True:
            try:
                value, place = DECODER.raw_decode(text, place)
            except json.JSONDecodeError:
                break
            values.append(value)
            comma = COMMA.match(text, place)
            if not comma:
                break
            place = comma.end()
        if len(values) >= 2 and isinstance(values[0], list) and isinstance(values[1], dict):
            yield dict(zip(("data", "layout", "config"), values, strict=False))


@cache
def library() -> str | None:
    """Return the text of plotly.js; None if the package is not installed."""
    spec = importlib.util.find_spec("plotly")
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec else None
    return path.read_text(encoding="utf-8") if path and path.exists() else None


def _title(spec: Mapping) -> str:
    layout = spec.get("layout")
    title = layout.get("title") if isinstance(layout, Mapping) else ""
    text = title.get("text") if isinstance(title, Mapping) else title
    return re.sub(r"<[^>]*>", " ", str(text or ""))
