"""Product cards and questions about them; the answer stands on the card, or is not stated."""

import random
import re
import string
from dataclasses import dataclass

from diptych.core.data.generators.lexicon import asset

ABSENT = "Not stated."
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"


def cards() -> dict:
    """Return ``cards.yaml``."""
    return asset("cards")


@dataclass(frozen=True)
class Question:
    """A question about a card; `value` is None where the card does not state it."""

    text: str
    key: str
    value: str | None

    def answer(self, value_only: bool = False) -> str:
        """Return the right answer, as a sentence or as the bare value."""
        if self.value is None:
            return ABSENT
        if value_only:
            return self.value
        fact = cards()["facts"].get(self.key)
        pattern = fact["answer"] if fact else f"The {self.key} is {{v}}."
        return pattern.format(v=self.value)


def name(rng: random.Random) -> str:
    """Invent a name."""
    syllables = (rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.choice((2, 2, 3))))
    return "".join(syllables).capitalize() + rng.choice(("", "", "n", "x", "r"))


def code(rng: random.Random) -> str:
    """Invent a product code."""
    return "".join(rng.choices(string.ascii_uppercase, k=2)) + str(rng.randrange(100, 10_000))


def value(rng: random.Random, pattern: str) -> str:
    """Fill ``{lo-hi}``, ``{name}`` and ``{code}``."""
    inventors = {"{name}": name, "{code}": code}
    if pattern in inventors:
        return inventors[pattern](rng)
    span = r"\{(\d+)-(\d+)\}"
    return re.sub(span, lambda match: str(rng.randint(int(match[1]), int(match[2]))), pattern)


def product(rng: random.Random) -> str:
    """Invent the name of a product."""
    model = rng.choice(("X", "S", "Pro", "Mini", "Max", "Go"))
    ending = ("", f" {rng.randrange(1, 100)}", f" {model}{rng.randrange(1, 10)}", f" {model}")
    return name(rng) + rng.choice(ending)


def make(rng: random.Random) -> tuple[str, str, dict[str, str]]:
    """Return a card's text, its product and its facts."""
    known = cards()["facts"]
    facts = {
        key: value(rng, rng.choice(known[key]["values"]))
        for key in rng.sample(list(known), rng.randint(2, 6))
    }
    for key in rng.sample(cards()["other_keys"], rng.choice((0, 0, 1, 2, 3))):
        values = (
            str(rng.randrange(1, 1000)),
            name(rng),
            code(rng),
            rng.choice(string.ascii_uppercase),
        )
        facts[key] = rng.choice(values)
    called = product(rng)
    return lay_out(rng, called, rng.choice(cards()["kinds"]), facts), called, facts


def lay_out(rng: random.Random, called: str, kind: str, facts: dict[str, str]) -> str:
    """Write a card as lines, a line, a table or sentences."""
    items = rng.sample(list(facts.items()), len(facts))
    form = rng.random()
    if form < 0.6:
        head = rng.choice(("Product card\n", "Card:\n", "Context:\n", "Facts\n", "", "Product: "))
        top = f"{called}\n" if head == "Product: " else f"name: {called}\ntype: {kind}\n"
        return head + top + "\n".join(f"{key}: {value}" for key, value in items)
    if form < 0.75:
        return f"{called} ({kind}): " + ", ".join(f"{key} {value}" for key, value in items) + "."
    if form < 0.85:
        rows = "\n".join(f"| {key} | {value} |" for key, value in items)
        return f"| field | value |\n| name | {called} |\n{rows}"
    sentences = (Question("", key, value).answer() for key, value in items)
    return f"The {called} is a {kind}. " + " ".join(sentences)


def question(rng: random.Random, facts: dict[str, str], called: str, absent: bool) -> Question:
    """Ask for a fact of the card, or for one it lacks."""
    known = cards()["facts"]
    keys = [*known, *cards()["other_keys"][:8]] if absent else list(facts)
    key = rng.choice([key for key in keys if (key not in facts) == absent])
    wordings = known.get(key)
    if wordings and rng.random() < 0.6:
        text = rng.choice(wordings["questions"])
    else:
        noun = rng.choice(wordings["nouns"]) if wordings else key
        text = rng.choice(cards()["frames"]).replace("{k}", noun).replace("{K}", noun.capitalize())
    text = text.replace("{n}", called)
    if rng.random() < 0.1:
        text = text.lower()
    return Question(text, key, None if absent else facts[key])
