"""Turn an executed notebook into one page that reads anywhere, without a network.

nbconvert renders the cells with the project's own template (`templates/diptych`), and a page
template shared by the whole site (`templates/page.html.j2`) puts the frame around them. A page
carries its style, its figures and the libraries that draw them; its policy (CSP) lets nothing else
run or load. What it was made from stands in its footer.
"""

import ast
import base64
import copy
import functools
import hashlib
import html as markup
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from diptych.execution.declaration import comments, plain_python
from diptych.execution.pages import limits, markdown, print_layout
from diptych.execution.pages.look import Look
from diptych.execution.pages.mime import Canvas, shown
from diptych.execution.pages.mime.latex import Formulas
from diptych.execution.pages.mime.widgets import states
from diptych.execution.pages.sanitize import Fitter, plain, terminal
from diptych.execution.pages.visibility import (
    FOLDED,
    REMOVED,
    Visibility,
    front_matter,
    hidden_lines,
    tags,
    visibility,
    without_front_matter,
    without_lines,
)

TEMPLATES = Path(__file__).with_name("templates")
NOTHING = '""'  # how an empty text parameter is shown
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
HIDDEN = (
    "title", "path", "page", "evaluated", "repository", "inputs", "cwd", "ended", "name", "cache",
)  # fmt: skip


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
    note : str
        Shown at the head of the page.
    """

    trail: Sequence[tuple[str, str]] = ()
    steps: Sequence[Step] = ()
    previous: Step | None = None
    next: Step | None = None
    note: str = ""


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
    look: Look | None = None,
    folders: Sequence[Path] = (),
) -> str:
    """Render an executed notebook as a page.

    Pictures and figures keep their size; see `diptych.execution.pages.limits` for the rest.

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
    look : Look, optional
    folders : sequence of Path
        Where relative pictures of the prose may lie.
    """
    manifest, look = manifest or {}, look or Look()
    name = str(manifest.get("notebook", "")).removeprefix("notebooks/")
    panel = {"mlops": "left", "llmops": "right"}.get(name.split("/")[0], "")
    nb = copy.deepcopy(nb)
    limits.drop_largest(nb)
    scripts: dict[str, str] = {}
    rendered = body(nb, resolve=resolve, look=look, folders=folders, scripts=scripts)
    return render(
        "notebook.html.j2",
        title=look.title or title,
        body=rendered,
        home=home_link,
        panel=panel,
        nav=nav or Nav(),
        failure=_failure(manifest, rendered),
        provenance=provenance(_without_hidden(manifest, nb, look)),
        look=look,
        date=spoken_date(manifest["started"]) if manifest.get("started") else "",
        weight=limits.weight(rendered.html, scripts),
        scripts=scripts,
    )


def _failure(manifest: Mapping, rendered: Body) -> str:
    """Return why the run failed, "" if it did not: the manifest knows, without one the cells."""
    if not manifest.get("status"):
        return rendered.failure
    if manifest["status"] == "ok":
        return ""
    error = manifest.get("error") or {}
    name, value = error.get("ename"), plain(str(error.get("evalue", "")))
    text = f"{name}: {value}" if name else rendered.failure
    return text or "It stopped before the last cell."


def _without_hidden(manifest: Mapping, nb: Mapping, look: Look) -> dict:
    """Leave the parameters out of the footer if their cell is removed from the page."""
    document = front_matter(nb)
    hidden = any(
        "parameters" in tags(cell) and visibility(cell, document).input == REMOVED
        for cell in nb["cells"]
    )
    return {key: value for key, value in manifest.items() if not (hidden and key == "parameters")}


def body(
    nb: Mapping,
    *,
    prefix: str = "",
    resolve: Callable[[str], str | None] | None = None,
    look: Look | None = None,
    folders: Sequence[Path] = (),
    scripts: dict[str, str] | None = None,
) -> Body:
    """Render a notebook's cells.

    Parameters
    ----------
    prefix : str
        Starts every id, so that two notebooks can share a page.
    resolve : callable, optional
    look : Look, optional
    folders : sequence of Path
        As in `notebook_to_html`.
    scripts : dict, optional
        Takes the libraries that draw figures; `render` puts them into the page. Without it
        nothing draws them.
    """
    look = look or Look()
    fitter, formulas = Fitter(prefix, resolve), Formulas()
    canvas = Canvas(fitter, look, states(nb), {} if scripts is None else scripts)
    nb = _prepared(nb, fitter, look)

    def prose(source: str, cell: Mapping) -> str:
        attachments = cell.get("attachments", {})
        html = markdown.to_html(source, formulas, attachments, folders, look.shrink_images)
        return fitter.prose(html)

    def displayed(source: str) -> str:
        return fitter.output(markdown.to_html(source, formulas, {}, folders))

    exporter = _exporter()
    exporter.register_filter("prose", prose)
    exporter.register_filter(
        "shown", lambda output: shown(_with_pictures(output, folders, look), canvas, displayed)
    )
    html, _ = exporter.from_notebook_node(nb)
    headings = [(level, name, formulas.in_words(text)) for level, name, text in fitter.headings]
    if look.title:
        html, headings = _titled(html, headings, look.title)
    return Body(Markup(print_layout.fitted(formulas.put_in(html))), headings, _raised(nb))


def _with_pictures(output: Mapping, folders: Sequence[Path], look: Look) -> Mapping:
    """Return an output whose HTML holds the pictures that lie beside the notebook."""
    html = output.get("data", {}).get("text/html", "")
    if "<img" not in html or (look.trust and "<script" in html):
        return output
    data = output["data"] | {"text/html": markdown.with_pictures(html, folders)}
    return output | {"data": data}


def _titled(html: str, headings: list, title: str) -> tuple[str, list]:
    """Replace the notebook's first heading by another title."""
    text = markup.escape(title)
    html = re.sub(
        r"(<h1\b[^>]*>).*?(</h1>)", lambda m: m[1] + text + m[2], html, count=1, flags=re.S
    )
    return html, [(lv, name, title if lv == 1 else words) for lv, name, words in headings]


def _raised(nb: Mapping) -> str:
    """Return the last error that no cell was meant to raise."""
    errors = [
        f"{output['ename']}: {plain(output['evalue'])}"
        for cell in nb["cells"]
        for output in cell.get("outputs", ())
        if output["output_type"] == "error" and "raises-exception" not in tags(cell)
    ]
    return errors[-1] if errors else ""


def render(template: str, folder: Path | None = None, **values) -> str:
    """Fill in a page template of this package, or of `folder`; every value is escaped.

    ``scripts``, a mapping of name to JavaScript, is put at the end, and the page's policy lets
    just these run.
    """
    look, scripts = values.setdefault("look", Look()), values.pop("scripts", None) or {}
    if look.template and template == "notebook.html.j2":
        folder, template = Path(look.template).parent, Path(look.template).name
    texts = [Markup(f"\n{text}\n") for text in scripts.values()]
    environment = _environment(folder)
    values = {"failure": "", "weight": "", "date": "", **values}
    return environment.get_template(template).render(
        scripts=texts, policy=_policy(texts, look), **values
    )


def _policy(scripts: Sequence[str], look: Look) -> str:
    """Return the page's content security policy: nothing from outside, the named scripts only."""
    if look.trust:
        return ""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    run = " ".join(f"'sha256-{digest}'" for digest in hashes)
    # plotly compiles what it draws with WebGL; no data of a figure is ever compiled
    compiles = " 'unsafe-eval'" if any("Plotly.newPlot" in text for text in scripts) else ""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; "
        "media-src data:; font-src data:; style-src 'unsafe-inline'; "
        f"script-src {run + compiles if run else chr(39) + 'none' + chr(39)}"
    )


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
    environment.filters["css_text"] = _css_text
    style = (TEMPLATES / "diptych.css").read_text()
    environment.globals["style"] = Markup(re.sub(r"\s*\n\s*", "\n", style))
    return environment


def _css_text(text: str) -> Markup:
    """Return text that may stand between quotation marks in a style sheet."""
    spaced = re.sub(r"\s+", " ", str(text))
    return Markup(re.sub(r"[^\w .,:;()/+-]", lambda m: f"\\{ord(m[0]):x} ", spaced))


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


def _prepared(nb: Mapping, fitter: Fitter, look: Look):
    """Return a copy with what the template cannot work out by itself in each cell's metadata."""
    nb = copy.deepcopy(nb)
    document = front_matter(nb)
    seen = [(cell, visibility(cell, document, look.no_input)) for cell in nb["cells"]]
    if document:
        nb["cells"][0]["source"] = without_front_matter(nb["cells"][0]["source"])
    overrides, hidden = {}, hidden_lines(seen)
    for cell, _ in seen:
        if "injected-parameters" in tags(cell):
            overrides = _assigned(cell["source"])
    nb["cells"] = [
        cell
        for number, (cell, visible) in enumerate(seen, 1)
        if not visible.removed and _placed(cell, number, visible, fitter, overrides, hidden)
    ]
    return nb


def _placed(cell, number, visible, fitter, overrides, hidden) -> bool:
    """Note in a cell how it stands on the page, and say whether it does."""
    page = {"input": visible.input, "output": visible.output}
    if cell["cell_type"] != "code":
        cell["metadata"]["page"] = page
        return True
    if "injected-parameters" in tags(cell):
        return False
    lines, is_parameters = cell["source"].count("\n") + 1, "parameters" in tags(cell)
    page |= {"id": fitter.name(f"cell-{number}"), "lines": lines}
    page["open"] = visible.opened or (
        lines < FOLD and not is_parameters and visible.input != FOLDED
    )
    page["expected"] = "raises-exception" in tags(cell)
    if visible.input == REMOVED:
        cell["source"] = ""
    elif is_parameters:
        page["parameters"] = _parameters(cell["source"], overrides)
    cell["metadata"]["page"] = page
    cell["outputs"] = [
        _shortened(output, number, hidden)
        for output in cell["outputs"]
        if visible.output != REMOVED and _is_wanted(output, visible)
    ]
    return True


def _is_wanted(output: Mapping, visible: Visibility) -> bool:
    if output["output_type"] == "stream":
        return output.get("name") not in visible.streams
    if output["output_type"] == "error":
        return visible.errors
    return not tags(output) & {"remove-output", "remove-single-output"}


def _shortened(output: Mapping, number: int, hidden: set[str]) -> Mapping:
    """Cut long text, say in words what a picture is, and quote no code that is removed."""
    if output["output_type"] == "stream":
        output["text"] = limits.cut(output["text"])
        return output
    if output["output_type"] == "error":
        output["traceback"] = [without_lines(text, hidden) for text in output["traceback"]]
        return output
    data = output.get("data", {})
    if "text/plain" in data:
        data["text/plain"] = limits.cut(data["text/plain"])
    output["metadata"]["alt_text"] = f"Picture from code cell {number}, not described"
    return output


def _parameters(source: str, overrides: Mapping[str, str]) -> list[dict]:
    """Read a parameters cell: name, type, value used, default (where another) and help."""
    try:
        notes, parameters = comments(source), []
        nodes = ast.parse(plain_python(source)).body
    except (SyntaxError, ValueError):  # another language
        return []
    for node in nodes:
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
