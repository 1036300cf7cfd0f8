"""Run a scenario's notebooks as one pipeline and turn the runs into pages."""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.execution.declaration import read_parameters
from diptych.execution.engine import Engine, named
from diptych.execution.notebooks import all_files, find, find_notebook, nearest
from diptych.execution.parameters import load_file
from diptych.execution.runner import Run, prepare, run_all, run_notebook
from diptych.llmops.client import precheck
from diptych.reporting.site import site as pages

FOLDER = "params/scenarios"
CONTRAST = "contrast"  # the notebook that compares the panels, last
KEYS = ("title", "question", "files", "notebooks")
OPTIONAL = ("parameters", "questions")


@dataclass(frozen=True)
class Scenario:
    """One report: which notebooks with which parameter files.

    Attributes
    ----------
    name : str
        Its file's name under ``params/scenarios``.
    title, question : str
        As the pages show them.
    files : list of str
        Parameter files for every notebook.
    notebooks : list of str
        In order; each builds on the run before it in its panel. Files and parameters after a name,
        as in ``"mlops/2_build tasks/digits trials=1"``, are for this step alone and win over
        those of the scenario.
    parameters : list of "name=value"
        Each for the notebooks that declare it; wins over the files. May be left out.
    questions : list of str
        Keys of the questions it asks, see `diptych.reporting.contrast.questions`; all if left out.
    """

    name: str
    title: str
    question: str
    files: list[str]
    notebooks: list[str]
    parameters: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)


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
    wrong = set(KEYS).symmetric_difference(content.keys() - set(OPTIONAL))
    if wrong:
        raise ParameterError(
            f"{path.name}: {', '.join(sorted(wrong))} missing or unknown; "
            f"a scenario's keys are {', '.join(KEYS)}, and {', '.join(OPTIONAL)} if wanted"
        )
    return Scenario(path.stem, **content)


def steps(scenario: Scenario, overrides: Iterable[str]) -> list[tuple]:
    """Return the steps for the runner: each notebook with those parameters that it declares.

    An override wins over the scenario's own parameter.

    Raises
    ------
    ParameterError
        If no notebook of the scenario declares a parameter.
    """
    planned = [(name, words) for name, *words in map(str.split, scenario.notebooks)]
    declared = {
        name: {parameter.name for parameter in read_parameters(find_notebook(name))}
        for name, _ in planned
    }
    overrides = list(overrides)
    everywhere = _of_contrast().union(*declared.values())
    chosen = {name_of(text): text for text in (*scenario.parameters, *overrides)}
    unknown = [text for name, text in chosen.items() if name not in everywhere]
    if unknown:
        raise ParameterError(
            f"-p {text}: no notebook of {scenario.name} has this parameter. "
            f"{nearest(name_of(text), everywhere)}`diptych list` shows them all"
            for text in unknown
        )
    prepared, overridden = [], {name_of(text) for text in overrides}
    for name, words in planned:
        files = [*scenario.files, *(word for word in words if "=" not in word)]
        known = {key: text for key, text in chosen.items() if key in declared[name]}
        of_step = {name_of(word): word for word in words if "=" in word}
        known |= {key: text for key, text in of_step.items() if key not in overridden}
        prepared.append((name, files, list(known.values())))
    return prepared


def name_of(text: str) -> str:
    """Return the name in ``"name=value"``."""
    return text.partition("=")[0]


def report(
    names: Iterable[str] = (),
    overrides: Iterable[str] = (),
    *,
    site: Path | None = None,
    progress: bool = True,
    engine: Engine | None = None,
    force: bool = False,
    link_for: float = 0,
) -> Path:
    """Run scenarios (all, if none is named), compare their panels and write the site.

    Parameters
    ----------
    overrides : iterable of "name=value"
        Each for the notebooks that declare the parameter.
    site : Path, optional
        Folder of the pages; ``site/`` of the repository if not given.
    engine : Engine, optional
        As `run_notebook` takes it.
    force : bool
        Run again what has not changed, too.
    link_for : float
        As in `diptych.execution.runner.PreparedRun`.

    Returns
    -------
    Path
        The landing page.

    Raises
    ------
    ParameterError, NotebookFailed
        As the runner does. The pages of an earlier report stay as they are.
    """
    engine = engine or named()
    overrides, names = list(overrides), tuple(names) or tuple(names_of_all())
    chosen = [load(name) for name in names]
    plans = [steps(scenario, overrides) for scenario in chosen]
    assumptions = [text for text in overrides if name_of(text) in _of_contrast()]
    for step in itertools.chain.from_iterable(plans):
        precheck.check(prepare(*step).values)
    if assumptions:
        prepare(CONTRAST, (), assumptions)
    done = []
    for scenario, plan in zip(chosen, plans, strict=True):
        runs = run_all(plan, progress=progress, engine=engine, force=force, link_for=link_for)
        done.append(pages.ScenarioRuns(scenario.name, scenario.title, scenario.question, runs))
    compared = _compare(names, done, assumptions, progress=progress, engine=engine, force=force)
    return pages.build(done, site or workspace.own_root() / "site", compared)


def _of_contrast() -> set[str]:
    """Return the parameters of the contrast; none in a repository without one."""
    path = workspace.repo_root() / "notebooks" / f"{CONTRAST}.ipynb"
    return {parameter.name for parameter in read_parameters(path)} if path.exists() else set()


def _compare(
    names: Iterable[str], done: Sequence[pages.ScenarioRuns], assumptions: list[str], **options
) -> Run | None:
    """Run the contrast over exactly these runs; takes what `run_notebook` takes."""
    if not _of_contrast():
        return None
    runs = [f"{scenario.name}:{run.id}" for scenario in done for run in scenario.runs]
    compared = [f"scenarios={json.dumps(list(names))}", f"runs={json.dumps(runs)}"]
    return run_notebook(CONTRAST, (), [*assumptions, *compared], **options)
