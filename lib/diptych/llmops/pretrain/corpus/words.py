"""The word lists of the `reviews` task and of the model, without the held-out words."""

import functools
import re

from diptych.core.data.generators import lexicon
from diptych.core.data.generators.lexicon import POLARITIES, ROLES, STABLE, Words, asset

DOMAINS = STABLE  # without `lexicon.NEW`, the unseen domain of the gates
FLATTEN = 60  # rank r is drawn with weight 1 / (r + FLATTEN): rare words must occur, too


def entries(text: str | list) -> list[str]:
    """Split a list written with commas and line ends."""
    if isinstance(text, list):
        return text
    return [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]


@functools.cache
def held_out() -> frozenset[str]:
    """Return the opinion words that are never trained on, of both polarities."""
    return frozenset(word for words in asset("heldout").values() for word in words)


@functools.cache
def held_out_stems() -> tuple[str, ...]:
    """Return the first letters of the held-out words."""
    return tuple(word[:7] for word in held_out())


def plain(text: str) -> str:
    """Return a text's words in lower case, without punctuation."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def allowed(entry: str) -> bool:
    """Return whether an entry may be trained on.

    It is no everyday sentence, and none of its words starts like a held-out word.
    """
    if plain(entry) in asset("everyday"):
        return False
    words = re.findall(r"[a-z]+", entry.lower())
    return not any(word.startswith(held_out_stems()) for word in words)


def merge(*lists) -> Words:
    """Join lists in order, without repeats and held-out words; entries are drawn almost evenly."""
    unique = dict.fromkeys(entry for words in lists for entry in words if allowed(entry))
    weights, total = [], 0.0
    for rank in range(len(unique)):
        total += 1 / (rank + FLATTEN)
        weights.append(total)
    return Words(tuple(unique), tuple(weights))


@functools.cache
def wide_lexicon(name: str) -> dict:
    """Return the lexicon `name`; ``"general"`` also has the opinions of ``opinions.yaml``."""
    lists = dict(lexicon.read_lexicon(name))
    extra = asset("opinions") if name == "general" else {}
    for role in ROLES:
        sides = lists.get(role, {})
        lists[role] = {
            side: merge(sides[side].words if side in sides else (),
                        entries(extra.get(role, {}).get(side, "")))
            for side in POLARITIES
        }  # fmt: skip
    return lists


def opinions() -> set[str]:
    """Return every opinion word and phrase the model may be trained on."""
    return {
        entry
        for name in ("general", *DOMAINS)
        for sides in (wide_lexicon(name)[role] for role in ROLES)
        for words in sides.values()
        for entry in words.words
    }
