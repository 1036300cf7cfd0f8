"""The runs as MLflow shows them: one experiment a notebook, brought up to date when it is opened.

Parameters, recorded numbers and tags are copied into the store of the registry; the run folders
stay what counts. Nothing is copied while a notebook runs, for importing MLflow takes seconds.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.base import workspace
from diptych.base.secrets import Redactor
from diptych.core.store import registry
from diptych.execution import history
from diptych.execution.runs import Run, find_runs

TAG = "diptych.run"
STATUS = "diptych.status"
LONGEST = 6000  # characters of a parameter that MLflow takes


def update(runs: Sequence[Run] | None = None) -> int:
    """Copy runs into MLflow's store, those that are there by their status alone.

    Parameters
    ----------
    runs : sequence of Run, optional
        By default all of the workspace.

    Returns
    -------
    int
        How many are new.
    """
    chosen = [run for run in (find_runs() if runs is None else runs) if run.notebook]
    client = registry.open_client()
    new = 0
    for notebook in dict.fromkeys(run.notebook for run in chosen):
        experiment = _experiment(client, notebook)
        known = _known(client, experiment)
        for run in reversed([run for run in chosen if run.notebook == notebook]):
            if run.id not in known:
                _copy(client, experiment, run)
                new += 1
            elif known[run.id].data.tags.get(STATUS) != run.status:
                client.set_tag(known[run.id].info.run_id, STATUS, run.status)
    return new


def ui_command(port: int = 5000) -> list[str]:
    """Return the command that opens MLflow's UI on the store."""
    store = f"sqlite:///{workspace.mlflow_path()}"
    start = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store]
    return [*start, "--host", "127.0.0.1", "--workers", "1", "--port", str(port)]


def serve(port: int = 5000) -> int:
    """Open the UI until Ctrl-C or until it ends, and return its exit code.

    It starts processes of its own, which a group of their own lets end together.
    """
    server = subprocess.Popen(ui_command(port), start_new_session=True)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _experiment(client: Any, notebook: str) -> str:
    name = f"notebook {notebook}"  # a registered model's experiment has the task's name
    if experiment := client.get_experiment_by_name(name):
        return experiment.experiment_id
    folder: Path = workspace.home() / "mlartifacts" / "runs" / notebook
    return client.create_experiment(name, artifact_location=folder.as_uri())


def _known(client: Any, experiment: str) -> dict:
    """Return what MLflow has of an experiment by our run's id."""
    known: dict[str, Any] = {}
    page = None
    while True:
        there = client.search_runs([experiment], max_results=1000, page_token=page)
        known |= {run.data.tags.get(TAG): run for run in there}
        page = there.token
        if not page:
            return known


def _copy(client: Any, experiment: str, run: Run) -> None:
    from mlflow.entities import Metric, Param

    started = history.started_of(run)
    moment = int(started.timestamp() * 1000) if started else None
    redact = Redactor().tree  # a run of a session, or of an older Diptych, may hold a key
    tags = {
        TAG: run.id,
        STATUS: run.status,
        "diptych.task": history.task_of(run),
        "diptych.folder": str(run.folder),
        "diptych.upstream": str(run.result.get("upstream") or ""),
    }
    mlflow_id = client.create_run(experiment, moment, redact(tags), run.id).info.run_id
    parameters = redact(history.parameters_of(run)).items()
    client.log_batch(
        mlflow_id,
        metrics=[Metric(_key(n), v, moment or 0, 0) for n, v in history.numbers_of(run).items()],
        params=[Param(_key(name), str(value)[:LONGEST]) for name, value in parameters],
    )
    ended = moment and moment + int(1000 * float(run.manifest.get("seconds") or 0))
    status = "FINISHED" if run.status in ("ok", "draft") else "FAILED"
    client.set_terminated(mlflow_id, status, ended)


def _key(name: str) -> str:
    """Return a name with the characters that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)[:250]
