"""Power cuts amid promotions: the audit, the champion and what was acknowledged fit each other."""

import os
import random

import power_cut
import pytest

from diptych.mlops.registry import ModelRegistry

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not power_cut.can_trace(), reason="strace is not here, or refused"),
]
PROMOTE = """
import sys
from pathlib import Path
from diptych.mlops.registry import ModelRegistry
book = ModelRegistry("cut")
for _ in range(2):
    book.register(Path(sys.argv[1]), {}, {}, "run")
for turn in range(12):
    book.promote(book.version(1 + turn % 2), f"turn {turn}", {"promoted": True})
    print(turn, flush=True)
"""
STATES = 150


def test_a_promotion_that_was_acknowledged_stays_and_the_audit_is_true(
    text_model, tmp_path, monkeypatch
):
    home, rng = tmp_path / "home", random.Random(1)
    home.mkdir()
    environment = os.environ | {"DIPTYCH_HOME": str(home)}
    trace = power_cut.Trace.of(PROMOTE, home, (text_model,), env=environment)
    first = next(i for i, event in enumerate(trace.events) if event.kind == "say")
    for number in range(STATES):
        count = rng.randint(first + 1, len(trace.events))
        share = (0, 1, 0.5, rng.random())[number % 4]
        state, words = trace.cut(count, lambda share=share: rng.random() < share)
        folder = tmp_path / str(number)
        folder.mkdir()
        state.write(folder)
        monkeypatch.setenv("DIPTYCH_HOME", str(folder))
        book = ModelRegistry("cut")
        history, champion = book.history(), book.champion()
        turns = [why.removeprefix("turn ") for why in history["why"]]
        assert turns[: len(words)] == words, (count, number)
        assert str(champion.number) == history["to_version"].iloc[-1], (count, number)
        assert history["from_version"].tolist()[1:] == history["to_version"].tolist()[:-1]
