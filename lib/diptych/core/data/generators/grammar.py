"""Clauses and reviews, put together word by word.

A clause carries one opinion and its polarity. A review is a few clauses and facts; its verdict is
that of the majority, or of what follows "but". Every sentence pattern is written for this project.
"""

import random
import re
from dataclasses import dataclass
from typing import Any

from diptych.core.data.generators.lexicon import NEW, Words, read_lexicon

OPPOSITE = {"positive": "negative", "negative": "positive"}
SLANG = 0.9  # share of the new domain's opinions that use its own words
OWN = 0.4  # the same share in the other domains
LONGEST = 80  # words

DENIALS = {  # {w} has the other polarity, so that the clause has this one
    "positive": (
        "{s} {b} not {w} at all", "{s} {b} never {w}", "nothing {w} about it",
        "i did not find it {w}", "i would not call it {w}", "{s} {b} far from {w}",
        "{s} {b} anything but {w}", "it isn't {w}", "it wasn't {w} at all",
        "people say it is {w}, i disagree", "i thought it would be {w} but no",
        "not once was it {w}", "don't let anyone tell you it is {w}",
    ),
    "negative": (
        "{s} {b} not {w}", "{s} {b} not very {w}", "{s} {b} not that {w}",
        "{s} {b} not at all {w}", "{s} {b} hardly {w}", "{s} {b} far from {w}",
        "{s} {b} anything but {w}", "i can't say it was {w}", "i did not find it {w}",
        "{s} {b} not as {w} as i hoped", "{s} {b} not as {w} as they say",
        "there is nothing {w} here", "it could have been {w}", "i don't think it is {w}",
        "it isn't {w}", "it wasn't {w}", "you can't say it is {w}",
    ),
}  # fmt: skip
COMPARISONS = {
    "positive": ("{s} {b} better than {o}", "{s} {b} far better than {o}",
                 "{s} {b} a lot nicer than {o}", "compared with {o}, {s} {b} {w}",
                 "it beats {o}", "no other {item} was half as {w}"),
    "negative": ("{s} {b} worse than {o}", "{s} {b} far worse than {o}",
                 "{s} {b} not as good as {o}", "compared with {o}, {s} {b} {w}",
                 "it is no match for {o}", "no other {item} was this {w}"),
}  # fmt: skip
OTHERS = ("the last one", "my old one", "the others", "the one before", "most", "the original",
          "anything else around", "the cheap one", "the competition",
          "what i expected")  # fmt: skip
QUESTIONS = {
    "positive": ("how did they make the {a} so {w}?", "who knew {an_item} could be this {w}?",
                 "why did i not find this {w} {item} sooner?"),
    "negative": ("why is the {a} so {w}?", "how can {an_item} be this {w}?",
                 "who made this {w} {item}?", "who would pay for this {w} {item}?"),
}  # fmt: skip
EXPECTATIONS = {
    "positive": ("i wanted to hate it but ", "i had low hopes but ", "i had doubts, but ",
                 "i was skeptical at first but ", "i expected little, yet "),
    "negative": ("i wanted to like it but ", "i had high hopes but ", "i gave it a chance but ",
                 "it sounded promising but ", "it looked good online but "),
}  # fmt: skip
TURNS = (", but ", " but ", ". however, ", ", yet ", " but in the end ", ", but overall ", ". but ")
JOINTS = (". ", ". ", ". ", ". ", ", ", "! ", " and ", "; ", "... ", " - ")
ENDS = (".", ".", ".", ".", "!", "!!", "", "...")


@dataclass(frozen=True)
class Clause:
    """One opinion: its text, its polarity, and a short form to sum it up with."""

    text: str
    polarity: str
    short: str


@dataclass(frozen=True)
class Review:
    """A labelled review with its clauses; its facts, which carry no opinion, are left out."""

    text: str
    label: str
    domain: str
    item: str
    clauses: tuple[Clause, ...]


class Writer:
    """Writes clauses about one item of one domain with one random stream."""

    def __init__(self, rng: random.Random, domain: str, item: str | None = None):
        self.rng, self.domain = rng, domain
        self.general, self.own = read_lexicon("general"), read_lexicon(domain)
        self.item = item or self.own["items"].draw(rng)

    def clause(self, polarity: str) -> Clause:
        """Write one clause of a polarity."""
        kinds = (self._plain, self._noun_phrase, self._feeling, self._verb, self._noun,
                 self._idiom, self._denial, self._manner, self._comparison, self._question,
                 self._pair)  # fmt: skip
        weights = (26, 9, 9, 15, 6, 15, 6, 4, 4, 2, 4)
        text, short = self.rng.choices(kinds, weights)[0](polarity)
        time = self.general["durations"].draw(self.rng)
        return Clause(text.replace("{time}", time), polarity, short.replace("{time}", time))

    def contrast(self, polarity: str) -> Clause:
        """Write a clause against one of the other polarity; this one decides."""
        main, other = self.clause(polarity), self.clause(OPPOSITE[polarity])
        kind = self.rng.random()
        if kind < 0.6:
            text = other.text.rstrip("?") + self.rng.choice(TURNS) + main.text
        elif kind < 0.85:
            start = self.rng.choice(("although ", "even though ", "while ", "though "))
            text = f"{start}{other.text.rstrip('?')}, {main.text}"
        else:
            text = self.rng.choice(EXPECTATIONS[polarity]) + main.text
        return Clause(text, polarity, main.short)

    def fact(self) -> str:
        """Write something neutral."""
        return (
            self.own["neutral"]
            .draw(self.rng)
            .format(
                when=self.general["moments"].draw(self.rng),
                person=self.general["persons"].draw(self.rng),
                time=self.general["durations"].draw(self.rng),
                n=self.rng.choice((2, 3, 4, 5, 6, 8, 20, 90, 120)),
                item=self.item,
            )
        )

    def words(self, role: str, polarity: str) -> Words:
        """Choose the general or the domain's own list of a role."""
        slang = self.own.get(role, {}).get(polarity)
        share = SLANG if self.domain == NEW else OWN
        return slang if slang and self.rng.random() < share else self.general[role][polarity]

    def adjective(self, polarity: str, short: bool = False) -> str:
        """Draw an adjective, of one word if it is to stand before a noun."""
        for _ in range(20):
            word = self.words("adjectives", polarity).draw(self.rng)
            if not (short and " " in word):
                return word
        return self.general["adjectives"][polarity].words[0]

    def _subject(self) -> tuple[str, str, str]:
        """Return a subject, its verb and the aspect it is about."""
        aspect = self.own["aspects"].draw(self.rng)
        kind = self.rng.random()
        subject = f"the {aspect}" if kind < 0.55 else f"this {self.item}" if kind < 0.8 else "it"
        plural = is_plural(subject) and subject != "this"
        if subject.startswith("this ") and plural:
            subject = f"these {self.item}"
        verbs = ("are", "were", "are", "were") if plural else ("is", "was", "is", "was", "seems")
        return subject, self.rng.choice(verbs), aspect

    def _intensity(self, share: float = 0.35) -> str:
        if self.rng.random() >= share:
            return ""
        return self.general["intensifiers"].draw(self.rng) + " "

    def _plain(self, polarity: str) -> Any:
        subject, verb, aspect = self._subject()
        word = self._intensity() + self.adjective(polarity)
        return f"{subject} {verb} {word}", f"{aspect} {word}"

    def _noun_phrase(self, polarity: str) -> Any:
        word = self.adjective(polarity, short=True)
        noun = self.item if self.rng.random() < 0.5 else self.own["aspects"].draw(self.rng)
        phrase = f"{word} {noun}" if is_plural(noun) else article(f"{word} {noun}")
        start = self.rng.choice(("", "it has ", "i got ", "what ", "such ", "really "))
        return start + phrase, f"{word} {noun}"

    def _feeling(self, polarity: str) -> Any:
        verb = self.words("feelings", polarity).draw(self.rng)
        thing = self.rng.choice(
            ("it", f"this {self.item}", f"the {self.own['aspects'].draw(self.rng)}")
        )
        return f"i {verb} {thing}", f"{verb} {thing}"

    def _verb(self, polarity: str) -> Any:
        aspect = self.own["aspects"].draw(self.rng)
        if is_plural(aspect) or self.rng.random() < 0.5:
            aspect = self.item if not is_plural(self.item) else "it"
        verb = self.words("verbs", polarity).draw(self.rng)
        subject = "it" if aspect == "it" else f"the {aspect}"
        return f"{subject} {verb}", f"{aspect} {verb}"

    def _noun(self, polarity: str) -> Any:
        noun = self.words("nouns", polarity).draw(self.rng)
        pattern = self.rng.choice(
            ("what {a}", "{a}", "it is {a}", "this was {a}", "it turned out to be {a}")
        )
        return pattern.format(a=article(noun)), noun

    def _idiom(self, polarity: str) -> Any:
        text = self.words("idioms", polarity).draw(self.rng)
        return text, text

    def _denial(self, polarity: str) -> Any:
        subject, verb, _ = self._subject()
        verb = "are" if verb in ("are", "were") else self.rng.choice(("is", "was"))
        word = self.adjective(OPPOSITE[polarity], short=True)
        text = self.rng.choice(DENIALS[polarity]).format(s=subject, b=verb, w=word)
        return text, text

    def _manner(self, polarity: str) -> Any:
        subject, verb, _ = self._subject()
        adverb = self.general["adverbs"][polarity].draw(self.rng)
        text = f"{subject} {verb} {adverb} {self.own['participles'].draw(self.rng)}"
        return text, text

    def _comparison(self, polarity: str) -> Any:
        subject, verb, _ = self._subject()
        text = self.rng.choice(COMPARISONS[polarity]).format(
            s=subject, b=verb, o=self.rng.choice(OTHERS), item=self.item,
            w=self.adjective(polarity, short=True),
        )  # fmt: skip
        return text, text

    def _question(self, polarity: str) -> Any:
        aspect = self.own["aspects"].draw(self.rng)
        text = self.rng.choice(QUESTIONS[polarity]).format(
            a=aspect, item=self.item, an_item=article(self.item),
            w=self.adjective(polarity, short=True),
        )  # fmt: skip
        return text.replace("is the", "are the") if is_plural(aspect) else text, text

    def _pair(self, polarity: str) -> Any:
        subject, verb, _ = self._subject()
        one, two = self.adjective(polarity), self.adjective(polarity)
        text = self.rng.choice(
            (f"{one} and {two}", f"{subject} {verb} {one} and {two}", f"{one}, {two}")
        )
        return text, text


def review(rng: random.Random, domain: str, label: str, clauses: int | None = None) -> Review:
    """Write one review.

    Parameters
    ----------
    rng : random.Random
    domain : str
        One of `lexicon.STABLE`, or `lexicon.NEW`.
    label : str
        ``"positive"`` or ``"negative"``.
    clauses : int, optional
        Number of opinions; 1 to 5 if not given.
    """
    writer = Writer(rng, domain)
    count = clauses or rng.choices((1, 2, 3, 4, 5), (18, 30, 26, 16, 10))[0]
    written = [
        writer.contrast(label) if rng.random() < 0.08 else writer.clause(label)
        for _ in range(count)
    ]
    if count >= 3 and rng.random() < 0.1:  # a dissenting voice; the majority stays
        written[rng.randrange(count - 1)] = writer.clause(OPPOSITE[label])
    parts = [clause.text for clause in written]
    for _ in range(rng.choices((0, 1, 2, 3), (50, 32, 13, 5))[0]):
        if (fact := writer.fact()) not in parts:
            parts.insert(rng.randrange(len(parts) + 1), fact)
    while len(" ".join(parts).split()) < 4:
        parts.insert(0, writer.fact())
    return Review(dress(rng, join(rng, parts)), label, domain, writer.item, tuple(written))


def join(rng: random.Random, parts: list[str]) -> str:
    """Put clauses together with punctuation, at most `LONGEST` words."""
    text = parts[0]
    for part in parts[1:]:
        if len(text.split()) + len(part.split()) >= LONGEST:
            break
        text += (" " if text[-1] in "?!" else rng.choice(JOINTS)) + part
    return text if text[-1] in "?!" else text + rng.choice(ENDS)


def dress(rng: random.Random, text: str) -> str:
    """Give a text the look of its writer: capitals, typing errors, lost apostrophes."""
    kind = rng.random()
    if kind < 0.7:
        text = sentence_case(text)
    elif kind < 0.74:
        text = text.upper()
    if rng.random() < 0.12:
        text = mistype(rng, text)
    return text.replace("'", "") if rng.random() < 0.08 else text


def sentence_case(text: str) -> str:
    """Give sentences and the word "i" their capitals."""
    text = re.sub(r"(^|[.!?] )([a-z])", lambda match: match[1] + match[2].upper(), text)
    return re.sub(r"\bi\b(?=[ '])", "I", text)


def mistype(rng: random.Random, text: str, errors: int = 1) -> str:
    """Swap, drop or double one letter inside a word, `errors` times one after another.

    The time it takes grows with ``n log n`` of the text's length: an error stays inside its run of
    letters, so only the places of that run are counted anew.
    """
    parts = re.split(r"([A-Za-z]{3,})", text)  # every other one is a run with a place inside
    runs = parts[1::2]
    places = _Places([len(run) - 2 for run in runs])
    for _ in range(errors):
        if not places.total:
            break
        run, before = places.find(rng.choice(range(places.total)))
        letters, i = runs[run], before + 1
        a, b = letters[i], letters[i + 1]
        changed = (b + a, b, a + a + b)[rng.randrange(3)]
        runs[run] = letters[:i] + changed + letters[i + 2 :]
        places.add(run, len(changed) - 2)
    parts[1::2] = runs
    return "".join(parts)


class _Places:
    """Counts of places in runs of letters, as a Fenwick tree (P. Fenwick, 1994)."""

    def __init__(self, counts: list[int]):
        self.total, self.tree = sum(counts), [0, *counts]
        for i in range(1, len(self.tree)):
            if (above := i + (i & -i)) < len(self.tree):
                self.tree[above] += self.tree[i]

    def add(self, run: int, change: int) -> None:
        """Change the count of a run."""
        self.total, i = self.total + change, run + 1
        while i < len(self.tree):
            self.tree[i] += change
            i += i & -i

    def find(self, place: int) -> tuple[int, int]:
        """Return the run that holds a place, and the number of its places before it."""
        run, step = 0, 1 << len(self.tree).bit_length()
        while step := step >> 1:
            if run + step < len(self.tree) and self.tree[run + step] <= place:
                run += step
                place -= self.tree[run]
        return run, place


def article(noun: str) -> str:
    """Put "a" or "an" before a noun, unless it brings its own."""
    if noun.split()[0] in ("a", "an", "the", "no", "one", "another"):
        return noun
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def is_plural(noun: str) -> bool:
    """Guess from the ending whether a noun is plural."""
    return noun.endswith("s") and not noun.endswith(("ss", "us", "series"))
