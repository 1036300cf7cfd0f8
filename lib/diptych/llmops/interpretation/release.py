"""What the outputs of ``llmops/3_release`` show."""

import pandas as pd

from diptych.core.evaluation.gate import Candidate, Decision
from diptych.core.store.registry import Version
from diptych.llmops.interpretation.words import count, figure, is_known, listed
from diptych.llmops.prompts.variant import Variant


def of_candidate(candidate: Variant, champion: Version | None, rows: pd.DataFrame) -> list[str]:
    """Say what stands before the gate, against what, and on how many rows."""
    against = f"the champion is {champion}" if champion else "there is no champion yet"
    return [
        f"The candidate is {candidate.name}, version {candidate.prompt.version}; {against}. "
        f"{count(len(rows), 'test row')} decide.",
        "Both answer the same rows, so that only the prompt, model and parameters differ.",
    ]


def of_assertion(read: pd.DataFrame, passed: bool) -> list[str]:
    """Say whether the test by hand passed, and what one test is worth."""
    answers = listed(map(repr, read["written"].drop_duplicates()))
    if passed:
        advice = "One test proves little. What to do: write those that your users would."
        return [f"The answer is {answers} both times: the assertion holds.", advice]
    advice = "What to do: strip the text before it is asked, or take a steadier prompt."
    return [f"A space at the end changes the answer: {answers}.", advice]


def of_cases(cases: pd.DataFrame) -> list[str]:
    """Say how many tests there are, and how many of them were written here."""
    if cases.empty:
        return ["There are no tests of words for this prompt, so the gate decides by rows alone."]
    sizes = cases["family"].value_counts()
    written = int(sizes.get("written here", 0))
    return [
        f"{count(len(cases), 'test')} in {count(len(sizes), 'family', 'families')}; the smallest "
        f"is {sizes.index[-1]}, with {sizes.iloc[-1]}.",
        f"{written} of them are yours: the gate counts them as a family."
        if written
        else "None is yours yet. What to do: add one to mine, above, from a complaint you had.",
    ]


def of_families(families: pd.DataFrame, most: float) -> list[str]:
    """Say in which family the candidate is weakest, and where the rows leave the limit open."""
    known = families.dropna(subset="value")
    if known.empty:
        return ["No behaviour was tested."]
    weak = known.loc[known["value"].idxmin()]
    below = known[known["value"] < 1 - most]
    open_ = known[(known["low"] < 1 - most) & (known["value"] >= 1 - most)]
    lines = [
        f"It passes least of {weak['name']}: {figure(weak)} of {count(weak['n'], 'test')}; at "
        f"least {1 - most:.2f} is asked."
    ]
    if len(open_):
        lines.append(f"The interval of {listed(open_['name'])} reaches below that: inconclusive.")
    return [*lines, f"What to do: {listed(below['name'])} blocks the release; read its failures."
            if len(below) else "What to do: read the failures below all the same; a user meets "
                               "them, not the share."]  # fmt: skip


def of_gate(decision: Decision) -> list[str]:
    """Say how the gate decided, and how many rules nobody could decide."""
    status, rules = decision.checks["status"], decision.checks["rule"]
    opened = rules[status == "inconclusive"]
    waived = rules[status == "no limit"]
    slices = int(opened.str.startswith("slice ").sum())
    lines = [decision.reason]
    if len(opened):
        lines.append(f"{count(len(opened), 'rule')} inconclusive, of them {slices} slices: "
                     "these few rows neither show a loss nor rule it out.")  # fmt: skip
    if len(waived):
        lines.append(f"No limit is set for {listed(waived, 4)}: set one where users would mind.")
    watch, read = "promote, and watch in 5_monitor what is open", "read the first rule not passed"
    return [*lines, f"What to do: {watch if decision.promoted else read}."]


def of_registered(version: Version, decision: Decision, before: Candidate | None) -> list[str]:
    """Say what MLflow holds now, and what serves."""
    if decision.promoted:
        serves = f"{version} is the champion" + (", and the one before stays" if before else "")
    else:
        serves = f"{version} is the challenger, and what served before still does"
    return [
        f"MLflow holds version {version.number} with its messages, model and parameters; {serves}.",
        "What to do: read it by any MLflow client, as above, or open its pages by that command.",
    ]


def of_record(verdict: pd.DataFrame) -> list[str]:
    """Say what the contrast reads: the figure, and what an answer costs of the machine."""
    values = dict(zip(verdict["measured"], verdict["value"], strict=True))
    cpu, size = values.get("cpu_ms_per_request"), values.get("size_mb")
    cost = f"{cpu:.1f} ms of processor time" if is_known(cpu) else "a processor that is not ours"
    file = f" and a file of {size:.1f} MB" if is_known(size) else ""
    return [f"An answer takes {cost}{file}; the score above is that of the rows which decided.",
            "What to do: compare both with mlops/3_release, as the contrast does."]  # fmt: skip
