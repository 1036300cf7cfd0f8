"""Stage 4, serve: the model's endpoint, which records every prediction before it answers.

It speaks the container contract of SageMaker (``/ping``, ``/invocations``, port 8080, SIGTERM)
and MLflow's input forms and paths.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from diptych.base import guard, workspace
from diptych.base.lazy import without
from diptych.base.serving import ServeError, listen
from diptych.core.store.predictions import Predictions
from diptych.mlops.models import model as models
from diptych.mlops.models import own
from diptych.mlops.models.model import Model
from diptych.mlops.serving import mlflow_routes
from diptych.mlops.serving.batcher import Batcher
from diptych.mlops.serving.inputs import InputError, Reader
from diptych.mlops.serving.typed_inputs import TypedReader

TOKEN_HEADERS = ("authorization", "x-amzn-sagemaker-custom-attributes")
GRACE_S = 20  # for requests under way at SIGTERM; SageMaker kills after 30


@dataclass(frozen=True)
class Limits:
    """What clients may ask for, beside the limits of `inputs`.

    Attributes
    ----------
    body : int
        Bytes of a request.
    body_s : float
        Seconds in which a request must have arrived.
    batch : int
        Rows predicted in one call, unless a single request has more.
    in_flight : int
        Requests being read or waiting; one more is told to come back.
    """

    body: int = 2 * 2**20
    body_s: float = 10.0
    batch: int = 256
    in_flight: int = 256


def create_app(
    model: Model,
    ledger: Predictions,
    *,
    name: str = "model",
    endpoint: str = "",
    token: str = "",
    limits: Limits | None = None,
) -> Starlette:
    """Build the endpoint.

    Parameters
    ----------
    model : Model
        What answers.
    ledger : Predictions
        Where each prediction is committed before it is answered.
    name : str
        The model's name and version, in answers and records.
    endpoint : str
        Name of this serving run in the ledger.
    token : str
        If set, all but ``/ping`` need it in ``Authorization: Bearer``, or, as SageMaker passes
        no other header on, in ``X-Amzn-SageMaker-Custom-Attributes``.
    limits : Limits, optional
    """
    limits = limits or Limits()
    reader = _reader(model)
    batcher = Batcher(model, ledger, endpoint, name, limits.batch)
    in_flight = 0

    def check_token(request: Request) -> None:
        if token and not guard.holds_token(request.headers, token, *TOKEN_HEADERS):
            message = "Authorization: send 'Bearer' and the endpoint's token"
            raise HTTPException(401, message, {"WWW-Authenticate": "Bearer"})

    async def invocations(request: Request) -> Response:
        nonlocal in_flight
        began = time.perf_counter()
        check_token(request)
        if in_flight >= limits.in_flight:
            message = f"{in_flight} requests are under way; try again shortly"
            raise HTTPException(503, message, {"Retry-After": "1"})
        in_flight += 1
        try:
            body = await _body(request, limits)
            rows, ids = reader.parse(body, request.headers.get("content-type", ""))
            answer = await batcher.submit(rows, ids, began, sorted(reader.ignored))
        finally:
            in_flight -= 1
        return Response(answer, media_type="application/json")

    async def ping(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metadata(request: Request) -> Response:
        check_token(request)
        facts = {"model": name, "family": model.family, "kind": model.kind, "endpoint": endpoint}
        return JSONResponse(facts | {"features": model.features} | _answers(model))

    @asynccontextmanager
    async def lifespan(app: Starlette):
        yield
        batcher.close()

    routes = [
        Route("/invocations", invocations, methods=["POST"]),
        Route("/ping", ping),
        Route("/metadata", metadata),
        *mlflow_routes.routes(name, invocations, check_token),
    ]
    handlers = {HTTPException: _refused, InputError: _wrong_input, Exception: _failed}
    return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)


def _answers(model: Model) -> dict:
    """Return what a model answers with, as clients ask for it."""
    if model.regression:
        return {"predicts": "number", "interval": model.interval}
    return {
        "predicts": "class", "classes": model.classes, "calibration": model.calibration,
        "threshold": model.threshold, "positive": model.positive,
    }  # fmt: skip


async def _body(request: Request, limits: Limits) -> bytes:
    """Read a request's body within the limits."""
    too_long = HTTPException(413, f"body: is over {limits.body:,} bytes; send fewer rows")
    if int(request.headers.get("content-length", 0)) > limits.body:
        raise too_long
    if coding := request.headers.get("content-encoding"):
        raise HTTPException(415, f"Content-Encoding: {coding!r} is not read; send it plain")
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body:
                    raise too_long
    except TimeoutError as error:
        message = f"body: did not arrive within {limits.body_s:g} s; send it at once"
        raise HTTPException(408, message) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "body: ended early") from error
    return bytes(body)


def _refused(request: Request, error: HTTPException) -> Response:
    message = error.detail
    if message in ("Not Found", "Method Not Allowed"):  # Starlette's own
        there = f"POST /invocations, GET /ping, GET /metadata; {mlflow_routes.THERE}"
        message = f"{request.method} {request.url.path}: is not served; there are {there}"
    return _error(message, error.status_code, error.headers)


def _wrong_input(request: Request, error: InputError) -> Response:
    return _error(str(error), error.status)


def _failed(request: Request, error: Exception) -> Response:
    return _error("the server failed; its log says why", 500)


def _error(message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as JSON in ASCII: what it quotes may be no whole character."""
    body = json.dumps({"error": message})
    return Response(body, status, headers, media_type="application/json")


def serve_model(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    ledger: Path | None = None,
    name: str = "",
    endpoint: str = "",
    token: str = "",
    handle: int | None = None,
) -> None:
    """Serve a saved model until SIGTERM.

    Parameters
    ----------
    folder : Path
        A saved model.
    ledger : Path, optional
        The prediction log; by default the workspace's.
    name, endpoint, token
        See `create_app`; `name` is by default the folder's, `endpoint` is made of the present
        time.
    host, port, handle
        See `run`.

    Raises
    ------
    ServeError
        If the model cannot predict, or the address cannot be served on.
    models.ModelError
        If the folder holds no model.
    LedgerError
        If the ledger cannot be used.
    """
    model = _load(folder)
    _try_out(model)
    with Predictions(ledger or workspace.ledger_path()) as book:
        app = create_app(
            model,
            book,
            name=name or Path(folder).absolute().name,
            endpoint=endpoint or f"serve-{datetime.now(UTC):%Y%m%dT%H%M%S}",
            token=token,
        )
        run(app, host, port, token=token, handle=handle)


def _load(folder: Path) -> Model:
    """Load a model in a quarter of the time: XGBoost alone would import scikit-learn, if it can.

    A model of one's own may be made of it.
    """
    is_own = (Path(folder) / own.FILE).is_file()
    with contextlib.nullcontext() if is_own else without("sklearn"):
        return models.load(folder)


def _reader(model: Model) -> Reader:
    if model.columns:
        return TypedReader(model.kind, model.features, model.columns)
    return Reader(model.kind, model.features)


def _try_out(model: Model) -> None:
    """Predict once, so that a broken model never serves and the first request finds all ready."""
    try:
        shape = model.predict_proba(model.blank()).shape
    except Exception as error:
        raise ServeError(f"model: it cannot predict ({error}); save it again") from error
    if shape != (1, 1 if model.regression else len(model.classes)):
        raise ServeError(f"model: it gives {shape[1]} probabilities for {model.classes}")


def run(app: Starlette, host: str, port: int, *, token: str = "", handle: int | None = None):
    """Serve until SIGTERM or Ctrl-C, then finish the requests under way.

    Parameters
    ----------
    app : Starlette
        From `create_app`.
    host : str
        Anything but loopback needs a token.
    port : int
        0 takes any free one.
    token : str
        The app's.
    handle : int, optional
        A listening socket from the process that started this one, in place of host and port;
        the endpoint then also ends when its standard input does, so that no orphan serves on.

    Raises
    ------
    ServeError
        If the address is taken, wrong or open to others without a token.
    """
    import uvicorn

    from diptych.base.guarded_http import GuardedProtocol

    descriptor = handle if handle is not None else listen(host, port, token).detach()
    # made anew so that it knows its protocol: only for TCP does asyncio send small answers at
    # once, and else each waits 40 ms (Nagle's algorithm and the client's delayed acknowledgement)
    listener = socket.socket(fileno=descriptor)
    config = uvicorn.Config(
        guard.Guard(app, guard.host_names(listener.getsockname()[0], token)),
        http=GuardedProtocol, ws="none",
        log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    server = uvicorn.Server(config)

    def stop(*_) -> None:
        server.should_exit = True

    # uvicorn sends itself the signal again when it is done: to end so is no failure
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if handle is None:
        place, at = listener.getsockname()[:2]
        print(f"Serving on http://{f'[{place}]' if ':' in place else place}:{at}", flush=True)
    else:
        threading.Thread(target=lambda: stop(os.read(sys.stdin.fileno(), 1)), daemon=True).start()
    server.run([listener])
