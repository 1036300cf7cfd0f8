"""Sixty sets of labels, many of which no one had in mind, in answers as models write them.

`make test-long` reads 2,000 answers of each set, `make test` a sample.
"""

import os

import pytest
from llmops.evaluation import label_sets

from diptych.llmops.evaluation.label_reading import read_label

pytestmark = pytest.mark.longer
pytestmark = pytest.mark.longer
EACH = 2_000 if os.environ.get("DIPTYCH_LONG") == "1" else 60
MOST = 0.005  # share of answers read wrong


@pytest.fixture(scope="module")
def misread():
    """Return the answers read wrong: labels, answer, what it says, what was read."""
    wrong = []
    for labels in label_sets.SETS:
        for text, said in label_sets.answers(labels, EACH):
            read = read_label(text, labels)
            if read != said:
                wrong.append((labels, text, said, read))
    return wrong


def test_at_most_one_answer_in_two_hundred_is_read_wrong(misread):
    listed = "\n".join(sorted({f"{labels}: {t!r} says {s!r}, read {r!r}"
                               for labels, t, s, r in misread}))  # fmt: skip
    print(f"{len(misread)} of {EACH * len(label_sets.SETS)} answers read wrong:\n{listed}")
    assert len(label_sets.SETS) == 60
    assert len(misread) <= MOST * EACH * len(label_sets.SETS), listed


def test_far_fewer_are_read_as_another_label_than_as_none(misread):
    others = [one for one in misread if one[3] is not None]
    assert len(others) <= MOST / 5 * EACH * len(label_sets.SETS), others


@pytest.mark.parametrize("labels", label_sets.SETS, ids=lambda labels: labels[0])
def test_every_label_is_read_where_it_stands_alone(labels):
    for label in labels:
        assert read_label(label, labels) == label
        assert read_label(f"**{label}**\n", labels) == label or label.strip("-+*") == ""
