"""The door of a real model server: what it keeps out, and that nobody takes the server's place."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from llmops.local_server import answer, at, gone, wait_for

from diptych.base.environment import process_start
from diptych.llmops.client import endpoint
from diptych.llmops.server import gate, process

JSON = {"Content-Type": "application/json"}
CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


def ask(server, method, path, body=None, headers=JSON, seconds=60):
    """Return status and answer of the gate."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=seconds)
    try:
        body = json.dumps(body) if isinstance(body, dict | list) else body
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_it_passes_on_what_the_api_has(shared):
    status, text = ask(shared, "POST", CHAT, HELLO)
    assert (status, json.loads(text)["object"]) == (200, "chat.completion")
    status, text = ask(shared, "POST", CHAT, HELLO | {"stream": True})
    assert text.rstrip().endswith("data: [DONE]")
    assert ask(shared, "GET", "/health", headers={})[0] == 200
    assert "<title>" in ask(shared, "GET", "/", headers={})[1]


def test_hundreds_of_requests_at_once_break_no_connection(shared):
    """llama.cpp ends each of its connections after a hundred."""
    with ThreadPoolExecutor(8) as pool:
        body = HELLO | {"stream": True}
        answers = pool.map(lambda _: ask(shared, "POST", CHAT, body), range(400))
        assert Counter(status for status, _ in answers) == {200: 400}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/lora-adapters"), ("GET", "/lora-adapters"), ("POST", "/slots/0?action=save"),
        ("GET", "/slots"), ("POST", "/props"), ("POST", "/models/load"), ("GET", "/../etc/passwd"),
        ("DELETE", "/models"), ("OPTIONS", CHAT), ("POST", "//lora-adapters"),
        ("POST", "/v1/chat/completions/../../lora-adapters"), ("POST", "/%6cora-adapters"),
    ],
)  # fmt: skip
def test_what_would_change_or_show_it_to_others_is_closed(shared, method, path):
    status, text = ask(shared, method, path, [{"id": 0, "scale": 1.0}])
    assert status in (404, 405)
    assert "is not served" in json.loads(text)["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
    ],
)
def test_no_page_of_another_site_uses_it(shared, headers, status):
    assert ask(shared, "POST", CHAT, HELLO, JSON | headers)[0] == status


SCHEMA = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(20_000)}}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (HELLO | {"json_schema": SCHEMA}, 413),
        (HELLO | {"response_format": {"type": "json_schema", "json_schema": SCHEMA}}, 413),
        (HELLO | {"dry_sequence_breakers": [str(i) for i in range(20_000)]}, 413),
        (HELLO | {"stop": [str(i) for i in range(1_000)]}, 413),
        (HELLO | {"grammar": 'root ::= "a"\n' * 10_000}, 413),
        ("x" * (gate.BODY_BYTES + 1), 413),
        ("[" * 100_000, 400),
        ("[]", 400),
        ("\ud800".encode("utf-8", "surrogatepass"), 400),
        ("", 400),
    ],
)
def test_what_would_swell_or_stall_it_is_refused(shared, body, status):
    assert ask(shared, "POST", CHAT, body)[0] == status
    assert ask(shared, "POST", CHAT, HELLO)[0] == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"messages": [{"role": "user", "content": None, "name": {}}], "max_tokens": 2}),
        (
            "/v1/messages",
            {"messages": [{"role": "user", "content": None, "name": {}}], "max_tokens": 2},
        ),
        (
            "/v1/messages/count_tokens",
            {"messages": [{"role": "user", "content": None, "name": {}}]},
        ),
        ("/apply-template", {"messages": [{"role": "user", "content": None, "name": {}}]}),
        ("/v1/rerank", {"query": "a", "documents": ["b"]}),
        ("/v1/messages", {"max_tokens": 2}),
        ("/v1/messages/count_tokens", {}),
        ("/detokenize", {"tokens": [99_999_999]}),
        (CHAT, HELLO | {"reasoning_format": ""}),
        ("/infill", {"input_prefix": "a", "input_suffix": "b", "n_predict": 2}),
    ],
)
def test_what_llama_cpp_cannot_read_or_do_is_the_requests_fault(shared, path, body):
    """It answers these with 500 and 501."""
    status, text = ask(shared, "POST", path, body)
    assert status == 400
    error = json.loads(text)["error"]
    assert error["type"] == "invalid_request_error"
    words = ("Failed to parse", "support", "is required", "range_check", "Unknown")
    assert any(each in error["message"] for each in words)


def test_a_client_that_leaves_frees_its_slot(shared):
    endless = {"max_tokens": 100_000, "ignore_eos": True, "stream": True}
    body = json.dumps(HELLO | endless).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    address = urlsplit(shared.url)
    before = metric(shared, "tokens_predicted_total")
    with contextlib.ExitStack() as stack:
        for _ in range(8):  # one has written all that there is room for in a third of a second
            connection = socket.create_connection((address.hostname, address.port), timeout=60)
            stack.enter_context(connection)
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert b" 200 " in connection.recv(100)  # it writes
    wait_for(lambda: metric(shared, "requests_processing") == 0)
    assert metric(shared, "tokens_predicted_total") - before < 8 * 400  # there is room for 8 x 500


def metric(server, name):
    lines = process.request(server, "GET", "/metrics")[1].decode().splitlines()
    (line,) = (one for one in lines if one.startswith(f"llamacpp:{name} "))
    return float(line.split()[1])


def test_only_its_user_may_enter_the_sockets_folder(shared):
    folder = os.stat(os.path.dirname(shared.socket))
    assert (folder.st_uid, folder.st_mode & 0o777) == (os.geteuid(), 0o700)


class Thief(threading.Thread):
    """Answers on a port as the model's server would, and keeps what it hears."""

    def __init__(self, port):
        super().__init__()
        self.heard, self.listener = [], socket.create_server(("127.0.0.1", port))
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.heard.append(connection.recv(2**16))
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}'
                )

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


def test_who_gets_the_port_of_a_killed_server_hears_nothing(gguf, home):
    server = process.start(gguf)
    client = endpoint.client(at(gguf))
    assert answer(client) is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: gone(server.pid))
    thief = Thief(urlsplit(server.url).port)
    try:
        assert process.find(gguf) is None
        assert answer(client) is not None  # the client of before, too
        assert process.start(gguf).pid != server.pid
        assert thief.heard == []
    finally:
        thief.close()
        client.close()


def test_stop_ends_no_process_that_has_the_servers_number_now(gguf, home):
    server = process.start(gguf)
    (file,) = (home / "llm").glob("*.json")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": bystander.pid}))
        assert process.find(gguf) is None
        assert not process.stop(gguf)
        time.sleep(0.2)
        assert bystander.poll() is None
        bystander.communicate()
    os.kill(server.pid, signal.SIGKILL)


def test_a_state_file_of_an_earlier_version_is_no_server(gguf, home):
    server = process.start(gguf)
    (file,) = (home / "llm").glob("*.json")
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({name: facts[name] for name in ("pid", "url", "model", "digest")}))
    assert process.find(gguf) is None
    os.kill(server.pid, signal.SIGKILL)


def test_a_process_is_known_by_its_start():
    assert process_start(os.getpid()) == process_start(os.getpid()) != ""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert process_start(ended.pid) == ""
