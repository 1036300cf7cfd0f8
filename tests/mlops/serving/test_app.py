"""The endpoint as a real process over HTTP: answers, refusals, records, and how it ends."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
import uvicorn
from click.testing import CliRunner
from mlops.samples import reseal
from mlops.serving.test_inputs import BAD_TEXTS, kind_of

from diptych.base.http_load import drive
from diptych.cli import cli
from diptych.core.evaluation.calibrators import Calibrator
from diptych.core.store.predictions import Predictions
from diptych.mlops.models import model as models
from diptych.mlops.registry import ModelRegistry
from diptych.mlops.serving.app import Limits, create_app
from diptych.mlops.serving.process import Endpoint, EndpointError

JSON = {"Content-Type": "application/json"}
TEXTS = ["a good film", "a dull book", "neither"]


@pytest.fixture(scope="module")
def words(text_model, tmp_path_factory):
    """An endpoint of texts."""
    path = tmp_path_factory.mktemp("words") / "ledger.db"
    with Endpoint(text_model, ledger=path, name="words/1", endpoint="run-1") as server:
        server.ledger = path
        yield server


@pytest.fixture(scope="module")
def boxes(table_model, tmp_path_factory):
    """An endpoint of tables."""
    path = tmp_path_factory.mktemp("boxes") / "ledger.db"
    with Endpoint(table_model, ledger=path, endpoint="run-2") as server:
        server.ledger = path
        yield server


def connect(url):
    return http.client.HTTPConnection(urlsplit(url).hostname, urlsplit(url).port, timeout=20)


def call(url, method="POST", path="/invocations", body=None, headers=JSON):
    """Return status, decoded answer and headers."""
    connection = connect(url)
    try:
        body = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers
    finally:
        connection.close()


def test_an_answer_is_the_models_own_and_on_record(words, text_model):
    status, answer, _ = call(words.url, body={"inputs": TEXTS, "ids": ["a", "b", 3]})
    model = models.load(text_model)
    expected = model.predict_proba(TEXTS)
    assert status == 200
    assert answer["predictions"] == model.predict(TEXTS).tolist()
    assert answer["predictions"][:2] == ["yes", "no"]
    np.testing.assert_allclose(answer["probabilities"], expected)
    assert answer["classes"] == ["no", "yes"]
    assert answer["model"] == "words/1"
    assert "answers" not in answer  # they are the labels
    with Predictions(words.ledger) as ledger:
        log = ledger.table("run-1").set_index("row_id").loc[["a", "b", "3"]]
    assert log["input"].tolist() == TEXTS
    assert log["prediction"].tolist() == answer["predictions"]
    assert log["probabilities"].tolist() == answer["probabilities"]
    np.testing.assert_allclose(log["probability"], expected.max(axis=1))
    assert (log["model"] == "words/1").all()
    assert (log["latency_ms"] > 0).all()


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_text_without_a_known_word_is_named_and_gets_the_shares_of_training(words, form):
    texts = ["Превосходно", "a good film", "?!", "zqx vjw"]
    if form == "json":
        status, answer, _ = call(words.url, body={"inputs": texts})
    else:
        body = "text\n" + "\n".join(texts)
        headers = {"Content-Type": "text/csv; header=present"}
        status, answer, _ = call(words.url, body=body.encode(), headers=headers)
    assert status == 200
    assert answer["no_basis"] == [0, 2, 3]
    assert answer["probabilities"][0] == answer["probabilities"][2] == [0.5, 0.5]
    assert max(answer["probabilities"][1]) > 0.5
    assert "no_basis" not in call(words.url, body={"inputs": ["a gooood film"]})[1]


ROWS = [[0.1, 0.7, -1.0], [2.0, None, 1.0]]
NAMED = [dict(zip(["width", "height", "depth"], row, strict=True)) for row in ROWS]


def test_each_form_gives_the_same_predictions(boxes):
    split = {"columns": ["depth", "width", "height"], "data": [[r[2], r[0], r[1]] for r in ROWS]}
    bodies = [
        {"inputs": ROWS},
        {"instances": ROWS},
        {"inputs": {name: [row[name] for row in NAMED] for name in NAMED[0]}},
        {"dataframe_records": NAMED},
        {"dataframe_split": split},
    ]
    answers = [call(boxes.url, body=body)[:2] for body in bodies]
    for csv in ("0.1,0.7,-1\n2,,1\n", "height,width,depth\n0.7,0.1,-1\n,2,1\n"):
        answers.append(call(boxes.url, body=csv, headers={"Content-Type": "text/csv"})[:2])
    assert answers[0][0] == 200
    assert answers[0][1]["predictions"][0] == "b"
    assert all(answer == answers[0] for answer in answers)


def test_many_at_once_get_each_its_own_answer(boxes, table_model):
    rows = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    load = drive(f"{boxes.url}/invocations", [{"inputs": [row]} for row in rows.tolist()])
    assert load.summary()["failed"] == 0
    found = [answer["probabilities"][0] for answer in load.answers]
    np.testing.assert_allclose(found, models.load(table_model).predict_proba(rows), rtol=1e-6)


def test_it_does_without_what_only_fitting_needs(words, boxes):
    """It would start a second and a half later."""
    for server in (words, boxes):
        call(server.url, body={"inputs": TEXTS if server is words else ROWS})
        files = " ".join(file.path for file in psutil.Process(server.pid).memory_maps())
        assert "/numpy/" in files
        assert "/sklearn/" not in files
        assert "/pandas/" not in files


def test_ping_and_metadata(words):
    assert call(words.url, "GET", "/ping")[0] == 200
    status, facts, _ = call(words.url, "GET", "/metadata")
    assert status == 200
    assert facts["classes"] == ["no", "yes"]
    assert facts["features"] == ["text"]
    assert facts["threshold"] is None  # the most probable class is answered


def test_a_served_answer_is_decided_at_the_threshold_of_calibrated_scores(text_model, tmp_path):
    model = models.load(text_model)
    model.calibrator = Calibrator("platt", (0.5,), (1.0,))
    model.positive, model.threshold = "yes", 0.6
    folder = model.save(tmp_path / "decided")
    with Endpoint(folder, ledger=tmp_path / "ledger.db", endpoint="run-3") as server:
        answer = call(server.url, body={"inputs": TEXTS})[1]
        facts = call(server.url, "GET", "/metadata")[1]
    expected = model.predict_proba(TEXTS)
    assert answer["predictions"] == model.predict(TEXTS).tolist()
    assert answer["predictions"] == ["yes" if x >= 0.6 else "no" for x in answer["scores"]]
    assert len(set(answer["predictions"])) == 2
    np.testing.assert_allclose(answer["scores"], expected[:, 1])
    assert (answer["positive"], answer["threshold"]) == ("yes", 0.6)
    assert (facts["positive"], facts["threshold"]) == ("yes", 0.6)
    assert facts["calibration"] == "Platt scaling"


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_a_bad_body_is_a_400_that_names_the_field(words, name):
    body, start, remedy = BAD_TEXTS[name]
    headers = {"Content-Type": kind_of(name)}
    status, answer, _ = call(words.url, body=body, headers=headers)
    assert status == 400
    assert answer["error"].startswith(start)
    assert remedy in answer["error"]


REFUSED = {
    "wrong path": ("GET", "/nowhere", {}, 404, "GET /nowhere: is not served; there are POST /inv"),
    "wrong method": ("GET", "/invocations", {}, 405, "GET /invocations: is not served"),
    "wrong type": (
        "POST", "/invocations", {"Content-Type": "text/plain"}, 415, "Content-Type: 'text/plain'",
    ),
    "compressed": (
        "POST", "/invocations", {**JSON, "Content-Encoding": "gzip"}, 415, "Content-Encoding: ",
    ),
    "too long": (
        "POST", "/invocations", {**JSON, "Content-Length": "3000000"}, 413, "body: is over 2,097",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_refusals_are_json_too(words, name):
    method, path, headers, expected, start = REFUSED[name]
    status, answer, sent = call(words.url, method, path, "", headers)
    assert status == expected
    assert answer["error"].startswith(start)
    assert sent["Content-Type"] == "application/json"
    if expected == 405:
        assert sent["Allow"] == "POST"


def test_a_long_body_without_a_length_is_cut_off(words):
    connection = connect(words.url)
    body = (b"x" * 2**16 for _ in range(33))
    connection.request("POST", "/invocations", body, JSON, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_kill_9_amid_traffic_loses_no_acknowledged_prediction(text_model, tmp_path):
    path, loads = tmp_path / "ledger.db", []
    bodies = [{"inputs": [TEXTS[i % 3]], "ids": [i]} for i in range(5_000)]
    with Endpoint(text_model, ledger=path, endpoint="killed") as server:
        url = f"{server.url}/invocations"
        traffic = threading.Thread(target=lambda: loads.append(drive(url, bodies)))
        with Predictions(path) as ledger:
            traffic.start()
            while len(ledger.table()) < 200:
                assert traffic.is_alive()
                time.sleep(0.01)
            os.kill(server.pid, signal.SIGKILL)
            traffic.join()
            recorded = set(ledger.table("killed")["row_id"])
    answered = {str(i) for i in np.flatnonzero(loads[0].status == 200)}
    assert 0 < len(answered) < len(bodies)  # some on record may not have been answered yet
    assert answered <= recorded


@contextmanager
def command(*options, env=None):
    """Run ``diptych serve model`` and give the process and the address it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "diptych", "serve", "model", "--port", "0", *map(str, options)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | (env or {}),
    )
    with process:
        try:
            yield process, re.search(r"http://\S+", process.stdout.readline())[0]
        finally:
            process.kill()


def refused(*options) -> tuple[int, str]:
    """Return exit code and message of ``diptych serve model`` where it does not come to serve."""
    said = CliRunner().invoke(cli, ["serve", "model", *map(str, options)])
    assert isinstance(said.exception, SystemExit)
    return said.exit_code, said.stderr


def until_refused(url):
    for _ in range(500):
        connection = connect(url)
        try:
            connection.connect()
        except ConnectionError:
            return
        connection.close()
        time.sleep(0.02)
    pytest.fail("it serves on")


def half_sent(url, body):
    """Send a request but for its last byte."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=20)
    head = f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:-1])
    return connection


def test_sigterm_finishes_requests_under_way_and_ends_well(text_model, tmp_path):
    path = tmp_path / "ledger.db"
    body = json.dumps({"inputs": ["a good film"], "ids": ["last"]}).encode()
    with command(text_model, "--ledger", path, "--endpoint", "e") as (process, url):
        assert call(url, "GET", "/ping")[0] == 200
        connection = half_sent(url, body)
        idle = connect(url)
        idle.connect()
        time.sleep(0.2)
        process.terminate()
        until_refused(url)
        connection.sendall(body[-1:])
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
        connection.close()
        idle.close()
        assert process.wait(20) == 0
    with Predictions(path) as ledger:
        assert ledger.table("e")["row_id"].tolist() == ["last"]


def test_other_hosts_need_a_token(text_model, tmp_path):
    place = [text_model, "--ledger", tmp_path / "ledger.db"]
    code, error = refused(*place, "--host", "0.0.0.0")
    assert code == 1
    assert "a token is needed" in error
    code, error = refused(*place, "--token-env", "NO_SUCH_TOKEN")
    assert code == 2
    assert "NO_SUCH_TOKEN is not set" in error
    options = ["--host", "0.0.0.0", "--token-env", "A_TOKEN"]
    with command(*place, *options, env={"A_TOKEN": "geheim-ß"}) as (_, url):
        body = {"inputs": TEXTS}
        token = "Bearer geheim-ß".encode()
        assert call(url, "GET", "/ping", headers={})[0] == 200
        for wrong in ("Bearer geheim", "geheim", "Basic geheim", ""):
            status, answer, sent = call(url, body=body, headers={**JSON, "Authorization": wrong})
            assert status == 401
            assert answer["error"].startswith("Authorization: ")
            assert sent["WWW-Authenticate"] == "Bearer"
        assert call(url, "GET", "/metadata", headers={})[0] == 401
        assert call(url, body=body, headers={**JSON, "Authorization": token})[0] == 200
        passed_on = {"X-Amzn-SageMaker-Custom-Attributes": token}
        assert call(url, body=body, headers=JSON | passed_on)[0] == 200


def test_the_command_names_what_is_wrong(words, text_model, tmp_path):
    (tmp_path / "notes.txt").write_text("no ledger" * 200)
    broken = shutil.copytree(text_model, tmp_path / "broken")
    reseal(broken, classes=["a", "b", "c"])
    for options, expected, named in (
        ([], 2, "FOLDER or --task"),
        ([text_model, "--task", "reviews"], 2, "FOLDER or --task"),
        (["--task", "o'clock"], 1, 'task: "o\'clock" has no champion'),
        ([text_model, "--port", "70000"], 2, "--port"),
        ([tmp_path], 1, "model.json"),
        ([broken], 1, "model: "),
        ([text_model, "--ledger", tmp_path / "notes.txt"], 1, "is not a ledger"),
        ([text_model, "--port", urlsplit(words.url).port], 1, "take another --port"),
        ([text_model, "--host", "no.such.host.invalid"], 1, "token is needed"),
    ):
        code, error = refused(*options)
        assert (code, named in error) == (expected, True), error


def test_the_champion_of_a_task(text_model, tmp_path):
    registry = ModelRegistry("talk")
    version = registry.register(text_model, {}, {}, "run")
    registry.promote(version, why="first", gate={"pass": True})
    with command("--task", "talk", "--ledger", tmp_path / "ledger.db") as (_, url):
        assert call(url, body={"inputs": TEXTS})[1]["model"] == "talk/1"


def test_an_endpoint_that_does_not_start_says_why(tmp_path):
    with pytest.raises(EndpointError, match=r"model\.json"):
        Endpoint(tmp_path, ledger=tmp_path / "ledger.db").wait()


def test_the_endpoint_ends_with_its_starter(text_model, tmp_path):
    code = (
        "import sys, time\nfrom diptych.mlops.serving.process import Endpoint\n"
        "server = Endpoint(sys.argv[1], ledger=sys.argv[2]).wait()\n"
        "print(server.url, flush=True)\ntime.sleep(100)"
    )
    started = [sys.executable, "-c", code, str(text_model), str(tmp_path / "ledger.db")]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as starter:
        url = starter.stdout.readline().strip()
        assert call(url, "GET", "/ping")[0] == 200
        starter.kill()
    until_refused(url)


@contextmanager
def served(model, ledger, **options):
    """Serve in a thread, for limits and failures that the command does not offer."""
    config = uvicorn.Config(create_app(model, ledger, **options), log_level="critical")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


def test_a_slow_body_is_given_up_and_does_not_keep_others_out(text_model, tmp_path):
    limits = Limits(body_s=0.5, in_flight=1)
    body = json.dumps({"inputs": TEXTS}).encode()
    with (
        Predictions(tmp_path / "ledger.db") as ledger,
        served(models.load(text_model), ledger, limits=limits) as url,
    ):
        slow = half_sent(url, body)
        time.sleep(0.2)
        status, answer, sent = call(url, body=body)
        assert status == 503
        assert "1 requests are under way" in answer["error"]
        assert sent["Retry-After"] == "1"
        assert b" 408 " in slow.recv(10_000)
        slow.close()
        assert call(url, body=body)[0] == 200
        gone = half_sent(url, body)
        gone.close()
        time.sleep(0.2)
        assert call(url, body=body)[0] == 200


def test_what_cannot_be_recorded_is_not_answered(text_model, tmp_path, capsys):
    with (
        Predictions(tmp_path / "ledger.db") as ledger,
        served(models.load(text_model), ledger) as url,
    ):
        with sqlite3.connect(ledger.path) as db:
            db.execute("ALTER TABLE predictions RENAME TO hidden")
        status, answer, sent = call(url, body={"inputs": TEXTS})
        assert status == 503
        assert answer.keys() == {"error"}
        assert sent["Retry-After"]
        db.execute("ALTER TABLE hidden RENAME TO predictions")
        db.close()
        assert call(url, body={"inputs": TEXTS})[0] == 200
        assert len(ledger.table()) == len(TEXTS)
    assert "no such table" in capsys.readouterr().err


class Fragile:
    """Features that fail on one text, and are slow so that requests gather."""

    def __init__(self, features):
        self.features = features

    def transform(self, texts):
        time.sleep(0.02)
        if "boom" in texts:
            raise FloatingPointError("boom")
        return self.features.transform(texts)


def test_a_request_that_breaks_the_model_fails_alone(text_model, tmp_path, capsys):
    model = models.load(text_model)
    model.encoder = Fragile(model.encoder)
    bodies = [{"inputs": ["boom" if i == 20 else TEXTS[0]], "ids": [i]} for i in range(40)]
    with Predictions(tmp_path / "ledger.db") as ledger, served(model, ledger) as url:
        load = drive(f"{url}/invocations", bodies, concurrency=20)
        recorded = ledger.table()
    assert load.status.tolist() == [500 if i == 20 else 200 for i in range(40)]
    assert "the model failed on these rows" in load.answers[20]["error"]
    assert sorted(map(int, recorded["row_id"])) == [i for i in range(40) if i != 20]
    assert "FloatingPointError" in capsys.readouterr().err
