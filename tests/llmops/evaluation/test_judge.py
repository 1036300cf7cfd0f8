"""A judge that knows, one that follows the place, and one that is not there."""

import math
from dataclasses import asdict, replace

import pandas as pd
import pytest
from llmops import fakes

from diptych.core.evaluation.stats import wilson
from diptych.core.store.calls import Calls
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import judge, scorers
from diptych.llmops.evaluation.judge import Judge
from diptych.llmops.prompts.prompt import Prompt

PAIRS = (["good", "bad", "same", "good {b}"], ["bad", "good", "same", "x"])
SHORT = "{question}\nA: {a}\nB: {b}\n"


class Knows(fakes.Fake):
    """Prefers the answer with "good" in it."""

    def words(self, body):
        first = body["messages"][-1]["content"].split("A: ")[1].split("B: ")[0]
        return ["A" if "good" in first else "B", "."]


class FollowsThePlace(fakes.Fake):
    def words(self, body):
        return ["A is better"]


class Rambles(fakes.Fake):
    def words(self, body):
        return ["A good question; A or B?"]


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with Calls(tmp_path / "ledger.db") as calls:
        yield CallOptions(calls=calls)


def at(fake):
    return Target(fake.url, "m", key_env="TEST_KEY")


def judged(kind, options):
    with fakes.serving(kind("openai")) as fake:
        asked = Judge(SHORT, at(fake), options)
        found = asked.prefer(list("wxyz"), *PAIRS)
        return found, len(fake.seen)


def test_both_orders_are_asked_and_equal_answers_are_not(options):
    found, asked = judged(Knows, options)
    assert found["verdict"].tolist() == ["a", "b", "undecided", "a"]
    assert found["first"].tolist() == ["a", "b", "", "a"]
    assert asked == 6
    trust = judge.trust(found, ["a", "b", "a", "b"]).set_index("name")
    assert trust.loc["same in both orders", ["value", "n"]].tolist() == [1, 3]
    assert trust.loc["right where decided", "value"] == pytest.approx(2 / 3)
    # 2 of 3 agree; by chance 2/3 * 1/3 + 1/3 * 2/3 would
    assert trust.loc["kappa", "value"] == pytest.approx((2 / 3 - 4 / 9) / (5 / 9))


def test_one_that_follows_the_place_decides_nothing(options):
    found, _ = judged(FollowsThePlace, options)
    assert set(found["verdict"]) == {"undecided"}
    assert found["first"].tolist() == ["a", "a", "", "a"]
    assert found["second"].tolist() == ["b", "b", "", "b"]
    trust = judge.trust(found, ["a"] * 4).set_index("name")
    assert trust.loc["same in both orders", "value"] == 0
    assert trust.loc["right where decided", "n"] == 0
    assert math.isnan(trust.loc["right where decided", "value"])


def test_a_reply_that_names_both_or_a_call_that_failed_is_no_verdict(options):
    found, _ = judged(Rambles, options)
    assert set(found["verdict"]) == {"undecided"}
    assert math.isnan(judge.trust(found)["value"].iloc[0])
    with fakes.serving(fakes.make("openai")) as fake:
        fake.troubles = ["overloaded"] * 9
        asked = Judge(SHORT, at(fake), replace(options, max_retries=0))
        assert asked.prefer(["q"], ["x"], ["y"])["verdict"].tolist() == ["failed"]
        assert asked.prefer([], [], []).empty


def test_as_a_scorer_it_compares_with_the_reference(options):
    prompt = Prompt("p", "t", ("text",), "", "Sum up: {text}")
    rows = [{"text": "...", "label": "good reference"}] * 4
    with fakes.serving(Knows("openai")) as fake:
        asked = Judge(SHORT, at(fake), options)
        found = asked(prompt, rows, ["bad", "good reference", "also good", None])
        assert "Sum up: ..." in fake.seen[0]["messages"][0]["content"]
    assert [grade.score for grade in found] == [0, 1, 0.5, 0]
    assert isinstance(found[0], scorers.Grade)


def trusted(same, of, right=None, decided=0):
    """Return what `trust` gives for so many pairs."""
    lines = [("same in both orders", wilson(same, of))]
    lines += [] if right is None else [("right where decided", wilson(right, decided))]
    return pd.DataFrame([{"name": name} | asdict(share) for name, share in lines])


@pytest.mark.parametrize(
    ("table", "usable"),
    [
        (trusted(0, 40), False),
        (trusted(3, 40), False),
        (trusted(22, 40), False),  # a coin
        (trusted(38, 40), True),
        (trusted(38, 40, 19, 38), False),  # steady, and right by chance
        (trusted(38, 40, 36, 38), True),
        (trusted(3, 3), False),  # too few
    ],
)
def test_a_judge_at_chance_is_called_unusable(table, usable):
    assert judge.verdict(table).startswith("The judge can be used" if usable else
                                           "The judge is unusable")  # fmt: skip


def test_the_selected_model_judges_unless_another_is_named():
    champion = Target("http://127.0.0.1:1/v1", "m", {"max_tokens": 3})
    assert judge.target_of("", champion) == Target("http://127.0.0.1:1/v1", "m")
    assert judge.target_of("openai/gpt-4o", champion) == Target("openai", "gpt-4o")


ROWS = pd.DataFrame({"id": ["a", "b", "c"], "text": "t", "label": ["x", "y", "x"],
                     "reference": ["good one\nother", "fine", "fine"]})  # fmt: skip
ANSWERS = pd.DataFrame({"id": ["a", "b", "c"], "output": ["bad", "good", None]})


def test_labels_are_judged_against_another_and_texts_against_the_reference():
    found = judge.pairs(ANSWERS, ROWS.drop(columns="reference"), ROWS, "label", ["x", "y"])
    assert found[["a", "b", "better"]].to_numpy().tolist() == [
        ["x", "y", "a"], ["y", "x", "a"], ["x", "y", "a"],
    ]  # fmt: skip
    found = judge.pairs(ANSWERS, ROWS, ROWS, "rouge_l", ["1"])
    assert found[["a", "b", "better"]].to_numpy().tolist() == [
        ["bad", "good one", ""], ["good", "fine", ""],
    ]  # fmt: skip
    assert judge.pairs(ANSWERS, ROWS, ROWS, "label", []).empty  # numbers


def test_how_often_answers_are_preferred_to_the_reference_is_told(options):
    with fakes.serving(Knows("openai")) as fake:
        by_model = Judge(SHORT, at(fake), options)
        texts = judge.pairs(ANSWERS, ROWS, ROWS, "contains", [])
        found = judge.compare(by_model, texts).set_index("name")
        labels = pd.DataFrame({"question": ["q"], "a": ["good"], "b": ["bad"], "better": ["a"]})
        known = judge.compare(by_model, labels).set_index("name")
        nothing = judge.compare(by_model, labels.head(0))
    assert found.loc["preferred to the reference", ["value", "n"]].tolist() == [0.5, 2]
    assert known.loc["right where decided", "value"] == 1
    assert "preferred to the reference" not in known.index
    assert judge.verdict(nothing) == "There was nothing to judge."
