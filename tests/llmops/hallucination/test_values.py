"""The same value in other words, and answers that state none, as models write them."""

import pytest

from diptych.llmops.hallucination import uncertainty
from diptych.llmops.hallucination.uncertainty import Row
from diptych.llmops.hallucination.values import declines, states

SAME = [
    ("It measures 5 cm by 32 cm.", "5 x 32 cm"), ("5x32cm", "5 x 32 cm"),
    ("5 \u00d7 32 centimetres", "5 x 32 cm"), ("1.2 out of 5 stars", "1.2 of 5"),
    ("It is rated 1.2/5", "1.2 of 5"), ("It costs $1,200", "1200 dollars"),
    ("It costs 1200.", "1200 dollars"), ("Grey", "gray"), ("It weighs 300 grams", "300 g"),
    ("open from 9 to 17", "9 to 17"), ("9 AM until 17 PM", "9 to 17"),
    ("The lamp is open from 7:00 AM to 17:00.", "7 to 17"), ("15 liters", "15 litres"),
    ("The code is IF1679.", "IF1679"), ("two hours", "2 hours"), ("Sold by Anna.", "Anna"),
    ("4.0 of 5", "4 of 5"), ("carbon fibre", "carbon fiber"),
]  # fmt: skip
OTHERS = [
    ("32 cm by 5 cm", "5 x 32 cm"), ("It costs 1200 euros", "1200 dollars"),
    ("It is made of fibreglass.", "glass"), ("It weighs 3000 grams", "300 g"), ("Annabel", "Anna"),
    ("1.2", "2 of 5"), ("", "glass"), ("15 litres", "51 litres"), ("IF167", "IF1679"),
]  # fmt: skip
DECLINES = [
    "The weight is not provided in the given information.",
    "is not provided in the given information", "Not stated.", " not  stated", "", "Unknown", "N/A",
    "The card doesn\u2019t say.", "I don't know.",
    "I'm sorry, but the card does not mention the price. Please check with the seller.",
    "No information is given about the color.", "The brand isn't listed on the card.",
    "The memory is not specified in the provided text, so I cannot answer.",
    "There is no information about the weight in the text. You would need to ask the maker.",
    "The given information does not include the brand. Please provide more information.",
]  # fmt: skip
CLAIMS = [
    "The weight is not stated, but it is about 3 kg.", "It is blue.", "Yes, it is in stock.",
    "The text does not include the brand. However, it may be Zed.", "3 tons", "No.",
]  # fmt: skip


@pytest.mark.parametrize(("answer", "value"), SAME)
def test_the_same_value_in_other_words(answer, value):
    assert states(answer, value)
    assert not uncertainty.invents(Row("card", "?", value), answer)


@pytest.mark.parametrize(("answer", "value"), OTHERS)
def test_another_value(answer, value):
    assert not states(answer, value)


@pytest.mark.parametrize("answer", DECLINES)
def test_an_answer_that_states_nothing_invents_nothing(answer):
    assert declines(answer)
    assert uncertainty.meaning(answer) == ""
    assert not uncertainty.invents(Row("card", "?", None), answer)


@pytest.mark.parametrize("answer", CLAIMS)
def test_an_answer_that_states_something_does_not_decline(answer):
    assert not declines(answer)
    assert uncertainty.invents(Row("card", "?", None), answer)


def test_equal_values_have_one_meaning():
    assert uncertainty.entropy(["5 cm by 32 cm", "5 x 32 cm", "5x32cm."]) == 0
