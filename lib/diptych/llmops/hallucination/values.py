"""Values as answers state them: the same value in other words, and answers that state none."""

import re
import unicodedata

from diptych.llmops.evaluation.outcome import refuses
from diptych.llmops.hallucination.text import CUES, NUMBERS
from diptych.llmops.pretrain.corpus import cards

UNITS = {
    "cm": "centimeters centimetres centimeter centimetre", "g": "grams gram grammes",
    "kg": "kilograms kilogram kilos", "l": "liters litres liter litre", "w": "watts watt",
    "db": "decibels decibel", "gb": "gigabytes gigabyte gigs", "h": "hours hour hrs hr",
    "d": "days day", "months": "month", "units": "unit pieces items",
    "eur": "euros euro \u20ac", "usd": "dollars dollar $", "gbp": "pounds pound \u00a3",
    "gray": "grey", "aluminum": "aluminium", "fiber": "fibre",
}  # fmt: skip
UNIT_OF = {word: unit for unit, words in UNITS.items() for word in words.split()}
LINKS = {"x", "by", "of", "out", "to", "from", "until", "till", "and", "per", "the", "-", "/"}
WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[$\u20ac\u00a3]")
CLAUSE = re.compile(r"(?<=[.!?;])\s+|\n+|,?\s+(?:but|however|though|although|yet|so)\b,?\s*", re.I)
UNSTATED = re.compile(
    r"(?:is|are|was|were|'s|been)(?: not|n't) (?:\w+ )?(?:provided|given|mentioned|specified"
    r"|stated|listed|included|available|shown|indicated|disclosed|known"
    r"|on the card|in the card|there)"
    r"|no such|unknown|n/?a\b|not (?:applicable|available|known)|do(?:es)?(?: not|n't) "
    r"(?:say|tell|know|show|list|indicate|disclose)",
    re.IGNORECASE,
)
# clauses that say where else to look, or why there is no answer
ADVICE = re.compile(
    r"\b(?:please|check|contact|refer|consult|visit|look|ask|sorry|unfortunately|need|more|"
    r"additional|help|provide|confirm|would|could you|let me know)\b",
    re.IGNORECASE,
)


def declines(answer: str) -> bool:
    """Return whether an answer states nothing: it is empty, or says that the source does not say.

    An answer that declines and states a value all the same does not: "not on the card; perhaps 3
    kg".
    """
    text = " ".join(unicodedata.normalize("NFKC", answer).replace("\u2019", "'").split())
    if text.strip(" .!").lower() in ("", cards.ABSENT.strip(".").lower()):
        return True
    clauses = [part for part in CLAUSE.split(text) if re.search(r"\w", part)]
    silent = [part for part in clauses if _is_silent(part)]
    rest = [part for part in clauses if part not in silent]
    return bool(silent) and not any(re.search(r"\d", part) or not ADVICE.search(part)
                                    for part in rest)  # fmt: skip


def _is_silent(clause: str) -> bool:
    return bool(CUES["refuses"].search(clause) or UNSTATED.search(clause) or refuses(clause))


def words(text: str) -> list[str]:
    """Return a text's words and numbers in one form: lower case, one name a unit, no links.

    "5 cm by 32 cm", "5 x 32 cm" and "5x32cm" have the same.
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u00d7", " x ")
    text = re.sub(r"(?<=\d):00\b", "", text)  # o'clock
    text = re.sub(r"(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)", " ", text)
    forms = []
    for word in WORD.findall(text):
        word = NUMBERS.get(word, word)
        if word[0].isdigit():
            word = re.sub(r",(?=\d{3}\b)", "", word).rstrip(".,")
            word = re.sub(r"(?<=\d)\.0+$", "", word)
        if word not in LINKS:
            forms.append(UNIT_OF.get(word, word))
    return forms


def meaning(text: str) -> str:
    """Return what a short text states in one form: its numbers in order, then its other words."""
    forms = words(text)
    numbers = [word for word in forms if word[0].isdigit()]
    return " ".join([*numbers, *sorted({*forms} - {*numbers})])


def states(answer: str, value: str) -> bool:
    """Return whether an answer states a value, in whatever form."""
    wanted, written = words(value), words(answer)
    if not wanted:
        return False
    if not any(word[0].isdigit() for word in wanted):
        return any(written[i : i + len(wanted)] == wanted for i in range(len(written)))
    numbers, mentioned = ([w for w in x if w[0].isdigit()] for x in (wanted, written))
    n = len(numbers)
    in_order = any(mentioned[i : i + n] == numbers for i in range(len(mentioned) - n + 1))
    others = {word for word in wanted if not word[0].isdigit()}
    # a unit may be left out, not replaced by another
    return in_order and (others <= set(written) or not set(written) & set(UNITS) - others)
