"""An exercise takes any reasonable form of an answer, and never fails on another."""

import numpy as np
import pandas as pd
import pytest

from diptych.core import exercises


class Hostile:
    """An answer that fails whatever is done with it."""

    def __float__(self):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __repr__

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None


FORMS = [0.43, "0.43", " 0.43 ", "43 %", "43%", "0,43", np.float32(0.43), np.array(0.43), "4.3e-1"]


@pytest.mark.parametrize("answer", FORMS)
def test_a_number_in_any_form_is_right(answer, capsys):
    assert exercises.number(answer, 0.43) is True
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize(
    "answer", [0.5, "a lot", [], {}, object, np.arange(3), pd.DataFrame(), float("nan"), "1e999"]
)
def test_another_answer_gets_a_hint_and_no_error(answer, capsys):
    assert exercises.number(answer, 0.43, hint="Look at the table.") is False
    assert "Look at the table." in capsys.readouterr().out


def test_a_hint_says_on_which_side_the_number_lies(capsys):
    exercises.number(12, 10)
    exercises.number("8", 10)
    assert capsys.readouterr().out.split("\n")[:2] == [
        "Not yet: 12 is too high.",
        "Not yet: 8 is too low.",
    ]


@pytest.mark.parametrize("answer", ["low", "Low", " LOW ", "the low", "'low'"])
def test_a_word_in_any_form_is_right(answer):
    assert exercises.choice(answer, "low", hints={"value": "Read the reason."}) is True


def test_a_wrong_word_gets_its_hint_and_an_unknown_one_the_answers(capsys):
    assert exercises.choice("Value", "low", hints={"value": "Read the reason."}) is False
    assert exercises.choice(3, "low", hints={"value": ""}) is False
    assert capsys.readouterr().out.splitlines() == [
        "Not yet. Read the reason.",
        "3 is none of the answers: 'low', 'value'.",
    ]


def test_code_is_tried_and_its_errors_are_hints(capsys):
    def doubles(attempt):
        return attempt(2) == 4 or "twice two is four"

    assert exercises.code(lambda x: 2 * x, doubles) is True
    assert exercises.code(lambda x: np.int64(2 * x), lambda f: f(2) == np.int64(4)) is True
    assert exercises.code(lambda x: x, doubles) is False
    assert exercises.code(lambda: 1, doubles, hint="It takes one argument.") is False
    assert exercises.code("no function", doubles) is False
    text = capsys.readouterr().out
    assert "twice two is four" in text
    assert "TypeError" in text
    assert "It takes one argument." in text


def test_no_answer_is_none_yet_and_no_figure_is_no_fault(capsys):
    assert exercises.number(None, 1) is None
    assert exercises.choice(None, "low") is None
    assert exercises.code(None, len) is None
    assert exercises.number(3, float("nan")) is None
    assert capsys.readouterr().out.count("Your turn") == 3


def test_an_answer_that_fails_at_everything_does_not_end_the_cell():
    assert exercises.number(Hostile(), 1) is False
    assert exercises.choice(Hostile(), "low") is False
    assert exercises.code(Hostile(), lambda x: x == 1) is False
