"""MLflow as the model registry: versions, aliases, and an audited history of promotions.

The store is ``mlflow.db`` (SQLite) in the workspace; no MLflow server runs and telemetry is off.
"""

import functools
import getpass
import os
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import pandas as pd

from diptych.core.ledger import Ledger
from diptych.run import workspace

CHAMPION, CHALLENGER = "champion", "challenger"


class RegistryError(LookupError):
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
def _client(uri: str):
    # both must be set before the first import, which starts the telemetry client
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


class Registry:
    """Versions of one task's model.

    Parameters
    ----------
    name : str
        The task's name.
    """

    def __init__(self, name: str):
        self.name = name
        self.client = _client(f"sqlite:///{workspace.mlflow_path()}")
        self.ledger = Ledger(workspace.ledger_path())

    def register(self, folder: Path, parameters: dict, metrics: dict, run_id: str) -> Version:
        """Log a model's files as a new version with the alias challenger.

        Parameters
        ----------
        folder : Path
            The saved model.
        parameters, metrics : dict
            What MLflow shows beside the version.
        run_id : str
            The notebook run it comes from.
        """
        from mlflow.entities import Metric, Param

        run = self.client.create_run(self._experiment(), tags={"diptych.run": run_id})
        now = int(time.time() * 1000)
        self.client.log_batch(
            run.info.run_id,
            metrics=[Metric(key, float(value), now, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in parameters.items()],
        )
        self.client.log_artifacts(run.info.run_id, str(folder), "model")
        self.client.set_terminated(run.info.run_id)
        if not self.client.search_registered_models(f"name = '{self.name}'"):
            self.client.create_registered_model(self.name)
        made = self.client.create_model_version(
            self.name, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id
        )
        self.client.set_registered_model_alias(self.name, CHALLENGER, made.version)
        return self._version(made)

    def champion(self) -> Version | None:
        """Return the version in service, or None before the first promotion."""
        from mlflow.exceptions import MlflowException

        try:
            return self._version(self.client.get_model_version_by_alias(self.name, CHAMPION))
        except MlflowException:
            return None

    def version(self, number: int) -> Version:
        """Return one version by number."""
        from mlflow.exceptions import MlflowException

        try:
            return self._version(self.client.get_model_version(self.name, str(number)))
        except MlflowException as error:
            raise RegistryError(f"version: {self.name} has no version {number}") from error

    def promote(self, version: Version, why: str, gate: dict) -> None:
        """Make `version` the champion, auditing who, when and why.

        The audit row is committed before the alias moves: no promotion is without its row.
        """
        before = self.champion()
        self.ledger.promote(
            self.name,
            before.number if before else None,
            version.number,
            who=getpass.getuser(),
            why=why,
            gate=gate,
        )
        self.client.set_registered_model_alias(self.name, CHAMPION, str(version.number))

    def rollback(self, why: str) -> Version:
        """Put back, in one step, the champion that the present one replaced.

        Raises
        ------
        RegistryError
            If the present champion replaced none.
        """
        current = self.champion()
        history = self.ledger.promotions(self.name)
        if current is not None and len(history):
            # an empty gate marks a rollback; only a real promotion names what it replaced
            into = history[
                (history["to_version"] == str(current.number)) & history["gate"].map(bool)
            ]
            before = into["from_version"].dropna()
            if len(before):
                version = self.version(int(before.iloc[-1]))
                self.promote(version, why=f"rollback: {why}", gate={})
                return version
        raise RegistryError(f"rollback: {self.name} has no champion before {current}")

    def history(self) -> pd.DataFrame:
        """Return every promotion and rollback, oldest first."""
        return self.ledger.promotions(self.name)

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.name)
        if found:
            return found.experiment_id
        place = (workspace.home() / "mlartifacts" / self.name).as_uri()
        return self.client.create_experiment(self.name, artifact_location=place)

    def _version(self, entity) -> Version:
        folder = Path(unquote(urlparse(entity.source).path))
        return Version(self.name, int(entity.version), folder)
