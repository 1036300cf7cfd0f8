"""How an answer is graded: one registry for both panels; only a task names its grader.

To add a grader, write a function of an answer and what it is compared with, and enter it here; or
register it in a plugin (`diptych.face.register.scorer`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from diptych.base import plugins
from diptych.base.errors import Plain
from diptych.core.evaluation import text_metrics
from diptych.core.evaluation.metrics import METRICS, Metric

T = TypeVar("T")  # what a row holds; or the columns of many rows
LABEL = "label"  # the grader, and the column that it compares with
REFERENCE = "reference"  # the column of tasks whose answer is a text
CONTAINS, ROUGE_L = "contains", "rouge_l"
RIGHT = 0.5  # the least grade of an answer that counts as right


class GraderError(Plain, ValueError):
    """Answers cannot be graded as the task says; the message names both graders and the remedy."""


@dataclass(frozen=True)
class Grader:
    """One way to grade an answer.

    Attributes
    ----------
    name : str
        As tasks give it.
    metric : str
        What reports call the mean grade.
    column : str
        The column of the row that an answer is compared with: its label, or its reference.
    score : callable
        Takes an answer and what that column holds; returns a grade from 0 to 1.
    caution : str
        What its grades do not tell, "" if nothing: stands beside what rests on them.
    """

    name: str
    metric: str
    column: str
    score: Callable[[str, str], float] = field(repr=False)
    caution: str = ""

    @property
    def needs_reference(self) -> bool:
        """Whether rows need a ``reference``."""
        return self.column == REFERENCE

    def expected(self, row: Mapping[str, T]) -> T:
        """Return what an answer to a row is compared with.

        Raises
        ------
        GraderError
            If the row does not hold it.
        """
        try:
            return row[self.column]
        except KeyError:
            raise GraderError(
                f"grader: {self.name} compares with the column {self.column!r}, and the rows have "
                f"none; add it, or name another grader in the task: {', '.join(GRADERS)}"
            ) from None

    def grade(self, answer: str | None, row: Mapping) -> float:
        """Return the grade of an answer to a row, 0 where there is no answer."""
        expected = self.expected(row)
        return 0.0 if answer is None else float(self.score(answer, expected))


def _same(answer: str, expected: str) -> float:
    return float(answer == expected)


def read_added(name: str, entry: object) -> Grader:
    """Return the grader that a package's entry point gives: one, or its function.

    Raises
    ------
    PluginError
        If it is neither.
    """
    if isinstance(entry, Grader):
        return entry
    if not callable(entry):
        raise plugins.PluginError(f"scorer: {name!r} is no function of an answer and a reference")
    return Grader(name, name, REFERENCE, entry)


BUILT_IN = (
    Grader(LABEL, "accuracy", LABEL, _same),
    Grader(
        CONTAINS,
        "share with the reference in it",
        REFERENCE,
        text_metrics.contains,
        "an answer that says the reference in other words counts as wrong",
    ),
    Grader(
        ROUGE_L,
        "ROUGE-L",
        REFERENCE,
        text_metrics.rouge,
        "ROUGE-L rewards the reference's own words: a good answer in other words gets a low grade",
    ),
)
GRADERS = plugins.Registry("scorer", {grader.name: grader for grader in BUILT_IN}, read_added)


def get(name: str) -> Grader:
    """Return a grader by its name.

    Raises
    ------
    GraderError
        If there is none of this name.
    """
    return GRADERS.named(name, GraderError, "grader")


@dataclass(frozen=True)
class Scoring:
    """How a task's answers are graded one by one, and which metric of them all decides.

    Attributes
    ----------
    grader : str
        A name in `GRADERS`.
    metric : Metric
        Where answers are graded as texts, always their mean grade.
    """

    grader: str = LABEL
    metric: Metric = METRICS["accuracy"]

    def __post_init__(self) -> None:
        grader = get(self.grader)
        if grader.needs_reference:
            object.__setattr__(self, "metric", replace(METRICS["grade"], title=grader.metric))

    @classmethod
    def of(cls, scoring: "str | Scoring") -> "Scoring":
        """Return a scoring; a grader's name stands for it with the metric accuracy.

        Raises
        ------
        GraderError
            If there is no such grader.
        """
        return cls(scoring) if isinstance(scoring, str) else scoring
