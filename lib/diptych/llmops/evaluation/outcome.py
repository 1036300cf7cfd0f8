"""What became of each question: answered, unreadable, refused, filtered, cut, tool call or failed.

Where a number is asked for, an answer may also be a range, whose middle counts.

A failed call says nothing about a model, so a variant with failed calls has no figure: "not
measured (12 of 150 failed: …)". An answer that was cut, refused, filtered or is unreadable is the
model's, and is graded: what can be read of it counts.
"""

import re
from collections.abc import Mapping

import pandas as pd

from diptych.llmops.client.ask import Answer
from diptych.llmops.client.formats.outcomes import (
    ANSWERED,
    CUT,
    EMPTY,
    FAILED,
    FILTERED,
    REFUSED,
    TOOL_CALL,
)
from diptych.llmops.evaluation.scorers import Grade

UNREADABLE, RANGE = "unreadable", "range"
ORDER = (ANSWERED, RANGE, CUT, UNREADABLE, REFUSED, FILTERED, EMPTY, TOOL_CALL, FAILED)
REFUSES = re.compile(
    r"\b(?:cannot|can't|can not|could not|couldn't|unable to|not able to|won't|refuse to|sorry)\b"
    r"|\bas an? (?:ai|language model|assistant)\b|\bnot stated\b",
    re.IGNORECASE,
)
REMEDIES = {
    CUT: "raise max_tokens",
    UNREADABLE: "look at them in the results, and say in the prompt how to answer",
    RANGE: "their middle counts; say in the prompt to answer with one number",
    EMPTY: "a model that thinks needs more max_tokens",
    TOOL_CALL: "take tools out of the parameters",
    FAILED: "run it again: answers are in the ledger, and only what failed is asked",
}


class UnmeasuredError(ValueError):
    """No variant has a figure, for calls of each failed; the message says why."""


def refuses(text: str | None) -> bool:
    """Return whether the words of an answer decline to answer."""
    return isinstance(text, str) and bool(REFUSES.search(text.replace("\u2019", "'")))


def gradable(answer: Answer) -> str | None:
    """Return the text that is graded of an answer, None where there is none."""
    return None if answer.outcome in (FAILED, REFUSED, FILTERED, TOOL_CALL) else answer.text


def of_grade(answer: Answer, grade: Grade) -> str:
    """Return what became of a question whose answer was graded, one of `ORDER`."""
    ended = of(answer, grade.predicted)
    return RANGE if ended == ANSWERED and grade.is_range else ended


def of(answer: Answer, predicted: str | float | None) -> str:
    """Return what became of a question, one of `ORDER`.

    Parameters
    ----------
    predicted : str, float or None
        What was read of the answer.
    """
    if answer.outcome != ANSWERED or predicted is not None:
        return answer.outcome
    return REFUSED if refuses(answer.text) else UNREADABLE


def of_log(log: pd.DataFrame) -> pd.Series:
    """Return what became of each row in service, one of `ORDER`.

    Parameters
    ----------
    log : DataFrame
        ``status``, ``prediction``, ``output``, and ``outcome``: how the call ended ("" in the rows
        of an older version, of which a failure alone is known).
    """
    ended = log["outcome"].fillna("").replace("", ANSWERED)
    ended = ended.where(log["status"] == "ok", FAILED).astype(object)
    unread = (ended == ANSWERED) & log["prediction"].isna()
    declines = log["output"].map(refuses)
    ended[unread] = UNREADABLE
    ended[unread & declines] = REFUSED
    return ended


def counted(outcomes: pd.Series) -> str:
    """Return outcomes and how often there was each, such as "147 answered, 3 cut"."""
    counts = outcomes.value_counts()
    return ", ".join(f"{counts[name]:,} {name}" for name in ORDER if name in counts)


def unmeasured(results: pd.DataFrame) -> dict[str, str]:
    """Return why variants have no figure, by variant: calls of them failed.

    Parameters
    ----------
    results : DataFrame
        As `diptych.llmops.evaluation.evaluate.evaluate` returns it.
    """
    reasons = {}
    for name, lines in results.groupby("variant", sort=False):
        errors = lines.loc[lines["error"] != "", "error"]
        if len(errors):
            most = errors.mode()[0]
            reasons[name] = f"not measured ({len(errors):,} of {len(lines):,} failed: {most})"
    return reasons


def measured(results: pd.DataFrame) -> pd.DataFrame:
    """Return the results of the variants none of whose calls failed.

    Raises
    ------
    UnmeasuredError
        If there is no such variant.
    """
    reasons = unmeasured(results)
    rest = results[~results["variant"].isin(reasons)]
    if reasons and rest.empty:
        raise UnmeasuredError(explained(reasons))
    return rest


def refuse_failed(results: pd.DataFrame) -> pd.DataFrame:
    """Return the results, or raise UnmeasuredError if any call failed.

    What is told of such rows would be wrong.
    """
    if reasons := unmeasured(results):
        raise UnmeasuredError(explained(reasons))
    return results


def explained(reasons: Mapping[str, str]) -> str:
    """Return reasons of `unmeasured` and the remedy as one sentence."""
    each = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    return f"{each}; {REMEDIES[FAILED]}"


def advice(results: pd.DataFrame) -> str:
    """Return what to do about answers that are none, a line for each kind; "" if all are fine."""
    lines = []
    for name in ORDER[1:]:
        count = int((results["outcome"] == name).sum())
        if count:
            remedy = f": {REMEDIES[name]}" if name in REMEDIES else ""
            lines.append(f"{count:,} of {len(results):,} answers: {name}{remedy}.")
    return "\n".join(lines)
