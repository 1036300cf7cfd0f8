"""Reviews of several sentences, with the sentences that carry the verdict."""

import random

import pandas as pd

from diptych.core.data.generators.grammar import OPPOSITE, TURNS, Writer, sentence_case
from diptych.core.data.generators.lexicon import POLARITIES, STABLE

LONGEST = 8  # sentences
LAST = 4  # the first sentence that carries the verdict is at this place or before


def summaries(rows: int = 3_000, seed: int = 0) -> pd.DataFrame:
    """Generate reviews to sum up; the same arguments give the same rows anywhere.

    Returns
    -------
    DataFrame
        ``id``, ``domain``, ``text`` (2 to `LONGEST` sentences), ``label`` (the place of the first
        sentence that carries the verdict, from 1), ``reference`` (those sentences, a line each).
    """
    rng = random.Random(f"summaries {seed}")
    lines: list[tuple] = []
    seen: set[str] = set()
    while len(lines) < rows:
        domain = rng.choice(STABLE)
        sentences, verdicts = _review(rng, domain)
        text = " ".join(sentences)
        if text.lower() in seen:
            continue
        seen.add(text.lower())
        reference = "\n".join(sentences[place] for place in verdicts)
        lines.append((f"s-{len(lines):05d}", domain, text, str(verdicts[0] + 1), reference))
    return pd.DataFrame(lines, columns=["id", "domain", "text", "label", "reference"])


def _review(rng: random.Random, domain: str) -> tuple[list[str], list[int]]:
    """Return sentences and the places of those that carry the verdict.

    There are one to three opinions of the verdict's polarity, sometimes one of the other polarity
    if there are two or more, and one to four facts between them.
    """
    writer, polarity = Writer(rng, domain), rng.choice(POLARITIES)
    parts: dict[str, bool] = {}
    count = rng.choices((1, 2, 3), (40, 40, 20))[0]
    while sum(parts.values()) < count:
        parts[_clause(writer, polarity)] = True
    if count > 1 and rng.random() < 0.4:
        parts.setdefault(_clause(writer, OPPOSITE[polarity]), False)
    for _ in range(rng.choices((1, 2, 3, 4), (35, 35, 20, 10))[0]):
        parts.setdefault(_sentence(writer.fact()), False)
    while True:
        order = rng.sample(list(parts), len(parts))
        places = [place for place, sentence in enumerate(order) if parts[sentence]]
        if places[0] < LAST:
            return order, places


def _clause(writer: Writer, polarity: str) -> str:
    """Write one opinion in one sentence, without a contrast."""
    while True:
        text = writer.clause(polarity).text
        if len(text.split()) > 2 and not any(x in text for x in (*TURNS, ". ", "! ", "? ")):
            return _sentence(text)


def _sentence(text: str) -> str:
    return sentence_case(text if text[-1] in ".!?" else text + ".")
