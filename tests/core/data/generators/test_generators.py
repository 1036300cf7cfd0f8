"""The generated corpus keeps what its datasheet promises."""

import random
import re
import subprocess
import sys
import time

import pytest

from diptych.core.data import generators
from diptych.core.data.generators import grammar
from diptych.core.data.generators.grammar import OPPOSITE, Writer, article
from diptych.core.data.generators.lexicon import read_lexicon


@pytest.fixture(scope="module")
def rows():
    frame = generators.reviews(rows=6_000, seed=3)
    return frame.assign(month=frame["time"].dt.month + 12 * (frame["time"].dt.year - 2024))


def test_the_lexicon_is_as_large_as_stated():
    assert len(generators.opinions()) >= 1_500
    assert len(generators.STABLE) >= 8


def test_same_seed_same_rows_in_another_process(rows):
    code = (
        "import hashlib; from diptych.core.data import generators;"
        "print(hashlib.sha256(generators.reviews(300, seed=3).to_csv().encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert not generators.reviews(50, seed=4)["text"].equals(generators.reviews(50, seed=5)["text"])


def test_rows_are_unique_and_of_the_stated_length(rows):
    assert rows["id"].is_unique
    assert not rows["text"].str.lower().duplicated().any()
    assert rows["text"].str.split().str.len().between(4, 80).all()
    assert not rows["text"].str.contains(r"[{}]").any()


def test_the_new_domain_and_the_class_balance_shift_when_stated(rows):
    early, late = (
        rows[rows["month"] < generators.SHIFT_MONTH],
        rows[rows["month"] >= generators.SHIFT_MONTH],
    )
    assert generators.NEW not in set(early["domain"])
    assert (late["domain"] == generators.NEW).mean() > 0.5
    assert abs((early["label"] == "positive").mean() - 0.5) < 0.04
    assert abs((late["label"] == "positive").mean() - 0.35) < 0.05


def test_the_new_vocabulary_is_absent_before_the_shift(rows):
    early = " ".join(rows[rows["month"] < generators.SHIFT_MONTH]["text"]).lower()
    late = " ".join(rows[rows["month"] >= generators.SHIFT_MONTH]["text"]).lower()
    for word in ("goated", "grindy", "janky", "pay to win"):
        assert word not in early
        assert word in late


@pytest.mark.parametrize("polarity", ["positive", "negative"])
def test_denial_uses_a_word_of_the_other_polarity(polarity):
    writer = Writer(random.Random(1), "film", "film")
    other = {
        word
        for name in ("general", "film")
        for word in read_lexicon(name)["adjectives"][OPPOSITE[polarity]].words
    }
    for _ in range(200):
        text, _ = writer._denial(polarity)
        assert any(re.search(rf"\b{re.escape(word)}\b", text) for word in other), text
        assert re.search(
            r"not|n't|never|nothing|far from|anything|hardly|but no|disagree|could", text
        )


def test_the_label_is_the_majority_of_its_clauses():
    rng = random.Random(7)
    for _ in range(500):
        label = rng.choice(("positive", "negative"))
        clauses = generators.review(rng, "hotel", label).clauses
        assert sum(c.polarity == label for c in clauses) > len(clauses) / 2


@pytest.mark.parametrize(("noun", "phrase"), [("gem", "a gem"), ("apple", "an apple")])
def test_article_goes_by_the_first_letter(noun, phrase):
    assert article(noun) == phrase


def test_handwritten_reviews_are_many_balanced_and_apart(rows):
    by_hand = generators.handwritten()
    assert len(by_hand) >= 400
    assert by_hand["id"].is_unique
    assert abs((by_hand["label"] == "positive").mean() - 0.5) < 0.05
    assert not set(by_hand["text"].str.lower()) & set(rows["text"].str.lower())


def test_errors_put_in_together_are_those_put_in_one_by_one():
    words = random.Random(5)
    for seed in range(500):
        text = "".join(words.choice("abcXé ab1.'") for _ in range(words.randrange(60)))
        errors = words.randrange(1, 12)
        together, single, expected = random.Random(seed), random.Random(seed), text
        for _ in range(errors):
            expected = grammar.mistype(single, expected)
        assert grammar.mistype(together, text, errors) == expected
        assert together.random() == single.random()


def test_each_error_swaps_drops_or_doubles_a_letter_inside_a_word():
    seen = {grammar.mistype(random.Random(seed), "a bcde f") for seed in range(100)}
    assert seen == {"a bdce f", "a bde f", "a bccde f", "a bced f", "a bce f", "a bcdde f"}


def test_typing_errors_in_long_texts_end():
    """They scanned the text for each error: 30,000 words took minutes (long-text-typos)."""
    text, began = "word " * 150_000, time.perf_counter()
    typed = grammar.mistype(random.Random(0), text, 37_500)
    assert time.perf_counter() - began < 30  # a second; at 20 errors a second it would be an hour
    assert len(typed.split()) == 150_000
    assert sum(word != "word" for word in typed.split()) > 25_000
