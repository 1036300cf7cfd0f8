"""What a notebook run records, and how the next stage finds it.

A stage reads what the run before it recorded: its values, tables and artefacts, in that run's
folder. Nothing else passes between notebooks. A run that is missing is made first, by running
its notebook with the same task parameters. What our own notebooks record and ask for is declared
in `diptych.core.contract`; any other notebook records what it likes.
"""

import contextlib
import platform
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from diptych.base import environment as host
from diptych.base import hashing, process_environment, workspace
from diptych.base.secrets import Redactor
from diptych.core import contract
from diptych.core.contract import RecordError
from diptych.core.evaluation.stats import Estimate
from diptych.core.store.record import Record, latest, load, summary
from diptych.core.store.upstream import DATA, NEWEST, SHARED, built_on, find
from diptych.execution import cells, runs, session
from diptych.execution.parameters import checked_values

__all__ = [
    "Record", "RecordError", "Recorder", "ReplayedLatency", "find", "latest", "load", "source",
    "start", "summary",
]  # fmt: skip
PACKAGES = ("numpy", "pandas", "scikit-learn", "xgboost-cpu", "mlflow", "deltalake")


class ReplayedLatency:
    """The seconds that a run did not wait because its answers were in the ledger already.

    Whoever reads answers for the run adds them, as `diptych.llmops.client.ask.ask_many` does.
    """

    def __init__(self) -> None:
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

    In IPython it follows the cells (`diptych.execution.cells`): what ran with other values than
    those on record is never recorded. It becomes a new run, or recording stops with one sentence.

    Attributes
    ----------
    replayed : ReplayedLatency
        Recorded as ``replayed_seconds``.
    """

    replayed: ReplayedLatency = field(
        default_factory=ReplayedLatency, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self._log: cells.Log | None = None
        self._begun: Beginning | None = None
        self._sources: dict[tuple[str, str], cells.Cell] = {}  # which cell recorded what
        self._stamps: dict | None = None  # of the files of a concluded run

    @property  # type: ignore[misc]  # a field of a Record, which the cells move here
    def folder(self) -> Path:
        """The run's folder, into which cells may write files of their own."""
        self._follow(recording=True)
        self._remember("files", "")
        return self._folder

    @folder.setter
    def folder(self, folder: Path) -> None:
        self._folder = folder

    @property
    def id(self) -> str:
        """The run's id."""
        self._follow()
        return self.snapshot().id

    def snapshot(self) -> Record:
        """Return the record as it is on disk."""
        return Record(self._folder, self.notebook, self.task, self.values, self.facts,
                      self._upstream, self.complete, self.draft)  # fmt: skip

    def __repr__(self) -> str:
        return repr(self.snapshot())

    def _repr_html_(self) -> str:
        return self.snapshot()._repr_html_()

    @property  # type: ignore[misc]
    def upstream(self) -> str | None:
        """Id of the run this one builds on."""
        self._follow()
        return self._upstream

    @upstream.setter
    def upstream(self, run_id: str | None) -> None:
        self._upstream = run_id

    def parent(self) -> Record:
        """Return the run this one builds on."""
        if (run_id := self.upstream) is None:
            raise RecordError(f"upstream: {self.notebook} builds on no run")
        return load(run_id)

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

    def metric(self) -> str:
        """Return the metric that `DATA` settled for this task; raises as `data_version` does."""
        return self.stage(DATA).fact("metric")

    def beside(self, notebook: str) -> Record:
        """Return the latest run of a notebook of MLOps on the same rows, or make it.

        Raises
        ------
        RecordError
            As `find` does, and if that run was made on another version of the data table.
        """
        self._follow()
        other = find(notebook, self.task)
        ours, theirs = self.data_version(), other.ancestor(DATA).fact("data_version")
        if ours != theirs:
            raise RecordError(
                f"{notebook}: run {other.id} is on version {theirs} of the data and this one on "
                f"{ours}; run {notebook} again"
            )
        return other

    def record(
        self, name: str, value: Any, low: Any = None, high: Any = None, unit: str = ""
    ) -> None:
        """Record one value, with its interval if it has one (an `Estimate` brings its own).

        The unit of a declared value comes from its contract, and its NaN is recorded as None: it
        could not be measured.

        Raises
        ------
        RecordError
            If the notebook has a contract and declares no such value, or another kind, interval
            or unit; or if the value may come from cells that ran before a parameter changed.
        """
        self._follow(recording=True)
        entry = self._entry(name, value, low, high, unit)
        self._replace("values", name)
        self.values[name] = entry
        self._write()

    def _entry(
        self, name: str, value: Any, low: Any = None, high: Any = None, unit: str = ""
    ) -> dict:
        """Return what is recorded of a value, checked."""
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
        return {"value": value, "low": low, "high": high, "unit": unit}

    def note(self, **facts: Any) -> None:
        """Hand plain facts (JSON) to the next stage; raises as `record` does."""
        self._follow(recording=True)
        if self.contract:
            for name, content in facts.items():
                self.contract.check_fact(name, content)
        self._replace("facts", *facts)
        self.facts.update(facts)
        self._write()

    def save(self, name: str, frame: pd.DataFrame) -> None:
        """Save a table for later stages; what looks like a key in its texts is redacted, aloud.

        Raises
        ------
        RecordError
            If the notebook has a contract and the table is not declared, or lacks a column; and
            as `record` does of cells that ran before a change.
        """
        self._follow(recording=True)
        if self.contract:
            self.contract.check_columns(name, list(frame))
        self._replace("tables", name)
        if clean := _redacted(frame):
            print(
                f"{name}: what looks like a key in {', '.join(map(str, clean))} is saved as "
                "[redacted ...]; this notebook's own table keeps it."
            )
        frame.assign(**clean).to_parquet(self._path(name), index=False)
        self._write()

    def conclude(self, **values: Any) -> pd.DataFrame:
        """Record the verdict's values, mark the run complete or a draft, and return a table.

        Raises
        ------
        RecordError
            As `record` does, and if something is missing that the notebook's contract declares.
        """
        if self._is_repeated(values):
            return summary(self.snapshot())
        for name, value in values.items():
            self.record(name, value)
        self._follow(recording=True)
        if self.contract:
            missing = self.contract.missing(self.values, self.facts, self.snapshot().tables)
            if missing:
                names = ", ".join(missing)
                raise RecordError(f"{names}: {self.notebook} declares this and did not record it")
        self._remember("verdict", "")
        self._stamps = {}
        self._write()
        if self.draft:
            print(f"Draft: {cells.in_short(self.draft)}. To make it complete, {cells.AGAIN}.")
        return summary(self.snapshot())

    @property
    def _beginning(self) -> "Beginning":
        """What the run in progress began with; only one that `start` made follows the cells."""
        if self._begun is None:
            raise RecordError(f"{self._folder.name}: begin a run with start(...)")
        return self._begun

    @property
    def _concluded(self) -> bool:
        return self._stamps is not None

    def _path(self, table: str) -> Path:
        return self._folder / f"{table}.parquet"

    def _remember(self, kind: str, name: str) -> None:
        if self._log is not None and self._log.current is not None:
            self._sources[kind, name] = self._log.current

    def _replace(self, kind: str, *names: str) -> None:
        """Note which cell records; what a run has ended with is not changed, a new run is begun."""
        log = self._log
        if log is not None and self._concluded and process_environment.run_folder() is None:
            before = [self._sources.get((kind, name)) for name in names]
            if replaced := {cell for cell in before if cell not in (None, log.current)}:
                log.note(f"{log.current} recorded once more what a run had ended with")
                log.dropped.extend(filter(None, replaced))
                self._begin_again(log)
                log.written()
        for name in names:
            self._remember(kind, name)

    def _recorded_by(self, some: Iterable[cells.Cell]) -> list[tuple[str, str]]:
        some = set(some)
        return [entry for entry, cell in self._sources.items() if cell in some]

    def _is_repeated(self, values: dict) -> bool:
        """Say whether the cell that concluded the run runs once more, with the same values."""
        log = self._log
        if log is None or not self._concluded or log.run is not self:
            return False
        last = self._sources.get(("verdict", ""))
        if log.changes or log.dropped or set(log.repeated) - {last} or last not in log.repeated:
            return False
        try:
            same = all(self.values.get(n) == self._entry(n, v) for n, v in values.items())
        except RecordError:
            return False
        if not same or log.fault(self, True):
            return False
        self._sources |= dict.fromkeys(self._recorded_by([last]), log.current)
        log.written()
        return True

    def _follow(self, recording: bool = False) -> None:
        """Let the record follow the cells that ran, before it is read or changed.

        Raises
        ------
        RecordError
            If what would be recorded is not what ran with these parameters.
        ParameterError
            If a parameter has been changed to what it cannot be.
        """
        log = self._log
        shows = log is not None and log.current is not None and log.current.names.shows
        if log is None or (shows and not recording):
            return
        if problem := log.fault(self, recording):
            raise RecordError(problem)
        if self._concluded:
            log.dropped += [cell for cell in log.repeated if self._recorded_by([cell])]
        else:
            for entry in self._recorded_by(log.repeated):
                self._forget(*entry)
        used = self._concluded or self._recorded_by(log.dropped)
        if log.changes or (log.dropped and used):
            self._begin_again(log)
        log.written()

    def _forget(self, kind: str, name: str) -> None:
        """Remove what a cell recorded that runs once more."""
        del self._sources[kind, name]
        if kind in ("values", "facts"):
            getattr(self, kind).pop(name, None)
        elif kind == "tables":
            self._path(name).unlink(missing_ok=True)

    def _begin_again(self, log: cells.Log) -> None:
        """Become a new run, with what the cells recorded that did not run again."""
        stays = {
            entry: cell
            for entry, cell in self._sources.items()
            if cell in log.sequence and cell not in (*log.dropped, log.current)
        }
        if ("files", "") in stays:
            cell = stays["files", ""]
            raise RecordError(f"{cell} wrote files into the run {self._folder.name}: {cells.AGAIN}")
        changes = ", ".join(
            f"{name} {a!r} → {b!r}" for name, (a, b) in log.changes.items() if a != b
        )
        parameters = checked_values(self._beginning.declared, self._beginning.namespace)
        if log.from_top:
            self.task, self._upstream = self._beginning.upstream()
        before = self._folder
        if self._sources or self._concluded:
            self._folder = _folder(self.notebook)
        why = changes or f"{log.current} ran again"
        print(f"{why}: {'new ' if self._folder != before else ''}run {self._folder.name}")
        for kind, name in stays:
            if kind == "tables":
                shutil.copy2(before / f"{name}.parquet", self._path(name))
        for kind in ("values", "facts"):
            entries = getattr(self, kind)
            names = [name for name in entries if (kind, name) in stays]
            setattr(self, kind, {name: entries[name] for name in names})
        self.facts["parameters"] = parameters
        self._sources, self._stamps, self.complete, self.draft = stays, None, False, []
        self.replayed = ReplayedLatency()
        self._beginning.started = datetime.now(UTC)
        self._write()

    def after_cell(self) -> None:
        """See after a cell that no file of a concluded run has changed."""
        if self._stamps and self._stamps != self._files() and not self.draft:
            self.draft = ["files of the run changed after it was concluded"]
            self._write()

    def _files(self) -> dict:
        paths = [path for path in hashing.files_of(self._folder) if path.name not in runs.SHOWN]
        stats = {path: path.stat() for path in paths if path.name != "result.json"}
        return {str(path): (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}

    def _write(self) -> None:
        by_runner = process_environment.run_folder() is not None
        if self._concluded:
            drafted = self._log.draft() if self._log else []
            self.draft = drafted or self.draft
            self.complete = not self.draft
        content = {
            "format": runs.FORMAT,
            "notebook": self.notebook,
            "task": self.task,
            "upstream": self._upstream,
            "complete": self.complete,
            "draft": self.draft,
            "values": self.values,
            "facts": self.facts,
            "replayed_seconds": self.replayed.seconds,
        }
        text = Redactor().json(content)
        workspace.write_atomic(self._folder / "result.json", text)
        if self._concluded and self._log is not None and not by_runner:
            begun = self._beginning
            parameters = self.facts["parameters"]
            session.keep(
                self._folder, self.notebook, self._log, begun.declared, parameters, begun.started
            )
            self._stamps = self._files()


@dataclass
class Beginning:
    """What a setup cell began a run with.

    Attributes
    ----------
    notebook, namespace, after, best
        As `start` takes them.
    declared : list of Parameter
    started : datetime
    """

    notebook: str
    namespace: Mapping
    after: str | None
    best: str
    declared: list
    started: datetime

    def upstream(self) -> tuple[dict, str | None]:
        """Return the task that the parameters name, and the id of the run to build on.

        Raises
        ------
        RecordError
            As `find` does.
        """
        task = {name: self.namespace[name] for name in SHARED if name in self.namespace}
        from diptych.core.data import freshness  # not needed to read what runs recorded

        place = task.get("task", "")
        lies = freshness.state(place, task.get("read_options", ""))
        task |= freshness.as_task(lies)
        if self.after is None:
            return task, None
        if lies.unknown:
            print(freshness.sentence(place, lies))
        chosen = self.namespace.get("upstream", "")
        record = find(self.after, task, chosen, best=self.best)
        print(built_on(record, task, chosen, self.best))
        return task, record.id


def start(notebook: str, namespace: dict, after: str | None = None, best: str = "") -> Recorder:
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
    best : str
        Name of a recorded value: build on the run in which it is best; "" for the latest.

    Raises
    ------
    ParameterError
        If a parameter is missing, or has a value that its declaration does not allow.
    DataError, MetricError
        If the task or the metric is none.
    RecordError
        As `find` does.
    """
    if log := cells.current():
        log.end()
    declared, path = session.declared(notebook, namespace)
    parameters = checked_values(declared, namespace)
    if after or contract.of(notebook):
        _check_task(namespace)
    begun = Beginning(notebook, namespace, after, best, declared, datetime.now(UTC))
    task, upstream = begun.upstream()
    run = Recorder(_folder(notebook), notebook, task, upstream=upstream)
    run.facts["parameters"] = parameters
    run._begun = begun
    run._write()
    heading = _heading(run, after is not None)
    print(*filter(None, (heading, f"run {run.id}")), sep=" · ")
    packages = " ".join(f"{name} {host.version_of(name)}" for name in PACKAGES)
    print(f"Python {platform.python_version()} · {packages}")
    if log := cells.log_of(namespace):
        log.begin(run, parameters, (*SHARED, "upstream") if after else SHARED, path)
        run._log = log
    return run


def _check_task(namespace: Mapping) -> None:
    """Refuse a task that is neither built in nor a place, and a metric that is none.

    Both are refused before anything is made for them.
    """
    from diptych.core.data import sources, tasks
    from diptych.core.evaluation import metrics

    if isinstance(metric := namespace.get("metric"), str) and metric:
        metrics.parse(metric)
    task = namespace.get("task")
    if not isinstance(task, str) or task in tasks.BUILT_IN:
        return
    if not sources.looks_like_location(task):
        tasks.get(task)  # it says which is near


def source(task: str, read_options: str = "") -> dict[str, str]:
    """Return ``source``, a digest of what lies where a task names; {} if that cannot be known."""
    from diptych.core.data import freshness  # not needed to read what runs recorded

    return dict(freshness.as_task(freshness.state(task, read_options)))


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


def _folder(notebook: str) -> Path:
    """Return the runner's folder for this run, or a new one where a notebook runs by itself."""
    if folder := process_environment.run_folder():
        return folder
    stamp = workspace.now().strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{notebook.replace('/', '-')}-{secrets.token_hex(2)}"
    folder = workspace.runs() / name
    folder.mkdir(parents=True)
    return folder


def _plain(value: Any) -> Any:
    """Turn numpy scalars into what JSON knows."""
    return value.item() if hasattr(value, "item") else value


def _redacted(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the columns of a table that hold keys, without them.

    In a compressed file nobody would see them later. Ids stay: rows are paired by them, and two
    that are redacted would be one.
    """
    redactor, clean = Redactor(), {}
    texts = frame.drop(columns="id", errors="ignore")
    for name, column in texts.select_dtypes(["object", "string", "category"]).items():
        values = column.tolist()
        text = "\n".join(map(str, values))
        if redactor.text(text) != text:
            kind = object if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
            clean[name] = pd.Series(redactor.tree(values), column.index, dtype=kind)
    return clean
