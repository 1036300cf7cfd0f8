"""A PostgreSQL server, or its client, killed amid commits: what was acknowledged is there."""

import random
import signal
import subprocess
import sys
import threading
import time

import postgres
import pytest

from diptych.core.store.calls import Calls, LedgerError

ROW = {"endpoint": "local", "model": "m", "input": {"text": "x" * 2000}}
AT_ONCE = 7  # rows of one transaction
CLIENT = """
import itertools, sys
from diptych.core.store.calls import Calls
row, at_once = {"endpoint": "local", "model": "m", "input": {"text": "x" * 2000}}, int(sys.argv[2])
with Calls(sys.argv[1]) as calls:
    for turn in itertools.count():
        calls.log([{**row, "request": f"client {turn} {i}"} for i in range(at_once)])
        print(turn, flush=True)
"""
pytestmark = pytest.mark.skipif(
    postgres.programs() is None, reason="no PostgreSQL server is installed (Debian: postgresql)"
)


@pytest.fixture
def cluster():
    with postgres.cluster() as made:
        yield made


def write_on(url: str, name: str, acknowledged: list, errors: list) -> None:
    """Write batches until the server is gone, and note those that it acknowledged."""
    try:
        with Calls(url) as calls:
            for turn in range(100_000):
                rows = [{**ROW, "request": f"{name} {turn} {i}"} for i in range(AT_ONCE)]
                calls.log(rows)
                acknowledged.append(f"{name} {turn}")
    except LedgerError as error:
        errors.append(str(error))


def batches(url: str) -> dict[str, int]:
    """Return how many rows each batch has."""
    with Calls(url) as calls:
        requests = calls.table()["request"]
    return requests.str.rpartition(" ")[0].value_counts().to_dict()


# a kill takes two seconds, most of them for the server to start again
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_a_server_killed_amid_commits_loses_no_acknowledged_row(cluster, kills):
    rng, acknowledged, errors = random.Random(kills), [], []
    for number in range(kills):
        with cluster.running():
            writers = [
                threading.Thread(
                    target=write_on,
                    args=(cluster.url, f"writer {number} {i}", acknowledged, errors),
                )
                for i in range(4)
            ]
            before = len(acknowledged)
            for writer in writers:
                writer.start()
            until = time.monotonic() + 60
            while len(acknowledged) < before + 10:
                assert time.monotonic() < until, "nothing was written"
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.2))
            cluster.kill()
            for writer in writers:
                writer.join()
    with cluster.running():
        stored = batches(cluster.url)
    assert len(errors) == 4 * kills, "each writer was told"
    assert all("ledger: 127.0.0.1" in error and "failed" in error for error in errors)
    assert set(acknowledged) <= set(stored)
    assert set(stored.values()) == {AT_ONCE}, "a batch is there whole or not at all"
    assert len(stored) <= len(acknowledged) + len(errors), "what is there beyond was under way"


def test_a_client_killed_amid_commits_leaves_no_half_batch(cluster):
    rng, acknowledged = random.Random(1), 0
    with cluster.running():
        for _ in range(3):
            process = subprocess.Popen(
                [sys.executable, "-c", CLIENT, cluster.url, str(AT_ONCE)],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert process.stdout.readline() == "0\n"
            time.sleep(rng.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            acknowledged += 1 + len(process.communicate()[0].splitlines())
        with Calls(cluster.url) as calls:
            rows = len(calls.table())
    assert rows % AT_ONCE == 0
    assert acknowledged * AT_ONCE <= rows <= (acknowledged + 3) * AT_ONCE
