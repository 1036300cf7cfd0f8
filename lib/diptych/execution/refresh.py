"""Store outputs in the notebooks: one clean run of all of them, in order, in a new workspace.

Nothing is stored before every notebook has run, so the outputs in git always stem from one run.
"""

import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from diptych.base import process_environment, workspace
from diptych.base.lazy import import_nbformat
from diptych.base.progress import Bar, say
from diptych.execution.declaration import read_parameters
from diptych.execution.engine import Engine, named
from diptych.execution.notebooks import all_files, read_notebook, short_name

INJECTED = "injected-parameters"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}


def in_order(folder: Path | None = None) -> list[Path]:
    """Return the notebooks in the order of reading: the entrance, MLOps, LLMOps, the rest."""
    folder = folder or workspace.repo_root() / "notebooks"
    panels = ("start_here", "mlops", "llmops")

    def place(path: Path) -> tuple[int, str]:
        name = short_name(path, folder)
        first = name.split("/")[0]
        return (panels.index(first) if first in panels else len(panels)), name

    return sorted(all_files(folder, (".ipynb",)), key=place)


def refresh(
    notebooks: Iterable[Path] | None = None,
    *,
    max_usd: float | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> list[Path]:
    """Run notebooks with their defaults and store their outputs in place.

    Parameters
    ----------
    notebooks : iterable of Path, optional
        In the order to run; all of ``notebooks/`` if not given.
    max_usd : float, optional
        The parameter of this name of each notebook that has it; no output shows it.
    engine : Engine, optional
        That of `diptych.execution.engine.named` if not given.

    Raises
    ------
    NotebookFailed
        If a cell raises; then no notebook is changed.
    """
    engine = engine or named()
    paths = list(notebooks) if notebooks is not None else in_order()
    with TemporaryDirectory(prefix="diptych-") as folder:
        done = []
        with Bar("notebooks", "notebook", show=progress, total=len(paths)) as bar:
            for number, path in enumerate(paths):
                bar(number, len(paths), short_name(path))
                output = Path(folder) / f"{number}.ipynb"
                parameters = {} if max_usd is None else _declared(path, {"max_usd": max_usd})
                _execute(engine, path, output, Path(folder) / "home", parameters, progress)
                done.append(output)
        for path, output in zip(paths, done, strict=True):
            store(output, path)
            say(f"{workspace.shown(path)}: outputs stored")
    return paths


def _declared(path: Path, parameters: Mapping[str, object]) -> dict:
    """Return the parameters that a notebook has."""
    names = {parameter.name for parameter in read_parameters(path)}
    return {name: value for name, value in parameters.items() if name in names}


def _execute(
    engine: Engine, path: Path, output: Path, home: Path, parameters: dict, progress: bool
) -> None:
    read_notebook(path)
    environment = process_environment.for_kernel(home, engine.name)
    with Bar(short_name(path), "cell", progress) as on_cell:
        engine.execute(
            path, output, parameters, environment=environment, cwd=path.parent, on_cell=on_cell
        )


def store(executed: Path, notebook: Path) -> None:
    """Write an executed notebook with only what a reader needs, so that diffs stay small.

    Its metadata are those that JupyterLab writes, so opening and saving it changes nothing.
    """
    nbformat = import_nbformat()

    nb = nbformat.read(executed, as_version=4)
    version = nb.metadata.get("language_info", {}).get("version") or platform.python_version()
    language = {**LANGUAGE, "version": version}
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": language})
    _without_injected(nb)
    for number, cell in enumerate(nb.cells):
        cell.id = f"{notebook.stem}-{number:02d}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if "nbval-ignore-output" in (tags or ()):  # bars and warnings of the machine it ran on
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
    workspace.write_atomic(notebook, nbformat.writes(nb, version=4).rstrip("\n") + "\n")


def _without_injected(nb) -> None:
    """Take out the cell of parameters that were given, and number the others as if without it."""
    cells = [cell for cell in nb.cells if INJECTED not in cell.metadata.get("tags", ())]
    if len(cells) == len(nb.cells):
        return
    nb.cells = cells
    code = [cell for cell in cells if cell.cell_type == "code" and cell.execution_count]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
