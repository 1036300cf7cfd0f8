"""A sweep on a Dask cluster: notebooks go out as bytes, run folders come back as bytes.

No disk is shared. A worker needs this package, its environment and a clone of the repository; the
runs that a stage builds on it makes in a workspace of its own. What a dead worker had is run again
by another.
"""

import json
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from diptych.base import hashing, process_environment, workspace
from diptych.base.errors import ParameterError
from diptych.base.progress import say
from diptych.base.secrets import Redactor
from diptych.execution import runs
from diptych.execution.cache import entries
from diptych.execution.cache import fingerprint as keys
from diptych.execution.engine import Engine
from diptych.execution.runner import PreparedRun
from diptych.execution.sweeps.workers import Outcome, attempt

PATIENCE_S = 10.0


@dataclass(frozen=True)
class Parcel:
    """A run as bytes: the files of its folder by name, and what went wrong."""

    run: str
    files: dict[str, bytes]
    error: str


class Cluster:
    """The points of a sweep, spread over a cluster's workers.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://10.0.0.1:8786``.
    root : Path
        Where the run folders go, on this machine.
    base : PreparedRun
    engine : Engine, optional
        Sent along with each point.

    Raises
    ------
    ParameterError
        If no scheduler answers there, or the notebook is to build on a run of this machine.
    """

    def __init__(self, address: str, root: Path, base: PreparedRun, engine: Engine | None = None):
        if base.values.get("upstream"):
            raise ParameterError(
                f"upstream = {base.values['upstream']}: this run is on this machine only. Leave "
                "upstream empty with --dask: each worker makes what it builds on."
            )
        self.root, self.engine, self._has_warned = root, engine, False
        self.client = connect(address)

    def map(self, numbered: Iterable[tuple[int, PreparedRun]]) -> Iterator[tuple[int, Outcome]]:
        """Run each point and yield its outcome; unchanged ones are linked and not sent."""
        from distributed import as_completed

        sent, futures = {}, []
        for number, prepared in numbered:
            lookup = entries.find(prepared, self.root, kernel=getattr(self.engine, "kernel", ""))
            if lookup.run is not None:
                yield number, Outcome(replace(lookup.run, linked=True))
                continue
            origin = prepared.name, prepared.shown, prepared.place
            prepared = replace(prepared, files=(), origin=origin)
            content = prepared.notebook.read_bytes()
            futures.append(
                self.client.submit(run_parcel, prepared, content, self.engine, pure=False)
            )
            sent[futures[-1].key] = (number, prepared, lookup)
        for future in as_completed(futures, loop=self.client.loop):
            number, prepared, lookup = sent[future.key]
            try:
                # a worker that dies with a result not yet fetched has it made again elsewhere
                outcome = self._unpacked(future.result(), prepared, lookup)
            except (Exception, CancelledError) as error:
                outcome = Outcome(None, f"{type(error).__name__}: {error}")
            future.release()
            yield number, outcome

    def close(self) -> None:
        """Leave the cluster; runs of this sweep that have not ended are cancelled."""
        self.client.close()

    def _unpacked(self, parcel: Parcel, prepared: PreparedRun, lookup: entries.Lookup) -> Outcome:
        """Write a run folder that came back, whole or not at all."""
        if not parcel.run:
            return Outcome(None, parcel.error)
        _check_names(parcel)
        _check_run(parcel, prepared)
        self.root.mkdir(parents=True, exist_ok=True)
        staged = self.root / f".{parcel.run}.{secrets.token_hex(2)}.partial"
        for name, content in parcel.files.items():
            path = staged / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        workspace.publish(staged, self.root / parcel.run)
        run = runs.load_run(parcel.run, self.root)
        if run.manifest["cache"]["key"] == lookup.key:
            entries.add(run)
        elif not self._has_warned:
            self._has_warned = True
            changed = keys.changes(lookup.parts, run.manifest["cache"]["parts"])
            say(f"The workers are not as this machine ({changed[0]}), so their runs are not "
                "linked later.")  # fmt: skip
        return Outcome(run, parcel.error)


def _check_names(parcel: Parcel) -> None:
    """Refuse a run whose files would lie elsewhere than in its folder.

    Raises
    ------
    ValueError
        If a worker names such a file.
    """
    for name in (parcel.run, *parcel.files):
        parts = name.replace("\\", "/").split("/")
        if not set(parts).isdisjoint(("", ".", "..")) or ":" in parts[0] or "\0" in name:
            raise ValueError(f"a worker sent a file named {name[:80]!r}, which is left out")
    if "/" in parcel.run or "\\" in parcel.run:
        raise ValueError(f"a worker sent a run named {parcel.run[:80]!r}, which is left out")


def _check_run(parcel: Parcel, prepared: PreparedRun) -> None:
    """Refuse a run that is not the one that was sent: it would stand in the table as that point.

    Raises
    ------
    ValueError
        If its manifest or its page is missing, or says that another notebook or point ran.
    """
    try:
        manifest = json.loads(parcel.files["manifest.json"])
        ran = {"id": manifest["id"], "name": manifest["name"], "parameters": manifest["parameters"]}
        whole = manifest["status"] == "failed" or {"notebook.ipynb", "notebook.html"} <= {
            *parcel.files
        }
        manifest["cache"]["key"], manifest["cache"]["parts"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a worker sent {parcel.run} without a whole manifest") from error
    sent = {"id": parcel.run, "name": prepared.name, "parameters": prepared.values}
    wrong = [name for name in sent if _as_json(ran[name]) != _as_json(sent[name])]
    if wrong or not whole:
        what = f"{wrong[0]} {ran[wrong[0]]!r}"[:200] if wrong else "a run without its page"
        raise ValueError(f"a worker sent what was not asked: {what}")


def _as_json(value: object) -> str:
    return Redactor().json(value)


def connect(address: str):
    """Return a client of the scheduler at an address.

    Raises
    ------
    ParameterError
        If none answers.
    """
    from distributed import Client

    try:
        return Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"--dask {address}: no scheduler answers ({_first_line(error)}). Start one with "
            "`dask scheduler`, and workers with `dask worker ADDRESS`."
        ) from error


def run_parcel(prepared: PreparedRun, content: bytes, engine: Engine | None = None) -> Parcel:
    """Run a notebook on a worker, in a workspace of the worker's own."""
    from distributed import get_worker

    process_environment.limit_threads(1)  # Dask counts a core for each task
    process_environment.set_default_workspace(Path(get_worker().local_directory) / "diptych")
    with TemporaryDirectory(prefix="diptych-", ignore_cleanup_errors=True) as folder:
        notebook = Path(folder) / prepared.notebook.name
        notebook.write_bytes(content)
        outcome = attempt(replace(prepared, notebook=notebook), Path(folder) / "runs", engine)
        if outcome.run is None:
            return Parcel("", {}, outcome.error)
        home = outcome.run.folder
        files = {p.relative_to(home).as_posix(): p.read_bytes() for p in hashing.files_of(home)}
        return Parcel(outcome.run.id, files, outcome.error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
