"""What all outputs of one page share: where they go, and the scripts that draw them."""

import html
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diptych.execution.pages.look import Look
from diptych.execution.pages.sanitize import Fitter

SCRIPTS = Path(__file__).parents[1] / "templates" / "scripts"


@dataclass
class Canvas:
    """Where the outputs of a page are drawn.

    Attributes
    ----------
    fitter : Fitter
        Gives out ids.
    look : Look
    widgets : mapping
        State of each widget of the notebook by model id.
    scripts : dict of str to str
        Libraries that the page needs once, each with the few lines of ours that start it.
    """

    fitter: Fitter = field(default_factory=Fitter)
    look: Look = field(default_factory=Look)
    widgets: Mapping[str, Mapping] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)

    def need(self, name: str, *libraries: str) -> None:
        """Put a library and the script ``templates/scripts/<name>.js`` into the page, once."""
        for number, text in enumerate(libraries):
            self.scripts.setdefault(f"{name} {number}", _in_script(text))
        starter = (SCRIPTS / f"{name}.js").read_text()
        self.scripts[f"{name} start"] = self.scripts.pop(f"{name} start", _in_script(starter))

    def chart(self, kind: str, data: object, label: str, still: str = "") -> str:
        """Return the place where a library draws, with its data, which is no script.

        Parameters
        ----------
        kind : str
            Name of the script that draws it.
        data : object
            Becomes JSON.
        label : str
            What a screen reader says.
        still : str
            HTML for a reader without scripts; a sentence if empty.
        """
        still = still or "<p class='note'>This figure is drawn by a script; here none runs.</p>"
        return (
            f'<div class="chart {kind}" id="{self.fitter.name(kind)}">'
            f'<script type="application/json">{as_json(data)}</script>'
            f'<div class="plot" role="img" aria-label="{html.escape(label)}"></div>'
            f"<noscript>{still}</noscript></div>"
        )


def as_json(data: object) -> str:
    """Return JSON that may stand in a script element."""
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nan(data), ensure_ascii=False)
    return text.replace("<", "\\u003c")


def _without_nan(value):
    """Return a value whose numbers JSON has; what is none becomes null."""
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _in_script(text: str) -> str:
    """Return JavaScript that does not end its element, with the line ends that a browser hashes."""
    text = re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE)
    return (
        text.replace("<!--", "<\\!--")
        .replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("\0", "\\0")
    )


def note(text: str, kind: str = "") -> str:
    """Return a line that says what is not on the page."""
    return f'<p class="{f"note {kind}".strip()}">{html.escape(text)}</p>'


def missing(kind: str, package: str) -> str:
    """Return a line that says which package draws a figure."""
    return note(
        f"A {kind} figure stands here; it is drawn if the package {package} is installed "
        "beside Diptych when the page is made (`diptych export RUN`)."
    )
