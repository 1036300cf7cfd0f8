"""Notebooks from Python: one run, many runs, a scenario with its site."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from diptych.base.errors import ParameterError
from diptych.core.data.tasks import Task
from diptych.execution import history, runner
from diptych.execution.engine import Limits, named
from diptych.execution.runs import Run
from diptych.execution.scheduled import seconds
from diptych.execution.sweeps import sweep as sweeps
from diptych.execution.sweeps.search_space import plan_sweep
from diptych.face.checking import check
from diptych.face.shown import Page, ShownFrame, link

Files = str | Path | Iterable[str | Path]


def run(
    notebook: str | Path,
    /,
    *,
    files: Files = (),
    force: bool = False,
    link_for: str | float = 0,
    timeout: float | None = None,
    engine: str | None = None,
    progress: bool = True,
    **parameters: object,
) -> Run:
    """Run a notebook with checked parameters, as ``diptych run`` does.

    Parameters
    ----------
    notebook : str or Path
        A path, or a name such as ``"mlops/2_build"``; ``diptych list`` shows them.
    files : path, or iterable of them
        Parameter files; names under ``params/`` will do. A later one wins.
    force : bool
        Run it although nothing has changed.
    link_for : str or float
        Also link a run that read what cannot be looked at again while it is younger: ``"12h"``.
    timeout : float, optional
        Seconds after which it is ended.
    engine : str, optional
        ``"diptych"`` (warm kernels) or ``"papermill"``.
    progress : bool
        Say how it ended.
    **parameters
        The notebook's; ``task`` may be a `Task`, whose columns are set, too. A parameter with the
        name of an option above goes into a file.

    Returns
    -------
    Run
        Its ``folder``, ``result`` and ``manifest``; a notebook shows its figures and a link.

    Raises
    ------
    ParameterError
        Before anything runs, with every problem: parameter, value and remedy.
    NotebookFailed
        If a cell raised; the partial notebook is kept.

    Examples
    --------
    >>> run = dt.run("mlops/1_data", task="tumours", progress=False)
    >>> run.notebook, run.status
    ('mlops/1_data', 'ok')
    """
    prepared = runner.prepare(notebook, _files(files), _values(notebook, parameters))
    prepared = replace(prepared, link_for=_seconds(link_for))
    check(prepared)
    chosen = named(engine, limits=Limits(run_s=timeout))
    return runner.run_prepared(prepared, progress=progress, engine=chosen, force=force)


class Sweep(ShownFrame):
    """The points of a sweep, the best first, as `sweep` returns them; its `attrs` have the page."""

    @property
    def page(self) -> Page:
        """The sweep's page."""
        return Page(Path(self.attrs["page"]), "All points")

    def _below(self) -> str:
        return f"<p>{link(Path(self.attrs['page']), 'Page of this sweep')}</p>"


def sweep(
    notebook: str | Path,
    /,
    grid: Mapping[str, Sequence],
    *,
    metric: str | None = None,
    minimize: bool = False,
    random: int | None = None,
    files: Files = (),
    workers: int = 1,
    progress: bool = True,
    **parameters: object,
) -> Sweep:
    """Run a notebook at many points, as ``diptych sweep`` does; points that are done are linked.

    The command also has successive halving and Dask clusters.

    Parameters
    ----------
    notebook, files, progress
        As `run` takes them.
    grid : mapping of str to list
        The values of each parameter to try, with all of the others.
    metric : str, optional
        The recorded value to rank points by.
    minimize : bool
        Less of it is better.
    random : int, optional
        Try so many points drawn from the grid.
    workers : int
        Points at once.
    **parameters
        What all points share.

    Returns
    -------
    Sweep
        A DataFrame, one line a point, ranked: its parameters, ``status``, what it recorded,
        ``seconds``, ``run`` (its folder) and ``error``.

    Raises
    ------
    ParameterError
        With every problem, before anything runs.

    Examples
    --------
    >>> table = dt.sweep("mlops/1_data", {"seed": [0, 1]}, task="tumours", progress=False)
    >>> list(table["status"]) == ["failed"] * 2
    False
    """
    if not isinstance(grid, Mapping):
        raise ParameterError(
            f"grid: a {type(grid).__name__}; give lists by parameter, such as {{'trials': [1, 5]}}"
        )
    plan = plan_sweep(
        notebook, _files(files), _values(notebook, parameters, grid), grid,
        metric=metric, minimize=minimize or None, random=random,
    )  # fmt: skip
    check(plan.base)
    result = sweeps.sweep(plan, workers=workers, progress=progress)
    from diptych.reporting.site import sweeps as pages

    ranked = result.ranked
    others = sorted((t for t in result.trials if t not in ranked), key=lambda t: t.number)
    table = Sweep(pd.DataFrame([trial.row() for trial in (*ranked, *others)]))
    if "run" in table:
        folders = [_folder(result.folder, run_id) for run_id in table["run"]]
        table["run"] = pd.Series(folders, dtype=object)
    table.attrs |= {
        "page": str(pages.write(result)),
        "caption": f"{len(result.trials)} points of {plan.base.name}",
    }
    return table


def _folder(sweep: Path, run_id: str) -> history.RunId:
    """Return where a point's run lies, which `diptych.compare` takes; its id where it has none."""
    folder = sweep / "runs" / run_id
    return history.RunId(str(folder) if run_id and folder.is_dir() else run_id)


def report(
    *scenarios: str,
    site: str | Path | None = None,
    force: bool = False,
    progress: bool = True,
    **parameters: object,
) -> Page:
    """Run scenarios through both lifecycles and write the site, as ``diptych report`` does.

    Parameters
    ----------
    *scenarios : str
        Names under ``params/scenarios``, or paths; ``diptych scenarios`` shows them. None takes
        all.
    site : path, optional
        Folder of the pages; by default ``site/`` of the project.
    force : bool
        Run again what has not changed, too.
    **parameters
        Each for the notebooks that declare it.

    Returns
    -------
    Page
        The landing page.

    Raises
    ------
    ParameterError, NotebookFailed
        As `run` does; the pages of an earlier report stay as they are.

    Examples
    --------
    >>> page = dt.report("sentiment")  # doctest: +SKIP
    """
    from diptych.reporting import scenario

    overrides = [f"{name}={value}" for name, value in parameters.items()]
    folder = None if site is None else Path(site).absolute()
    path = scenario.report(scenarios, overrides, site=folder, force=force, progress=progress)
    return Page(path, "The report")


def _seconds(time: str | float) -> float:
    try:
        return float(time) if isinstance(time, int | float) else seconds(time)
    except ValueError:
        raise ParameterError(f"link_for: {time!r} is no time; give seconds, or '12h'") from None


def _files(files: Files) -> tuple[str | Path, ...]:
    return (files,) if isinstance(files, str | Path) else tuple(files)


def _values(
    notebook: str | Path, parameters: Mapping[str, object], varied: Iterable[str] = ()
) -> list[tuple[str, object]]:
    """Return the parameters, those of a `Task` in place of it as far as the notebook has them.

    Those of the task give way to what is varied.
    """
    task = parameters.get("task")
    if not isinstance(task, Task):
        return list(parameters.items())
    if not task.parameters:
        raise ParameterError(
            f"task: {task.name} is not from here; take one of dt.task or dt.Task.from_frame"
        )
    from diptych.execution.declaration import read_parameters
    from diptych.execution.notebooks import find_notebook

    declared = {parameter.name for parameter in read_parameters(find_notebook(notebook))}
    declared -= set(varied)
    values = {name: value for name, value in task.parameters.items() if name in declared}
    return list({**values, **{k: v for k, v in parameters.items() if k != "task"}}.items())
