"""Run notebooks: check everything, execute in a staged folder, publish the folder whole.

A run is built in ``.<id>.partial/`` and renamed when it is complete, so that nobody ever reads
half a run: not beside it, and not after a kill at any moment.
"""

import json
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from diptych.base import environment as host
from diptych.base import hashing, process_environment, workspace
from diptych.base.errors import NotebookFailed, ParameterError
from diptych.base.progress import Bar, say
from diptych.base.secrets import Redactor
from diptych.execution import abandoned, annotations, exporting, recording, runs
from diptych.execution.cache import dependencies, entries
from diptych.execution.engine import Code, Engine, named
from diptych.execution.notebooks import code_digest, find_notebook, read_notebook, short_name, title
from diptych.execution.pages.look import Look
from diptych.execution.parameters import Overrides, Parameter, find_file, resolve_for
from diptych.execution.runs import Run, find_runs, load_run, new_id

__all__ = ["PreparedRun", "Run", "find_runs", "load_run", "prepare", "run_all", "run_notebook"]

Step = tuple[str | Path, Iterable[str | Path], Overrides]
LONGEST = 40  # characters of a parameter in a page's title


@dataclass(frozen=True)
class PreparedRun:
    """A notebook with checked parameters, ready to run.

    Attributes
    ----------
    notebook : Path
    declared : tuple of Parameter
    files : tuple of Path
        The parameter files.
    values : dict
        Every parameter's value by name.
    origin : tuple of (str, str, tuple)
        Name, shown path and place of a notebook that was sent here; else () and all are the path's.
    cwd : Path or None
        Where the kernel runs; None takes `folder`'s choice.
    link_for : float
        For how many seconds a run counts as unchanged that read what cannot be looked at again.
    look : Look
        How its page looks.
    """

    notebook: Path
    declared: tuple[Parameter, ...]
    files: tuple[Path, ...]
    values: dict
    origin: tuple[str, str, tuple[str, str]] | tuple[()] = ()
    cwd: Path | None = None
    link_for: float = 0
    look: Look = field(default_factory=Look)

    @property
    def folder(self) -> Path:
        """Where the kernel runs: beside the notebook, unless another folder was chosen.

        Diptych's own notebooks run in the caller's directory, so that a path given as a parameter
        means the same; they themselves never depend on it.
        """
        if self.cwd is not None:
            return self.cwd
        if self.origin or workspace.is_shipped(self.notebook):
            return Path.cwd()
        return self.notebook.absolute().parent

    @property
    def name(self) -> str:
        """Name of the notebook, such as ``"mlops/2_build"``."""
        return self.origin[0] if self.origin else short_name(self.notebook)

    @property
    def shown(self) -> str:
        """Path of the notebook as a reader wants it."""
        return self.origin[1] if self.origin else workspace.shown(self.notebook)

    @property
    def place(self) -> tuple[str, str]:
        """Where the notebook lies and where it runs, as far as its outcome may depend on that.

        One that comes with this package is known by its name, and runs anywhere.
        """
        if self.origin:
            return self.origin[2]
        path = self.notebook.absolute()
        return (self.name, "") if workspace.is_shipped(path) else (str(path), str(self.folder))

    @property
    def injected(self) -> dict:
        """The values that differ from the notebook's own defaults, as papermill takes them.

        A date and a tuple are Python (`Code`), because papermill would hand over text and a list.
        """
        declared = {parameter.name: parameter for parameter in self.declared}
        changed = {}
        for name, value in self.values.items():
            parameter = declared.get(name)
            if parameter is None or parameter.expression or _differ(value, parameter.default):
                python = annotations.code(parameter.annotation, value) if parameter else None
                changed[name] = value if python is None else Code(python)
        return changed

    def inside(self, cwd: str | Path | None) -> "PreparedRun":
        """Return it with the folder that the kernel runs in; None leaves it as it is.

        Raises
        ------
        ParameterError
            If there is no such folder.
        """
        if cwd is None:
            return self
        if not Path(cwd).is_dir():
            raise ParameterError(f"--cwd {cwd}: no such folder.")
        return replace(self, cwd=Path(cwd).absolute())

    def with_upstream(self, run: Run | None) -> "PreparedRun":
        """Return it with an upstream run, where it takes one and none was chosen."""
        if run is None or self.values.get("upstream") != "":
            return self
        return replace(self, values={**self.values, "upstream": run.id})


def prepare(
    notebook: str | Path,
    files: Iterable[str | Path] = (),
    overrides: Overrides = (),
    sections: Iterable[str] = (),
    cwd: str | Path | None = None,
) -> PreparedRun:
    """Check everything about a run that can be checked without a kernel.

    Parameters
    ----------
    notebook, files, overrides
        As `run_notebook` takes them.
    sections : iterable of str
        Sections that the files may have besides parameters, such as ``sweep``.
    cwd : str or Path, optional
        Folder that the kernel runs in instead of the notebook's own.

    Raises
    ------
    ParameterError
        With every problem found.
    """
    path, files = find_notebook(notebook), tuple(files)
    declared, values = resolve_for(path, files, overrides, (*sections, exporting.SECTION))
    found_files = tuple(find_file(file) for file in files)
    look = exporting.look_of(read_notebook(path), path, found_files)
    prepared = PreparedRun(path, tuple(declared), found_files, values, look=look)
    return prepared.inside(cwd)


def warn_of_paths(prepared: PreparedRun) -> None:
    """Say which values are paths from here, but not from where the notebook runs."""
    for name, value in prepared.injected.items():
        if not isinstance(value, str) or isinstance(value, Code) or not {*"./"} & {*value}:
            continue
        path = Path(value[:4096].replace("\0", ""))
        if path.exists() and not (prepared.folder / path).exists():
            where = workspace.shown(prepared.folder)
            say(f"{name} = {value}: is here, but not in {where}, where the notebook runs; "
                "--cwd . runs it here")  # fmt: skip


def _differ(value, default) -> bool:
    """Say whether a value is another one, or of another type: True is not 1 to a notebook."""
    return repr(value) != repr(default)


def run_notebook(
    notebook: str | Path,
    files: Iterable[str | Path] = (),
    overrides: Overrides = (),
    *,
    progress: bool = True,
    engine: Engine | None = None,
    outputs_root: Path | None = None,
    force: bool = False,
) -> Run:
    """Run one notebook into a new run folder, or link an earlier one if nothing has changed.

    Parameters
    ----------
    notebook : str or Path
        A path, or a short name such as ``"mlops/2_build"``.
    files, overrides
        As `diptych.execution.parameters.resolve` takes them.
    progress : bool
        Say on stderr how each run ended, and show a bar a cell if that is a terminal.
    engine : Engine, optional
        That of `diptych.execution.engine.named` if not given.
    outputs_root : Path, optional
        Where the run folder goes instead of the workspace's; later stages do not look there.
    force : bool
        Run it although nothing has changed.

    Raises
    ------
    ParameterError
        Before anything is written or started, with every problem found.
    NotebookFailed
        If a cell raises; the folder is kept as ``<id>-failed``.
    """
    return run_prepared(
        prepare(notebook, files, overrides),
        progress=progress,
        engine=engine,
        outputs_root=outputs_root,
        force=force,
    )


def run_all(
    steps: Iterable[Step],
    on_run: Callable[[Run], None] | None = None,
    *,
    progress: bool = True,
    engine: Engine | None = None,
    force: bool = False,
    link_for: float = 0,
) -> list[Run]:
    """Run notebooks one after another, each building on the one before; stop at a failure.

    All steps are checked before the first kernel starts. A notebook that declares ``upstream``
    and is not given one gets the id of the run before it in its panel; the first of a panel finds
    its own.

    Parameters
    ----------
    steps : iterable of (notebook, files, overrides)
        As `run_notebook` takes them.
    on_run : callable, optional
        Called with each finished `Run`.
    progress, engine, force
        As for `run_notebook`.
    link_for : float
        As in `PreparedRun`.

    Raises
    ------
    ParameterError, NotebookFailed
        As `run_notebook` does.
    """
    engine = engine or named()
    planned, problems, done = [], [], []
    for step in steps:
        try:
            planned.append(replace(prepare(*step), link_for=link_for))
        except ParameterError as error:
            problems.extend(problem for problem in error.problems if problem not in problems)
    if problems:
        raise ParameterError(problems)
    with Bar(
        "notebooks", "notebook", show=progress and len(planned) > 1, total=len(planned)
    ) as bar:
        for prepared in planned:
            bar(len(done), len(planned), prepared.name)
            prepared = prepared.with_upstream(_before(prepared, done))
            done.append(run_prepared(prepared, progress=progress, engine=engine, force=force))
            if on_run is not None:
                on_run(done[-1])
    return done


def _before(prepared: PreparedRun, done: list[Run]) -> Run | None:
    """Return the last run of the same panel."""
    panel = prepared.name.rpartition("/")[0]
    return next((run for run in reversed(done) if run.notebook.rpartition("/")[0] == panel), None)


def run_prepared(
    prepared: PreparedRun,
    *,
    progress: bool = True,
    engine: Engine | None = None,
    outputs_root: Path | None = None,
    force: bool = False,
) -> Run:
    """Run what `prepare` checked; see `run_notebook`."""
    dependencies.never("it runs notebooks itself")  # noted where a notebook calls this
    engine = engine or named()
    root = Path(outputs_root).absolute() if outputs_root else workspace.runs()
    lookup = entries.find(prepared, root, force, getattr(engine, "kernel", ""))
    if lookup.run is None:
        run = _execute(prepared, root, lookup, progress, engine)
        entries.add(run)
    else:
        run = replace(lookup.run, linked=True)
        if progress:
            say(f"{prepared.name} unchanged, linked: {run.folder}")
    if root == workspace.runs():
        runs.note_request(run)
    return run


def _execute(
    prepared: PreparedRun, root: Path, lookup: entries.Lookup, progress: bool, engine: Engine
) -> Run:
    started, began = workspace.now(), time.monotonic()
    manifest = _manifest(prepared, started)
    abandoned.redact(root)
    manifest["id"], staged = _staged(root, prepared, started)
    abandoned.own(staged)
    environment = process_environment.for_kernel(workspace.home(), engine.name, staged)
    try:
        with Bar(prepared.name, "cell", progress) as bar:
            engine.execute(
                prepared.notebook,
                staged / "notebook.ipynb",
                prepared.injected,
                environment=environment,
                cwd=prepared.folder,
                on_cell=bar,
            )
    except BaseException as error:
        run = _publish(root, staged, manifest, began, lookup, progress, error)
        if progress:
            say(f"{prepared.name} failed after {run.manifest['seconds']:.1f} s: {run.folder}")
        if isinstance(error, NotebookFailed):
            error.notebook, error.run = prepared.name, run
        raise
    run = _publish(root, staged, manifest, began, lookup, progress)
    if progress:
        say(f"{prepared.name} ok in {run.manifest['seconds']:.1f} s: {run.folder}")
    return run


def _staged(root: Path, prepared: PreparedRun, started: datetime) -> tuple[str, Path]:
    """Make the staged folder under an id nobody has."""
    root.mkdir(parents=True, exist_ok=True)
    while True:
        run_id = new_id(prepared.name, prepared.values, started)
        staged = root / f".{run_id}.partial"
        if (root / run_id).exists():
            continue
        try:
            staged.mkdir()
        except FileExistsError:
            continue
        return run_id, staged


def _manifest(prepared: PreparedRun, started: datetime) -> dict:
    return {
        "id": "",
        "notebook": prepared.shown,
        "name": prepared.name,
        "title": _title(prepared),
        "parameters": prepared.values,
        "evaluated": {p.name: p.expression for p in prepared.declared
                      if p.expression and p.name not in prepared.values},
        "cwd": str(prepared.folder),
        **({"page": options} if (options := prepared.look.options) else {}),
        "sha256": {
            "code": code_digest(read_notebook(prepared.notebook)),
            "files": {workspace.shown(path): hashing.of_file(path) for path in prepared.files},
            "lib": host.source_digest(),
        },
        **_provenance(prepared),
        "python": platform.python_version(),
        "packages": host.packages(),
        "host": host.machine(),
        "started": started.isoformat(),
        "cost": 0,
    }  # fmt: skip


def _provenance(prepared: PreparedRun) -> dict:
    """Return the state of the repository that the notebook lies in, and of Diptych."""
    repository = host.repository(prepared.notebook.absolute().parent)
    commit = repository.get("commit")
    return {
        "path": str(prepared.notebook.absolute()),
        "git": f"{commit}-dirty" if commit and repository["changed"] else commit,
        "repository": repository,
        "diptych": host.version_of("diptych"),
    }


def _title(prepared: PreparedRun) -> str:
    """Return a page's title: the notebook's, and the parameters that were given."""
    chosen = [
        f"{name} {value}"[:LONGEST]
        for name in prepared.injected
        if name != "upstream" and not isinstance(value := prepared.values[name], list | dict)
    ]
    return " · ".join([title(read_notebook(prepared.notebook)) or prepared.name, *chosen])


def _export(staged: Path, manifest: dict) -> None:
    """Write the notebook, as far as it got, as a page."""
    path = staged / "notebook.ipynb"
    if path.exists():
        look = Look(**manifest.get("page", {}))
        exporting.write(path, staged / "notebook.html", manifest, look)
        Redactor().file(staged / "notebook.html")


def _publish(
    root: Path,
    staged: Path,
    manifest: dict,
    began: float,
    lookup: entries.Lookup,
    progress: bool,
    error: BaseException | None = None,
) -> Run:
    """Complete the manifest, redact what the notebook wrote and give the folder its name."""
    seconds = time.monotonic() - began
    ended = datetime.fromisoformat(manifest["started"]) + timedelta(seconds=seconds)
    run_id = manifest["id"]
    end = {"status": "ok", "ended": ended.isoformat(), "seconds": round(seconds, 3)}
    if error is not None:
        run_id = f"{run_id}-failed"
        end |= {"id": run_id, "status": "failed", "error": _facts_of(error)}
        _mark_incomplete(staged / "result.json")
    manifest = manifest | end
    abandoned.disown(staged)
    recording.collect(staged, manifest["name"], complete=error is None)
    Redactor().folder(staged)
    entries.note(staged, manifest, lookup)
    manifest |= _seen(manifest["cache"]["uses"])
    with Bar(f"{manifest['name']} · page", "page", progress, total=1):
        _export(staged, manifest)
    text = Redactor().json(manifest)
    workspace.write_atomic(staged / "manifest.json", text + "\n")
    workspace.publish(staged, root / run_id)
    return load_run(run_id, root)


def _seen(uses: list[dict]) -> dict:
    """Return the files that a notebook read, by digest, and the packages that it imported.

    Without notes of its kernel the packages stay those that Diptych needs.
    """
    files = {use["path"]: use["found"] for use in uses if use["kind"] == "files" and use["found"]}
    seen = {"inputs": files}
    for use in uses:
        if use["kind"] == "packages":
            seen["packages"] = {name: facts[0] for name, facts in (use["found"] or {}).items()}
    return seen


def _facts_of(error: BaseException) -> dict:
    """Return what the manifest says of an error."""
    if isinstance(error, NotebookFailed):
        return {"cell": error.cell, "ename": error.ename, "evalue": error.evalue}
    if isinstance(error, KeyboardInterrupt):
        return {"cell": None, "ename": "Interrupted", "evalue": "stopped by Ctrl-C or a signal"}
    return {"cell": None, "ename": type(error).__name__, "evalue": str(error)}


def _mark_incomplete(path: Path) -> None:
    """Let no later stage build on a notebook that failed after its verdict."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
    if content.get("complete"):
        workspace.write_atomic(path, json.dumps(content | {"complete": False}, indent=1))
