"""Asking again, doubt and a judge, over a real endpoint whose answers to cards are known."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from llmops import fakes

from diptych.core.store.calls import Calls
from diptych.llmops.client.ask import Answer
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.hallucination import uncertainty
from diptych.llmops.hallucination.detector import Detector
from diptych.llmops.hallucination.uncertainty import Row
from diptych.llmops.pretrain.corpus.cards import ABSENT

SEVEN = Row("name: Zed\nmaterial: glass", "Of what is it made?", "glass")
GONE = Row("name: Zed\nmaterial: glass", "How heavy is it?", None)


class Clerk(fakes.Fake):
    """Reads the card where it can; else it invents, each time anew where it is asked warmly."""

    def words(self, body):
        text = body["messages"][-1]["content"]
        if "Answer A:" in text:  # a judge that knows: an answer not on the card does not agree
            first = text.split("Answer A:\n")[1].split("\n")[0]
            return ["B" if "tons" in first else "A"]
        if "weight" in text:
            warm = f"{next(self.dice)}" if body.get("temperature") else "3"
            return ["It weighs ", warm, " tons."]
        if "silent" in text:
            return [ABSENT]
        return ["It is made of glass."]

    def choice(self, body, words, part):
        made = super().choice(body, words, part)
        doubt = -2.0 if "tons" in "".join(words) else -0.1
        for token in (made.get("logprobs") or {}).get("content", []):
            token["logprob"] = doubt
        return made


def asked(n: int) -> list[Row]:
    """Return questions of three kinds in turn: answered, invented, declined."""
    kinds = (("material?", "glass"), ("weight?", None), ("silent?", None))
    return [
        Row(f"name: Zed {i}\nmaterial: glass", *kinds[i % 3]) for i in range(n)
    ]  # a card each, so that no two requests are equal


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with Calls(tmp_path / "ledger.db") as calls:
        yield CallOptions(calls=calls)


def collected(options, n=12, samples=3, **more):
    with fakes.serving(Clerk("openai", **more)) as fake:
        target = Target(fake.url, "m", key_env="TEST_KEY")
        found, costs = uncertainty.collect(
            asked(n), Detector.load(), target, options, samples=samples
        )
        return found, costs.set_index("method"), len(fake.seen)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Twelve answers, their costs, and how many calls the endpoint saw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_KEY", fakes.KEY)
        with Calls(tmp_path_factory.mktemp("known") / "ledger.db") as calls:
            yield collected(CallOptions(calls=calls))


def test_every_way_tells_what_was_invented(known):
    found, costs, seen = known
    assert found["invented"].tolist() == [False, True, False] * 4
    assert found["claims"].tolist() == [True, True, False] * 4
    ways = uncertainty.compare_methods(found, costs.reset_index()).set_index("name")
    assert (ways.loc[["surprisal", "entropy", "judge"], "value"] == 1).all()
    assert (ways["n"] == 8).all()
    # the cost is that of the calls that were made: 12 answers, 3 samples, 8 claims in two orders
    assert costs.loc[["support", "surprisal"], "calls"].tolist() == [0, 0]
    assert costs["calls"].sum() * 12 == 3 * 12 + 2 * 8 == seen - 12
    assert costs.loc["support", "ms"] > 0
    assert (costs.loc[["entropy", "judge"], "tokens"] > 0).all()


def test_an_endpoint_without_probabilities_has_no_surprisal(options):
    found, costs, _ = collected(options, n=4, samples=2, honours=frozenset())
    assert found["surprisal"].isna().all()
    ways = uncertainty.compare_methods(found, costs.reset_index()).set_index("name")
    assert math.isnan(ways.loc["surprisal", "value"])
    assert ways.loc["entropy", "value"] == 1


def test_the_share_that_is_expected_is_flagged(known):
    found, costs, _ = known
    _, flags = uncertainty.flag(
        found, uncertainty.compare_methods(found, costs.reset_index()), 1 / 3
    )
    assert flags.tolist() == found["invented"].tolist()


def test_where_nothing_was_invented_nothing_is_ranked():
    found = pd.DataFrame({"claims": [True] * 3, "invented": False, "support": [0.1, 0.2, 0.9]})
    costs = pd.DataFrame(
        [("support", 0, 0, 0, 1)], columns=["method", "calls", "tokens", "usd", "ms"]
    )
    ways = uncertainty.compare_methods(found, costs)
    assert ways["value"].isna().all()
    name, flags = uncertainty.flag(found, ways, 0.3)
    assert name == "support"
    assert flags.tolist() == [False, False, True]


def test_no_answer_at_all_is_said(options):
    with fakes.serving(Clerk("openai")) as fake:
        fake.troubles = ["overloaded"] * 9
        target = Target(fake.url, "m", key_env="TEST_KEY")
        with pytest.raises(ValueError, match="questions: none was answered"):
            uncertainty.collect(asked(3), Detector.load(), target, replace(options, max_retries=0))
    with pytest.raises(ValueError, match="samples: 1"):
        uncertainty.collect(asked(3), Detector.load(), samples=1)


def test_half_of_the_questions_ask_what_is_not_there():
    rows = uncertainty.rows(40, 0)
    assert sum(row.value is None for row in rows) == 20
    for row in rows:
        assert row.value is None or row.value in row.card
        assert row.question
        assert row.question not in row.card
    assert rows == uncertainty.rows(40, 0) != uncertainty.rows(40, 1)


@pytest.mark.parametrize(
    ("row", "answer", "invented"),
    [
        (SEVEN, "It is made of glass.", False),
        (SEVEN, "It is made of Glass", False),
        (SEVEN, "It is made of fibreglass.", True),
        (SEVEN, ABSENT, False),
        (GONE, ABSENT, False),
        (GONE, " not  stated", False),
        (GONE, "It is made of glass.", True),
        (GONE, "", False),
    ],
)
def test_what_the_card_does_not_say_is_invented(row, answer, invented):
    assert uncertainty.invents(row, answer) is invented


def test_entropy_is_that_of_meanings_not_of_words():
    assert uncertainty.entropy(["It is 5.", "it is  5"]) == 0
    assert uncertainty.entropy(["a", "b", "c", "d"]) == pytest.approx(np.log(4))
    assert uncertainty.entropy(["a", "a", "b", "b"]) == pytest.approx(np.log(2))
    with pytest.raises(ValueError, match="at least two"):
        uncertainty.entropy(["a"])


def test_surprisal_is_the_mean_over_tokens():
    assert uncertainty.surprisal(Answer("ab", log_probabilities=(-1.0, -3.0))) == 2
    assert math.isnan(uncertainty.surprisal(Answer("ab")))
    assert math.isnan(uncertainty.surprisal(Answer(None, error="x")))


def test_the_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    bad, score = rng.random(60) < 0.4, rng.integers(0, 8, 60).astype(float)
    pairs = [(x > y) + (x == y) / 2 for x in score[bad] for y in score[~bad]]
    found = uncertainty.auroc(bad, score)
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.low < found.value < found.high
