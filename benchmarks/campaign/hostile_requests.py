"""Hostile requests to both servers, over raw sockets: what they answer and what it costs."""

import http.client
import json
import random
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from figures import Figure
from small_model import fitted

from diptych.llmops.server import process
from diptych.mlops.serving.process import Endpoint

PATIENCE_S = 40.0  # longer than any limit of the servers
VALUES = (
    None, True, -1, 1e308, "", "a", "\ud83d", "\0", "x" * 5_000, [], {}, [[]], [None], {"a": 1},
    float("nan"), 10**400, "\u202e", ["a"] * 1_200,
)  # fmt: skip
FIELDS = {
    "/invocations": (
        "inputs", "instances", "dataframe_split", "dataframe_records", "ids", "params",
    ),
    "/v1/chat/completions": (
        "messages", "max_tokens", "stop", "temperature", "stream", "response_format", "tools",
        "logit_bias", "n", "seed", "top_p", "top_k", "grammar", "json_schema", "model", "lora",
    ),
    "/v1/responses": (
        "input", "instructions", "max_output_tokens", "text", "tools", "tool_choice", "stream",
        "include", "top_logprobs", "metadata", "previous_response_id", "model", "temperature",
    ),
}  # fmt: skip
GOOD = {
    "/invocations": {"inputs": ["a good film"]},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2},
    "/v1/responses": {"input": "hi", "max_output_tokens": 2},
}
LIMITS = {"/v1/chat/completions": "max_tokens", "/v1/responses": "max_output_tokens"}
HEADERS = (
    b"Host: evil.example", b"Host: a\r\nHost: b", b"Origin: http://evil.example", b"Origin: null",
    b"Content-Type: text/plain", b"Content-Type: application/json; charset=utf-16",
    b"Content-Encoding: gzip", b"Transfer-Encoding: chunked", b"Content-Length: -1",
    b"Content-Length: 99999999999", b"Expect: 100-continue", b"X: " + b"a" * 70_000,
    b"Upgrade: websocket\r\nConnection: upgrade", b"Connection: close", b"\xff\xfe: \x00",
)  # fmt: skip
LINES = (
    b"POST {} HTTP/1.1", b"GET {} HTTP/1.1", b"PUT {} HTTP/1.1", b"OPTIONS {} HTTP/1.1",
    b"POST {}/../../x HTTP/1.1", b"POST {}?a=%00 HTTP/9.9", b"POST /lora-adapters HTTP/1.1",
    b"POST /slots/0?action=erase HTTP/1.1", b"GET /slots HTTP/1.1", b"HEAD {} HTTP/1.1",
    b"\x16\x03\x01 {}", b"POST http://evil.example{} HTTP/1.1",
)  # fmt: skip


def body_of(path: str, rng: random.Random) -> bytes:
    """Return a body: a good one with fields replaced, or bytes of any kind."""
    if rng.random() < 0.15:
        return rng.randbytes(rng.randrange(200))
    if rng.random() < 0.05:
        return b"[" * 50_000
    content = dict(GOOD[path])
    for name in rng.sample(FIELDS[path], k=rng.randint(1, 3)):
        content[name] = rng.choice(VALUES)
    limit = LIMITS.get(path)
    if limit and not isinstance(content.get(limit), str | list | dict):
        content[limit] = 2  # hostile is not the same as long
    data = json.dumps(content).encode()
    if rng.random() < 0.2:
        at = rng.randrange(len(data))
        data = data[:at] + rng.randbytes(rng.randrange(4)) + data[at + rng.randrange(4) :]
    return data


def request_of(path: str, rng: random.Random) -> bytes:
    """Return the bytes of one request."""
    body = body_of(path, rng)
    line = LINES[0] if rng.random() < 0.7 else rng.choice(LINES)
    lines = [line.replace(b"{}", path.encode())]
    lines += [rng.choice(HEADERS) for _ in range(rng.choice((0, 0, 1, 2)))]
    if not any(one.startswith(b"Host") for one in lines):
        lines.append(b"Host: 127.0.0.1")
    if not any(one.startswith(b"Content-Type") for one in lines):
        lines.append(b"Content-Type: application/json")
    if not any(one.startswith((b"Content-Length", b"Transfer")) for one in lines):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def send(address: tuple[str, int], data: bytes) -> int:
    """Send a request as it is and return the status; 0 for a closed connection, -1 for a hang.

    The client has nothing more to say, so a request that claims more ends here.
    """
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(64)
        except TimeoutError:
            return -1
        except OSError:
            return 0
    parts = answer.split(b" ")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def ping(address: tuple[str, int], path: str) -> float:
    """Return how many seconds a harmless request takes."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    finally:
        connection.close()
    return time.perf_counter() - began


def under_attack(address: tuple[str, int], path: str, seconds: float) -> float:
    """Return how many times slower a harmless request is beside endless heads."""
    alone = sorted(ping(address, path) for _ in range(41))[20]
    stop = threading.Event()

    def endless() -> None:
        while not stop.is_set():
            with socket.create_connection(address, timeout=5) as connection:
                try:
                    connection.sendall(b"GET / HTTP/1.1\r\nX: ")
                    while not stop.is_set():
                        connection.sendall(b"a" * 4096)
                        time.sleep(0.01)
                except OSError:
                    pass

    thread = threading.Thread(target=endless)
    crowd = [socket.create_connection(address, timeout=5) for _ in range(300)]
    for one in crowd:
        one.sendall(b"GET / HTTP/1.1\r\n")
    thread.start()
    until, times = time.monotonic() + seconds, []
    while time.monotonic() < until or len(times) < 41:
        times.append(ping(address, path))
    stop.set()
    thread.join()
    for one in crowd:
        one.close()
    return sorted(times)[len(times) // 2] / alone


def attack(part: str, url: str, pid: int, path: str, rng: random.Random, count: int):
    """Attack one server and return its figures."""
    address = _address(url)
    served = psutil.Process(pid)
    for _ in range(max(50, count // 20)):
        send(address, request_of(path, rng))
    before, statuses = served.memory_info().rss, []
    for _ in range(count):
        data = request_of(path, rng)
        statuses.append(send(address, data))
        if statuses[-1] >= 500 or statuses[-1] < 0:
            print(f"{part}: {statuses[-1]} for {data[:300]!r}")
    grown = (served.memory_info().rss - before) / 2**20
    return [
        Figure(part, "answers 5xx", count, sum(status >= 500 for status in statuses)),
        Figure(part, "requests that hang", count, sum(status < 0 for status in statuses)),
        Figure(part, "memory gained", count, round(grown, 1), 20, "MiB"),
    ]


def _address(url: str) -> tuple[str, int]:
    return urlsplit(url).hostname, urlsplit(url).port


def _endpoint(home: Path) -> Endpoint:
    """Return a model endpoint, to be entered."""
    return Endpoint(fitted(home), ledger=home / "ledger.db", endpoint="attacked")


@contextmanager
def _llm_server():
    server = process.start()
    try:
        yield server
    finally:
        process.stop()


def run(home: Path, rng: random.Random, count: int) -> list[Figure]:
    """Attack the model endpoint with half of the requests, the LLM server with the others."""
    figures, half = [], count // 2
    with _endpoint(home) as server:
        figures += attack("model endpoint", server.url, server.pid, "/invocations", rng, half)
    with _llm_server() as server:
        at = (server.url, server.pid)
        figures += attack("LLM server", *at, "/v1/chat/completions", rng, half // 2)
        what = "Responses of the LLM server"
        figures += attack(what, *at, "/v1/responses", rng, half - half // 2)
    return figures


def slowdowns(home: Path, _rng: random.Random, seconds: int) -> list[Figure]:
    """Compare a harmless request with one under attack; not beside others, which slow it down."""
    with _endpoint(home) as server:
        model = under_attack(_address(server.url), "/ping", seconds)
    with _llm_server() as server:
        llm = under_attack(_address(server.url), "/health", seconds)
    what = "slowdown of a harmless request while under attack"
    return [
        Figure("model endpoint", what, 1, round(model, 2), 3, "times"),
        Figure("LLM server", what, 1, round(llm, 2), 3, "times"),
    ]
