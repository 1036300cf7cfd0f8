"""Improving: labels used once, the challenger chosen and judged on other rows, the gate obeyed."""

from dataclasses import replace

import pandas as pd
import pytest
from llmops import fakes

from diptych.core.data import splits
from diptych.core.evaluation.gate import decide
from diptych.core.store.records import Record
from diptych.llmops import improve
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation.search import Search
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

LABELS = ["negative", "positive"]
OUTPUT = {"type": "string", "enum": LABELS}
SHOWN = ({"text": "A gem."}, "positive")
PROMPT = Prompt(
    "asked", "reviews", ("text",), "", "Good or bad? {text}", (SHOWN,), OUTPUT, note="By hand."
)  # fmt: skip
MONTHS = [f"2025-{month:02d}" for month in range(1, 7)]
WORDS = ("awful", "superb", "soft", "sick")
LIMITS = improve.limits(floor=0.5, max_calibration_error=0, max_lost=0.02)


def canonical(split, month, domain, n, seed=0):
    """Return rows whose label their number tells, in a word of old or of new slang."""
    words = {"game": ["soft", "sick"], "book": ["awful", "superb"]}[domain]
    return pd.DataFrame(
        {
            "id": [f"{split}-{month}-{domain}-{i}" for i in range(n)],
            "time": pd.Timestamp(f"{month}-03", tz="UTC"),
            "text": [f"{month} no {i}: {words[i % 2]}" for i in range(n)],
            "label": [LABELS[i % 2] for i in range(n)],
            "slice": domain,
            "split": split,
        }
    )


ROWS = pd.concat(
    [
        canonical("train", "2024-05", "book", 60),
        canonical("test", "2024-06", "book", 60),
        *(canonical("live", month, "book", 30) for month in MONTHS),
        *(canonical("live", month, "game", 50) for month in MONTHS[3:]),
    ],
    ignore_index=True,
)
WINDOWS = splits.stream(ROWS[ROWS["split"] == "live"], 3, 10**6, 0).set_index("id")["window"]
PLAN = improve.split_windows(MONTHS, "2025-04", learn=1, decide=1)


class Models(fakes.Fake):
    """Endpoint of models that know the old words, the new ones, or both."""

    def words(self, body):
        *_, word = body["messages"][-1]["content"].split()
        known = {"old": ("awful", "superb"), "new": ("soft", "sick")}.get(body["model"], WORDS)
        return [LABELS[WORDS.index(word) % 2] if word in known else "?"]


@pytest.fixture(scope="module")
def models():
    fake = Models("vllm", honours=frozenset({"logprobs"}), needs_key=False)
    with fakes.serving(fake) as served:
        yield served


@pytest.fixture
def ways(models, home):
    """The champion, a challenger that knows new words as well, and one that forgot the old."""
    champion = Variant(PROMPT, Target(models.url, "old"))
    return {
        "champion": champion,
        "forgetful": replace(champion, target=Target(models.url, "new")),
        "better": replace(champion, target=Target(models.url, "both")),
    }


@pytest.fixture
def lessons():
    return improve.lessons(ROWS, WINDOWS, PLAN, labels=70, seed=0)


@pytest.mark.parametrize(
    ("facts", "window"),
    [
        ({"accuracy_alarm": "2025-05", "drift_alarm": "2025-04"}, "2025-04"),
        ({"quality_alarm": "2025-03", "drift_alarm": "2025-04"}, "2025-03"),
        ({"quality_alarm": "2025-06", "accuracy_alarm": "2025-05"}, "2025-05"),
        ({"accuracy_alarm": "2025-05", "metric": "f1:yes"}, None),
        ({}, None),
    ],
)
def test_the_earliest_alarm_counts(tmp_path, facts, window):
    nothing = dict.fromkeys(("quality_alarm", "accuracy_alarm", "drift_alarm"))
    facts = nothing | {"metric": "accuracy"} | facts
    assert improve.alarm(Record(tmp_path, "llmops/5_monitor", {}, facts=facts)) == window


def test_labels_are_of_the_windows_to_learn_from_and_none_serves_twice(lessons):
    shown = [inputs["text"] for inputs, _ in lessons.shown]
    texts = [*shown, *lessons.learn["text"], *lessons.choose["text"]]
    assert len(set(texts)) == len(texts) == lessons.labels == 70
    assert all(text.startswith("2025-04") for text in texts)
    assert lessons.table()["rows"].sum() == 70
    assert lessons.table()["rows"].min() > 0
    everything = improve.lessons(ROWS, WINDOWS, PLAN, labels=10**6, seed=0)
    assert everything.labels == 80


def test_old_rows_are_learnt_again_beside_the_new(lessons):
    learnt = lessons.with_old(ROWS, 20, seed=0)
    assert learnt["split"].value_counts().to_dict() == {"live": len(lessons.learn), "train": 20}
    assert set(lessons.learn["id"]) < set(learnt["id"])
    assert not set(learnt["id"]) & set(lessons.choose["id"])
    assert set(lessons.with_old(ROWS, 0, seed=0)["split"]) == {"live"}


def test_what_is_tuned_is_asked_without_examples(ways):
    plain = improve.bare(ways["champion"])
    assert not plain.prompt.examples
    assert (plain.prompt.name, plain.prompt.parent) == ("asked-bare", "asked")
    assert plain.prompt.user == PROMPT.user
    assert improve.bare(plain) == plain


def test_prompts_to_try_are_those_by_hand_and_others_with_new_examples(ways, lessons):
    by_hand = [replace(PROMPT, name="other", user="{text}?"), replace(PROMPT, examples=())]
    made = improve.proposals(ways["champion"], by_hand, lessons.shown, 8, seed=0)
    names = [prompt.name for prompt in made]
    assert names[0] == "other"
    assert "asked" not in names  # the champion takes part anyway
    assert len(set(names)) == len(names) == 9
    given = [example for prompt in made[1:] for example in prompt.examples]
    assert given
    assert all(example in lessons.shown for example in given)


def test_which_of_some_prompts_lasted_longest():
    rounds = pd.DataFrame(
        [(1, "a", 0.9), (1, "b", 0.8), (1, "c", 0.7), (2, "c", 0.6), (2, "b", 0.65)],
        columns=["round", "name", "value"],
    )
    search, named = Search("x", rounds, 10), [replace(PROMPT, name=name) for name in "acb"]
    assert improve.lasted(search, named).name == "b"
    assert improve.lasted(search, named[:2]).name == "c"
    assert improve.lasted(search, named[:1]).name == "a"


def test_the_best_challenger_is_chosen_and_the_first_of_equals(ways, lessons):
    found = improve.evaluate_each(ways, lessons.choose, "label")
    assert list(found["variant"].unique()) == list(ways)
    assert found.groupby("variant")["id"].nunique().eq(len(lessons.choose)).all()
    assert improve.best(found, "label") == "better"
    two = dict.fromkeys(("champion", "one", "two"), ways["better"])
    assert improve.best(improve.evaluate_each(two, lessons.choose, "label"), "label") == "one"


def test_gains_are_told_by_ground_with_their_intervals(ways):
    judged = improve.in_windows(ROWS, WINDOWS, PLAN.decide)
    later = improve.evaluate_each(ways, judged, "label")
    old = improve.evaluate_each(ways, ROWS[ROWS["split"] == "test"], "label")
    new = improve.new_ground(later, ROWS)
    assert set(new["id"]) == set(judged.loc[judged["slice"] == "game", "id"])
    found = improve.gains({"later": later, "new": new, "old": old}, "label").set_index("name")
    assert found.loc["better, new", "value"] == 1.0
    assert found.loc["better, new", "low"] > 0.8
    assert found.loc["better, later", "value"] == pytest.approx(50 / 80)
    assert found.loc["better, old", "value"] == 0.0
    assert found.loc["forgetful, old", "value"] == -1.0 == -improve.lost(old, "forgetful", "label")
    assert found["n"].to_dict()["better, later"] == 80
    nothing = improve.new_ground(old, ROWS)
    assert improve.gains({"new": nothing}, "label").empty


@pytest.mark.parametrize(
    ("name", "promoted", "why"),
    [("better", True, "passes all"), ("forgetful", False, "loss on old rows is 1, above")],
)
def test_the_gate_promotes_what_gains_and_refuses_what_forgets(ways, name, promoted, why):
    judged = improve.in_windows(ROWS, WINDOWS, PLAN.decide)
    later = improve.evaluate_each(ways, judged, "label")
    old = improve.evaluate_each(ways, ROWS[ROWS["split"] == "test"], "label")
    lost = {improve.LOST: improve.lost(old, name, "label")}
    challenger = improve.measure(later, name, judged, "label", **lost)
    assert set(challenger.slices) == {"book", "game"}
    assert challenger.calibration_error is not None
    decision = decide(challenger, improve.measure(later, "champion", judged, "label"), LIMITS)
    assert decision.promoted is promoted
    assert why in decision.reason


def test_scores_by_window_and_what_came_back(ways):
    both = {"champion": ways["champion"], "challenger": ways["better"]}
    live = improve.by_window(both, ROWS, WINDOWS, MONTHS, "label")
    found = live.table()
    champion = found[found["model"] == "champion"].set_index("window")["value"]
    assert champion["2025-03"] == 1.0
    assert champion["2025-04"] == pytest.approx(30 / 80)
    outcome = improve.outcome(live, PLAN)
    assert outcome["challenger afterwards"].value == 1.0
    assert outcome["recovered"] == pytest.approx(1.0)
