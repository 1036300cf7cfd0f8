"""One row a request: Diptych's endpoint, FastAPI with pydantic and a DataFrame, MLflow's server.

    python benchmarks/serving.py [--task tumours] [--requests 1000] [--rounds 3]

All serve the same model and get the same bytes; rounds are interleaved so that a busy machine
slows all alike. CPU is that of the server's process tree, which the load generator's, in another
process, does not touch. Diptych alone writes every prediction to disk before it answers. FastAPI
is used as its tutorials do: a pydantic model of the row, a DataFrame, one process.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from results import record

from diptych.base.http_load import drive
from diptych.core.data import tasks
from diptych.mlops.models import model as models
from diptych.mlops.serving.process import Endpoint

FAMILY = {"tumours": "xgboost", "reviews": "logistic"}
NAMES = {
    "diptych": "Diptych",
    "fastapi": "FastAPI, pydantic, DataFrame",
    "mlflow": "`mlflow models serve`",
}


def fit(task, folder):
    """Save a model of the task and return request bodies, one row each."""
    subject = tasks.get(task)
    rows = subject.load()
    train = rows[rows["split"] == "train"]
    model = models.fit(
        models.rows_of(train, subject.kind, subject.features),
        train["label"].tolist(),
        family=FAMILY[task],
        kind=subject.kind,
        features=subject.features,
        parameters={},
    )
    model.save(folder)
    test = rows[rows["split"] == "test"][subject.features]
    return [{"dataframe_records": [row]} for row in test.to_dict("records")]


def serve_fastapi(folder, port):
    """Serve the usual way: a pydantic model of the row, then a DataFrame."""
    import pandas as pd
    import pydantic
    import uvicorn
    from fastapi import FastAPI

    model = models.load(folder)
    kind = str if model.kind == "text" else float
    row = pydantic.create_model("Row", **dict.fromkeys(model.features, (kind, ...)))
    request = pydantic.create_model("Request", dataframe_records=(list[row], ...))
    app = FastAPI()

    @app.get("/ping")
    def ping():
        return {}

    @app.post("/invocations")
    def invocations(body: request):
        frame = pd.DataFrame([row.model_dump() for row in body.dataframe_records])
        probabilities = model.predict_proba(models.rows_of(frame, model.kind, model.features))
        names = [model.classes[i] for i in probabilities.argmax(axis=1)]
        return {"predictions": names, "probabilities": probabilities.tolist()}

    uvicorn.run(app, port=port, log_level="warning")


def save_for_mlflow(folder, place, bodies):
    """Save the model as MLflow's server reads it, with the signature of its rows."""
    import mlflow
    import pandas as pd

    class Served(mlflow.pyfunc.PythonModel):
        def load_context(self, context):
            from diptych.mlops.models import model as models

            self.models, self.model = models, models.load(context.artifacts["model"])

        def predict(self, context, model_input: pd.DataFrame, params=None):
            model = self.model
            rows = self.models.rows_of(model_input, model.kind, model.features)
            probabilities = model.predict_proba(rows)
            return {
                "predictions": [model.classes[i] for i in probabilities.argmax(axis=1)],
                "probabilities": probabilities.tolist(),
            }

    example = pd.DataFrame([body["dataframe_records"][0] for body in bodies[:5]])
    mlflow.pyfunc.save_model(
        place,
        python_model=Served(),
        artifacts={"model": str(folder)},
        signature=mlflow.models.infer_signature(example),
        pip_requirements=[],
    )


@contextmanager
def running(command, port):
    """Run a peer's server until the block ends, and give its address and process id."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=os.environ | {"PATH": path}, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                if process.poll() is not None:
                    break
                try:
                    urllib.request.urlopen(f"{url}/ping", timeout=5).close()
                except OSError:
                    time.sleep(0.1)
                else:
                    yield url, process.pid
                    return
            log.seek(0)
            raise SystemExit(f"{command[:4]} did not start: {log.read().decode()[-1000:]}")
        finally:
            for each in tree(process.pid) if process.poll() is None else ():
                each.terminate()
            process.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def server(peer, folder, work, bodies):
    """Start one of the servers."""
    port = free_port()
    if peer == "diptych":
        with Endpoint(folder, ledger=work / "ledger.db", endpoint="bench") as endpoint:
            yield endpoint.url, endpoint.pid
    elif peer == "fastapi":
        command = [sys.executable, __file__, "--worker", str(folder), "--port", str(port)]
        with running(command, port) as address:
            yield address
    else:
        save_for_mlflow(folder, work / "mlflow", bodies)
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(work / "mlflow")]
        command += ["--env-manager", "local", "--port", str(port), "--host", "127.0.0.1"]
        with running(command, port) as address:
            yield address


def tree(pid):
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_s(pid):
    return sum(sum(process.cpu_times()[:2]) for process in tree(pid))


def measure(url, pid, bodies, concurrency):
    """Drive one server once; return its figures and its predictions."""
    before = cpu_s(pid)
    load = drive(f"{url}/invocations", bodies, concurrency=concurrency, timeout_s=60)
    cpu = cpu_s(pid) - before
    figures = load.summary()
    if figures["failed"]:
        wrong = next(i for i, status in enumerate(load.status) if status != 200)
        raise SystemExit(f"{url}: {load.status[wrong]} {load.error[wrong]} {load.answers[wrong]}")
    answers = [answer["predictions"] for answer in load.answers]
    # MLflow puts what a model returns into a field of its own
    answers = [a["predictions"] if isinstance(a, dict) else a for a in answers]
    return {**figures, "cpu_ms": cpu / len(bodies) * 1000}, answers


def compare(task, peers, options):
    """Measure all peers on one task and return the lines of its table."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        work = Path(name)
        rows = fit(task, work / "model")
        servers = {
            peer: stack.enter_context(server(peer, work / "model", work, rows)) for peer in peers
        }
        bodies = [rows[i % len(rows)] for i in range(options.requests)]
        cases = [(peer, concurrency) for concurrency in (1, 16) for peer in peers]
        results, expected = {case: [] for case in cases}, None
        for number in range(options.rounds + 1):
            for peer, concurrency in cases:
                part = bodies if number else bodies[:100]  # the first round warms up
                figures, answers = measure(*servers[peer], part, concurrency)
                if number:
                    results[peer, concurrency].append(figures)
                    expected = expected or answers
                    assert answers == expected, f"{peer} predicts otherwise"
            print(f"{task}: round {number} of {options.rounds}", file=sys.stderr)
    return table(task, results)


def table(task, results):
    lines = [
        f"`{task}`, {FAMILY[task]}, median of rounds (lowest to highest CPU)",
        "",
        "| | at once | CPU ms a request | | ratio | p50 ms | p95 ms | p99 ms | requests/s |",
        "|---|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for (peer, concurrency), runs in results.items():
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        base = statistics.median(run["cpu_ms"] for run in results["diptych", concurrency])
        cpu = [run["cpu_ms"] for run in runs]
        lines.append(
            f"| {NAMES[peer]} | {concurrency} | {middle['cpu_ms']:.2f} "
            f"| {min(cpu):.2f} to {max(cpu):.2f} | {middle['cpu_ms'] / base:.1f} "
            f"| {middle['p50_ms']:.1f} | {middle['p95_ms']:.1f} | {middle['p99_ms']:.1f} "
            f"| {middle['requests_per_s']:,.0f} |"
        )
    return [*lines, ""]


def main():
    """Read the arguments, run the rounds, record the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=FAMILY, action="append", help="default: both")
    parser.add_argument("--requests", type=int, default=1000, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return serve_fastapi(options.worker, options.port)
    # one thread each: idle threads of a linear algebra library burn CPU that is not the server's
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    os.environ.update(MLFLOW_LOGGING_LEVEL="ERROR", MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false")
    peers = [peer for peer in NAMES if importlib.util.find_spec(peer)]
    lines = [line for task in options.task or FAMILY for line in compare(task, peers, options)]
    lines += [f"- {NAMES[peer]}: missing here, not measured" for peer in NAMES if peer not in peers]
    versions = ("starlette", "uvicorn", "httptools", "fastapi", "pydantic", "mlflow", "pandas")
    installed = [f"{name} {importlib.metadata.version(name)}" for name in versions if has(name)]
    lines += [
        f"- {', '.join(installed)}",
        "- Diptych records each prediction on disk; the others none.",
    ]
    return record("Serving", lines)


def has(name):
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main()
