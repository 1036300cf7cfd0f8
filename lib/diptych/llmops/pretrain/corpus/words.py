"""The word lists: those of the `reviews` task and the model's own, less what is held out."""

import functools
import re

from diptych.core.data.generators import lexicon
from diptych.core.data.generators.lexicon import POLARITIES, ROLES, STABLE, Words, asset

DOMAINS = STABLE  # the ninth, `lexicon.NEW`, stays unseen: it is the shifted domain of the gates
FLATTEN = 60  # rank r is drawn with weight 1 / (r + FLATTEN): rare words must be seen too


def entries(text: str | list) -> list[str]:
    """Split a list written with commas and line ends."""
    if isinstance(text, list):
        return text
    return [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]


@functools.cache
def held_out() -> frozenset[str]:
    """Return the opinion words kept from training, of both polarities."""
    return frozenset(word for words in asset("heldout").values() for word in words)


@functools.cache
def held_out_stems() -> tuple[str, ...]:
    """Return how the held-out words start."""
    return tuple(word[:7] for word in held_out())


def plain(text: str) -> str:
    """Return a text's words in lower case, without punctuation."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def allowed(entry: str) -> bool:
    """Say whether an entry is nobody's whole sentence and no word starts like a held-out one."""
    if plain(entry) in asset("everyday"):
        return False
    words = re.findall(r"[a-z]+", entry.lower())
    return not any(word.startswith(held_out_stems()) for word in words)


def merge(*lists) -> Words:
    """Join lists into one, in order, without repeats and held-out words, drawn almost evenly."""
    kept = dict.fromkeys(entry for words in lists for entry in words if allowed(entry))
    weights, total = [], 0.0
    for rank in range(len(kept)):
        total += 1 / (rank + FLATTEN)
        weights.append(total)
    return Words(tuple(kept), tuple(weights))


@functools.cache
def read(name: str) -> dict:
    """Return the lexicon file `name`; ``"general"`` is widened by the model's own opinions."""
    found = dict(lexicon.read(name))
    own = asset("opinions") if name == "general" else {}
    for role in ROLES:
        sides = found.get(role, {})
        found[role] = {
            side: merge(sides[side].words if side in sides else (),
                        entries(own.get(role, {}).get(side, "")))
            for side in POLARITIES
        }  # fmt: skip
    return found


def opinions() -> set[str]:
    """Return every opinion word and phrase the model may be trained on."""
    return {
        entry
        for name in ("general", *DOMAINS)
        for sides in (read(name)[role] for role in ROLES)
        for words in sides.values()
        for entry in words.words
    }
