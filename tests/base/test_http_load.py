"""The load generator against small real servers: what it counts, and where it runs."""

import asyncio
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from diptych.base.http_load import drive, usage

ODD = {
    "refuse": (503, b'{"error": "full"}'),
    "garble": (200, b"<html>"),
}


class Server(http.server.ThreadingHTTPServer):
    """Answers each body with itself, or as its field ``do`` says."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.now, self.most, self.seen = threading.Lock(), 0, 0, []
        self.together = threading.Barrier(1)  # answers wait until so many are asked for

    def handle_error(self, *_):
        pass  # a client that gave up


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written apart

    def do_POST(self):
        server = self.server
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(raw)
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
            server.seen.append((body["i"], self.headers.get("X-Who")))
        server.together.wait(30)
        time.sleep(body.get("sleep", 0.01))
        with server.lock:
            server.now -= 1
        if body.get("do") == "hang up":
            self.close_connection = True
            return
        status, answer = ODD.get(body.get("do"), (200, raw))
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_every_request_is_sent_once_in_order_and_answered_in_its_place():
    bodies = [{"i": i} for i in range(40)]
    with serving() as (server, url):
        load = drive(url, bodies, concurrency=1, headers={"X-Who": "me"})
    assert load.answers == bodies
    assert server.seen == [(i, "me") for i in range(40)]
    assert (load.latency_ms >= 10).all()
    assert (load.start[1:] > load.start[:-1]).all()
    found = load.summary()
    assert (found["n"], found["ok"], found["failed"]) == (40, 40, 0)
    assert found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"] <= load.latency_ms.max()
    assert found["requests_per_s"] == pytest.approx(40 / load.wall_s)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_many_at_once_and_no_more(concurrency):
    with serving() as (server, url):
        server.together = threading.Barrier(concurrency)
        load = drive(url, [{"i": i} for i in range(30)], concurrency=concurrency)
    assert load.summary()["failed"] == 0
    assert server.most == concurrency


def test_what_fails_is_counted_and_named_and_the_rest_goes_on():
    bodies = [{"i": i} for i in range(10)]
    for i, do in ((2, "refuse"), (4, "hang up"), (6, "garble")):
        bodies[i]["do"] = do
    with serving() as (server, url):
        load = drive(url, bodies, concurrency=2)
    assert load.summary()["failed"] == 3
    assert load.status[[2, 4, 6]].tolist() == [503, 0, 200]
    assert load.answers[2] == {"error": "full"}
    assert "Disconnected" in load.error[4]
    assert load.error[6] == "the answer is not JSON"
    assert [i for i, error in enumerate(load.error) if error] == [4, 6]
    # a connection closed under a request may be tried anew by the client, an answer never
    assert sorted({i for i, _ in server.seen}) == list(range(10))


def test_a_slow_answer_is_given_up():
    bodies = [{"i": 0, "sleep": 1.0}, {"i": 1}]
    with serving() as (_, url):
        load = drive(url, bodies, concurrency=2, timeout_s=0.3)
    assert load.status.tolist() == [0, 200]
    assert load.error[0] == "no answer within 0.3 s"
    assert load.latency_ms[0] >= 300
    assert load.summary()["failed"] == 1


def test_nobody_there():
    with serving() as (_, url):
        pass
    load = drive(url, [{"i": 0}])
    assert load.summary()["failed"] == 1
    assert load.error[0].startswith("ClientConnectorError")


def test_within_a_running_event_loop_as_in_a_notebook():
    async def cell(url):
        return drive(url, [{"i": 0}])

    with serving() as (_, url):
        assert asyncio.run(cell(url)).answers == [{"i": 0}]


def test_an_interrupt_ends_it():
    bodies = [{"i": i, "sleep": 0.1} for i in range(100)]
    with serving() as (server, url):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            drive(url, bodies, concurrency=2)
        time.sleep(0.5)
        assert 0 < len(server.seen) < 50


@pytest.mark.parametrize(("bodies", "concurrency"), [([], 1), ([{}], 0)])
def test_nothing_to_do_is_refused(bodies, concurrency):
    with pytest.raises(ValueError, match="bodies, concurrency"):
        drive("http://127.0.0.1:1", bodies, concurrency=concurrency)


def test_a_body_that_is_no_json_is_the_callers_error():
    with pytest.raises(TypeError):
        drive("http://127.0.0.1:1", [{"i": object()}])


def test_what_a_process_and_its_children_use():
    busy = "import subprocess, sys; held = b'x' * 50_000_000; print('.', flush=True); input()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.read(1)
        used = usage(process.pid)
        process.communicate(b"\n")
    assert used["memory_mb"] > 50  # held by the child
    assert used["cpu_s"] > 0
