"""Free answers: what they hold, how near they come to a reference, what they make up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.core.evaluation import text_metrics


@pytest.mark.parametrize(
    ("text", "reference", "found"),
    [
        ("Your name is Anna.", "anna", 1),
        ("It is order 4821.", "482", 0),
        ("You can return it within  30\nDAYS!", "30 days", 1),
        ("I will pass you to an agent.", "human\nagent", 1),
        ("", "x", 0),
        ("anything", "", 0),
        ("It costs (30) euros", "(30)", 1),
    ],
)
def test_a_text_holds_a_reference_as_whole_words(text, reference, found):
    assert text_metrics.contains(text, reference) == found


def test_rouge_l_by_hand():
    # longest common subsequence "police killed the gunman": 4 of 4 and 4 of 5 words
    assert text_metrics.rouge_l("Police killed the gunman.", "police have killed the gunman") == (
        pytest.approx(2 * 4 / 9)
    )
    assert text_metrics.rouge_l("the gunman police killed", "police killed the gunman") == 0.5
    assert text_metrics.rouge_l("", "x") == text_metrics.rouge_l("x", "") == 0
    assert text_metrics.rouge("a b c", "x\na b c") == 1
    assert text_metrics.rouge("a", "") == 0


words = st.lists(st.sampled_from("abcd"), max_size=12)


@given(words, words)
def test_rouge_l_is_symmetric_and_counts_common_words_at_most(a, b):
    one, other = (
        text_metrics.rouge_l(" ".join(a), " ".join(b)),
        text_metrics.rouge_l(" ".join(b), " ".join(a)),
    )
    assert one == pytest.approx(other)
    common = sum(min(a.count(x), b.count(x)) for x in set(a))
    assert one <= 2 * common / max(len(a) + len(b), 1) + 1e-9


@pytest.mark.parametrize(
    ("text", "found"),
    [("The soup was cold.", True), ("Cold soup!", True), ("The soup was hot.", False),
     ("", False), ("It was.", False)],
)  # fmt: skip
def test_a_text_is_faithful_if_every_content_word_stands_in_its_source(text, found):
    assert text_metrics.faithful(text, "We ate soup, which was cold.") is found


def test_sentences_end_with_a_mark_and_a_space():
    assert text_metrics.sentences("It is 3.5 cm. Why so small?  No!") == [
        "It is 3.5 cm.", "Why so small?", "No!",
    ]  # fmt: skip
    assert text_metrics.sentences(" ") == [""]


@pytest.mark.parametrize(
    ("text", "is_copy"),
    [("The soup was cold!", True), ("the soup", True), ("soup was hot", False), ("", False),
     ("he soup", False), ("cold soup", False)],
)  # fmt: skip
def test_a_copy_stands_in_its_source_word_for_word(text, is_copy):
    assert text_metrics.copied(text, "We sat outside. The soup was cold.") is is_copy
