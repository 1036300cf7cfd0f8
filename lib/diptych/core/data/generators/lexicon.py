"""The words of the corpus: opinion words by role and polarity, and the nouns of each domain."""

import functools
import random
from bisect import bisect
from dataclasses import dataclass
from importlib import resources
from itertools import accumulate
from typing import Any

import yaml

STABLE = ("electronics", "film", "restaurant", "hotel", "book", "app", "clothes", "service")
NEW = "game"
POLARITIES = ("positive", "negative")
ROLES = ("adjectives", "verbs", "feelings", "nouns", "adverbs", "idioms")


@dataclass(frozen=True)
class Words:
    """Words to draw from by rank as in real language: word r has weight 1 / (r + 2) (Zipf)."""

    words: tuple[str, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, words: Any) -> "Words":
        """Rank the words by their order in the file, the most common first."""
        words = tuple(words)
        return cls(words, tuple(accumulate(1 / (rank + 2) for rank in range(len(words)))))

    def draw(self, rng: random.Random) -> str:
        """Draw one word."""
        place = rng.random() * self.weights[-1]  # as `rng.choices` does, in a third of the time
        return self.words[bisect(self.weights, place, 0, len(self.words) - 1)]

    def __bool__(self) -> bool:
        return bool(self.words)


@functools.cache
def read_lexicon(name: str) -> dict:
    """Return one file of the lexicon with every list as `Words`."""
    text = (resources.files("diptych") / "assets" / "lexicon" / f"{name}.yaml").read_text("utf-8")
    return {
        role: {polarity: Words.of(words) for polarity, words in entry.items()}
        if isinstance(entry, dict)
        else Words.of(entry)
        for role, entry in yaml.safe_load(text).items()
    }


@functools.cache
def asset(name: str) -> dict:
    """Return one YAML file of ``assets/lexicon/llm``: wordings of statements and questions."""
    path = resources.files("diptych") / "assets" / "lexicon" / "llm" / f"{name}.yaml"
    return yaml.safe_load(path.read_text("utf-8"))


@functools.cache
def script() -> dict:
    """Return ``assets/lexicon/support.yaml``: intents, canned answers and facts to recall."""
    path = resources.files("diptych") / "assets" / "lexicon" / "support.yaml"
    return yaml.safe_load(path.read_text("utf-8"))


def opinions() -> set[str]:
    """Return every distinct opinion word and phrase of the lexicon."""
    files = [read_lexicon(name) for name in ("general", *STABLE, NEW)]
    return {
        word
        for content in files
        for role in ROLES
        for words in content.get(role, {}).values()
        for word in words.words
    }
