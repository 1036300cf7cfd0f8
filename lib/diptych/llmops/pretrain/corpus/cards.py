"""Questions about a product card: the answer is copied from it, or is "Not stated."."""

import json
import random

from diptych.core.data.generators.cards import ABSENT, Question, cards, code, make, name, question
from diptych.llmops.pretrain.corpus.sentiment import turns


def card(rng: random.Random, absent_share: float = 0.36) -> list:
    """Ask one to three questions about a card."""
    text, called, facts = make(rng)
    value_only = rng.random() < 0.3
    pairs = []
    for number in range(rng.choice((1, 1, 2, 3))):
        query = question(rng, facts, called, rng.random() < absent_share)
        user = query.text
        if number == 0:
            joint = rng.choice(("\n", "\n\n"))
            user = text + joint + rng.choice(cards()["before"]) + user
            user += rng.choice(cards()["value_only"]) if value_only else ""
        pairs.append((user, query.answer(value_only)))
    return turns(*pairs)


def extract(rng: random.Random) -> list:
    """Ask for some facts of a card as a JSON object."""
    text, _, facts = make(rng)
    keys = rng.sample(list(facts), min(len(facts), rng.choice((1, 2, 2, 3))))
    asking = rng.choice(cards()["extract"]).format(k=", ".join(keys))
    return turns((f"{text}\n{asking}", json.dumps({key: facts[key] for key in keys})))


__all__ = ["ABSENT", "Question", "card", "cards", "code", "extract", "make", "name", "question"]
