"""The corpora whose answers are texts keep what their datasheets promise."""

import hashlib
import subprocess
import sys

import pytest

from diptych.core.data.generators import lexicon
from diptych.core.data.generators.summaries import LAST, LONGEST, summaries
from diptych.core.data.generators.support import CUSTOMER, HELD, SLICES, replies, say, support
from diptych.core.evaluation import text_metrics


@pytest.fixture(scope="module")
def dialogues():
    return support(rows=900, seed=3)


@pytest.fixture(scope="module")
def reviews():
    return summaries(rows=900, seed=3)


@pytest.mark.parametrize("name", ["support", "summaries"])
def test_same_seed_same_rows_in_another_process(name):
    code = (
        f"import hashlib; from diptych.core.data.generators import {name};"
        f"print(hashlib.sha256({name}.{name}(60, seed=3).to_csv().encode()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"},
                          capture_output=True, text=True, check=True)  # fmt: skip
    own = {"support": support, "summaries": summaries}[name](60, seed=3)
    assert done.stdout.strip() == hashlib.sha256(own.to_csv().encode()).hexdigest()


def test_dialogues_are_distinct_and_end_with_the_customer(dialogues):
    assert dialogues["id"].is_unique
    assert not dialogues["text"].str.lower().duplicated().any()
    assert len(dialogues) == 900 + HELD
    for text in dialogues["text"]:
        marks = [line for line in text.splitlines() if line.startswith(("Customer: ", "Agent: "))]
        assert text.startswith(CUSTOMER)
        assert marks[-1].startswith(CUSTOMER)
    assert dialogues.groupby(["held", "slice"]).size().unstack().nunique(axis=1).eq(1).all()


def test_a_first_turn_is_the_only_one_and_a_follow_up_is_not(dialogues):
    turns = dialogues["text"].str.count(rf"(?m)^{CUSTOMER}")
    assert turns[dialogues["slice"] == SLICES[0]].eq(1).all()
    assert turns[dialogues["slice"] == SLICES[1]].gt(1).all()


def test_an_own_fact_is_told_before_it_is_asked_for_and_no_canned_answer_holds_it(dialogues):
    own = dialogues[dialogues["slice"] == SLICES[2]]
    canned = replies()
    for row in own.itertuples():
        before = row.text if row.label == "card" else row.text.rpartition("\n")[0]
        assert text_metrics.contains(before, row.reference), row.text
        assert not text_metrics.contains(canned[row.label], row.reference)


def test_the_canned_answer_of_an_intent_is_right(dialogues):
    canned = replies()
    for row in dialogues[dialogues["slice"] != SLICES[2]].itertuples():
        assert text_metrics.contains(canned[row.label], row.reference), row.label
    assert set(dialogues["label"]) == set(canned)


def test_held_out_wordings_end_no_other_dialogue(dialogues):
    last = dialogues["text"].str.rpartition("\n")[2].str.lower()
    script = lexicon.script()
    others = [words.strip("?!. ") for group in ("intents", "recalls")
              for one in script[group].values() for words in one["others"]]  # fmt: skip
    trained = str(lexicon.asset("talk")).lower()
    assert not [words for words in others if words in trained]
    known = last[~dialogues["held"]]
    assert not [words for words in others if known.str.endswith(words).any()]


def test_say_changes_nothing_but_the_first_letter_and_the_end():
    import random

    rng = random.Random(1)
    for _ in range(50):
        assert say(rng, "can i cancel").lower().rstrip(".!?") == "can i cancel"


def test_the_verdict_of_a_review_is_where_the_label_says(reviews):
    for row in reviews.itertuples():
        parts = text_metrics.sentences(row.text)
        assert 2 <= len(parts) <= LONGEST
        verdicts = row.reference.split("\n")
        places = [parts.index(one) for one in verdicts]
        assert places == sorted(places)
        assert int(row.label) == places[0] + 1 <= LAST
    assert not reviews["text"].str.lower().duplicated().any()


def test_the_first_sentence_is_no_summary_of_half_of_the_reviews(reviews):
    assert 0.3 < (reviews["label"] == "1").mean() < 0.5
