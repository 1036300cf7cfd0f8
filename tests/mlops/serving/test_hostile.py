"""A real endpoint under attack: foreign pages, endless heads, crowds; others are still served."""

import contextlib
import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from diptych.base import guarded_http
from diptych.core.store.predictions import Predictions
from diptych.mlops.serving.process import Endpoint

BODY = json.dumps({"inputs": ["a good film"]}).encode()
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def words(text_model, tmp_path_factory):
    """An endpoint of texts."""
    path = tmp_path_factory.mktemp("hostile") / "ledger.db"
    with Endpoint(text_model, ledger=path, endpoint="attacked") as server:
        server.ledger = path
        server.at = ("127.0.0.1", urlsplit(server.url).port)
        yield server


def post(server, headers, body=BODY):
    connection = http.client.HTTPConnection(*server.at, timeout=20)
    try:
        connection.request("POST", "/invocations", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ping(server) -> float:
    """Return how long the endpoint takes to say that it is there."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(*server.at, timeout=20)
    connection.request("GET", "/ping")
    assert connection.getresponse().status == 200
    connection.close()
    return time.perf_counter() - began


def sent(server, data: bytes) -> bytes:
    """Send bytes as they are and return the answer, b"" for a closed connection."""
    with socket.create_connection(server.at, timeout=20) as connection:
        try:
            connection.sendall(data)
            return connection.recv(2**16)
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"Host": "evil.example"}, 403, "Host: evil.example is not served; ask for "),
        ({"Host": "127.0.0.1.evil.example:80"}, 403, "Host: "),
        ({"Origin": "https://evil.example"}, 403, "Origin: a page of https://evil.example may not"),
        ({"Origin": "null"}, 403, "Origin: a page of null may not"),
        ({"Origin": "http://127.0.0.1:1"}, 403, "Origin: "),
        ({"Content-Type": ""}, 415, "Content-Type: is missing; send application/json"),
        ({"Content-Type": "text/plain"}, 415, "Content-Type: 'text/plain' is not read"),
    ],
)
def test_no_page_of_another_site_uses_it(words, headers, status, reason):
    with Predictions(words.ledger) as ledger:
        before = len(ledger.table())
        answered, answer = post(words, JSON | headers)
        assert (answered, answer["error"][: len(reason)]) == (status, reason)
        assert len(ledger.table()) == before


@pytest.mark.parametrize("name", ["localhost", "localhost:9", "127.0.0.1", "LocalHost:80"])
def test_its_own_names_are_served_whatever_the_port(words, name):
    """A tunnel or a proxy of JupyterLab has another port."""
    assert post(words, JSON | {"Host": name})[0] == 200
    assert post(words, JSON | {"Host": name, "Origin": f"http://{name}"})[0] == 200


def test_no_page_shows_its_answers_in_a_frame(words):
    answer = sent(words, b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").lower()
    assert b"frame-ancestors 'none'" in answer
    assert b"x-content-type-options: nosniff" in answer


START = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "one header": START + b"X-Long: ",
    "a path": b"GET /",
    "a chunk's extension": CHUNKED + b"1;",
    "a trailer": CHUNKED + b"0\r\nX-Long: ",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_does_not_end_is_cut_off_after_64_kib(words, name):
    with socket.create_connection(words.at, timeout=20) as connection:
        connection.sendall(ENDLESS[name])
        sent_bytes, piece = 0, b"a" * 2**14
        while not _is_closed(connection):
            assert sent_bytes <= 2**20
            with contextlib.suppress(ConnectionError):
                connection.sendall(piece)
            sent_bytes += len(piece)
            time.sleep(0.01)


def test_many_headers_are_cut_off_too(words):
    answer = sent(words, START + b"X-A: b\r\n" * 20_000)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")


def test_a_long_body_with_a_goodbye_gets_its_answer(words):
    """The client reads why, though it sends on: its connection is closed after its last byte."""
    connection = http.client.HTTPConnection(*words.at, timeout=20)
    body = (b"x" * 2**16 for _ in range(64))
    headers = JSON | {"Connection": "close"}
    connection.request("POST", "/invocations", body, headers, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"][:5]) == (413, "body:")
    connection.close()


def test_a_client_that_asks_for_it_is_told_that_its_connection_ends(words):
    """Some clients keep what nobody says will end, and fail at the next request on it."""
    goodbye = START + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    head = sent(words, goodbye + BODY).partition(b"\r\n\r\n")[0].lower()
    assert b"connection: close" in head.split(b"\r\n")


def test_a_crowd_of_half_requests_keeps_nobody_out(words):
    ping(words)
    crowd = []
    try:
        for _ in range(guarded_http.PER_CLIENT + 100):
            crowd.append(socket.create_connection(words.at, timeout=20))
            crowd[-1].sendall(START)
        assert post(words, JSON)[0] == 200
        assert sorted(ping(words) for _ in range(5))[2] < 1
        closed = [one for one in crowd if _is_closed(one)]
        assert len(closed) >= 100
        assert crowd[0] in closed  # the one that has waited longest
    finally:
        for one in crowd:
            one.close()


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(2**16):  # a refusal, before the end
            pass
        return True
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        connection.settimeout(20)


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": ["\\ud83d"]}',
        b'{"\\udfff": 1}',
        b'{"inputs": {"\\ud800": ["a"]}}',
        b'{"inputs": [{"text": "a", "\\ud800": "b"}]}',
        b'{"inputs": ["a"], "ids": ["\\udc00"]}',
        b'{"inputs": ["a"], "params": "\\udc00"}',
        b'{"dataframe_split": {"columns": ["\\ud801"], "data": [["a"]]}}',
        b'{"dataframe_split": {"columns": ["text", "\\ud801"], "data": [["a", 1]]}}',
        b'"\\ud800"',
    ],
)
def test_half_a_character_is_a_400_wherever_it_stands(words, body):
    status, answer = post(words, JSON, body)
    assert status == 400
    assert answer["error"]


def test_a_name_of_two_megabytes_takes_no_time(words):
    body = json.dumps({"i" * 2_000_000: 1}).encode()
    status, answer = post(words, JSON, body)
    assert (status, len(answer["error"]) < 300) == (400, True)
