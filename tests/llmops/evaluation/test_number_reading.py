"""Numbers as models write them, each with the number that a reader takes from it."""

import random

import pytest

from diptych.llmops.evaluation.number_reading import Reading, read_number

NAMES = ("number", "rentals")
ALONE = [
    ("120", 120), ("120.5", 120.5), (" 1,234 \n", 1234), ("1.234,5", 1234.5), ("1 234", 1234),
    ("12'345", 12345), ("12\u2019345", 12345), ("1\u202f234", 1234), ("1\u00a0234", 1234),
    ("12,34,567", 1234567), ("1.234.567", 1234567), ("0,75", 0.75), (".5", 0.5), ("12,5", 12.5),
    ("1.234", 1.234), ("2e3", 2000), ("-5", -5), ("\u22125.5", -5.5), ("minus 5", -5), ("0", 0),
    ("\uff11\uff12\uff10", 120), ("120.", 120), ("**120**", 120), ("`120`", 120), ("~120", 120),
]  # fmt: skip
WITH_UNITS = [
    ("$1,200", 1200), ("1.2k", 1200), ("1.5 million", 1.5e6), ("3 thousand rentals", 3000),
    ("\u20ac 12,50", 12.5), ("about 120 bikes", 120), ("120kg", 120), ("120 km/h", 120),
    ("\u2248 120", 120), ("120 \u00b1 10", 120), ("120 (+/- 10)", 120), ("45 %", 45),
    ("twenty-five", 25), ("One hundred and twenty.", 120), ("two thousand and five", 2005),
]  # fmt: skip
SENTENCES = [
    ("The answer is 120.", 120),
    ("At hour 8 on Monday, I'd predict 120 rentals.", 120),
    ("At 08:00 on 2024-05-01 there are 120 rentals.", 120),
    ("Answer: **120**", 120),
    ("The predicted number of rentals for this hour is approximately 350.", 350),
    ("128. This is because it is 8 in the morning.", 128),
    ("1. Consider the hour.\n2. Consider the weather.\n\nEstimate: 140", 140),
    ("hour 8, weekday Monday, temperature c 12.3, rentals 142", 142),
    ("So the final answer is 130. The first estimate is 120.", 130),
    ("5 rentals\n\nExplanation: at hour 3 few people ride.", 5),
    ("Sorry, I cannot be sure, but my estimate is 12", 12),
    ("\\boxed{42}", 42),
    ("<think>maybe 50, or 60</think>120", 120),
    ("about 120 (between 100 and 140)", 120),
]
JSON = [
    ('{"number": 120}', 120),
    ('```json\n{"prediction": "1,234"}\n```', 1234),
    ('{"reason": "hour 8", "value": 99.5}', 99.5),
    ('Here it is: {"rentals": 42}', 42),
    ('{"hour": 8, "rentals": 42}', 42),
    ('{"number": "about 120 bikes"}', 120),
]
RANGES = [
    ("between 3 and 5", 4), ("Between 100 and 150 rentals", 125), ("3-5", 4), ("3 to 5", 4),
    ("3\u20135 rentals", 4), ("from 10 to 20", 15), ("[3, 5]", 4), ('{"low": 3, "high": 5}', 4),
    ("-3 to 5", 1), ("I'd expect 300-350.", 325), ('{"number": [10, 20]}', 15),
]  # fmt: skip
NONE = [
    "", "unknown", "I cannot predict this.", "more than 100", "at least 5 rentals", "< 10",
    "<think>maybe 50", "It could be 120, 130 or 140.", "8 or 120", '{"number": null}',
    '{"number": true}', '{"number": 1e999}', "CO2", "the 3rd", "10:30", None,
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), [*ALONE, *WITH_UNITS, *SENTENCES, *JSON])
def test_the_number_of_an_answer_is_read(text, value):
    assert read_number(text, NAMES) == Reading(value)


@pytest.mark.parametrize(("text", "middle"), RANGES)
def test_a_range_stands_for_its_middle_and_says_so(text, middle):
    assert read_number(text, NAMES) == Reading(middle, is_range=True)


@pytest.mark.parametrize("text", NONE)
def test_what_names_no_number_or_several_is_not_read(text):
    assert read_number(text, NAMES) is None


def test_a_percentage_is_a_share_where_numbers_are_shares():
    assert read_number("45 %", share=True) == Reading(0.45)
    assert read_number("0.45", share=True) == Reading(0.45)


FORMS = (
    "{x}", "{x}.", "**{x}**", "Answer: {x}", "The answer is {x}.", "I predict {x} rentals.",
    "rentals = {x}", '{{"number": {x}}}', '{{"rentals": "{x}"}}', "Rentals: {x}\n", "about {x}",
    "{x} rentals", "Given the 4 values, my estimate is {x}.", "Final answer: {x}",
    "At hour 7 the predicted number of rentals is {x}.", "```json\n{{\"value\": {x}}}\n```",
)  # fmt: skip


def test_numbers_in_sixteen_forms_are_read_to_the_last_digit():
    rng = random.Random(0)
    wrong = []
    for _ in range(300):
        value = rng.choice((rng.randrange(2_000), round(rng.uniform(-50, 1e6), 2)))
        for form in FORMS:
            text = form.format(x=value)
            if read_number(text, NAMES) != Reading(float(value)):
                wrong.append((text, read_number(text, NAMES)))
    assert not wrong


@pytest.mark.parametrize(
    "part", ["1", "1,", "1 ", "1-", "1.234.", "answer ", "is about ", "ly", "("]
)
def test_long_answers_take_little_work(part):
    assert read_number("answer " + part * 100_000, NAMES) is None or part[0] == "1"
