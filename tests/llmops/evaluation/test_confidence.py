"""The probability of a label, by hand-made tokens whose probabilities are known."""

import math

import pytest

from diptych.llmops.evaluation.confidence import of_label

PN = ("positive", "negative")


def token(text: str, **tops: float) -> dict:
    """Return a token with what might have been there instead, by probability."""
    likely = [{"token": name.replace("_", " "), "logprob": math.log(p)} for name, p in tops.items()]
    return {"token": text, "logprob": math.log(0.9), "top_logprobs": likely}


def test_all_spellings_of_a_label_count_and_what_is_none_does_not():
    first = token(" Pos", _Pos=0.5, pos=0.2, Negative=0.1, The=0.2)
    assert of_label([first, token("itive")], "positive", PN) == pytest.approx(0.7 / 0.8)


def test_a_longer_sentence_has_the_same_confidence():
    label = [token("negative", negative=0.6, positive=0.2)]
    before = [token(x) for x in ("The", " sentiment", " is", " **")]
    after = [token("**"), token(" not"), token(" positive", _positive=0.99)]
    short, long = (of_label(x, "negative", PN) for x in (label, before + label + after))
    assert short == long == pytest.approx(0.75)


def test_tokens_that_all_labels_share_do_not_count():
    labels = ("very good", "very bad", "poor")
    tokens = [token("very", very=0.8, poor=0.2), token(" good", _good=0.3, _bad=0.1, _odd=0.6)]
    assert of_label(tokens, "very good", labels) == pytest.approx(0.8 * 0.75)
    shared = [token("not", other=1.0), token(" spam", _spam=0.5, _sure=0.5)]
    assert of_label(shared, "not spam", ("not spam", "not sure")) == pytest.approx(0.5)


def test_what_was_thought_before_does_not_count():
    thought = [token("<think>"), token("positive", positive=1.0), token("</think>")]
    label = [token("positive", positive=0.5, negative=0.5)]
    assert of_label(thought + label, "positive", PN) == pytest.approx(0.5)


def test_an_abbreviation_is_its_label():
    assert of_label([token("Neg", Neg=0.9, Pos=0.1)], "negative", PN) == pytest.approx(0.9)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [{"token": "positive", "logprob": -0.1}],
        [{"token": "positive", "logprob": -0.1, "top_logprobs": None}],
        [{"token": "positive", "logprob": -0.1, "top_logprobs": [None, 3, {"token": "x"}]}],
        [token("good", good=1.0)],
        [token("positive", The=0.9, A=0.1)],
    ],
)
def test_what_is_not_known_is_nan(tokens):
    assert math.isnan(of_label(tokens, "positive", PN))
    assert math.isnan(of_label(tokens, None, PN))


def test_labels_that_differ_in_case_only_have_none():
    tokens = [token("Pos", Pos=0.6, POS=0.4)]
    assert math.isnan(of_label(tokens, "Pos", ("Pos", "POS")))
