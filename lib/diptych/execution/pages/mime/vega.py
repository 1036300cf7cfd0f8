"""Vega and Vega-Lite charts (altair), drawn by the Vega that vl-convert holds."""

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache

from diptych.execution.pages.mime.canvas import Canvas, missing

KIND = re.compile(r"application/vnd\.vega(lite)?\.v\d+(\.\d+)*(\+json|\.json)")
START = re.compile(
    r"(?:\bspec\s*=\s*|\}\)\(\s*|vegaEmbed\(\s*[^,{}]{1,80},\s*)(?=\{)"  # as altair writes it
)
DECODER = json.JSONDecoder()


def draw(data: Mapping, canvas: Canvas, still: str = "") -> str | None:
    """Return an output's chart as HTML; None if it has none."""
    for name, spec in data.items():
        if KIND.fullmatch(name) and isinstance(spec, Mapping):
            return chart(spec, canvas, still)
    return None


def chart(spec: Mapping, canvas: Canvas, still: str = "") -> str:
    """Return one chart as HTML."""
    script = library()
    if script is None:
        return still or missing("Vega", "vl-convert-python")
    canvas.need("vega", script)
    return canvas.chart("vega", spec, _title(spec), still)


def in_html(text: str) -> Iterator[dict]:
    """Yield the charts that altair wrote as a script: their data, not the script."""
    if "vegaEmbed" not in text:
        return
    for match in START.finditer(text):
        try:
            spec, _ = DECODER.raw_decode(text, match.end())
        except json.JSONDecodeError:
            continue
        if "vega" in str(spec.get("$schema", "")):
            yield spec


@cache
def library() -> str | None:
    """Return Vega, Vega-Lite and vega-embed as one script; None without vl-convert."""
    if importlib.util.find_spec("vl_convert") is None:
        return None
    import vl_convert

    # its names would be the whole page's otherwise
    return f"(() => {{\n{vl_convert.javascript_bundle()}\n}})();"


def _title(spec: Mapping) -> str:
    for value in (spec.get("description"), spec.get("title")):
        text = value.get("text") if isinstance(value, Mapping) else value
        if text:
            return " ".join(map(str, text)) if isinstance(text, list) else str(text)
    return "Vega chart"
