"""The questions a team asks before it chooses, each answered by one measured line.

Other lines stand under a question as evidence; they never decide it. What the release gate refused
is said first: nothing is recommended that would not be released.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from diptych.core import contract
from diptych.core.contract import BUILD, OUTCOMES, RELEASE
from diptych.reporting.contrast.evidence import Panel, metric_of
from diptych.reporting.contrast.verdicts import Verdict, effect
from diptych.reporting.contrast.way import CASCADE, Way
from diptych.reporting.contrast.ways import better, standing_for

MLOPS, LLMOPS, TIE, INCONCLUSIVE, UNMEASURED = OUTCOMES
EITHER, BY_SLICE = "either", "by slice"


@dataclass(frozen=True)
class Question:
    """One decision.

    Attributes
    ----------
    key, title : str
    topic : str
        What it is about, as a sentence has it after *for*.
    decides : str
        Key of the line that answers it.
    evidence : tuple of str
        Keys of further lines, or the beginnings of keys.
    """

    key: str
    title: str
    topic: str
    decides: str
    evidence: tuple[str, ...] = ()


QUESTIONS = (
    Question("alike", "Which is right on data like ours?", "data like ours", "quality",
             ("calibration", "slice-")),
    Question("unlike", "Which is right on data unlike ours?", "data unlike ours", "hand-written",
             ("perturbed-",)),
    Question("labels", "Which gets by with few labels?", "few labels", "labels"),
    Question("latency", "Which answers sooner?", "quick answers", "p50",
             ("p95", "loaded-p95", "equal-use", "first-token")),
    Question("volume", "Which is cheaper for many answers?", "many answers", "cost",
             ("cost-correct", "throughput")),
    Question("change", "Which holds when the world changes?", "a changing world", "afterwards",
             ("drift", "instability")),
    Question("machine", "Which needs the smaller machine?", "a small machine", "memory",
             ("size",)),
    Question("here", "Which keeps the data here?", "data that must stay in house", "leaving"),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes
    ----------
    outcome : str
        "MLOps", "LLMOps", "cascade", "either" (a tie), "by slice" (where the slices of a task that
        is to be read by them disagree), "inconclusive" or "not measured".
    why : str
        Effect, interval and rows of the line that decides, or what would settle it.
    evidence : list of Verdict
        The line that decides, and those beside it.
    speaker : str
        The language model it rests on.
    """

    question: Question
    outcome: str
    why: str
    evidence: list[Verdict]
    speaker: str = ""

    def facts(self) -> dict:
        """Return it as plain JSON."""
        return {
            "key": self.question.key,
            "title": self.question.title,
            "topic": self.question.topic,
            "outcome": self.outcome,
            "why": self.why,
            "effect": "" if self.outcome == BY_SLICE else effect(self.evidence[0]),
            "speaker": self.speaker,
            "lines": [verdict.dimension.key for verdict in self.evidence],
        }


OF_QUALITY = {"quality": "rows", "hand-written": "by_hand"}  # what of a way answers a line


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


def answer(
    question: Question,
    verdicts: Sequence[Verdict],
    refused: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> Answer:
    """Answer a question from the verdicts on its lines.

    Parameters
    ----------
    refused : sequence of str
        The sides that the release gate refused; a win of theirs says so.
    remarks : sequence of str
        See `diptych.reporting.contrast.remarks`.
    """
    by_key = {verdict.dimension.key: verdict for verdict in verdicts}
    decides = by_key[question.decides]
    beside = [v for v in verdicts if v.dimension.key.startswith(question.evidence or ("\0",))]
    outcome = EITHER if decides.winner == TIE else decides.winner
    why = f"{decides.dimension.name}: {_levels(decides)}{decides.why}{_rows(decides)}"
    if by_slice := [v for v in beside if v.dimension.key.startswith("slice-")]:
        parts = (f"{v.dimension.key.partition('-')[2]} {v.winner}" for v in by_slice)
        why += f"; by slice: {', '.join(parts)}"
        outcome = BY_SLICE if len({v.winner for v in by_slice}) > 1 else outcome
    if decides.winner in refused:
        why += f"; the gate refused {decides.winner}, so it would not be released"
    if decides.winner != UNMEASURED:
        why = "; ".join([why, *remarks])
    return Answer(question, outcome, why, [decides, *beside])


def cascade_ahead(
    answered: Answer, compared: Sequence[Way], panels: tuple[Panel, Panel], margin: float
) -> Answer:
    """Return the answer, which is the cascade where that is better than both sides' own way.

    The cascade that was best on validation rows is held against both, on the same rows.
    """
    part = OF_QUALITY.get(answered.question.decides)
    metric, _ = metric_of(*panels)
    mixed = [way for way in compared if way.side == CASCADE]
    if part is None or metric is None or not mixed:
        return answered
    best = max(mixed, key=lambda way: way.validated)
    ours = [standing_for(panel, compared) for panel in panels]
    gaps = [None if way is None else better(best, way, part, metric) for way in ours]
    if any(gap is None or gap.low <= margin for gap in gaps):
        return answered
    least = min(gaps, key=lambda gap: gap.value)
    gap = f"{least.value:+.3f} ({least.low:+.3f} to {least.high:+.3f}), n {least.n:,}"
    words = f"{best.name}: better than either side by {gap}"
    return replace(answered, outcome=CASCADE, why=f"{words}; {answered.why}")


def speaker(answered: Answer, right: Panel) -> str:
    """Return who the language model is that an answer rests on."""
    chosen = right.representative
    if answered.question.decides in OF_QUALITY and chosen is not None:
        return f"{chosen.name}: {chosen.model}; {chosen.where}."
    if answered.question.decides == "labels" and right.others.ways:
        return "every recorded model at the number of labels it has seen."
    return f"{right.speakers}." if right.run(BUILD) else ""


def _levels(verdict: Verdict) -> str:
    """Return both sides' figures, which a difference alone would hide."""
    figures = verdict.measured.left, verdict.measured.right
    unit = verdict.dimension.unit
    if verdict.winner == UNMEASURED or None in figures or unit in ("labels", "bytes"):
        return ""
    return f"{figures[0].text(unit)} against {figures[1].text(unit)}, "


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
        return "Neither would be released: no candidate passed the release gate."
    if len(yes) == 2:
        return "Both passed the release gate."
    if yes and no:
        return f"{yes[0]} passed the release gate; {no[0]} would not be released."
    known = [*(f"{side} passed the release gate" for side in yes),
             *(f"{side} would not be released" for side in no)]  # fmt: skip
    return f"{known[0]}; the other was not decided." if known else "No release was decided."


OPEN = {
    EITHER: "Either will do for",
    BY_SLICE: "It depends on the slice:",
    INCONCLUSIVE: "Inconclusive:",
    UNMEASURED: "Not measured:",
}  # how a sentence says what no side is ahead in


def sentence(answers: Sequence[Answer], gate: str, refused: Sequence[str] = ()) -> str:
    """Return a scenario's answer in one breath: the gate, then what each side is for."""
    parts = []
    for side in (MLOPS, LLMOPS, CASCADE):
        if topics := _topics(answers, side):
            taken = (
                f"{side} is ahead, though refused, for" if side in refused else f"Take {side} for"
            )
            parts.append(f"{taken} {topics}.")
    for outcome, words in OPEN.items():
        if topics := _topics(answers, outcome):
            parts.append(f"{words} {topics}.")
    return " ".join([gate, *parts])


def _topics(answers: Sequence[Answer], outcome: str) -> str:
    topics = [one.question.topic for one in answers if one.outcome == outcome]
    return " and ".join(filter(None, (", ".join(topics[:-1]), *topics[-1:])))
