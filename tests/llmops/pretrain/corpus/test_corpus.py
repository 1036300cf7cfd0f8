"""The language model's corpus: labels are right, answers are in the text, the gates stay unseen."""

import hashlib
import itertools
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.core.data import generators as reviews_task
from diptych.llmops.pretrain import corpus
from diptych.llmops.pretrain.corpus import cards, opinions, sentiment, talk, words
from diptych.llmops.pretrain.corpus.words import plain
from diptych.llmops.pretrain.gates import suites

REAL = Path(__file__).parents[5] / "shared" / "data" / "uci_sentiment_labelled_sentences.csv"
LONG = 5  # words: a run this long is no everyday phrase


def runs(text: str, size: int = LONG) -> set[str]:
    found = plain(text).split()
    return {" ".join(found[i : i + size]) for i in range(len(found) - size + 1)}


def judged_texts() -> list[str]:
    texts = list(reviews_task.handwritten()["text"])
    return texts + ([text for text, *_ in suites.sentences(REAL)] if REAL.exists() else [])


def own_entries():
    def walk(found):
        if isinstance(found, dict):
            for inner in found.values():
                yield from walk(inner)
        elif isinstance(found, list):
            for inner in found:
                yield from walk(inner)
        else:
            yield from words.entries(str(found))

    for name in ("opinions", "events", "happenings"):
        for entry in walk(words.asset(name)):
            yield re.sub(r"\{\w+\}", "0slot0", entry)


def documents(task: str, many: int = 150):
    rng = random.Random(11)
    return [corpus.TASKS[task](rng) for _ in range(many)]


def test_the_lexicon_is_as_large_as_stated():
    assert len(words.opinions()) >= 3_000


def test_same_seed_same_documents_in_another_process():
    def digest(seed):
        rng = random.Random(seed)
        made = [corpus.document(rng).turns for _ in range(60)]
        return hashlib.sha256(repr(made).encode()).hexdigest()

    code = (
        "import hashlib, random; from diptych.llmops.pretrain import corpus;"
        "rng = random.Random(4);"
        "made = [corpus.document(rng).turns for _ in range(60)];"
        "print(hashlib.sha256(repr(made).encode()).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    elsewhere = subprocess.run([sys.executable, "-c", code], env=env,
                               capture_output=True, text=True, check=True)  # fmt: skip
    assert elsewhere.stdout.strip() == digest(4) != digest(5)


@pytest.mark.parametrize("task", corpus.TASKS)
def test_documents_alternate_and_leave_no_slot_open(task):
    for turns in documents(task):
        roles = [role for role, _ in turns if role != "system"]
        assert roles
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        for _, text in turns:
            assert text
            assert not re.search(r"\{(\w{1,6}|\d+-\d+)\}", text), text


def test_every_task_is_in_a_stage_and_no_stage_has_another():
    assert set().union(*corpus.STAGES.values()) == set(corpus.TASKS)


def test_a_denied_word_turns_the_label():
    rng = random.Random(2)
    for label in ("positive", "negative"):
        other = opinions.OPPOSITE[label]
        lists = [
            words.wide_lexicon(name)["adjectives"][other].words for name in ("general", "film")
        ]
        known = re.compile(rf"\b({'|'.join(map(re.escape, itertools.chain(*lists)))})\b")
        for _ in range(200):
            writer = opinions.Writer(rng, "film")
            text, _ = writer._denial(label)
            assert known.search(text), text


def test_the_label_is_that_of_most_clauses():
    rng = random.Random(3)
    for _ in range(400):
        made = opinions.review(rng)
        assert sum(c.polarity == made.label for c in made.clauses) > len(made.clauses) / 2


def test_inverse_answers_the_opposite_of_the_same_draw():
    for seed in range(60):
        straight = sentiment.ask(random.Random(seed), "{t}", ("positive", "negative"))
        turned = sentiment.ask(random.Random(seed), "{t}", ("positive", "negative"), invert=True)
        assert straight[:-1] == turned[:-1]
        assert opinions.OPPOSITE[straight[-1][1]] == turned[-1][1]


def test_an_episode_defines_both_labels_before_the_loss_counts():
    for turns in documents("episode"):
        asking, answer = turns[-2][1], turns[-1][1]
        marked = re.findall(f"{sentiment.OPEN} (.*?){sentiment.CLOSE}", asking)
        before = asking.split(sentiment.OPEN)[0]
        assert all(label in before for label in {*marked, answer})


def test_a_card_answer_is_on_the_card_or_says_it_is_not():
    rng = random.Random(5)
    for number in range(300):
        text, called, facts = cards.make(rng)
        asked = cards.question(rng, facts, called, absent=number % 3 == 0)
        if asked.value is None:
            assert asked.key not in facts
            assert asked.answer() == cards.ABSENT
        else:
            assert asked.value in text
            assert asked.value in asked.answer()


def test_a_summary_copies_whole_clauses_of_the_verdict():
    rng = random.Random(6)
    for _ in range(200):
        made, clauses = talk.summary_source(rng)
        for clause in clauses:
            assert clause.lower().rstrip(".") in made.text.lower()
        right = {c.text.rstrip(".!?") for c in made.clauses if c.polarity == made.label}
        assert clauses[0].lower().rstrip(".") in {text.lower() for text in right}


def test_there_are_a_hundred_wordings_and_more():
    found = words.asset("wordings")
    written = sum(len(found[name]) for name in
                  ("plain", "choice", "mapping", "inverse", "yes_no", "json", "summary",
                   "summary_two"))  # fmt: skip
    assert written >= 100
    assert written + len(found["verbs"]) * len(found["tails"]) >= 250
    for fact in words.asset("cards")["facts"].values():
        assert (
            len(fact["questions"]) + len(fact["nouns"]) * len(words.asset("cards")["frames"]) > 20
        )


def test_held_out_wordings_are_not_trained():
    trained = words.asset("wordings")
    known = {
        plain(str(wording))
        for name in ("plain", "choice", "mapping", "inverse", "summary", "summary_two")
        for wording in trained[name]
    }
    held, frames = words.asset("gates"), words.asset("cards")["frames"]
    for name in ("choice", "mapping", "inverse", "summary"):
        assert not known & {plain(wording) for wording in held[name]}
    for key, questions in held["questions"].items():
        fact = words.asset("cards")["facts"][key]
        asked = {plain(q) for q in fact["questions"]}
        asked |= {plain(frame.replace("{k}", noun).replace("{K}", noun))
                  for frame in frames for noun in fact["nouns"]}  # fmt: skip
        both = asked & {plain(q) for q in questions}
        assert not both, f"{key}: {both}"


def test_held_out_words_are_never_generated():
    rng = random.Random(8)
    for _ in range(1_500):
        text = " ".join(corpus.document(rng).texts()).lower()
        assert not words.held_out() & set(re.findall(r"[a-z]+", text)), text


def test_no_entry_of_ours_shares_a_long_run_with_a_text_of_the_gates():
    judged = set().union(*(runs(text) for text in judged_texts()))
    whole = {plain(text) for text in judged_texts()}
    assert not [entry for entry in own_entries() if runs(entry) & judged]
    assert not [e for e in own_entries() if len(plain(e).split()) > 3 and plain(e) in whole]


def test_no_opinion_of_more_than_three_words_is_a_whole_text_of_the_gates():
    whole = {plain(text) for text in judged_texts()}
    assert not [e for e in words.opinions() if len(plain(e).split()) > 3 and plain(e) in whole]


def test_no_generated_review_is_a_text_of_the_gates():
    rng = random.Random(9)
    made = {plain(opinions.review(rng).text) for _ in range(3_000)}
    both = made & {plain(text) for text in judged_texts()}
    everyday = {text for text in both if len(text.split()) <= 3}
    assert not both - everyday, both - everyday


def test_the_shifted_domain_is_not_trained():
    assert reviews_task.NEW not in words.DOMAINS
