"""The questions a team asks before it chooses, each answered by one measured line.

Other lines stand under a question as evidence; they never decide it. What the release gate refused
is said first: nothing is recommended that would not be released.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diptych.core import contract
from diptych.core.contract import OUTCOMES, RELEASE
from diptych.reporting.contrast.evidence import Panel
from diptych.reporting.contrast.verdicts import Verdict

MLOPS, LLMOPS, TIE, INCONCLUSIVE, UNMEASURED = OUTCOMES
EITHER = "either"


@dataclass(frozen=True)
class Question:
    """One decision.

    Attributes
    ----------
    key, title : str
    decides : str
        Key of the line that answers it.
    evidence : tuple of str
        Keys of further lines, or the beginnings of keys.
    """

    key: str
    title: str
    decides: str
    evidence: tuple[str, ...] = ()


QUESTIONS = (
    Question("alike", "Which is right on data like ours?", "quality", ("calibration",)),
    Question("unlike", "Which is right on data unlike ours?", "hand-written", ("perturbed-",)),
    Question("labels", "Which gets by with few labels?", "labels"),
    Question(
        "latency", "Which answers sooner?", "p50", ("p95", "loaded-p95", "first-token")
    ),
    Question(
        "volume", "Which is cheaper for many answers?", "cost", ("cost-correct", "throughput")
    ),
    Question(
        "change", "Which holds when the world changes?", "afterwards", ("drift", "instability")
    ),
    Question("machine", "Which needs the smaller machine?", "memory", ("size",)),
    Question("here", "Which keeps the data here?", "leaving"),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes
    ----------
    outcome : str
        "MLOps", "LLMOps", "either" (a tie), "inconclusive" or "not measured".
    why : str
        Effect, interval and rows of the line that decides, or what would settle it.
    evidence : list of Verdict
        The line that decides, and those beside it.
    """

    question: Question
    outcome: str
    why: str
    evidence: list[Verdict]

    def facts(self) -> dict:
        """Return it as plain JSON."""
        return {
            "key": self.question.key,
            "title": self.question.title,
            "outcome": self.outcome,
            "why": self.why,
            "lines": [verdict.dimension.key for verdict in self.evidence],
        }


def asked(keys: Sequence[str] = ()) -> list[Question]:
    """Return the questions with these keys, all if none is given.

    Raises
    ------
    LookupError
        If a key is unknown.
    """
    known = {question.key: question for question in QUESTIONS}
    if unknown := [key for key in keys if key not in known]:
        raise LookupError(f"questions: {', '.join(unknown)} unknown; there are {', '.join(known)}")
    return [known[key] for key in keys] or list(QUESTIONS)


def answer(question: Question, verdicts: Sequence[Verdict], refused: Sequence[str] = ()) -> Answer:
    """Answer a question from the verdicts on its lines.

    Parameters
    ----------
    refused : sequence of str
        The sides that the release gate refused; a win of theirs says so.
    """
    by_key = {verdict.dimension.key: verdict for verdict in verdicts}
    decides = by_key[question.decides]
    beside = [v for v in verdicts if v.dimension.key.startswith(question.evidence or ("\0",))]
    outcome = EITHER if decides.winner == TIE else decides.winner
    why = f"{decides.dimension.name}: {decides.why}{_rows(decides)}"
    if decides.winner in refused:
        why += f"; the gate refused {decides.winner}, so it would not be released"
    return Answer(question, outcome, why, [decides, *beside])


def _rows(verdict: Verdict) -> str:
    gap = verdict.measured.difference
    return f", n {gap.n:,}" if gap is not None and gap.n else ""


def gates(left: Panel, right: Panel) -> dict[str, bool | None]:
    """Return whether each side's candidate passed its release gate, None where none was decided."""
    passed = [panel.fact(RELEASE, contract.WAS_PROMOTED) for panel in (left, right)]
    return dict(zip((MLOPS, LLMOPS), passed, strict=True))


def gate_words(passed: Mapping[str, bool | None]) -> str:
    """Say which side would be released."""
    yes, no = ([side for side, one in passed.items() if one is known] for known in (True, False))
    if len(no) == 2:
        return "Neither would be released: both failed the gate or left it undecided."
    if len(yes) == 2:
        return "Both passed the release gate."
    if yes and no:
        return f"{yes[0]} passed the release gate; {no[0]} would not be released."
    known = [*(f"{side} passed the release gate" for side in yes),
             *(f"{side} would not be released" for side in no)]  # fmt: skip
    return f"{known[0]}; the other was not decided." if known else "No release was decided."


def sentence(answers: Sequence[Answer], gate: str) -> str:
    """Return a scenario's answer in one breath: the gate, then what each side is for."""
    parts = [gate]
    for side in (MLOPS, LLMOPS):
        if titles := [_topic(one) for one in answers if one.outcome == side]:
            parts.append(f"{side}: {', '.join(titles)}.")
    if titles := [_topic(one) for one in answers if one.outcome == EITHER]:
        parts.append(f"Either: {', '.join(titles)}.")
    if titles := [_topic(one) for one in answers if one.outcome == INCONCLUSIVE]:
        parts.append(f"Inconclusive: {', '.join(titles)}.")
    return " ".join(parts)


def _topic(one: Answer) -> str:
    """Return what a question is about: the name of the line that decides it."""
    return one.evidence[0].dimension.name
