"""How an answer is graded: as its task says, or by a pattern, a schema or another model.

A scorer takes a prompt, rows and the answers to them (None where the call failed), and returns a
`Grade` for each. A call that failed, or an answer that cannot be read, is graded 0.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from diptych.base import workspace
from diptych.core.evaluation import graders
from diptych.core.evaluation.graders import CONTAINS, LABEL, REFERENCE
from diptych.core.evaluation.text_metrics import normal
from diptych.llmops.evaluation.label_reading import read_label
from diptych.llmops.evaluation.number_reading import read_number
from diptych.llmops.evaluation.structured import validator
from diptych.llmops.prompts.prompt import Prompt, PromptError

RUN = 5  # words of the system prompt in a row that an answer repeats


@dataclass(frozen=True, slots=True)
class Grade:
    """What was read from an answer, None if nothing, and how good it is, from 0 to 1.

    A number has no grade of its own (NaN), and may be the middle of a range.
    """

    predicted: str | float | None
    score: float
    is_range: bool = False


class Scorer(Protocol):
    """What grades answers: a function such as `by_label`, or an object such as a judge."""

    def __call__(
        self, prompt: Prompt, rows: Sequence[Mapping], texts: Sequence[str | None]
    ) -> list[Grade]:
        """Return a grade for each row's answer, None where the call failed."""


def scorer_of(grader: str | Scorer) -> Scorer:
    """Return the scorer of a task's grader, or the scorer itself if one is given.

    Raises
    ------
    GraderError
        If there is no such grader, see `diptych.core.evaluation.graders`.
    """
    if callable(grader):
        return grader
    known = graders.get(grader)

    def scorer(prompt, rows, texts):
        if known.name == LABEL and prompt.answers_number:
            return [_number(prompt, text) for text in texts]
        answers = [read_answer(prompt, text, grader) for text in texts]
        return [
            Grade(answer, known.grade(answer, row))
            for row, answer in zip(rows, answers, strict=True)
        ]

    return scorer


def _number(prompt: Prompt, text: str | None) -> Grade:
    share = 0 <= prompt.stand_in <= 1
    reading = read_number(text, prompt.number_names, share)
    if reading is None:
        return Grade(None, math.nan)
    return Grade(reading.value, math.nan, reading.is_range)


def name_of(grader: str | Scorer) -> str:
    """Return the name under which results record how they were graded."""
    if not callable(grader):
        return graders.get(grader).name
    return getattr(grader, "__name__", type(grader).__name__)


def expected(row: Mapping, grader: str | Scorer) -> str:
    """Return the right answer to a row; for a scorer, its reference or else its label."""
    if callable(grader):
        return row.get(REFERENCE, row[LABEL])
    return graders.get(grader).expected(row)


def check_prompt(prompt: Prompt, grader: str, number: bool = False) -> None:
    """Refuse a prompt that cannot be graded as its task is.

    Parameters
    ----------
    number : bool
        Whether the task's label is a number.

    Raises
    ------
    PromptError
        If the prompt says that it is for another grader, or names no label where labels are graded.
    GraderError
        If there is no such grader.
    """
    known = graders.get(grader)
    where = workspace.shown(prompt.path) if prompt.path else prompt.name
    if prompt.graded and prompt.graded != known.name:
        raise PromptError(
            f"{where}: graded: is {prompt.graded}, and the task {prompt.task} is graded by "
            f"{known.name}; take the line out, or write graded: {known.name}"
        )
    if known.name != LABEL or (prompt.answers_number if number else prompt.labels):
        return
    if number:
        raise PromptError(
            f"{where}: output: is no number, and the label of the task {prompt.task} is one; write "
            "output: {type: number}"
        )
    if not prompt.labels:
        raise PromptError(
            f"{where}: output: names no labels, and the task {prompt.task} is graded by {LABEL}; "
            "give the labels as its enum"
        )


def read_answer(prompt: Prompt, text: str | None, grader: str) -> str | float | None:
    """Return what is graded of an answer: its label, its number, or all of its text."""
    if grader == LABEL and prompt.answers_number:
        return _number(prompt, text).predicted
    if grader == LABEL:
        return read_label(text, prompt.labels)
    return None if text and grader == CONTAINS and parrots(text, prompt.system) else text


def parrots(text: str, system: str) -> bool:
    """Return whether most of an answer repeats the system prompt, `RUN` words at a time.

    What a right answer must hold may stand there, as a shop's policy does: repeating it is none.
    """
    words, prompted = (re.findall(r"\w+", normal(x)) for x in (text, system))
    known = set(zip(*(prompted[i:] for i in range(RUN)), strict=False))
    runs = list(zip(*(words[i:] for i in range(RUN)), strict=False))
    return bool(runs) and sum(run in known for run in runs) > len(runs) / 2


def by_label(prompt: Prompt, rows: Sequence[Mapping], texts: Sequence[str | None]) -> list[Grade]:
    """Grade 1 where an answer names the row's label, see `read_label`."""
    return scorer_of(LABEL)(prompt, rows, texts)


def exact(prompt: Prompt, rows: Sequence[Mapping], texts: Sequence[str | None]) -> list[Grade]:
    """Grade 1 where an answer is the row's label, but for case and white space."""
    return [
        Grade(text, float(text is not None and normal(text) == normal(row["label"])))
        for row, text in zip(rows, texts, strict=True)
    ]


def matches(pattern: str) -> Scorer:
    """Return a scorer by a regular expression.

    With a group, what the group matches is the prediction and is compared with the row's label;
    without one, an answer that the pattern matches anywhere is right.

    Raises
    ------
    ValueError
        If the pattern is no regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern: {pattern!r} is no regular expression: {error}") from error

    def grade(text: str | None, row: Mapping) -> Grade:
        match = compiled.search(text or "")
        if text is None or not match:
            return Grade(None, 0.0)
        if not compiled.groups:
            return Grade(match[0], 1.0)
        return Grade(match[1], float(match[1] is not None and match[1] == row["label"]))

    return _each(grade, f"matches {pattern}")


def valid_json(schema: Mapping) -> Scorer:
    """Return a scorer that asks for JSON that keeps to a schema (JSON Schema, draft 2020-12).

    Raises
    ------
    SchemaError
        If the schema is none.
    """
    is_valid = validator(schema).is_valid

    def grade(text: str | None, row: Mapping) -> Grade:
        try:
            return Grade(text, float(is_valid(json.loads(text or ""))))
        except (ValueError, RecursionError):
            return Grade(None, 0.0)

    return _each(grade, "valid JSON")


def _each(grade: Callable[[str | None, Mapping], Grade], name: str) -> Scorer:
    def scorer(prompt, rows, texts):
        return [grade(text, row) for row, text in zip(rows, texts, strict=True)]

    scorer.__name__ = name
    return scorer
