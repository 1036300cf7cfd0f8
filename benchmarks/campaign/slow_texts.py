"""Texts that make a careless redactor slow: a megabyte of each, in CPU seconds."""

import random
import time
from pathlib import Path

from figures import Figure

from diptych.base.secrets import Redactor

PIECES = (
    "sk-a", "-sk-a", "-eyJaaaaaaaaaaaaa", "-eyJaaaaaaaaaaa.eyJa", "://a:", "password=", "?sig=",
    "-----BEGIN RSA PRIVATE KEY-----", "12345678:AA", 'password="',
)  # fmt: skip
SIZE = 1_000_000


def run(_home: Path, _rng: random.Random, times: int) -> list[Figure]:
    """Redact each text so many times."""
    redactor, seconds = Redactor(), []
    for piece in PIECES * times:
        text = piece * (SIZE // len(piece))
        began = time.process_time()
        redactor.text(text)
        seconds.append(time.process_time() - began)
    return [
        Figure("redactor", "slowest adversarial text of 1 MB", len(seconds), max(seconds), 1, "s")
    ]
