"""Suites of questions with right answers, on which the model is tested and never trained."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from diptych.core.data import generators
from diptych.llmops.pretrain.corpus import cards, sentiment, talk, words
from diptych.llmops.pretrain.corpus.opinions import OPPOSITE, review
from diptych.llmops.pretrain.corpus.words import POLARITIES, asset

PLAIN = 1  # number of the plain prompt in `prompts`


@dataclass(frozen=True)
class Item:
    """A conversation that ends with the user, and the answer expected of the assistant."""

    turns: list[tuple[str, str]]
    answer: str
    facts: dict = field(default_factory=dict)  # for grading the answer

    @classmethod
    def of(cls, turns, **facts) -> "Item":
        """Take the last assistant turn of a document as the answer."""
        clean = [(role, text.replace(sentiment.OPEN, "").replace(sentiment.CLOSE, ""))
                 for role, text in turns]  # fmt: skip
        return cls(clean[:-1], clean[-1][1], facts)


def ask(wording: str, text: str, label: str, pair=POLARITIES, **facts) -> Item:
    """Ask about a text in a wording that names {a} before {b}."""
    user = wording.replace("{t}", text).replace("{a}", pair[0]).replace("{b}", pair[1])
    return Item([("user", user)], sentiment.pick(label, pair), facts)


def prompts() -> list[tuple[str, tuple[str, str]]]:
    """Return the twelve prompts for real sentences, each with its label pair."""
    return [(wording, (a, b)) for wording, a, b in asset("gates")["prompts"]]


def plain(rows: list[tuple[str, str]], number: int = PLAIN, **facts) -> list[Item]:
    """Ask about (text, label) rows with one prompt."""
    wording, pair = prompts()[number]
    return [ask(wording, text, label, pair, **facts) for text, label in rows]


def sentences(path: Path) -> list[tuple[str, str, str]]:
    """Read real sentences: a CSV with columns id, source, text, label (1 is positive).

    Everyday sentences (`everyday.yaml`) are left out, because the lexicon has them, too.
    """
    import pandas as pd

    frame = pd.read_csv(path, dtype=str)
    everyday = words.asset("everyday")
    frame = frame[[words.plain(text) not in everyday for text in frame["text"]]]
    labels = frame["label"].map({"1": "positive", "0": "negative"})
    return list(zip(frame["text"].str.strip(), labels, frame["source"], strict=True))


def handwritten() -> list[Item]:
    """Ask about the hand-written reviews."""
    frame = generators.handwritten()
    return plain(list(zip(frame["text"], frame["label"], strict=True)))


def short_reviews(rng: random.Random, n: int) -> list[Item]:
    """Ask the plain prompt about short generated reviews."""
    labels = [rng.choice(POLARITIES) for _ in range(n)]
    return plain([(sentiment.text_of(rng, label, True), label) for label in labels])


def in_grammar(rng: random.Random, n: int) -> list[Item]:
    """Ask about generated reviews in any trained wording with any label words."""
    kinds = (sentiment.plain, sentiment.other_labels, sentiment.mapping, sentiment.yes_no)
    return [Item.of(kinds[number % len(kinds)](rng)) for number in range(n)]


def held_out_wordings(rng: random.Random, n: int, kind: str = "choice") -> list[Item]:
    """Ask about generated reviews in held-out wordings."""
    items, wordings = [], asset("gates")[kind]
    for number in range(n):
        label = rng.choice(POLARITIES)
        text = sentiment.text_of(rng, label, True)
        pair = sentiment.arbitrary_pair(rng) if kind == "mapping" else POLARITIES
        item = ask(wordings[number % len(wordings)], text, label, pair)
        items.append(Item(item.turns, OPPOSITE[label]) if kind == "inverse" else item)
    return items


def inverse(rng: random.Random, n: int) -> list[Item]:
    """Ask for the opposite in trained wordings."""
    return [Item.of(sentiment.inverse(rng)) for _ in range(n)]


def held_out_words() -> list[Item]:
    """Ask about every held-out opinion word in two plain sentences."""
    return [
        item
        for label, words in asset("heldout").items()
        for word in words
        for item in plain([(f"The service was {word}.", label), (f"It is {word}.", label)])
    ]


def shifted(rng: random.Random, n: int, k: int) -> list[Item]:
    """Ask about the held-out domain, without examples and after k examples, in turn."""
    rows, form = [], sentiment.wordings("forms")[0]
    for _ in range(n):
        labels = [POLARITIES[i % 2] for i in range(k)]
        rng.shuffle(labels)
        label = rng.choice(POLARITIES)
        texts = [
            generators.review(rng, generators.NEW, which, 1).text for which in (*labels, label)
        ]
        rows.append((list(zip(texts[:-1], labels, strict=True)), texts[-1], label))
    return [
        Item([("user", sentiment.prompt(form, "", shown[:count], text))], label)
        for shown, text, label in rows
        for count in (0, k)
    ]


def episodes(rng: random.Random, n: int, k: int) -> list[Item]:
    """Ask for labels that only the k examples define, both equally often."""
    items = []
    for number in range(n):
        labels = [POLARITIES[i % 2] for i in range(k)]
        rng.shuffle(labels)
        forms = sentiment.wordings("forms")
        turns = sentiment.examples(
            rng, forms[number % 5], "Follow the examples.\n", sentiment.arbitrary_pair(rng),
            [*labels, rng.choice(POLARITIES)],
        )  # fmt: skip
        items.append(Item.of(turns))
    return items


def card_questions(rng: random.Random, n: int, absent: bool, held_out: bool) -> list[Item]:
    """Ask for a fact that a card has, or lacks, in trained or held-out wordings."""
    items, wordings = [], asset("gates")["questions"]
    while len(items) < n:
        text, called, facts = cards.make(rng)
        query = cards.question(rng, facts, called, absent)
        if held_out and query.key not in wordings:
            continue
        words = rng.choice(wordings[query.key]) if held_out else query.text
        items.append(Item([("user", f"{text}\n{words}")], query.answer(),
                          {"card": text, "value": query.value}))  # fmt: skip
    return items


def summaries(rng: random.Random, n: int, held_out: bool = False) -> list[Item]:
    """Ask for a one-sentence summary of a clean review."""
    wordings = asset("gates")["summary"] if held_out else sentiment.wordings("summary")[:4]
    items = []
    for number in range(n):
        source = review(rng, clauses=rng.choice((2, 3, 4)), clean=True)
        user = sentiment.fill(rng, wordings[number % len(wordings)], source.text)
        items.append(Item([("user", user)], "", {"review": source}))
    return items


def memory(rng: random.Random, n: int) -> list[Item]:
    """Ask for a fact stated earlier in the chat."""
    return [Item.of(talk.memory(rng)) for _ in range(n)]


def json_answers(rng: random.Random, n: int) -> list[Item]:
    """Ask the same texts plainly and for JSON, in turn."""
    rows = []
    for _ in range(n):
        label = rng.choice(POLARITIES)
        rows.append((sentiment.text_of(rng, label, True), label))
    wrapped = sentiment.wordings("json")[0].replace("{k}", "").replace("{s}", "\n")
    questions = [ask(wrapped, text, label) for text, label in rows]
    right = [Item(item.turns, json.dumps({"sentiment": item.answer})) for item in questions]
    return [item for pair in zip(plain(rows), right, strict=True) for item in pair]
