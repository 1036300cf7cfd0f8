"""Turn an executed notebook into one page that reads anywhere: no network, no script.

nbconvert renders the cells with the project's own template (`templates/diptych`), and a page
template shared by the whole site (`templates/page.html.j2`) puts the frame around them. A page
carries its style and its figures; what it was made from stands in its footer.
"""

import ast
import copy
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from diptych.execution.declaration import comments, plain_python
from diptych.execution.pages.sanitize import Fitter, plain, terminal

TEMPLATES = Path(__file__).with_name("templates")
NOTHING = '""'  # how an empty text parameter is shown
LIMIT = 400_000  # bytes of a page
MOST_RAW = 4  # times as many characters of outputs are rendered to see what a page takes of them
LEAST = 1_000  # characters of an output that is worth leaving out
LINES = 80  # of one printed output; the middle of a longer one is left out
CHARACTERS = 40_000  # of one printed output, likewise
FOLD = 25  # lines of code from which a cell starts folded
LABELS = {
    "id": "Run",
    "notebook": "Notebook",
    "status": "Status",
    "started": "Date",
    "seconds": "Took",
    "git": "Commit",
    "python": "Python",
    "parameters": "Parameters",
    "packages": "Packages",
    "sha256": "Fingerprints",
    "host": "Machine",
    "cost": "Cost, USD",
}
HIDDEN = ("title", "path", "evaluated", "repository", "cwd", "ended", "name", "cache")


@dataclass
class Step:
    """One page among its neighbours, for the strip of stages.

    Attributes
    ----------
    label, href : str
        ``href`` is empty where there is no page.
    state : {"done", "failed", "missing"}
    """

    label: str
    href: str = ""
    state: str = "done"
    current: bool = False


@dataclass
class Nav:
    """Where a page stands: the trail above it, and the pages before and after it.

    Attributes
    ----------
    trail : sequence of (text, href)
        From the home page down; the page itself is not part of it.
    steps : sequence of Step
    """

    trail: Sequence[tuple[str, str]] = ()
    steps: Sequence[Step] = ()
    previous: Step | None = None
    next: Step | None = None


@dataclass
class Body:
    """A notebook's cells as HTML, for any page to hold.

    Attributes
    ----------
    html : Markup
    headings : list of (level, id, text)
        Of the prose, in order; the four shared ones align the two panels.
    failure : str
        ``"ZeroDivisionError: division by zero"`` where a cell failed, else empty.
    """

    html: Markup
    headings: list[tuple[int, str, str]] = field(default_factory=list)
    failure: str = ""

    @property
    def title(self) -> str:
        """The notebook's own first heading, empty where it has none."""
        return next((text for level, _, text in self.headings if level == 1), "")


def notebook_to_html(
    nb: Mapping,
    *,
    title: str,
    home_link: str | None = None,
    manifest: Mapping | None = None,
    nav: Nav | None = None,
    resolve: Callable[[str], str | None] | None = None,
) -> str:
    """Render an executed notebook as a page of at most `LIMIT` bytes.

    Outputs that would take the page over the limit are left out, the largest first, and say so.

    Parameters
    ----------
    nb : NotebookNode
        Version 4; it is not changed.
    title : str
        Of the browser window, and the heading where the notebook has none.
    home_link : str, optional
        Where the name in the header leads.
    manifest : mapping, optional
        What the run was made from, shown in the footer.
    nav : Nav, optional
    resolve : callable, optional
        Turns a relative link of the notebook into a page's address, or None if there is none.
    """
    manifest = manifest or {}
    name = str(manifest.get("notebook", "")).removeprefix("notebooks/")
    panel = {"mlops": "left", "llmops": "right"}.get(name.split("/")[0], "")
    nb = copy.deepcopy(nb)
    drop_largest(nb, _size(nb) - MOST_RAW * LIMIT)
    while True:
        rendered = body(nb, resolve=resolve)
        page = render(
            "notebook.html.j2",
            title=title,
            body=rendered,
            home=home_link,
            panel=panel,
            nav=nav or Nav(),
            failed=manifest.get("status", "ok") != "ok" or bool(rendered.failure),
            provenance=provenance(manifest),
        )
        excess = len(page.encode()) - LIMIT
        # a page takes more of an output than it has (classes of cells), or less (no script)
        if not drop_largest(nb, excess * _size(nb) / len(page.encode())):
            return page


def body(
    nb: Mapping, *, prefix: str = "", resolve: Callable[[str], str | None] | None = None
) -> Body:
    """Render a notebook's cells.

    Parameters
    ----------
    prefix : str
        Starts every id, so that two notebooks can share a page.
    resolve : callable, optional
        As in `notebook_to_html`.
    """
    fitter = Fitter(prefix, resolve)
    nb = _prepared(nb, fitter)
    exporter = _exporter()
    exporter.register_filter("prose", fitter.prose)
    exporter.register_filter("fitted", fitter.output)
    html, _ = exporter.from_notebook_node(nb)
    errors = [
        f"{output['ename']}: {plain(output['evalue'])}"
        for cell in nb["cells"]
        for output in cell.get("outputs", ())
        if output["output_type"] == "error"
    ]
    return Body(Markup(html), fitter.headings, errors[-1] if errors else "")


def render(template: str, folder: Path | None = None, **values) -> str:
    """Fill in a page template of this package, or of `folder`; every value is escaped."""
    environment = _environment(folder)
    return environment.get_template(template).render(**values)


def provenance(manifest: Mapping) -> list[tuple[str, str]]:
    """Return a manifest as labelled lines for a footer, the most requested first."""
    keys = [key for key in LABELS if key in manifest]
    keys += [key for key in manifest if key not in LABELS and key not in HIDDEN]
    lines = [(LABELS.get(key, key.replace("_", " ").capitalize()), manifest[key]) for key in keys]
    return [(label, _said(label, value)) for label, value in lines if value not in (None, "", {})]


def _said(label: str, value) -> str:
    if label == "Date":
        return spoken_date(value)
    if label == "Took":
        return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
    if isinstance(value, Mapping):
        return " · ".join(f"{key} {_said('', inner) or NOTHING}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_said("", inner) for inner in value)
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) else text


def spoken_date(iso: str) -> str:
    """Return ``"24 November 2026, 00:13 UTC"``."""
    moment = datetime.fromisoformat(iso)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


@functools.cache
def _environment(folder: Path | None) -> jinja2.Environment:
    folders = [folder, TEMPLATES] if folder else [TEMPLATES]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "diptych.css").read_text()
    environment.globals["style"] = Markup(re.sub(r"\s*\n\s*", "\n", style))
    return environment


@functools.cache
def _exporter():
    """Return nbconvert's exporter, whose compiled templates serve every notebook."""
    from nbconvert.exporters import HTMLExporter, TemplateExporter
    from nbconvert.filters import Highlight2HTML

    class CellExporter(HTMLExporter):
        """The cells alone; nbconvert's last pass, which changes the case of SVG, is left out."""

        def from_notebook_node(self, nb, resources=None, **kw):
            return TemplateExporter.from_notebook_node(self, nb, resources, **kw)

    exporter = CellExporter(
        template_name="diptych",
        default_preprocessors=[],  # none of them changes a page, and each checks the notebook
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_anchor_links=True,
        embed_images=False,
    )
    exporter.register_filter("terminal", terminal)
    highlight = Highlight2HTML(pygments_lexer="python3", parent=exporter)
    # a page that was too large is rendered again, with the same code
    exporter.register_filter("highlight_code", functools.lru_cache(4096)(highlight))
    return exporter


def _prepared(nb: Mapping, fitter: Fitter):
    """Return a copy with what the template cannot work out by itself in each cell's metadata."""
    nb = copy.deepcopy(nb)
    cells, overrides = [], {}
    for cell in nb["cells"]:
        if "injected-parameters" in _tags(cell):
            overrides = _assigned(cell["source"])
    for number, cell in enumerate(nb["cells"], 1):
        if "injected-parameters" in _tags(cell):
            continue
        if cell["cell_type"] == "code":
            lines = cell["source"].count("\n") + 1
            page = {"id": fitter.name(f"cell-{number}"), "lines": lines}
            page["open"] = lines < FOLD and "parameters" not in _tags(cell)
            if "parameters" in _tags(cell):
                page["parameters"] = _parameters(cell["source"], overrides)
            cell["metadata"]["page"] = page
            cell["outputs"] = [_shortened(output, number) for output in cell["outputs"]]
        cells.append(cell)
    nb["cells"] = cells
    return nb


def _tags(cell: Mapping) -> Sequence[str]:
    return cell["metadata"].get("tags", ())


def _shortened(output: Mapping, number: int) -> Mapping:
    """Cut long text, and say in words what a picture is."""
    if output["output_type"] == "stream":
        output["text"] = _cut(output["text"])
        return output
    data = output.get("data", {})
    if "text/plain" in data:
        data["text/plain"] = _cut(data["text/plain"])
    # widgets and forms do not work on paper; their plain text says more
    if re.search(r"<(input|button|select|iframe|canvas)\b", data.get("text/html", "")):
        data.pop("text/html")
    for kind in ("image/png", "image/jpeg", "image/svg+xml"):
        if kind in data:
            of_kind = output["metadata"].get(kind)
            alt = (of_kind or {}).get("alt") or output["metadata"].get("alt")
            output["metadata"]["alt_text"] = (
                alt or f"Picture from code cell {number}, not described"
            )
    return output


def _cut(text: str) -> str:
    lines = text.splitlines()
    if (left_out := len(lines) - LINES) > 0:
        note = f"… {left_out:,} lines left out here; the notebook has them …"
        text = "\n".join([*lines[: LINES * 3 // 4], note, *lines[-LINES // 4 :]])
    if (left_out := len(text) - CHARACTERS) > 0:
        note = f"\n… {left_out:,} characters left out here; the notebook has them …\n"
        text = text[: CHARACTERS * 3 // 4] + note + text[-CHARACTERS // 4 :]
    return text


def drop_largest(nb: Mapping, excess: float) -> bool:
    """Put notes in place of the largest outputs until they are less by `excess` characters.

    Returns
    -------
    bool
        Whether any was large enough to be worth it.
    """
    if excess <= 0:
        return False
    outputs = [
        (_length(output), place, cell)
        for cell in nb["cells"]
        for place, output in enumerate(cell.get("outputs", ()))
    ]
    dropped = 0
    for size, place, cell in sorted(outputs, key=lambda output: -output[0]):
        if dropped >= excess or size < LEAST:
            break
        note = f"An output of {size / 1000:,.0f} kB was left out of the page; the notebook has it."
        cell["outputs"][place] = {"output_type": "stream", "name": "stdout", "text": f"{note}\n"}
        dropped += size
    return dropped > 0


def _size(nb: Mapping) -> int:
    """Return the characters of all outputs."""
    return sum(_length(output) for cell in nb["cells"] for output in cell.get("outputs", ()))


def _length(output: Mapping) -> int:
    printed = min(len(output.get("text", "")), CHARACTERS)  # `_cut` leaves no more
    return printed + sum(len(str(value)) for value in output.get("data", {}).values())


def _parameters(source: str, overrides: Mapping[str, str]) -> list[dict]:
    """Read a parameters cell: name, type, value used, default (where another) and help."""
    notes, parameters = comments(source), []
    for node in ast.parse(plain_python(source)).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        name, default = ast.unparse(target), ast.unparse(node.value)
        value = overrides.get(name, default)
        parameters.append(
            {
                "name": name,
                "type": ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else "",
                "value": value,
                "default": default if value != default else "",
                "help": notes.get(node.end_lineno, ""),
            }
        )
    return parameters


def _assigned(source: str) -> dict[str, str]:
    return {p["name"]: p["value"] for p in _parameters(source, {})}
