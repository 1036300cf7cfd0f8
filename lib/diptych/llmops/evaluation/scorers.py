"""How an answer is judged: by its label, a pattern, a schema, a reference text, or another model.

A scorer takes a prompt, rows and the answers to them (None where the call failed), and returns a
`Grade` for each. A call that failed, or an answer that cannot be read, is graded 0.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from diptych.core.data.schema import REFERENCE
from diptych.core.evaluation import text_metrics
from diptych.core.evaluation.text_metrics import normal
from diptych.llmops.evaluation.structured import validator
from diptych.llmops.prompts.prompt import LABEL, Prompt


@dataclass(frozen=True, slots=True)
class Grade:
    """What was read from an answer, None if nothing, and how good it is, from 0 to 1."""

    predicted: str | None
    score: float


class Scorer(Protocol):
    """What grades answers: a function such as `by_label`, or an object such as a judge."""

    def __call__(
        self, prompt: Prompt, rows: Sequence[Mapping], texts: Sequence[str | None]
    ) -> list[Grade]:
        """Return a grade for each row's answer, None where the call failed."""


def label(text: str | None, labels: Sequence[str]) -> str | None:
    """Return the one label that an answer names, None if it names none, several, or denies one.

    Case, width, quotes, Markdown and words around it do not count; JSON is read too.
    """
    if text is None:
        return None
    said = normal(_plain(text))
    exact = {normal(name): name for name in labels if name.strip()}
    if (bare := said.strip(" \t\n.,;:!?\"'`*_#()[]<>")) in exact:
        return exact[bare]
    found = {(m[1] or m[2], m[2] is not None) for m in _pattern(tuple(exact)).finditer(said)}
    if not exact or len(found) != 1:
        return None
    name, denied = found.pop()
    return None if denied else exact[name]


@lru_cache
def _pattern(labels: tuple[str, ...]) -> re.Pattern:
    # the longest first, so that "not worth it" is a label before it is a denial
    one = "|".join(re.escape(name) for name in sorted(labels, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:({one})|(?:not|non|never|isn't)[\s-]+({one}))(?!\w)")


def _plain(text: str) -> str:
    """Return the texts in an answer that is JSON, else the answer."""
    try:
        found = json.loads(re.sub(r"^\s*```\w*\n|\n?```\s*$", "", text))
    except (ValueError, RecursionError):
        return text
    values = found.values() if isinstance(found, dict) else [found]
    return " ".join(value for value in values if isinstance(value, str)) or text


def by_label(prompt: Prompt, rows: Sequence[Mapping], texts: Sequence[str | None]) -> list[Grade]:
    """Grade 1 where an answer names the row's label, see `label`."""
    found = [label(text, prompt.labels) for text in texts]
    return [
        Grade(name, float(name is not None and name == row["label"]))
        for row, name in zip(rows, found, strict=True)
    ]


def exact(prompt: Prompt, rows: Sequence[Mapping], texts: Sequence[str | None]) -> list[Grade]:
    """Grade 1 where an answer is the row's label, but for case and white space."""
    return [
        Grade(text, float(text is not None and normal(text) == normal(row["label"])))
        for row, text in zip(rows, texts, strict=True)
    ]


def matches(pattern: str) -> Scorer:
    """Return a scorer by a regular expression.

    With a group, what the group finds is the prediction and is compared with the row's label;
    without one, an answer in which the pattern is found is right.

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
        found = compiled.search(text or "")
        if text is None or not found:
            return Grade(None, 0.0)
        if not compiled.groups:
            return Grade(found[0], 1.0)
        return Grade(found[1], float(found[1] is not None and found[1] == row["label"]))

    return _each(grade)


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

    return _each(grade)


def by_prompt(prompt: Prompt, rows: Sequence[Mapping], texts: Sequence[str | None]) -> list[Grade]:
    """Grade as the prompt says: by the label, or against the reference.

    See `diptych.core.evaluation.text_metrics`.
    """
    if prompt.graded == LABEL:
        return by_label(prompt, rows, texts)
    grade = text_metrics.GRADES[prompt.graded]
    return [
        Grade(text, grade(text or "", wanted(row))) for row, text in zip(rows, texts, strict=True)
    ]


def read(prompt: Prompt, text: str | None) -> str | None:
    """Return what an answer says: its label, or all of it where the prompt asks for a text."""
    return label(text, prompt.labels) if prompt.graded == LABEL else text


def wanted(row: Mapping) -> str:
    """Return what a row's answer is compared with: its reference, or its label if it has none."""
    return row.get(REFERENCE, row["label"])


def _each(grade: Callable[[str | None, Mapping], Grade]) -> Scorer:
    def scorer(prompt, rows, texts):
        return [grade(text, row) for row, text in zip(rows, texts, strict=True)]

    return scorer
