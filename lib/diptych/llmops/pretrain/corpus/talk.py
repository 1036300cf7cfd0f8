"""Summaries, support chat that refers back, small talk, copying, and "I do not know"."""

import json
import random

from diptych.core.data.generators.support import remembered, say
from diptych.llmops.pretrain.corpus import cards
from diptych.llmops.pretrain.corpus.opinions import review, sentence_case
from diptych.llmops.pretrain.corpus.sentiment import (
    POLARITIES,
    arbitrary_word,
    choice_wording,
    fill,
    turns,
    wordings,
)
from diptych.llmops.pretrain.corpus.words import asset


def talk() -> dict:
    """Return ``talk.yaml``."""
    return asset("talk")


def main_clauses(made) -> list[str]:
    """Return the whole clauses that carry a review's verdict, in order, as they stand in it."""
    text = made.text.lower()
    found = [c.text for c in made.clauses if c.polarity == made.label and c.text in text]
    return [sentence_case(clause).rstrip(".!?") + "." for clause in found]


def summary_source(rng: random.Random, least: int = 1):
    """Write a review and the clauses a summary of it may copy, at least `least`."""
    while True:
        made = review(rng, clauses=rng.choice((1, 2, 3, 3, 4)), clean=rng.random() < 0.8)
        if len(clauses := main_clauses(made)) >= least:
            return made, clauses


def summary(rng: random.Random) -> list:
    """Sum up a review by copying its first clause, or two, that carries the verdict."""
    two = rng.random() < 0.2
    made, clauses = summary_source(rng, 1 + two)
    wording = rng.choice(wordings("summary_two" if two else "summary"))
    return turns((fill(rng, wording, made.text), " ".join(clauses[: 1 + two])))


def small_talk(rng: random.Random) -> tuple[str, str]:
    """Return something said in passing and its answer."""
    found = rng.choice(talk()["talk"])
    return say(rng, rng.choice(found["say"])), found["answer"]


def beyond(rng: random.Random) -> tuple[str, str]:
    """Return a question that cannot be answered, or a wish that cannot be met."""
    found = talk()["unknown" if rng.random() < 0.65 else "too_hard"]
    text = rng.choice(found["patterns"]).format(
        place=rng.choice(talk()["places"]), thing=rng.choice(cards.cards()["kinds"]),
        name=cards.name(rng), n=rng.randrange(1, 2000),
    )  # fmt: skip
    return say(rng, text), found["answer"]


def memory(rng: random.Random) -> list:
    """One or two facts told, something else in between, then asked for."""
    told = rng.sample(talk()["memory"], rng.choice((1, 1, 2)))
    values = [remembered(rng, fact["kind"]) for fact in told]
    pairs = []
    for fact, value in zip(told, values, strict=True):
        pairs.append((rng.choice(fact["tell"]).format(v=value), fact["ack"].format(v=value)))
        if rng.random() < 0.45:
            pairs.append(small_talk(rng) if rng.random() < 0.7 else beyond(rng))
    order = rng.sample(range(len(told)), len(told))
    for number in order:
        asked = say(rng, rng.choice(told[number]["ask"]))
        pairs.append((asked, told[number]["answer"].format(v=values[number])))
    return turns(*pairs)


def support(rng: random.Random) -> list:
    """Handle a complaint, its order number, and questions back about both."""
    item, problem = rng.choice(cards.cards()["kinds"]), rng.choice(talk()["problems"])
    order = str(rng.randrange(1000, 99_999))
    pairs = [
        (say(rng, rng.choice(talk()["complain"]).format(i=item, p=problem)),
         f"I am sorry that your {item} {problem}. What is your order number?"),
        (rng.choice(talk()["number"]).format(o=order),
         f"Thank you. I opened a case for order {order} about your {item}."),
    ]  # fmt: skip
    if rng.random() < 0.7:
        pairs.append((say(rng, rng.choice(talk()["what_problem"])), f"Your {item} {problem}."))
    if rng.random() < 0.5:
        pairs.append((say(rng, rng.choice(talk()["which_order"])), f"It is order {order}."))
    if rng.random() < 0.3:
        pairs.append(small_talk(rng))
    return turns(*pairs)


def follow_up(rng: random.Random) -> list:
    """Label a review, then answer questions that refer back to it."""
    made, clauses = summary_source(rng)
    pairs = [(fill(rng, choice_wording(rng), made.text), made.label)]
    for kind in rng.sample(("why", "sum", "json", "item", "next"), rng.choice((1, 2, 2))):
        answer = {
            "why": f"Because the review says: {clauses[0]}",
            "sum": clauses[0],
            "json": json.dumps({"sentiment": made.label}),
            "item": f"It is about the {made.item}."
            if made.item in made.text
            else "It is about something the writer does not name.",
        }.get(kind)
        asking = rng.choice(talk()[kind])
        if kind == "next":
            made, clauses = summary_source(rng)
            asking, answer = asking.format(t=made.text), made.label
        pairs.append((asking, answer))
    return turns(*pairs)


def chat(rng: random.Random) -> list:
    """Hold a conversation: one of the kinds above, or small talk alone."""
    kind = rng.random()
    if kind < 0.4:
        return memory(rng)
    if kind < 0.62:
        return support(rng)
    if kind < 0.8:
        return follow_up(rng)
    pairs = [small_talk(rng) if rng.random() < 0.5 else beyond(rng)
             for _ in range(rng.choice((1, 2, 3)))]  # fmt: skip
    return turns(*pairs)


def copy(rng: random.Random) -> list:
    """Repeat a few words, names and numbers."""
    made = (arbitrary_word, cards.name, lambda r: str(r.randrange(1, 9999)))
    words = " ".join(rng.choice(made)(rng) for _ in range(rng.randint(1, 6)))
    return turns((rng.choice(talk()["copy"]).format(t=words), words))


__all__ = ["POLARITIES", "chat", "copy", "main_clauses", "summary"]
