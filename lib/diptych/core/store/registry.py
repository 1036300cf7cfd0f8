"""What the registries of models and prompts share: versions, aliases, audited promotions.

The store is MLflow's, ``mlflow.db`` (SQLite) in the workspace; no MLflow server runs and telemetry
is off. MLflow keeps versions of models and of prompts differently: see `Registry`'s hooks.
"""

import contextlib
import functools
import getpass
import hashlib
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pandas as pd
from filelock import FileLock

from diptych.base import hashing, workspace
from diptych.base.errors import Plain
from diptych.base.secrets import Redactor
from diptych.core.store.migrations import utc
from diptych.core.store.predictions import Predictions, check_promotion
from diptych.execution.cache import dependencies

CHAMPION, CHALLENGER = "champion", "challenger"
ROLLBACK = {"rollback": True}  # what the audit holds in place of a gate
LOCK_S = 60.0
DECIDED_ON, DIGEST = "decided_on", "challenger_sha256"  # parameters of a decision on live labels
SAW_VERSION = "SELECT creation_time FROM model_versions WHERE name = ? AND version = ?"


def decided_on(windows: Sequence[str], folder: Path) -> dict[str, str]:
    """Return the parameters of `Registry.register` by which `Registry.look` counts a decision."""
    return {DECIDED_ON: ", ".join(windows), DIGEST: hashing.of_path(folder)}


class RegistryError(Plain, LookupError):
    """The registry holds no such version; the message says what to do."""


@dataclass(frozen=True)
class Version:
    """One registered version: ``name/number`` and the folder its files lie in."""

    name: str
    number: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"


@functools.cache
def _client(uri: str) -> Any:
    # all must be set before the first import, which starts the telemetry client and the logging
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    with warnings.catch_warnings():
        # without ipywidgets, tqdm warns of it in every notebook that imports mlflow
        warnings.filterwarnings("ignore", "IProgress not found")
        from mlflow import MlflowClient
    # a warm kernel has imported it before this was set
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
    from mlflow.exceptions import MlflowException

    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except MlflowException as error:
        if "schema" not in str(error):
            raise
        raise RegistryError(
            f"registry: {uri} is of another MLflow than this one. Was it a newer one, update "
            "MLflow (pip install -U mlflow); was it an older one, keep a copy of the file "
            f"and run: mlflow db upgrade {uri}"
        ) from error


def open_client() -> Any:
    """Return MLflow's client of the workspace's store, whose tables are made if there are none."""
    with FileLock(workspace.home() / "registry.lock", timeout=LOCK_S):
        return _client(f"sqlite:///{workspace.mlflow_path()}")


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


class Registry:
    """Versions of one thing under one name; `ModelRegistry` and `PromptRegistry` are subclasses.

    Processes that register or promote at the same time wait for each other.

    Parameters
    ----------
    name : str
        The name in MLflow and in the audit.
    """

    KIND = ""  # what the files are called in MLflow
    FILTER = ""  # added to the search for the registered name

    def __init__(self, name: str):
        self.name = name
        self._lock = FileLock(workspace.home() / "registry.lock", timeout=LOCK_S)
        name_digest = hashlib.sha256(f"{self.KIND}/{name}".encode()).hexdigest()[:16]
        self._intent = workspace.home() / f"registry-{name_digest}.json"
        with self._lock:  # the first client makes the store's tables
            self.client = _client(self.uri)
            self._reconcile()

    @property
    def uri(self) -> str:
        """Where MLflow's own client and pages find the store."""
        return f"sqlite:///{workspace.mlflow_path()}"

    def register(self, folder: Path, parameters: dict, metrics: dict, run_id: str) -> Version:
        """Log files as a new version with the alias challenger.

        Parameters
        ----------
        folder : Path
            What is released, as it was saved.
        parameters, metrics : dict
            What MLflow shows beside the version.
        run_id : str
            The notebook run it comes from.
        """
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        parameters = Redactor().tree(parameters)
        with self._lock, self._intending({"register": run_id}):
            run = self.client.create_run(self._experiment(), tags={"diptych.run": run_id})
            self.client.log_batch(
                run.info.run_id,
                metrics=[Metric(key, float(value), now, 0) for key, value in metrics.items()],
                params=[Param(key, str(value)) for key, value in parameters.items()],
            )
            self.client.log_artifacts(run.info.run_id, str(folder), self.KIND)
            self.client.set_terminated(run.info.run_id)
            source = f"{run.info.artifact_uri}/{self.KIND}"
            number = self._create(source, run.info.run_id, new=not self._registered())
            self._point(CHALLENGER, number)
        return self.version(number)

    @contextlib.contextmanager
    def writing(self, run_id: str) -> Iterator[str]:
        """Let a cell register by MLflow's own calls: one process at a time, seen if it is cut.

        Gives the id of the experiment in which its run belongs.
        """
        with self._lock, self._intending({"register": run_id}):
            yield self._experiment()

    def look(self, windows: Sequence[str], folder: Path) -> int:
        """Return which look at the labels of some windows a decision is; 1 is the first.

        Every other challenger that was decided on any of these windows counts, promoted or not.

        Parameters
        ----------
        windows : sequence of str
            As an earlier `register` got them among its parameters, see `decided_on`.
        folder : Path
            The challenger's files; the same challenger again is no new look.
        """
        experiment = self.client.get_experiment_by_name(self.name)
        runs = self.client.search_runs([experiment.experiment_id]) if experiment else []
        parameters = [run.data.params for run in runs]
        others = {
            one[DIGEST]
            for one in parameters
            if DIGEST in one and set(windows) & set(one[DECIDED_ON].split(", "))
        }
        return 1 + len(others - {hashing.of_path(folder)})

    def champion(self) -> Version | None:
        """Return the version in service, or None before the first promotion."""
        return self._aliased(CHAMPION)

    def challenger(self) -> Version | None:
        """Return the version registered last, or None if there is none."""
        return self._aliased(CHALLENGER)

    def version(self, number: int) -> Version:
        """Return one version by number.

        Raises
        ------
        RegistryError
            If there is no such version.
        """
        from mlflow.exceptions import MlflowException

        try:
            source = self._source(number)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise RegistryError(
                f"version: {self.name} has no version {number}; {self._state()}"
            ) from error
        folder = Path(unquote(urlparse(source).path))
        dependencies.rows(workspace.mlflow_path(), SAW_VERSION, [self.name, int(number)])
        dependencies.files(folder)
        return Version(self.name, int(number), folder)

    def promote(self, version: Version, why: str, gate: dict) -> None:
        """Make `version` the champion, auditing who, when and why.

        The intent is on the disk before the alias moves, and the audit's row is committed after
        it. What a kill leaves in between is settled when the registry is next opened: a promotion
        that happened gets its row, one that did not gets none.

        Raises
        ------
        RegistryError
            If the version is not this registry's.
        """
        if version.name != self.name:
            raise RegistryError(f"version: {version} is no version of {self.name}")
        self.version(version.number)
        with self._lock:
            before = self.champion()
            who = _who()
            promotion = {
                "from_version": before and before.number,
                "to_version": version.number,
                "who": who,
                "why": why,
                "gate": gate,
            }
            check_promotion(who, why)
            workspace.sync(version.folder)  # MLflow copied it, and waits for no disk
            with self._intending({"promote": promotion, "time": utc(None)}):
                self._point(CHAMPION, version.number)
                self._audit(promotion)

    def _audit(self, promotion: dict) -> None:
        with Predictions(workspace.ledger_path()) as ledger:
            ledger.promote(self.name, **promotion)

    @contextlib.contextmanager
    def _intending(self, intent: dict) -> Iterator[None]:
        """Keep on the disk what is being done until it is done, or settled after an error."""
        workspace.write_atomic(self._intent, json.dumps(intent))
        try:
            yield
        except BaseException:
            self._reconcile()
            raise
        self._intent.unlink()

    def _reconcile(self) -> None:
        """Settle what a process that was killed had begun; the lock is held."""
        try:
            intent = json.loads(self._intent.read_bytes())
        except FileNotFoundError:
            return
        if promotion := intent.get("promote"):
            champion = self._aliased(CHAMPION)
            to = promotion["to_version"]
            if champion and champion.number == to != promotion["from_version"]:
                rows = self.history()
                same = rows[rows["to_version"] == str(champion.number)]
                if not (same["time"] >= intent["time"]).any():
                    self._audit(promotion)
        elif experiment := self.client.get_experiment_by_name(self.name):
            running = self.client.search_runs(
                [experiment.experiment_id], "attributes.status = 'RUNNING'"
            )
            for run in running:  # nobody else registers now
                self.client.set_terminated(run.info.run_id, status="FAILED")
        self._intent.unlink()

    def rollback(self, why: str) -> Version:
        """Put back, in one step, the champion that the present one replaced.

        Raises
        ------
        RegistryError
            If the present champion replaced none.
        """
        with self._lock:
            current = self.champion()
            if current is None:
                raise RegistryError(
                    f"rollback: {self.name} has no champion yet; {self._state()}. Release one "
                    "first: 3_release promotes a version that passes its gate"
                )
            number = str(current.number)
            before = [
                row.from_version
                for row in self.history().itertuples()
                # a version that a rollback replaced was not good enough, so it does not count
                if row.to_version == number != row.from_version and row.gate != ROLLBACK
            ]
            if not before or pd.isna(before[-1]):
                raise RegistryError(
                    f"rollback: {current} replaced no other version, so there is none to go back "
                    f"to; {self._state()}. Release another by 3_release"
                )
            version = self.version(int(before[-1]))
            self.promote(version, why=f"rollback: {why}", gate=ROLLBACK)
        return version

    def history(self) -> pd.DataFrame:
        """Return every promotion and rollback, oldest first."""
        with Predictions(workspace.ledger_path()) as ledger:
            return ledger.promotions(self.name)

    def _state(self) -> str:
        """Say which versions there are, and which is in service."""
        latest, champion = self.challenger(), self.champion()
        if latest is None:
            return f"nothing is registered as {self.name}"
        service = f"{champion.number} is in service" if champion else "none is in service"
        return f"there are versions 1 to {latest.number}, and {service}"

    def _experiment(self) -> str:
        experiment = self.client.get_experiment_by_name(self.name)
        if experiment:
            return experiment.experiment_id
        place = (workspace.home() / "mlartifacts" / self.name).as_uri()
        return self.client.create_experiment(self.name, artifact_location=place)

    def _registered(self) -> list:
        """Return what MLflow has registered under this name, or nothing."""
        return list(self.client.search_registered_models(f"name = '{self.name}'{self.FILTER}"))

    def _aliased(self, alias: str) -> Version | None:
        # MLflow's own lookup of an alias fails alike for a broken store and a missing alias
        numbers = [one.aliases[alias] for one in self._registered() if alias in one.aliases]
        return self.version(int(numbers[0])) if numbers else None

    def _create(self, source: str, mlflow_run: str, new: bool) -> int:
        """Make a version of the files at `source` and return its number; `new` is the first."""
        raise NotImplementedError

    def _source(self, number: int) -> str:
        """Return where a version's files are; MLflow's error if there is no such version."""
        raise NotImplementedError

    def _point(self, alias: str, number: int) -> None:
        """Let an alias name a version."""
        raise NotImplementedError
