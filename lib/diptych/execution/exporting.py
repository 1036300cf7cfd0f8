"""Pages of runs: written when a run ends, and again from its folder with other options."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.base.lazy import import_nbformat
from diptych.base.secrets import Redactor
from diptych.execution import percent, runs
from diptych.execution.pages import look, speaker
from diptych.execution.pages.look import Look

SECTION = "page"  # of a parameter file


def look_of(nb: Mapping, notebook: Path, files: Iterable[Path] = ()) -> Look:
    """Return how a notebook's page looks: by its metadata, then by each file's ``page:``.

    Raises
    ------
    ParameterError
        If an option is wrong.
    """
    beside = notebook.absolute().parent
    result = look.of_notebook(nb, (beside, Path.cwd()))
    for file in files:
        section = (yaml.safe_load(Path(file).read_bytes()) or {}).get(SECTION)
        if section is None:
            continue
        where = f"{workspace.shown(file)}: {SECTION}:"
        if not isinstance(section, Mapping):
            raise ParameterError(f"{where} write options of the page below it, such as title.")
        result = result.with_options(section, where, (Path(file).parent, beside, Path.cwd()))
    return result


def write(notebook: Path, page: Path, manifest: Mapping, options: Look) -> None:
    """Write an executed notebook as a page.

    Parameters
    ----------
    notebook : Path
        The executed notebook.
    page : Path
        Written whole or not at all.
    manifest : mapping
        Of its run; {} for a notebook without one.
    options : Look
    """
    nbformat = import_nbformat()
    from diptych.execution.notebooks import title
    from diptych.execution.pages.export import Nav, notebook_to_html

    nb = Redactor().tree(nbformat.read(notebook, as_version=4))  # it may come from elsewhere
    name = manifest.get("title") or title(nb) or manifest.get("name") or notebook.stem
    places = [Path(manifest["path"]).parent] if manifest.get("path") else []
    places += [Path(manifest["cwd"])] if manifest.get("cwd") else []
    folders = (*places, notebook.absolute().parent)
    nav = Nav(note=speaker.note(manifest))
    html = notebook_to_html(
        nb, title=name, manifest=manifest, nav=nav, look=options, folders=folders
    )
    workspace.write_atomic(page, html)


def as_script(name: str, output: Path | None = None) -> Path:
    """Write the cells of a run's notebook, or of any notebook, as a script without outputs.

    Takes and returns what `export` does; the script is ``py:percent``, see `percent`.
    """
    notebook, manifest = _source(name)
    nb = Redactor().tree(import_nbformat().read(notebook, as_version=4))
    target = Path(output or f"{_stem(notebook, manifest)}.py").absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    workspace.write_atomic(target, percent.script(nb))
    return target


def _stem(notebook: Path, manifest: Mapping) -> str:
    """Return the name of a notebook's file, also where it runs from its run's folder."""
    return Path(manifest.get("path") or manifest.get("name") or notebook).stem


def export(name: str, options: Mapping, output: Path | None = None, pdf: bool = False) -> Path:
    """Write the page of a run, or of any executed notebook, again.

    Parameters
    ----------
    name : str
        A run's id or folder, a notebook's name for its latest run, or the path of a notebook.
    options : mapping
        Of `Look`; they come after those that the run had.
    output : Path, optional
        Where to; ``<notebook>.html`` or ``.pdf`` here if not given.
    pdf : bool
        Print it as PDF.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ParameterError
        If there is no such run or an option is wrong.
    diptych.execution.pages.pdf.PdfError
        If no browser can print it.
    """
    notebook, manifest = _source(name)
    nb = import_nbformat().read(notebook, as_version=4)
    place = Path(manifest.get("path") or notebook)
    chosen = Look().with_options(manifest.get(SECTION) or {}, "manifest.json: page:")
    chosen = chosen if manifest.get(SECTION) else look_of(nb, place)
    chosen = chosen.with_options(options, "--")
    target = Path(output or f"{_stem(notebook, manifest)}.{'pdf' if pdf else 'html'}").absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    if not pdf:
        write(notebook, target, manifest, chosen)
        return target
    from tempfile import TemporaryDirectory

    from diptych.execution.pages.pdf import print_page

    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder, "page.html")
        write(notebook, page, manifest, chosen)
        print_page(page, target, online=chosen.trust)
    return target


def _source(name: str) -> tuple[Path, dict]:
    """Return the executed notebook of a name, and its manifest."""
    path = Path(name).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return path.absolute(), {}
    run = runs.named(name)
    notebook = run.folder / "notebook.ipynb"
    if not notebook.is_file():
        raise ParameterError(f"{run.id}: it has no notebook: {run.folder}")
    return notebook, dict(run.manifest)
