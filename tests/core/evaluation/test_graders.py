"""The registry of graders: what an answer is compared with, and what is refused."""

import pytest

from diptych.core.evaluation import graders

ROW = {"label": "refund", "reference": "we refund you\nmoney back"}


GRADES = [
    ("label", "refund", 1), ("label", "we refund you", 0), ("label", None, 0),
    ("contains", "Yes, we  REFUND you.", 1), ("contains", "refund", 0), ("contains", None, 0),
    ("rouge_l", "money back", 1), ("rouge_l", "money", 2 / 3), ("rouge_l", None, 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "grade"), GRADES)
def test_each_grades_an_answer_by_its_own_column(name, answer, grade):
    assert graders.get(name).grade(answer, ROW) == pytest.approx(grade)


def test_every_grader_is_tested_here():
    assert {name for name, *_ in GRADES} == set(graders.GRADERS)


def test_each_has_a_metric_and_only_some_need_a_reference():
    assert all(grader.metric and name == grader.name for name, grader in graders.GRADERS.items())
    needing = {name for name, grader in graders.GRADERS.items() if grader.needs_reference}
    assert needing == {"contains", "rouge_l"}


@pytest.mark.parametrize("name", ["contains", "rouge_l"])
def test_rows_without_a_reference_are_refused(name):
    with pytest.raises(graders.GraderError, match=f"{name} compares with the column 'reference'"):
        graders.get(name).grade("x", {"label": "x"})


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(graders.GraderError, match="'contain' is no grader"):
        graders.get("contain")
