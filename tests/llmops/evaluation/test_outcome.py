"""What became of each question, and what to do about it."""

import pandas as pd
import pytest

from diptych.llmops.client.ask import Answer
from diptych.llmops.client.formats import outcomes
from diptych.llmops.evaluation import outcome


@pytest.mark.parametrize(
    ("answer", "predicted", "expected"),
    [
        (Answer("positive"), "positive", outcome.ANSWERED),
        (Answer("It depends."), None, outcome.UNREADABLE),
        (Answer("I\u2019m sorry, but I can\u2019t say."), None, outcome.REFUSED),
        (Answer("I cannot call it bad: positive"), "positive", outcome.ANSWERED),
        (Answer("It seems", outcome=outcomes.CUT), None, outcome.CUT),
        (Answer("", outcome=outcomes.FILTERED), None, outcome.FILTERED),
        (Answer("", outcome=outcomes.TOOL_CALL), None, outcome.TOOL_CALL),
        (Answer(None, "HTTP 500"), None, outcome.FAILED),
    ],
)
def test_each_answer_has_an_outcome(answer, predicted, expected):
    assert outcome.of(answer, predicted) == expected


def test_a_refusal_that_names_a_label_is_not_read():
    refusal = Answer("I cannot call this positive", outcome=outcomes.REFUSED)
    assert outcome.gradable(refusal) is None
    assert outcome.gradable(Answer("posi", outcome=outcomes.CUT)) == "posi"


def test_advice_says_what_to_do():
    results = pd.DataFrame({"outcome": ["answered"] * 7 + ["cut"] * 2 + ["filtered"]})
    assert outcome.advice(results) == (
        "2 of 10 answers: cut: raise max_tokens.\n1 of 10 answers: filtered."
    )
    assert outcome.counted(results["outcome"]) == "7 answered, 2 cut, 1 filtered"
    assert outcome.advice(results.head(7)) == ""
