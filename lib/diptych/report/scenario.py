"""Run a scenario's notebooks as one pipeline and turn the runs into pages."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from diptych.report import site as pages
from diptych.run import workspace
from diptych.run.declaration import read_parameters
from diptych.run.errors import ParameterError
from diptych.run.notebooks import all_files, find, find_notebook, nearest
from diptych.run.parameters import load_file
from diptych.run.runner import run_all

FOLDER = "params/scenarios"
KEYS = ("title", "question", "files", "notebooks")


@dataclass(frozen=True)
class Scenario:
    """One report: which notebooks with which parameter files.

    Attributes
    ----------
    name : str
        Name of its file under ``params/scenarios``.
    title, question : str
        How the pages call it.
    files : list of str
        Parameter files for every notebook.
    notebooks : list of str
        In order; each builds on the run of the one before.
    """

    name: str
    title: str
    question: str
    files: list[str]
    notebooks: list[str]


def names_of_all() -> list[str]:
    """Return the names of the scenarios that ship."""
    folder = workspace.repo_root() / FOLDER
    return [path.stem for path in all_files(folder, (".yaml",))]


def load(name: str) -> Scenario:
    """Read a scenario by its name, or by the path of its file.

    Raises
    ------
    ParameterError
        If there is none, or its file lacks a key or has an unknown one.
    """
    path = find(name, FOLDER, (".yaml",), "scenario", f"There are {', '.join(names_of_all())}")
    content = load_file(path)
    wrong = set(KEYS).symmetric_difference(content)
    if wrong:
        raise ParameterError(
            f"{path.name}: {', '.join(sorted(wrong))} missing or unknown; "
            f"a scenario's keys are {', '.join(KEYS)}"
        )
    return Scenario(path.stem, **content)


def steps(scenario: Scenario, overrides: Iterable[str]) -> list[tuple]:
    """Return what the runner takes: each notebook with those overrides that it declares.

    Raises
    ------
    ParameterError
        If no notebook of the scenario declares an overridden parameter.
    """
    declared = {
        name: {parameter.name for parameter in read_parameters(find_notebook(name))}
        for name in scenario.notebooks
    }
    everywhere = set().union(*declared.values())
    unknown = [o for o in overrides if o.partition("=")[0] not in everywhere]
    if unknown:
        raise ParameterError(
            f"-p {text}: no notebook of {scenario.name} has this parameter. "
            f"{nearest(text.partition('=')[0], everywhere)}`diptych list` shows them all"
            for text in unknown
        )
    return [
        (name, scenario.files, [o for o in overrides if o.partition("=")[0] in declared[name]])
        for name in scenario.notebooks
    ]


def report(
    names: Iterable[str] = (),
    overrides: Iterable[str] = (),
    *,
    site: Path | None = None,
    progress: bool = True,
    force: bool = False,
) -> Path:
    """Run scenarios (all, if none is named) and write the site.

    Parameters
    ----------
    overrides : iterable of "name=value"
        Each for the notebooks that declare the parameter.
    site : Path, optional
        Folder of the pages; ``site/`` of the repository if not given.
    force : bool
        Run also what has not changed.

    Returns
    -------
    Path
        The landing page.

    Raises
    ------
    ParameterError, NotebookFailed
        As the runner does. The pages of an earlier report stay as they are.
    """
    overrides = list(overrides)
    chosen = [load(name) for name in (tuple(names) or names_of_all())]
    plans = [steps(scenario, overrides) for scenario in chosen]
    done = []
    for scenario, plan in zip(chosen, plans, strict=True):
        runs = run_all(plan, progress=progress, force=force)
        done.append(pages.ScenarioRuns(scenario.name, scenario.title, scenario.question, runs))
    return pages.build(done, site or workspace.repo_root() / "site")
