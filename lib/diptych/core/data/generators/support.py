"""Scripted dialogues between a customer and the support of a shop, each ending in a question.

Every dialogue is a text with one turn a line; the line begins with `CUSTOMER` or `AGENT`. What a
right answer must hold is known by construction: for an intent what its canned answer says, for a
fact what the customer said earlier in the dialogue.
"""

import random
from typing import Any

import pandas as pd

from diptych.core.data.generators import cards
from diptych.core.data.generators.lexicon import asset, script

CUSTOMER, AGENT = "Customer: ", "Agent: "
SLICES = ("first turn", "follow-up", "own fact")
CARD = "card"  # the intent of a question about a product card
LEAD = 0.5  # share of intents whose question has a few words before it
HELD = 240  # dialogues whose last turn has a wording no model is trained on, a third a slice


def replies() -> dict[str, str]:
    """Return every intent's canned answer; it says so if it would need the dialogue's facts."""
    canned = {name: intent["reply"] for name, intent in script()["intents"].items()}
    return canned | dict.fromkeys([*script()["recalls"], CARD], script()["unknown"])


def support(rows: int = 2_400, seed: int = 0) -> pd.DataFrame:
    """Generate dialogues; the same arguments give the same rows anywhere.

    Returns
    -------
    DataFrame
        ``id``, ``text``, ``label`` (the intent of the last turn), ``reference`` (what a right
        answer holds; several right ones have a line each), ``slice`` (one of `SLICES`) and
        ``held``: whether no model is trained on the wording of the last turn. No text occurs
        twice.
    """
    rng = random.Random(f"support {seed}")
    lines: list[tuple] = []
    seen: set[str] = set()
    while len(lines) < rows + HELD:
        held = len(lines) >= rows
        part = SLICES[len(lines) % len(SLICES)]
        turns, label, wanted = DIALOGUES[part](rng, held)
        text = transcript(turns)
        if text.lower() not in seen:
            seen.add(text.lower())
            lines.append((f"d-{len(lines):05d}", text, label, "\n".join(wanted), part, held))
    return pd.DataFrame(lines, columns=["id", "text", "label", "reference", "slice", "held"])


def transcript(turns: list[str]) -> str:
    """Join turns to a text, the customer's and the agent's in turn, the customer's first."""
    return "\n".join((CUSTOMER, AGENT)[i % 2] + turn for i, turn in enumerate(turns))


def _first_turn(rng: random.Random, held: bool) -> Any:
    return _intent(rng, held, [])


def _follow_up(rng: random.Random, held: bool) -> Any:
    """Ask a question in mid-dialogue that needs none of its facts."""
    before = _complaint(rng)[0] if rng.random() < 0.5 else _told(rng, rng.choice((1, 2)))[0]
    return _intent(rng, held, before)


def _own_fact(rng: random.Random, held: bool) -> Any:
    """Ask for a fact that stands in this dialogue only."""
    return rng.choice((_recall, _recall, _recall_case, _card))(rng, held)


DIALOGUES = dict(zip(SLICES, (_first_turn, _follow_up, _own_fact), strict=True))


def _intent(rng: random.Random, held: bool, before: list[str]) -> Any:
    name, intent = rng.choice(list(script()["intents"].items()))
    wordings = intent["others"] if held else _group(intent["like"])
    lead = rng.choice(script()["leads"]) if rng.random() < LEAD else ""
    return [*before, say(rng, lead + rng.choice(wordings))], name, intent["must"]


def _recall(rng: random.Random, held: bool) -> Any:
    """Tell one or two facts, then ask for one."""
    turns, facts = _told(rng, rng.choice((1, 2)))
    kind = rng.choice(list(facts))
    (fact,) = (one for one in asset("talk")["memory"] if one["kind"] == kind)
    return [*turns, _asked(rng, kind, fact["ask"], held)], kind, [facts[kind]]


def _recall_case(rng: random.Random, held: bool) -> Any:
    """Report a problem and its order, then ask back about either."""
    turns, problem, order = _complaint(rng)
    kind, wanted = rng.choice((("problem", problem), ("order", order)))
    asks = asset("talk")["what_problem" if kind == "problem" else "which_order"]
    return [*turns, _asked(rng, kind, asks, held)], kind, [wanted]


def _card(rng: random.Random, held: bool) -> Any:
    """Show a product card and ask for a fact on it."""
    others = asset("gates")["questions"]
    while True:
        text, called, facts = cards.make(rng)
        question = cards.question(rng, facts, called, absent=False)
        if not held or question.key in others:
            break
    words = rng.choice(others[question.key]) if held else question.text
    return [f"{text}\n{words}"], CARD, [question.value]


def _told(rng: random.Random, count: int) -> tuple[list[str], dict[str, str]]:
    """Return turns in which a customer tells facts, and the facts."""
    turns, facts = [], {}
    for fact in rng.sample(asset("talk")["memory"], count):
        value = facts[fact["kind"]] = remembered(rng, fact["kind"])
        turns += [rng.choice(fact["tell"]).format(v=value), fact["ack"].format(v=value)]
    return turns, facts


def _complaint(rng: random.Random) -> tuple[list[str], str, str]:
    """Return turns in which a customer reports a problem, the problem and the order's number."""
    talk = asset("talk")
    item, problem = rng.choice(cards.cards()["kinds"]), rng.choice(talk["problems"])
    order = str(rng.randrange(1000, 99_999))
    turns = [
        say(rng, rng.choice(talk["complain"]).format(i=item, p=problem)),
        f"I am sorry that your {item} {problem}. What is your order number?",
        rng.choice(talk["number"]).format(o=order),
        f"Thank you. I opened a case for order {order} about your {item}.",
    ]
    return turns, problem, order


def _asked(rng: random.Random, kind: str, known: list[str], held: bool) -> str:
    return say(rng, rng.choice(script()["recalls"][kind]["others"] if held else known))


def _group(like: str) -> list[str]:
    """Return the wordings of ``llm/talk.yaml`` that share an answer with one of them."""
    return next(group["say"] for group in asset("talk")["talk"] if like in group["say"])


def say(rng: random.Random, text: str) -> str:
    """Vary the first letter and the end of what a customer types."""
    text = text if rng.random() < 0.5 else text[0].upper() + text[1:]
    return text if text[-1] in "?!." else text + rng.choice(("", "", ".", "!", "?"))


def remembered(rng: random.Random, kind: str) -> str:
    """Draw something a customer may tell."""
    talk = asset("talk")
    if kind == "name":
        return rng.choice(talk["first_names"]) if rng.random() < 0.4 else cards.name(rng)
    if kind in ("order", "number"):
        return str(rng.randrange(1000, 99_999) if kind == "order" else rng.randrange(2, 60))
    if kind == "place":
        return rng.choice(talk["places"]) if rng.random() < 0.6 else cards.name(rng)
    return rng.choice(cards.cards()["kinds" if kind == "item" else "facts"]
                      if kind == "item" else cards.cards()["facts"]["color"]["values"])  # fmt: skip
