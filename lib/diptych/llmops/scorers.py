"""How an answer is judged: by its label, a pattern, a schema, a reference text, or another model.

A scorer takes a prompt, rows and the answers to them (None where the call failed), and returns a
`Grade` for each. A call that failed, or an answer that cannot be read, is graded 0.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from diptych.llmops.prompts import Prompt


@dataclass(frozen=True, slots=True)
class Grade:
    """What was read from an answer, None if nothing, and how good it is, from 0 to 1."""

    predicted: str | None
    score: float


Scorer = Callable[[Prompt, Sequence[Mapping], Sequence[str | None]], list[Grade]]


def label(text: str | None, labels: Sequence[str]) -> str | None:
    """Return the one label that an answer names, None if it names none, several, or denies one.

    Case, width, quotes, Markdown and words around it do not count; JSON is read too.
    """
    if text is None:
        return None
    said = _normal(_plain(text))
    exact = {_normal(name): name for name in labels}
    if (bare := said.strip(" \t\n.,;:!?\"'`*_#()[]<>")) in exact:
        return exact[bare]
    found = {(m[1] or m[2], m[2] is not None) for m in _pattern(tuple(exact)).finditer(said)}
    if len(found) != 1:
        return None
    name, denied = found.pop()
    return None if denied else exact[name]


@lru_cache
def _pattern(labels: tuple[str, ...]) -> re.Pattern:
    # the longest first, so that "not worth it" is a label before it is a denial
    one = "|".join(re.escape(name) for name in sorted(labels, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:({one})|(?:not|non|never|isn't)[\s-]+({one}))(?!\w)")


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _plain(text: str) -> str:
    """Return the texts in an answer that is JSON, else the answer."""
    try:
        found = json.loads(re.sub(r"^\s*```\w*\n|\n?```\s*$", "", text))
    except ValueError:
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
