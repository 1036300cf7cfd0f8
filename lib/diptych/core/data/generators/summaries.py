"""Reviews of several sentences, and of each the sentences that carry its verdict."""

import random

import pandas as pd

from diptych.core.data.generators.grammar import OPPOSITE, TURNS, Writer, sentence_case
from diptych.core.data.generators.lexicon import POLARITIES, STABLE

LONGEST = 8  # sentences
LAST = 4  # place of the first sentence that carries the verdict, at most


def summaries(rows: int = 3_000, seed: int = 0) -> pd.DataFrame:
    """Generate reviews to sum up; the same arguments give the same rows anywhere.

    Returns
    -------
    DataFrame
        ``id``, ``domain``, ``text`` (2 to `LONGEST` sentences), ``label`` (the place of the first
        sentence that carries the verdict, from 1), ``reference`` (those sentences, a line each).
    """
    rng = random.Random(f"summaries {seed}")
    found, seen = [], set()
    while len(found) < rows:
        domain = rng.choice(STABLE)
        said, verdicts = _review(rng, domain)
        text = " ".join(said)
        if text.lower() in seen:
            continue
        seen.add(text.lower())
        reference = "\n".join(said[place] for place in verdicts)
        found.append((f"s-{len(found):05d}", domain, text, str(verdicts[0] + 1), reference))
    return pd.DataFrame(found, columns=["id", "domain", "text", "label", "reference"])


def _review(rng: random.Random, domain: str) -> tuple[list[str], list[int]]:
    """Return sentences and the places of those that carry the verdict, the majority.

    One to three opinions of the verdict's polarity; against two or more at times one of the other;
    one to four facts between.
    """
    writer, polarity = Writer(rng, domain), rng.choice(POLARITIES)
    parts = {}
    count = rng.choices((1, 2, 3), (40, 40, 20))[0]
    while sum(parts.values()) < count:
        parts[_clause(writer, polarity)] = True
    if count > 1 and rng.random() < 0.4:
        parts.setdefault(_clause(writer, OPPOSITE[polarity]), False)
    for _ in range(rng.choices((1, 2, 3, 4), (35, 35, 20, 10))[0]):
        parts.setdefault(_sentence(writer.fact()), False)
    while True:
        order = rng.sample(list(parts), len(parts))
        places = [place for place, said in enumerate(order) if parts[said]]
        if places[0] < LAST:
            return order, places


def _clause(writer: Writer, polarity: str) -> str:
    """Write one opinion that is one sentence and is not set against another."""
    while True:
        text = writer.clause(polarity).text
        if len(text.split()) > 2 and not any(x in text for x in (*TURNS, ". ", "! ", "? ")):
            return _sentence(text)


def _sentence(text: str) -> str:
    return sentence_case(text if text[-1] in ".!?" else text + ".")
