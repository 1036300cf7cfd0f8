"""Stage 4, serve: the released model in a process of its own, the live rows, and what is on record.

Every prediction is in the ledger, under its row's id, before it is answered; a late label is
joined to it.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from diptych.base import workspace
from diptych.base.http_load import Load, drive, usage
from diptych.core.evaluation import load_curve
from diptych.core.store.predictions import Predictions
from diptych.mlops.serving.process import Endpoint

ALONE = 100  # requests sent one at a time at most, before the others
ROUND = 64  # requests of a round of the load curve at most


@dataclass(frozen=True)
class Served:
    """What serving the rows took.

    Attributes
    ----------
    load : Load
        Status, latency and answer of each request that was sent beside others.
    alone : Load
        Of the first requests, sent one at a time: their latency is the service time, for none
        waits for another.
    cpu_s, memory_mb : float
        Processor time of the server, and the most memory it held.
    """

    load: Load
    alone: Load
    cpu_s: float
    memory_mb: float

    @property
    def failed(self) -> int:
        """Requests that failed."""
        alone = 0 if self.alone is self.load else self.alone.summary()["failed"]
        return alone + self.load.summary()["failed"]

    def service_ms(self) -> dict[str, float]:
        """Return the service time: ``service_p50_ms``, 95 and 99, and ``queueing_p50_ms``.

        The queueing time is what the requests under way add to the median.
        """
        one, many = self.alone.summary(), self.load.summary()
        names = ("p50_ms", "p95_ms", "p99_ms")
        queueing = max(0.0, many["p50_ms"] - one["p50_ms"])
        return {f"service_{name}": one[name] for name in names} | {"queueing_p50_ms": queueing}

    def measures(self) -> dict[str, float]:
        """Return what stage 4 records of latency, throughput and cost."""
        load, service = self.load.summary(), self.service_ms()
        return {
            "failed": self.failed,
            "p50_ms": load["p50_ms"],
            "p95_ms": load["p95_ms"],
            "p99_ms": load["p99_ms"],
            **service,
            "requests_per_s": load["requests_per_s"],
            "cpu_ms_per_request": 1000 * self.cpu_s / max(1, self.requests),
            "memory_mb": self.memory_mb,
        }

    @property
    def requests(self) -> int:
        """Requests that were sent."""
        alone = 0 if self.alone is self.load else len(self.alone.latency_ms)
        return alone + len(self.load.latency_ms)


def serve(
    folder: Path,
    bodies: Sequence[dict],
    *,
    run: str,
    name: str = "model",
    concurrency: int = 16,
    ledger: str | Path | None = None,
    progress: bool = False,
) -> Served:
    """Serve a saved model in a process of its own and send it requests.

    Parameters
    ----------
    folder : Path
        The saved model.
    bodies : sequence of dict
        What to post, see `diptych.mlops.models.model.requests`.
    run : str
        The serving run, by which the ledger knows its answers.
    name : str
        The released version, recorded with each prediction.
    concurrency : int
        Requests under way at once.
    ledger : str or Path, optional
        Where predictions go; by default the workspace's ledger.

    Raises
    ------
    EndpointError
        If the server does not start.
    """
    with endpoint(folder, run=run, name=name, ledger=ledger) as server:
        return send(server, bodies, concurrency=concurrency, progress=progress)


def endpoint(
    folder: Path, *, run: str, name: str = "model", ledger: str | Path | None = None
) -> Endpoint:
    """Return the server of a saved model, to be started by ``with``; parameters as of `serve`."""
    place = Path(ledger or workspace.ledger_path())
    return Endpoint(folder, name=name, endpoint=run, ledger=place)


def send(
    server: Endpoint, bodies: Sequence[dict], *, concurrency: int = 16, progress: bool = False
) -> Served:
    """Send requests to a server: the first one at a time, the others many at once."""
    url = f"{server.url}/invocations"
    first = max(1, min(ALONE, len(bodies) // 2))
    load = alone = drive(url, bodies[:first], concurrency=1)
    if rest := bodies[first:]:
        load = drive(url, rest, concurrency=concurrency, progress=progress)
    used = usage(server.pid)
    return Served(load, alone, used["cpu_s"], used["memory_mb"])


def under_load(
    folder: Path,
    bodies: Sequence[dict],
    levels: Sequence[int] = load_curve.LEVELS,
    rounds: int = load_curve.ROUNDS,
) -> pd.DataFrame:
    """Serve a saved model and send it the same requests at each level of concurrency.

    The answers go to a ledger of their own, which is removed: the run's has each row once.

    Parameters
    ----------
    bodies : sequence of dict
        What to post; the first `ROUND` are a round.

    Returns
    -------
    DataFrame
        A line for each request, as `diptych.core.evaluation.load_curve.of_rounds` takes them.
    """
    requests = list(bodies[:ROUND])
    with (
        tempfile.TemporaryDirectory() as place,
        Endpoint(folder, name="load", endpoint="load", ledger=Path(place) / "ledger.db") as server,
    ):

        def send(level: int, _: int) -> pd.DataFrame:
            load = drive(f"{server.url}/invocations", requests, concurrency=level)
            wrong = [error or ("" if status == 200 else f"HTTP {status}")
                     for error, status in zip(load.error, load.status, strict=True)]  # fmt: skip
            calls = {"latency_ms": load.latency_ms, "error": wrong, "wall_s": load.wall_s}
            return pd.DataFrame(calls)

        send(max(levels), 0)  # the first answers load what the later ones find loaded
        return load_curve.measure(send, levels, rounds, server.pid)


def recorded(run: str, *, ledger: str | Path | None = None) -> pd.DataFrame:
    """Return of `log` the lines that belong to a row of the stream, not those sent by hand."""
    lines = log(run, ledger=ledger)
    return lines[lines["row_id"].notna()].reset_index(drop=True)


def log(run: str, *, ledger: str | Path | None = None) -> pd.DataFrame:
    """Read from the ledger what a serving run answered, with the labels that have come."""
    with Predictions(ledger or workspace.ledger_path()) as predictions:
        return predictions.table(endpoint=run)
