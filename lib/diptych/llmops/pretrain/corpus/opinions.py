"""Reviews for the language model: the grammar of the `reviews` task, with more kinds of clause."""

import functools
import random
import re

from diptych.core.data.generators import grammar
from diptych.core.data.generators.grammar import Clause, Review, article, is_plural, sentence_case
from diptych.llmops.pretrain.corpus.words import DOMAINS, POLARITIES, allowed, asset, wide_lexicon

OPPOSITE = grammar.OPPOSITE
EVENT_SHARE = 0.34
NUMBERS = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 90)


class Writer(grammar.Writer):
    """Writes clauses with the wide lexicon, and clauses about events."""

    def __init__(self, rng: random.Random, domain: str, item: str | None = None):
        self.rng, self.domain = rng, domain
        self.general, self.own = wide_lexicon("general"), wide_lexicon(domain)
        self.item = item or self.own["items"].draw(rng)

    def clause(self, polarity: str) -> Clause:
        """Write one clause of a polarity, sometimes with a neutral start or end."""
        if self.rng.random() < EVENT_SHARE:
            text = self._event(polarity)
            clause = Clause(text, polarity, text)
        else:
            clause = super().clause(polarity)
        text, kind = clause.text, self.rng.random()
        if kind < 0.10:
            text = self.fill(self.rng.choice(asset("events")["lead"])) + text
        elif kind < 0.15 and text[-1] not in "?!":
            text += self.fill(self.rng.choice(asset("events")["tail"]))
        return Clause(text, polarity, text)

    def fact(self) -> str:
        """Write a neutral clause."""
        if self.rng.random() < 0.4:
            return self.fill(self.rng.choice(asset("events")["general_facts"]))
        return super().fact()

    def _event(self, polarity: str) -> str:
        """Write a clause about an event, of the domain or of any."""
        source = asset("events" if self.rng.random() < 0.55 else "happenings")
        specific = self.rng.random() < 0.45
        patterns = source[self.domain if specific else "general"][polarity]
        return self.fill(self.rng.choice(patterns))

    def fill(self, pattern: str) -> str:
        """Fill the slots of a pattern, each by its own draw."""
        while "{" in pattern:
            pattern = re.sub(r"\{(\w+)\}", lambda match: self._slot(match[1]), pattern)
        return pattern

    def _slot(self, name: str) -> str:
        if name == "a":
            return self.own["aspects"].draw(self.rng)
        if name == "item":
            return self.item
        if name == "time":
            return self.general["durations"].draw(self.rng)
        if name == "n":
            return str(self.rng.choice(NUMBERS))
        if name in ("good", "bad"):
            return self.adjective(POLARITIES[name == "bad"], short=True)
        return self.rng.choice(slot(name))


@functools.cache
def slot(name: str) -> list[str]:
    """Return the trainable fillers of a slot."""
    return [entry for entry in asset("events")["slots"][name] if allowed(entry)]


def review(
    rng: random.Random,
    label: str | None = None,
    clauses: int | None = None,
    domain: str | None = None,
    clean: bool = False,
) -> Review:
    """Write one review; arguments that are None are drawn at random.

    Parameters
    ----------
    label : str, optional
        ``"positive"`` or ``"negative"``: the majority of its clauses, and what follows "but".
    clauses : int, optional
        Number of opinions; 1 to 5 if not given.
    clean : bool
        Sentence case and no typing errors.
    """
    label = label or rng.choice(POLARITIES)
    domain = domain or rng.choice(DOMAINS)
    writer = Writer(rng, domain)
    count = clauses or rng.choices((1, 2, 3, 4, 5), (36, 32, 18, 9, 5))[0]
    written = [
        writer.contrast(label) if rng.random() < 0.12 else writer.clause(label)
        for _ in range(count)
    ]
    if count >= 3 and rng.random() < 0.15:  # a dissenting voice; the majority stays
        written[rng.randrange(count - 1)] = writer.clause(OPPOSITE[label])
    parts = [clause.text for clause in written]
    for _ in range(rng.choices((0, 1, 2), (70, 22, 8))[0]):
        parts.insert(rng.randrange(len(parts) + 1), writer.fact())
    text = grammar.join(rng, parts)
    text = sentence_case(text) if clean else grammar.dress(rng, text)
    return Review(text, label, domain, writer.item, tuple(written))


__all__ = ["OPPOSITE", "Writer", "article", "is_plural", "review", "sentence_case"]
