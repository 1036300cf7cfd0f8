"""Outputs that are HTML: sanitized; figures of plotly, altair and Bokeh are drawn from their data.

Other scripts and embedded pages do not run; a line says what was left out.
"""

import re
from collections.abc import Mapping

from diptych.execution.pages.mime import bokeh, plotly, vega
from diptych.execution.pages.mime.canvas import Canvas, note
from diptych.execution.pages.sanitize import RUNS, without

FORM = re.compile(r"<(input|button|select|textarea|canvas)\b", re.IGNORECASE)
OPAQUE = re.compile(r"\s*<[\w.]+( object)?( at 0x[0-9a-f]+)?>\s*")
WORDS = {"script": "a script", "iframe": "an embedded page", "object": "an embedded object"}
EMPTY = re.compile(r"<[^>]*>|\s|&nbsp;")
SEEN = re.compile(r"<(img|svg|table|hr|video|audio|progress|meter)\b", re.IGNORECASE)


def draw(data: Mapping, canvas: Canvas, still: str = "") -> str | None:
    """Return an output's HTML for the page; None if it has none.

    Parameters
    ----------
    still : str
        HTML of a picture that the output has, too; it stands in for scripts that do not run.
    """
    html = data.get("text/html")
    if html is None:
        return None
    if canvas.look.trust:
        return f'<div class="shown trusted">{html}</div>'
    plain = str(data.get("text/plain", ""))
    if "bk-notebook-logo" in html:
        return ""  # Bokeh says that it is loading; its figures follow
    if FORM.search(html) and plain.strip() and not OPAQUE.fullmatch(plain):
        return None  # forms do not work on paper; their plain text says more
    figures = _figures(html, canvas, still)
    html, gone = _without_scripts(html, charts=bool(figures))
    clean = canvas.fitter.output(html)
    shown = clean if SEEN.search(clean) or EMPTY.sub("", clean) else ""
    line = left_out(gone) if gone else ""
    if not shown and not figures and still:
        return still + line
    return f'<div class="shown">{shown}{"".join(figures)}{line}</div>' if shown or figures else line


def left_out(gone: list[str]) -> str:
    """Return the line that says what of an output does not run here."""
    what = " and ".join(dict.fromkeys(WORDS.get(name, name) for name in gone))
    line = f"Of this output {what} was left out; `diptych export RUN --trust` lets scripts run."
    return note(line, "scripts" if set(gone) == {"script"} else "")


def _figures(html: str, canvas: Canvas, still: str) -> list[str]:
    figures = []
    if "Plotly." in html:
        figures += [plotly.figure(spec, canvas, still) for spec in plotly.in_html(html)]
    if "vegaEmbed" in html:
        figures += [vega.chart(spec, canvas, still) for spec in vega.in_html(html)]
    if "render_items" in html:
        figures += [bokeh.document(*parts, canvas) for parts in bokeh.in_html(html)]
    return figures


def _without_scripts(html: str, charts: bool) -> tuple[str, list[str]]:
    """Return HTML without what runs, and the names of what went that nothing stands in for."""
    gone: list[str] = []

    def note_it(match: re.Match) -> str:
        gone.append(match[0][1:9].split(">")[0].split()[0].lower())
        return ""

    for tag in RUNS:
        html = without(tag, html, note_it)
    named = [name for name in gone if name in WORDS and not (charts and name == "script")]
    return html, named
