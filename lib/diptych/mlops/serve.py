"""Stage 4, serve: the model's endpoint, which records every prediction before it answers.

It speaks the container contract of SageMaker (``/ping``, ``/invocations``, port 8080, SIGTERM)
and MLflow's input formats. Requests that arrive together are predicted and recorded together.
"""

import argparse
import asyncio
import hmac
import json
import math
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from diptych.core.ledger import Ledger
from diptych.mlops import models
from diptych.mlops.models import Model

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_BYTES = 5_000_000
MAX_ROWS = 1_000  # of one request
MAX_BATCH = 64  # requests predicted together
MAX_WAITING = 1_024  # requests; more are turned away
KEYS = ("inputs", "instances", "dataframe_split", "dataframe_records")


class RequestError(ValueError):
    """The request cannot be answered; the message names the field and the remedy."""


class Batcher:
    """Predicts and records requests in batches, in one worker thread.

    While a batch is under way the next one gathers, so batches grow with the load and a lone
    request never waits.
    """

    def __init__(self, model: Model, name: str, endpoint: str, ledger: Ledger):
        self.model, self.name, self.endpoint, self.ledger = model, name, endpoint, ledger
        self.waiting: list[tuple] = []
        self.worker = ThreadPoolExecutor(1)
        self.busy = False

    async def submit(self, rows: list, ids: list) -> list[dict]:
        """Return one prediction a row, recorded."""
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((rows, ids, time.perf_counter(), answer))
        if not self.busy:
            self.busy = True
            asyncio.get_running_loop().create_task(self._drain())
        return await answer

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting:
            batch, self.waiting = self.waiting[:MAX_BATCH], self.waiting[MAX_BATCH:]
            try:
                results = await loop.run_in_executor(self.worker, self._predict, batch)
            except Exception as error:
                results = [error] * len(batch)
            for (*_, answer), result in zip(batch, results, strict=True):
                if answer.cancelled():
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)
        self.busy = False

    def _predict(self, batch: list[tuple]) -> list[list[dict]]:
        rows = [row for part, *_ in batch for row in part]
        inputs = rows if self.model.kind == "text" else np.asarray(rows, dtype=np.float32)
        probabilities = self.model.predict_proba(inputs)
        best = probabilities.argmax(axis=1)
        records, results, i = [], [], 0
        for part, ids, began, _ in batch:
            latency = (time.perf_counter() - began) * 1000
            answer = []
            for row, row_id in zip(part, ids, strict=True):
                shares = probabilities[i].tolist()
                found = {
                    "prediction": self.model.classes[best[i]],
                    "probability": shares[best[i]],
                    "probabilities": shares,
                }
                answer.append(found)
                told = {"row_id": row_id, "input": row, "latency_ms": latency}
                records.append({"endpoint": self.endpoint, "model": self.name, **told, **found})
                i += 1
            results.append(answer)
        self.ledger.log(records)
        return results


def read_rows(content, model: Model) -> tuple[list, list]:
    """Return a request's rows and their ids.

    Raises
    ------
    RequestError
        If the body is not in one of MLflow's formats, or a value is not what the model reads.
    """
    if not isinstance(content, dict):
        raise RequestError(f"body: an object with one of {', '.join(KEYS)} is needed")
    given = [key for key in KEYS if key in content]
    if len(given) != 1:
        raise RequestError(
            f"body: exactly one of {', '.join(KEYS)} is needed, got {given or 'none'}"
        )
    rows, columns = content[given[0]], None
    if given[0] == "dataframe_split":
        if not isinstance(rows, dict) or not {"columns", "data"} <= rows.keys():
            raise RequestError("dataframe_split: it needs columns and data")
        rows, columns = rows["data"], rows["columns"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_ROWS:
        raise RequestError(f"{given[0]}: a list of 1 to {MAX_ROWS} rows is needed")
    ids = content.get("ids", [None] * len(rows))
    if not isinstance(ids, list) or len(ids) != len(rows):
        raise RequestError(f"ids: {len(rows)} ids are needed, one a row")
    read = [_row(row, i, columns, model.features, model.kind) for i, row in enumerate(rows)]
    return read, [None if row_id is None else str(row_id) for row_id in ids]


def _row(row, i: int, columns, features: list[str], kind: str):
    if columns is not None:
        if not isinstance(row, list) or len(row) != len(columns):
            raise RequestError(f"data: row {i} needs {len(columns)} values, one a column")
        row = dict(zip(columns, row, strict=True))
    if isinstance(row, dict):
        for name in features:
            if name not in row:
                raise RequestError(f"{name}: missing in row {i}")
        for name in row:
            if name not in features:
                raise RequestError(
                    f"{name}: row {i} has this column, which the model does not know"
                )
        row = [row[name] for name in features]
        row = row[0] if kind == "text" else row
    if kind == "text":
        if not isinstance(row, str):
            raise RequestError(f"text: row {i} is no text")
        return row
    if not isinstance(row, list) or len(row) != len(features):
        raise RequestError(f"inputs: row {i} needs {len(features)} numbers: {', '.join(features)}")
    for name, value in zip(features, row, strict=True):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or abs(value) > 3e38:
            raise RequestError(f"{name}: row {i} has {value!r}; a finite number is needed")
    return row


def create_app(
    model: Model, ledger: Ledger, *, name: str = "model", endpoint: str = "", token: str = ""
) -> Starlette:
    """Build the endpoint.

    Parameters
    ----------
    name : str
        The model's name and version, in answers and records.
    endpoint : str
        Name of this serving run in the ledger.
    token : str
        If set, ``Authorization: Bearer`` must carry it.
    """
    batcher = Batcher(model, name, endpoint, ledger)

    async def invocations(request) -> Response:
        if token:
            sent = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(sent.encode(), token.encode()):
                return _error(401, "authorization: the header's bearer token is wrong or missing")
        if len(batcher.waiting) >= MAX_WAITING:
            return _error(503, "the endpoint is full; try again", {"Retry-After": "1"})
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                return _error(413, f"body: over {MAX_BYTES:,} bytes; send fewer rows")
        try:
            rows, ids = read_rows(_decode(body), model)
        except RequestError as error:
            return _error(400, str(error))
        found = await batcher.submit(rows, ids)
        return JSONResponse(
            {
                "predictions": [row["prediction"] for row in found],
                "probabilities": [row["probabilities"] for row in found],
                "classes": model.classes,
                "model": name,
            }
        )

    async def ping(request) -> Response:
        return Response("\n")

    async def metadata(request) -> Response:
        facts = {"model": name, "family": model.family, "kind": model.kind}
        return JSONResponse(facts | {"features": model.features, "classes": model.classes})

    return Starlette(
        routes=[
            Route("/invocations", invocations, methods=["POST"]),
            Route("/ping", ping),
            Route("/metadata", metadata),
        ]
    )


def _decode(body: bytes):
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"body: not readable as JSON ({error})") from error


def _error(status: int, text: str, headers: dict | None = None) -> Response:
    return JSONResponse({"error": text}, status, headers)


def main(argv: list[str] | None = None) -> int:
    """Serve a saved model until SIGTERM.

    Binds to loopback; anywhere else needs a token, named by its environment variable.
    """
    import uvicorn

    parser = argparse.ArgumentParser(prog="diptych serve model", description=main.__doc__)
    parser.add_argument("--model", required=True, type=Path, help="folder of a saved model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8080, type=int, help="0 takes any free one")
    parser.add_argument("--ledger", required=True, type=Path, help="file of the prediction log")
    parser.add_argument("--name", default="model", help="the model's name in answers and records")
    parser.add_argument("--endpoint", default="", help="name of this serving run in the ledger")
    parser.add_argument("--token-env", default="", help="environment variable with the token")
    parser.add_argument("--fd", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    token = os.environ.get(options.token_env, "") if options.token_env else ""
    if options.host not in LOOPBACK and not token:
        parser.error(f"--host {options.host}: needs --token-env with the name of a variable set")
    try:
        model = models.load(options.model)
    except models.ModelError as error:
        parser.error(str(error))
    with Ledger(options.ledger) as ledger:
        app = create_app(model, ledger, name=options.name, endpoint=options.endpoint, token=token)
        config = uvicorn.Config(
            app, options.host, options.port, log_level="warning", access_log=False,
            timeout_graceful_shutdown=5, fd=options.fd,
        )  # fmt: skip
        server = uvicorn.Server(config)
        if options.fd is not None:
            threading.Thread(target=_end_with_starter, args=(server,), daemon=True).start()
        server.run()
    return 0


def _end_with_starter(server) -> None:
    """Stop when the process that started this one is gone, so that no orphan serves on."""
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
