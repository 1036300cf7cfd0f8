"""Summaries, support chats with back references, small talk, copying, and "I do not know"."""

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


def main_clauses(source) -> list[str]:
    """Return the complete clauses of a review that agree with its label, in order."""
    text = source.text.lower()
    clauses = [c.text for c in source.clauses if c.polarity == source.label and c.text in text]
    return [sentence_case(clause).rstrip(".!?") + "." for clause in clauses]


def summary_source(rng: random.Random, least: int = 1):
    """Return a review and the clauses that a summary may copy, at least `least`."""
    while True:
        source = review(rng, clauses=rng.choice((1, 2, 3, 3, 4)), clean=rng.random() < 0.8)
        if len(clauses := main_clauses(source)) >= least:
            return source, clauses


def summary(rng: random.Random) -> list:
    """Summarize a review by copying its first one or two clauses that agree with its label."""
    two = rng.random() < 0.2
    source, clauses = summary_source(rng, 1 + two)
    wording = rng.choice(wordings("summary_two" if two else "summary"))
    return turns((fill(rng, wording, source.text), " ".join(clauses[: 1 + two])))


def small_talk(rng: random.Random) -> tuple[str, str]:
    """Return a remark and its answer."""
    exchange = rng.choice(talk()["talk"])
    return say(rng, rng.choice(exchange["say"])), exchange["answer"]


def beyond(rng: random.Random) -> tuple[str, str]:
    """Return a question or request that the model cannot answer, and the refusal."""
    exchange = talk()["unknown" if rng.random() < 0.65 else "too_hard"]
    text = rng.choice(exchange["patterns"]).format(
        place=rng.choice(talk()["places"]), thing=rng.choice(cards.cards()["kinds"]),
        name=cards.name(rng), n=rng.randrange(1, 2000),
    )  # fmt: skip
    return say(rng, text), exchange["answer"]


def memory(rng: random.Random) -> list:
    """State one or two facts, then other turns, then ask for the facts."""
    facts = rng.sample(talk()["memory"], rng.choice((1, 1, 2)))
    values = [remembered(rng, fact["kind"]) for fact in facts]
    pairs = []
    for fact, value in zip(facts, values, strict=True):
        pairs.append((rng.choice(fact["tell"]).format(v=value), fact["ack"].format(v=value)))
        if rng.random() < 0.45:
            pairs.append(small_talk(rng) if rng.random() < 0.7 else beyond(rng))
    order = rng.sample(range(len(facts)), len(facts))
    for number in order:
        question = say(rng, rng.choice(facts[number]["ask"]))
        pairs.append((question, facts[number]["answer"].format(v=values[number])))
    return turns(*pairs)


def support(rng: random.Random) -> list:
    """Handle a complaint: ask for the order number, then answer questions about both."""
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
    source, clauses = summary_source(rng)
    pairs = [(fill(rng, choice_wording(rng), source.text), source.label)]
    for kind in rng.sample(("why", "sum", "json", "item", "next"), rng.choice((1, 2, 2))):
        answer = {
            "why": f"Because the review says: {clauses[0]}",
            "sum": clauses[0],
            "json": json.dumps({"sentiment": source.label}),
            "item": f"It is about the {source.item}."
            if source.item in source.text
            else "It is about something the writer does not name.",
        }.get(kind)
        asking = rng.choice(talk()[kind])
        if kind == "next":
            source, clauses = summary_source(rng)
            asking, answer = asking.format(t=source.text), source.label
        pairs.append((asking, answer))
    return turns(*pairs)


def chat(rng: random.Random) -> list:
    """Hold a conversation of one of the kinds above, or only small talk."""
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
    makers = (arbitrary_word, cards.name, lambda r: str(r.randrange(1, 9999)))
    words = " ".join(rng.choice(makers)(rng) for _ in range(rng.randint(1, 6)))
    return turns((rng.choice(talk()["copy"]).format(t=words), words))


__all__ = ["POLARITIES", "chat", "copy", "main_clauses", "summary"]
