"""A server that runs out of descriptors: others wait or are refused, and no row is lost."""

import contextlib
import http.client
import json
import socket
from urllib.parse import urlsplit

import psutil
import pytest

from diptych.core.store.predictions import Predictions
from diptych.mlops.serving.process import Endpoint

resource = pytest.importorskip("resource", reason="Windows limits no descriptors")
pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="only Linux limits another process"
)


def ask(url: str, number: int, seconds: float = 60) -> int:
    """Return the status of a prediction, 0 if the server did not take the connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=seconds)
    body = json.dumps({"inputs": ["a good film"], "ids": [number]})
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.mark.long
def test_a_server_without_descriptors_recovers_and_loses_no_row(text_model, tmp_path):
    ledger = tmp_path / "ledger.db"
    with Endpoint(text_model, ledger=ledger, endpoint="exhausted") as server:
        process = psutil.Process(server.pid)
        few = process.num_fds() + 12
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (few, few))
        address = (urlsplit(server.url).hostname, urlsplit(server.url).port)
        answered = set()
        with contextlib.ExitStack() as crowd:
            for _ in range(60):
                with contextlib.suppress(OSError):
                    crowd.enter_context(socket.create_connection(address, timeout=5))
            for number in range(3):
                if ask(server.url, number, 1) == 200:
                    answered.add(str(number))
            assert process.is_running()
            assert process.num_fds() <= few
        assert ask(server.url, 99) == 200, "the crowd is gone"
        answered.add("99")
    with Predictions(ledger) as book:
        rows = book.table("exhausted")["row_id"].tolist()
    assert answered <= set(rows), "each answer is on record"
    assert len(rows) == len(set(rows))
