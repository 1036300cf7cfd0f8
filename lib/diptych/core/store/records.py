"""What a notebook run records, and how the next stage finds it.

A stage reads what the run before it recorded: its values, tables and artefacts, in that run's
folder. Nothing else passes between notebooks. A run that is missing is made first, by running
its notebook with the same task parameters. What our own notebooks record and ask for is declared
in `diptych.core.contract`; any other notebook records what it likes.
"""

import contextlib
import json
import platform
import secrets
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from filelock import FileLock

from diptych.base import environment as host
from diptych.base import hashing, process_environment, workspace
from diptych.core import contract
from diptych.core.contract import RecordError
from diptych.core.evaluation.stats import Estimate
from diptych.execution import run_card, runs
from diptych.execution.cache import dependencies
from diptych.execution.declaration import read_parameters

SHARED = (
    "task", "text_column", "label_column", "time_column", "group_column", "read_options",
    "data_version", "seed",
)  # fmt: skip
NEWEST = -1  # as data_version: the version just ingested, or the newest
DATA = "mlops/1_data"  # the run that checks and pins the rows of both panels
PACKAGES = ("numpy", "pandas", "scikit-learn", "xgboost-cpu", "mlflow", "deltalake")


@dataclass(repr=False)
class Record:
    """What one run recorded.

    Attributes
    ----------
    folder : Path
        The run's folder; its name is the run's id.
    notebook : str
        Such as ``"mlops/2_build"``.
    task : dict
        The parameters that every stage of one task shares (`SHARED`), and ``source``, a digest of
        the file that ``task`` names: on a changed file nothing earlier is built on.
    values : dict of str to dict
        ``value``, ``low``, ``high`` (a 95 % interval or None) and ``unit`` by name.
    facts : dict
        Plain JSON handed to the next stage, such as a model's name.
    upstream : str or None
        Id of the run this one builds on.
    """

    folder: Path
    notebook: str
    task: dict
    values: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    upstream: str | None = None
    complete: bool = False

    @property
    def id(self) -> str:
        """The run's id, also while the runner still stages its folder."""
        return self.folder.name.removeprefix(".").removesuffix(".partial")

    def __repr__(self) -> str:
        return run_card.text(self.id, self.notebook, self._status(), self.values)

    def _repr_html_(self) -> str:
        return run_card.html(self.folder, self.notebook, self._status(), self.values)

    def _status(self) -> str:
        return "complete" if self.complete else "not complete"

    @property
    def contract(self) -> contract.Contract | None:
        """What the notebook declares; None where it records freely."""
        return contract.of(self.notebook)

    def value(self, name: str):
        """Return one recorded value.

        Raises
        ------
        RecordError
            If the notebook declares no such value, or the run recorded none.
        """
        if self.contract:
            self.contract.value(name)
        if name not in self.values:
            raise self._lacks(name, "value", self.values)
        return self.values[name]["value"]

    def fact(self, name: str):
        """Return one fact; raises as `value` does."""
        if self.contract:
            self.contract.fact(name)
        if name not in self.facts:
            raise self._lacks(name, "fact", self.facts)
        return self.facts[name]

    def parameter(self, name: str):
        """Return the value of one of the notebook's parameters; raises as `value` does."""
        if self.contract:
            self.contract.parameter(name)
        parameters = self.fact("parameters")
        if name not in parameters:
            raise self._lacks(name, "parameter", parameters)
        return parameters[name]

    def table(self, name: str) -> pd.DataFrame:
        """Read a table the run saved; raises as `value` does."""
        if self.contract:
            self.contract.table(name)
        path = self._path(name)
        if not path.exists():
            raise self._lacks(name, "table", self.tables)
        return pd.read_parquet(path)

    @property
    def tables(self) -> list[str]:
        """Names of the tables the run saved."""
        return sorted(path.stem for path in self.folder.glob("*.parquet"))

    def _path(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    def _lacks(self, name: str, what: str, known: Iterable[str]) -> RecordError:
        return RecordError(
            f"{name}: run {self.id} recorded no such {what}; it has {', '.join(known) or 'none'}. "
            f"Run {self.notebook} again if it was made by another version"
        )

    def ancestor(self, notebook: str) -> "Record":
        """Return the run of `notebook` that this one was built on, any number of steps back."""
        record = self
        while record.notebook != notebook:
            if not record.upstream:
                raise RecordError(
                    f"{notebook}: run {self.id} does not build on it; give as upstream a run that "
                    "does, or leave upstream empty"
                )
            record = load(record.upstream)
        return record


class ReplayedLatency:
    """The seconds that a run did not wait because its answers were in the ledger already.

    Whoever reads answers for the run adds them, as `diptych.llmops.client.ask.ask_many` does.
    """

    def __init__(self):
        self._seconds: dict[str, float] = {}

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what answers took when they were asked first, by request; each counts once."""
        self._seconds.update(seconds)

    @property
    def seconds(self) -> float:
        """The sum so far."""
        return round(sum(self._seconds.values()), 2)


@dataclass(repr=False)
class Recorder(Record):
    """The record of the run in progress; every change is on disk when the call returns.

    Attributes
    ----------
    replayed : ReplayedLatency
        Recorded as ``replayed_seconds``.
    """

    replayed: ReplayedLatency = field(
        default_factory=ReplayedLatency, init=False, repr=False, compare=False
    )

    def parent(self) -> Record:
        """Return the run this one builds on."""
        return load(self.upstream)

    def stage(self, notebook: str) -> Record:
        """Return the run of an earlier stage that this one builds on."""
        return self.parent().ancestor(notebook)

    def data_version(self) -> int:
        """Return the version of the data table that `DATA` checked for this run.

        Raises
        ------
        RecordError
            If this run builds on no run of `DATA`, or on one of an earlier Diptych.
        """
        return self.stage(DATA).fact("data_version")

    def beside(self, notebook: str) -> Record:
        """Return the latest run of a notebook of MLOps on the same rows, or make it.

        Raises
        ------
        RecordError
            As `find` does, and if that run was made on another version of the data table.
        """
        other = find(notebook, self.task)
        ours, theirs = self.data_version(), other.ancestor(DATA).fact("data_version")
        if ours != theirs:
            raise RecordError(
                f"{notebook}: run {other.id} is on version {theirs} of the data and this one on "
                f"{ours}; run {notebook} again"
            )
        return other

    def record(self, name: str, value, low=None, high=None, unit: str = "") -> None:
        """Record one value, with its interval if it has one (an `Estimate` brings its own).

        The unit of a declared value comes from its contract, and its NaN is recorded as None: it
        could not be measured.

        Raises
        ------
        RecordError
            If the notebook has a contract and declares no such value, or another kind, interval
            or unit.
        """
        if isinstance(value, Estimate):
            value, low, high = value.value, value.low, value.high
        value, low, high = map(_plain, (value, low, high))
        if self.contract:
            declared = self.contract.value(name)
            declared.check(value, low, high)
            if unit not in ("", declared.unit):
                raise RecordError(
                    f"{name}: its unit is declared as {declared.unit!r}, not {unit!r}"
                )
            unit = declared.unit
            if value != value:  # NaN, which JSON does not have
                value = low = high = None
        self.values[name] = {"value": value, "low": low, "high": high, "unit": unit}
        self._write()

    def note(self, **facts) -> None:
        """Hand plain facts (JSON) to the next stage; raises as `record` does."""
        if self.contract:
            for name, content in facts.items():
                self.contract.check_fact(name, content)
        self.facts.update(facts)
        self._write()

    def save(self, name: str, frame: pd.DataFrame) -> None:
        """Save a table for later stages.

        Raises
        ------
        RecordError
            If the notebook has a contract and the table is not declared, or lacks a column.
        """
        if self.contract:
            self.contract.check_columns(name, list(frame))
        frame.to_parquet(self._path(name), index=False)

    def conclude(self, **values) -> pd.DataFrame:
        """Record the verdict's values, mark the run complete and return them as a table.

        Raises
        ------
        RecordError
            As `record` does, and if something is missing that the notebook's contract declares.
        """
        for name, value in values.items():
            self.record(name, value)
        if self.contract:
            missing = self.contract.missing(self.values, self.facts, self.tables)
            if missing:
                names = ", ".join(missing)
                raise RecordError(f"{names}: {self.notebook} declares this and did not record it")
        self.complete = True
        self._write()
        return summary(self)

    def _write(self) -> None:
        content = {
            "format": runs.FORMAT,
            "notebook": self.notebook,
            "task": self.task,
            "upstream": self.upstream,
            "complete": self.complete,
            "values": self.values,
            "facts": self.facts,
            "replayed_seconds": self.replayed.seconds,
        }
        workspace.write_atomic(self.folder / "result.json", json.dumps(content, indent=1))


def start(notebook: str, namespace: dict, after: str | None = None) -> Recorder:
    """Begin a run's record and find (or make) the run it builds on.

    Parameters
    ----------
    notebook : str
        Name of this notebook under ``notebooks/``, such as ``"mlops/2_build"``.
    namespace : dict
        The notebook's ``globals()``, from which its parameters are read. One that belongs to no
        task declares only some of `SHARED`.
    after : str, optional
        The notebook whose run this one builds on.
    """
    task = {name: namespace[name] for name in SHARED if name in namespace}
    task |= source(task.get("task", ""))
    folder = _folder(notebook)
    upstream = find(after, task, namespace["upstream"]).id if after else None
    run = Recorder(folder, notebook, task, upstream=upstream)
    declared = read_parameters(workspace.repo_root() / "notebooks" / f"{notebook}.ipynb")
    run.note(parameters={p.name: namespace[p.name] for p in declared if p.name in namespace})
    print(_heading(run, after is not None))
    packages = " ".join(f"{name} {host.version_of(name)}" for name in PACKAGES)
    print(f"Python {platform.python_version()} · {packages}")
    return run


def source(task: str) -> dict[str, str]:
    """Return ``source``, the digest of the file or folder that a task names; {} if it names none.

    What lies elsewhere, or is no longer there, has no digest.
    """
    for base in (Path.cwd(), workspace.repo_root()):
        path = base / Path(task).expanduser()
        if path.is_file() or (path.is_dir() and any(mark in task for mark in "/\\.")):
            try:
                return {"source": hashing.of_path(path)}
            except (OSError, hashing.TooMany):
                return {}
    return {}


def _heading(run: Recorder, later: bool) -> str:
    """Return what the run is about: seed, version of the data, task."""
    facts = dict(run.task)
    if facts.get("data_version") == NEWEST:
        facts["data_version"] = "newest"
        if later:
            with contextlib.suppress(RecordError):  # a notebook of another kind of chain
                facts["data_version"] = run.data_version()
    labels = {"seed": "seed", "data_version": "data version", "task": "task"}
    return " · ".join(f"{label} {facts[key]}" for key, label in labels.items() if key in facts)


def find(notebook: str, task: dict, run_id: str = "") -> Record:
    """Return the run `run_id`, else the latest complete run of `notebook` on `task`, else make it.

    Raises
    ------
    RecordError
        If `run_id` names no complete run of that notebook, or making the run failed.
    """
    if run_id:
        try:
            runs.load_current(run_id)
        except LookupError as error:
            raise RecordError(f"upstream: {error}") from error
        record = load(run_id)
        if record.notebook != notebook or not record.complete:
            raise RecordError(f"upstream: {run_id} is no complete run of {notebook}")
        before, now = record.task.get("source"), task.get("source")
        if before and now and before != now:
            raise RecordError(
                f"upstream: {task['task']} has changed since run {run_id}; run {DATA} again, or "
                "leave upstream empty"
            )
        return record
    record = latest(notebook, task)
    if record is None:
        record = _make_once(notebook, task)
    dependencies.latest(notebook, task)
    return record


def _make_once(notebook: str, task: dict) -> Record:
    """Make a run that is missing; of several processes that miss it, one makes it."""
    with FileLock(workspace.home() / f"{notebook.replace('/', '-')}.lock"):
        if record := latest(notebook, task):
            return record
        print(f"No run of {notebook} on {task['task']} yet: making it first.", file=sys.stderr)
        _make(notebook, task)
    record = latest(notebook, task)
    if record is None:
        raise RecordError(f"upstream: {notebook} ran but recorded no complete result")
    return record


def latest(notebook: str, task: dict) -> Record | None:
    """Return the complete run of `notebook` with these task parameters asked for last."""
    run = runs.latest(notebook, task)
    return run and load(run.id)


def load(run_id: str) -> Record:
    """Read one run's record.

    Raises
    ------
    RecordError
        If there is no such run, or its record cannot be read.
    """
    folder = workspace.runs() / run_id
    try:
        content = json.loads((folder / "result.json").read_text())
        return Record(folder, **{key: content[key] for key in RECORDED})
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(f"upstream: no run {run_id!r} can be read in {folder.parent}") from error


RECORDED = ("notebook", "task", "values", "facts", "upstream", "complete")


def summary(record: Record) -> pd.DataFrame:
    """Return the recorded values, rounded for reading: name, value, low, high."""
    rows = [{"measured": name, **entry} for name, entry in record.values.items()]
    frame = pd.DataFrame(rows, columns=["measured", "value", "low", "high", "unit"])
    return frame.map(lambda x: round(x, 3) if isinstance(x, float) else x)


def _folder(notebook: str) -> Path:
    """Return the runner's folder for this run, or a new one where a notebook runs by itself."""
    if folder := process_environment.run_folder():
        return folder
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{notebook.replace('/', '-')}-{secrets.token_hex(2)}"
    folder = workspace.runs() / name
    folder.mkdir(parents=True)
    return folder


def _make(notebook: str, task: dict) -> None:
    """Run a notebook in its own process, its progress passing through."""
    command = [sys.executable, "-m", "diptych", "run", notebook]
    for name in [name for name in SHARED if name in task]:
        command += ["-p", f"{name}={json.dumps(task[name])}"]
    # that run notes its own dependencies, not this one's
    environment = process_environment.without_run()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RecordError(f"upstream: making {notebook} failed:\n{done.stderr.strip()[-2000:]}")


def _plain(value):
    """Turn numpy scalars into what JSON knows."""
    return value.item() if hasattr(value, "item") else value
