"""Whether the time of a refusal tells how much of a token is right: wrong tokens, both servers.

Wrong tokens of one length, of which one part begins as the right one does, are sent in turn. The
difference of the two medians is compared with that of random halves of all the times.
"""

import http.client
import os
import random
import re
import secrets
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from figures import Figure
from small_model import fitted

SHUFFLES = 1_000
TOKEN = "CAMPAIGN_TOKEN"
PATHS = {"model endpoint": "/metadata", "LLM server": "/v1/models"}


@contextmanager
def served(*command: object):
    """Start a server that asks for the token, and yield its host and port."""
    words = [sys.executable, "-m", "diptych", "serve", *map(str, command), "--token-env", TOKEN]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            url = next(match[0] for line in process.stdout
                       if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))  # fmt: skip
            yield urlsplit(url).netloc
        finally:
            process.terminate()


def times_of(address: str, path: str, tokens: tuple[str, str], pairs: int) -> list[list[float]]:
    """Return the seconds of the refusals of two tokens, sent in turn over one connection."""
    connection, times = http.client.HTTPConnection(address, timeout=60), [[], []]
    for number in range(2 * pairs):
        which = (number + number // 2) % 2  # a, b, b, a, ...
        began = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"Bearer {tokens[which]}"})
        response = connection.getresponse()
        response.read()
        times[which].append(time.perf_counter() - began)
        if response.status != 401:
            raise RuntimeError(f"{path}: {response.status} for a wrong token")
    connection.close()
    return times


def share_as_far_apart(times: list[list[float]], rng: random.Random) -> float:
    """Return the share of random halves whose medians are at least as far apart as these."""
    every, half = [*times[0], *times[1]], len(times[0])
    apart = abs(statistics.median(times[0]) - statistics.median(times[1]))
    as_far = 0
    for _ in range(SHUFFLES):
        rng.shuffle(every)
        as_far += abs(statistics.median(every[:half]) - statistics.median(every[half:])) >= apart
    return as_far / SHUFFLES


def run(home: Path, rng: random.Random, pairs: int) -> list[Figure]:
    """Compare a token wrong in its first character with one wrong in its last."""
    token, figures = secrets.token_hex(32), []
    os.environ[TOKEN] = token
    first, last = f"x{token[1:]}", f"{token[:-1]}x"
    folder = fitted(home)
    commands = (
        ("model", folder, "--port", 0, "--ledger", home / "ledger.db"),
        ("llm", "--no-open"),
    )
    for part, command in zip(PATHS, commands, strict=True):
        with served(*command) as address:
            times = times_of(address, PATHS[part], (first, last), pairs)
        surprise = 1 - share_as_far_apart(times, rng)
        what = "share of random halves less apart than refusals of nearly right tokens"
        figures.append(Figure(part, what, 2 * pairs, surprise, 0.999))
    return figures
