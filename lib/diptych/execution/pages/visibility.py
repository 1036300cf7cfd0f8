"""What of each cell stands on a page: tags and metadata of nbconvert, Jupyter Book and Quarto.

A removed part is not in the page at all; a folded one opens with a click. A tag is the same with
hyphens and with underscores (`remove-input`, `remove_input`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

SHOWN, FOLDED, REMOVED = "shown", "folded", "removed"
OPTION = re.compile(r"^\s*(?:#|//|--|%%)\s?\|\s?(.*)$")
FRONT = re.compile(r"\A\s*---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
REST = re.compile(r"(?:[-=]*>|\|)?\s*\d*\s*")  # what stands before a line of code in a traceback
TAGS = {  # tag: (input, output)
    "remove-cell": (REMOVED, REMOVED),
    "remove-input": (REMOVED, SHOWN),
    "remove-output": (SHOWN, REMOVED),
    "remove-all-outputs": (SHOWN, REMOVED),
    "hide-cell": (FOLDED, FOLDED),
    "hide-input": (FOLDED, SHOWN),
    "hide-output": (SHOWN, FOLDED),
}
STREAMS = {"remove-stdout": "stdout", "remove-stderr": "stderr"}


@dataclass(frozen=True)
class Visibility:
    """How a cell's two parts stand on the page.

    Attributes
    ----------
    input, output : {"shown", "folded", "removed"}
    opened : bool
        Whether the author asks for folded code that starts open (Quarto's ``code-fold: show``).
    streams : frozenset of str
        Streams left out: ``stdout``, ``stderr``.
    errors : bool
        Whether errors stand on the page (Quarto's ``error: false``).
    """

    input: str = SHOWN
    output: str = SHOWN
    opened: bool = False
    streams: frozenset[str] = frozenset()
    errors: bool = True

    @property
    def removed(self) -> bool:
        """Whether nothing of the cell is left."""
        return self.input == self.output == REMOVED


def tags(cell: Mapping) -> set[str]:
    """Return a cell's tags, in lower case and with hyphens."""
    names = cell.get("metadata", {}).get("tags", ())
    return {str(name).strip().lower().replace("_", "-") for name in names}


def front_matter(nb: Mapping) -> dict:
    """Return the YAML that a notebook starts with (Quarto, MyST); {} if there is none."""
    first = nb["cells"][0] if nb["cells"] else {}
    match = FRONT.match(first.get("source", "")) if first.get("cell_type") != "code" else None
    return _mapping(match[1]) if match else {}


def without_front_matter(source: str) -> str:
    """Return a first cell's source without its YAML."""
    return FRONT.sub("", source, count=1) if isinstance(_front(source), dict) else source


def _front(source: str) -> dict | None:
    match = FRONT.match(source)
    return _mapping(match[1]) or None if match else None


def visibility(cell: Mapping, document: Mapping = {}, no_input: bool = False) -> Visibility:
    """Return what of a cell is shown.

    Parameters
    ----------
    cell : mapping
        Of a notebook.
    document : mapping
        The notebook's `front_matter`: its ``execute:`` counts for cells that say nothing else.
    no_input : bool
        Remove the code of every cell.
    """
    names, options = tags(cell), _options(cell, document)
    marks = [TAGS[name] for name in TAGS if name in names] + list(_metadata(cell))
    marks += list(_quarto(options))
    if no_input and cell["cell_type"] == "code":
        marks.append((REMOVED, SHOWN))
    if cell["cell_type"] != "code":
        # such a cell has one part, and either word means it
        worst = _worst([part for mark in marks for part in mark])
        return Visibility(worst, worst)
    streams = {stream for name, stream in STREAMS.items() if name in names}
    if options.get("warning") is False:
        streams.add("stderr")
    return Visibility(
        _worst([mark[0] for mark in marks]),
        _worst([mark[1] for mark in marks]),
        options.get("code-fold") == "show",
        frozenset(streams),
        options.get("error") is not False,
    )


def hidden_lines(cells: Iterable[tuple[Mapping, Visibility]]) -> set[str]:
    """Return the lines of all code that is removed; a traceback must not quote them."""
    return {
        line.strip()
        for cell, shown in cells
        if cell["cell_type"] == "code" and shown.input == REMOVED
        for line in cell["source"].splitlines()
        if len(line.strip()) > 1
    }


def without_lines(text: str, lines: set[str]) -> str:
    """Return a traceback without the given lines of code."""
    if not lines:
        return text
    shown = []
    for line in text.split("\n"):
        code = re.sub(r"\x1b\[[\d;]*m", "", line).strip()
        bare = code[REST.match(code).end() :].strip()
        shown.append("    …" if {code, bare} & lines else line)
    return "\n".join(shown)


def _worst(marks: list[str]) -> str:
    return next((mark for mark in (REMOVED, FOLDED) if mark in marks), SHOWN)


def _metadata(cell: Mapping):
    """Yield what JupyterLab, Colab, nbsphinx and the old notebook write about a cell."""
    metadata = cell.get("metadata", {})
    lab = metadata.get("jupyter")
    lab = lab if isinstance(lab, Mapping) else {}
    if lab.get("source_hidden") or metadata.get("source_hidden"):
        yield FOLDED, SHOWN
    if lab.get("outputs_hidden") or metadata.get("outputs_hidden") or metadata.get("collapsed"):
        yield SHOWN, FOLDED
    if metadata.get("cellView") == "form":
        yield FOLDED, SHOWN
    if metadata.get("hide_input") is True:
        yield REMOVED, SHOWN
    if metadata.get("nbsphinx") == "hidden":
        yield REMOVED, REMOVED


def _options(cell: Mapping, document: Mapping) -> dict:
    """Return Quarto's options of a cell: those of the document, then its own at its top."""
    execute = document.get("execute")
    options = dict(execute) if isinstance(execute, Mapping) else {}
    formats = document.get("format")
    html = formats.get("html") if isinstance(formats, Mapping) else None
    for where in (document, html):
        if isinstance(where, Mapping) and "code-fold" in where:
            options["code-fold"] = where["code-fold"]
    if cell["cell_type"] != "code":
        return {}
    lines = []
    for line in cell["source"].splitlines():
        match = OPTION.match(line)
        if not match and line.strip():
            break
        if match:
            lines.append(match[1])
    return {**options, **_mapping("\n".join(lines)), **dict.fromkeys(_bare(lines), True)}


def _bare(lines: list[str]) -> set[str]:
    """Return nbdev's directives, words without a value: ``#| hide``."""
    return {line.strip() for line in lines if line.strip() in ("hide", "hide_input", "hide_output")}


def _quarto(options: Mapping):
    if options.get("include") is False or options.get("hide") is True:
        yield REMOVED, REMOVED
    if options.get("echo") is False or options.get("hide_input") is True:
        yield REMOVED, SHOWN
    if options.get("output") is False or options.get("hide_output") is True:
        yield SHOWN, REMOVED
    if options.get("code-fold") in (True, "show"):
        yield FOLDED, SHOWN


def _mapping(text: str) -> dict:
    """Read YAML; a line that is none does not spoil the others."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if isinstance(value, dict):
        return value
    pairs = {}
    for line in text.splitlines():
        try:
            value = yaml.safe_load(line)
        except yaml.YAMLError:
            continue
        pairs |= value if isinstance(value, dict) else {}
    return pairs
