"""Sentiment in every form: dense, by instruction, with other labels, by example."""

import json
import random
import string

from diptych.core.data.generators.cards import CONSONANTS, VOWELS
from diptych.llmops.pretrain.corpus.opinions import OPPOSITE, Writer, review, sentence_case
from diptych.llmops.pretrain.corpus.words import DOMAINS, POLARITIES, asset, entries

OPEN, CLOSE = "\x01", "\x02"  # around a label inside a user's turn: the loss counts there too


def wordings(name: str) -> list:
    """Return a list of ``wordings.yaml``."""
    return asset("wordings")[name]


def turns(*pairs: tuple[str, str], system: str | None = None) -> list[tuple[str, str]]:
    """Return a conversation of user and assistant texts as (role, text) pairs."""
    start = [("system", system)] if system else []
    return start + [
        (role, text)
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def text_of(rng: random.Random, label: str, short: bool = False) -> str:
    """Write a review to label; a third of the short ones are one plain clause."""
    if short and rng.random() < 0.35:
        writer = Writer(rng, rng.choice(DOMAINS))
        return sentence_case(writer.rng.choice((writer._plain, writer._plain, writer._denial,
                                                writer._verb, writer._idiom))(label)[0]
                             .replace("{time}", "a week"))  # fmt: skip
    clauses = rng.choices((1, 2), (80, 20))[0] if short else None
    return review(rng, label, clauses, clean=short and rng.random() < 0.5).text


def bare(rng: random.Random, label: str) -> str:
    """Write the shortest review to a label: one adjective, alone or of one aspect."""
    writer = Writer(rng, rng.choice(DOMAINS))
    word = writer.adjective(label, short=True)
    return sentence_case(rng.choice((word, word, f"it is {word}", f"it was {word}",
                                     writer.fill(f"the {{a}} was {word}"))))  # fmt: skip


def pick(label: str, pair: tuple[str, str]) -> str:
    """Return the word of a pair that stands for a label."""
    return pair[POLARITIES.index(label)]


def fill(rng: random.Random, wording: str, text: str, pair=POLARITIES, key: str = "") -> str:
    """Put a text, the labels and small words into a wording."""
    first, second = rng.sample(tuple(pair), 2)
    return wording.format(
        t=text, a=pair[0], b=pair[1], x=first, y=second, k=key,
        o=rng.choice(wordings("objects")), s=rng.choice(wordings("separators")),
        e=rng.choice(wordings("endings")),
    ).rstrip(" ")  # fmt: skip


def choice_wording(rng: random.Random) -> str:
    """Return a wording that names both labels, from the list or composed of parts."""
    if rng.random() < 0.6:
        return rng.choice(wordings("choice"))
    return f"{rng.choice(wordings('verbs'))} {{o}} {rng.choice(wordings('tails'))}.{{s}}{{t}}{{e}}"


def ask(rng: random.Random, wording: str, pair, invert: bool = False,
          rule_share: float = 0.2, most: int = 4) -> list:  # fmt: skip
    """Ask about one text in a wording, or about up to `most` with it as the system turn."""
    rule = wording.endswith(("\n{t}", "{s}{t}", "{s}{t}{e}")) and rng.random() < rule_share
    simple = rule and most > 4 and rng.random() < 0.4
    if not rule:
        label = rng.choice(POLARITIES)
        answer = pick(OPPOSITE[label] if invert else label, pair)
        text = text_of(rng, label, rng.random() < 0.7)
        return turns((fill(rng, wording, text, pair), answer))
    system = fill(rng, wording.replace("{e}", "").replace("{s}", ""), "", pair).strip()
    pairs = []
    for _ in range(rng.randint(1, most)):
        label = rng.choice(POLARITIES)
        answer = pick(OPPOSITE[label] if invert else label, pair)
        pairs.append((bare(rng, label) if simple else text_of(rng, label, True), answer))
    return turns(*pairs, system=system)


def words(rng: random.Random) -> list:
    """Label many bare opinions, so that each opinion word is next to its label."""
    return labelled(rng, rng.randint(8, 14), simple=True)


def dense(rng: random.Random) -> list:
    """Label many short texts with one pair of labels, about one label every dozen tokens."""
    if rng.random() < 0.55:
        return labelled(rng, rng.randint(5, 12))
    if rng.random() < 0.5:
        return plain(rng)
    wording = rng.choice(wordings("plain") + wordings("choice")[:4])
    pairs = []
    for number in range(rng.randint(1, 6)):
        label = rng.choice(POLARITIES)
        text = text_of(rng, label, rng.random() < 0.85)
        repeat = number == 0 or rng.random() < 0.5
        pairs.append((fill(rng, wording, text) if repeat else text, label))
    return turns(*pairs)


def plain(rng: random.Random) -> list:
    """Ask for positive or negative in any wording."""
    wording = rng.choice(wordings("plain")) if rng.random() < 0.4 else choice_wording(rng)
    return ask(rng, wording, POLARITIES)


def other_labels(rng: random.Random) -> list:
    """Ask with label words of a natural meaning: good, thumbs down, recommend."""
    return ask(rng, choice_wording(rng), tuple(rng.choice(wordings("labels"))))


def mapping(rng: random.Random) -> list:
    """Ask with label words that the instruction defines."""
    kind = rng.random()
    if kind < 0.35:
        pair = tuple(rng.choice(wordings("neutral_labels")))
    elif kind < 0.5:
        pair = tuple(rng.choice(wordings("labels")))
    elif kind < 0.55:
        pair = POLARITIES[::-1]
    else:
        pair = arbitrary_pair(rng)
    if pair not in (POLARITIES, POLARITIES[::-1]) and rng.random() < 0.1:
        pair = pair[::-1]
    return ask(rng, rng.choice(wordings("mapping")), pair, rule_share=0.65, most=9)


def lookup(rng: random.Random) -> list:
    """Name a word for each of some keys, then ask for the word of a key."""
    keys = list(rng.choice((POLARITIES, rng.choice(wordings("labels")))))
    if rng.random() < 0.5:
        keys = rng.sample(entries(wordings("nouns")), rng.randint(2, 4))
    values = []
    while len(set(values)) < len(keys):
        values = [arbitrary_word(rng) for _ in keys]
    table = dict(zip(keys, values, strict=True))
    join, gap = rng.choice(((" = ", ", "), (": ", "\n"), (" means ", ", "), (" -> ", "\n"),
                            (": ", ", "), (" is ", ". ")))  # fmt: skip
    rule = gap.join(
        f"{key}{join}{word}" for key, word in rng.sample(list(table.items()), len(keys))
    )
    drawn = rng.choices(keys, k=rng.randint(2, 8))
    if rng.random() < 0.5:
        return turns(*((key, table[key]) for key in drawn), system=rule)
    lines = [f"{key}{join.rstrip(' ')}{OPEN} {table[key]}{CLOSE}" for key in drawn[:-1]]
    asking = "\n".join([rule, *lines, f"{drawn[-1]}{join.rstrip(' ')}"])
    return turns((asking, table[drawn[-1]]))


def inverse(rng: random.Random) -> list:
    """Ask for the opposite of the sentiment, by instruction."""
    return ask(rng, rng.choice(wordings("inverse")), POLARITIES, invert=True)


def yes_no(rng: random.Random) -> list:
    """Ask a question answered yes or no."""
    wording, positive = rng.choice(wordings("yes_no"))
    pair = ("yes", "no") if positive == "yes" else ("no", "yes")
    return ask(rng, wording, pair)


def as_json(rng: random.Random) -> list:
    """Ask for the label as a JSON object with a given key."""
    key, label = rng.choice(wordings("json_keys")), rng.choice(POLARITIES)
    named = rng.choice((f' with the key "{key}"', f' like {{"{key}": "..."}}', f" (key: {key})"))
    if key == "sentiment" and rng.random() < 0.6:
        named = ""
    text = text_of(rng, label, rng.random() < 0.7)
    asking = fill(rng, rng.choice(wordings("json")), text, key=named)
    return turns((asking, json.dumps({key: label})))


def arbitrary_word(rng: random.Random) -> str:
    """Return an arbitrary label, without a meaning of its own."""
    kind = rng.random()
    if kind < 0.35:
        syllables = (rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 3)))
        return "".join(syllables) + rng.choice(("", "", "n", "x", "r", "k"))
    if kind < 0.8:
        return rng.choice(entries(wordings("nouns")))
    return rng.choice(string.ascii_uppercase) if kind < 0.9 else str(rng.randrange(100))


def arbitrary_pair(rng: random.Random) -> tuple[str, str]:
    """Return two arbitrary labels that differ."""
    one = two = arbitrary_word(rng)
    while one[:2] == two[:2]:
        two = arbitrary_word(rng)
    return one, two


def prompt(form, head: str, shown: list[tuple[str, str]], text: str, marks=()) -> str:
    """Format labelled examples and a text to label; the labels numbered in `marks` are marked."""
    before, middle, after = form
    out = head
    for number, (example, label) in enumerate(shown):
        marked = f"{OPEN} {label}{CLOSE}" if number in marks else f" {label}"
        out += before + example + middle.rstrip(" ") + marked + after
    return out + before + text + middle.rstrip(" ")


def examples(rng, form, head, pair, labels, all_labels=False, domain=None, simple=False) -> list:
    """Write an episode; without `all_labels`, labels count only after both have occurred."""
    texts = [
        review(rng, label, 1, domain, clean=True).text
        if domain
        else bare(rng, label)
        if simple
        else text_of(rng, label, True)
        for label in labels
    ]
    shown = [(text, pick(label, pair)) for text, label in zip(texts, labels, strict=True)]
    marks = {
        number for number in range(len(labels) - 1) if all_labels or len(set(labels[:number])) == 2
    }
    asking = prompt(form, head, shown[:-1], texts[-1], marks)
    return turns((asking, pick(labels[-1], pair)))


def labelled(rng: random.Random, many: int, simple: bool = False) -> list:
    """Write texts one after the other, each followed by its natural label, which is marked."""
    form = rng.choice(wordings("forms")[:7])
    labels = [rng.choice(POLARITIES) for _ in range(many)]
    return examples(rng, form, "", POLARITIES, labels, all_labels=True, simple=simple)


def draw_labels(rng: random.Random, many: int) -> list[str]:
    """Draw the labels of an episode so that both occur among the examples."""
    while True:
        labels = [rng.choice(POLARITIES) for _ in range(many + 1)]
        if many < 2 or len(set(labels[:-1])) == 2:
            return labels


def few_shot(rng: random.Random) -> list:
    """Give examples with natural label words."""
    pair = POLARITIES if rng.random() < 0.6 else tuple(rng.choice(wordings("labels")))
    heads = wordings("heads") + [fill(rng, head, "", pair) for head in wordings("named_heads")]
    labels = draw_labels(rng, rng.choice((1, 2, 3, 4, 4, 5, 6, 8)))
    domain = rng.choice(DOMAINS) if rng.random() < 0.3 else None
    return examples(rng, rng.choice(wordings("forms")), rng.choice(heads), pair, labels,
                    all_labels=pair == POLARITIES, domain=domain)  # fmt: skip


def episode(rng: random.Random) -> list:
    """Give examples that alone define the labels; sometimes the natural labels, swapped."""
    kind = rng.random()
    pair = (POLARITIES[::-1] if kind < 0.06 else tuple(rng.choice(wordings("neutral_labels")))
            if kind < 0.15 else arbitrary_pair(rng))  # fmt: skip
    if kind >= 0.06 and rng.random() < 0.5:
        pair = pair[::-1]
    labels = draw_labels(rng, rng.choice((3, 4, 5, 6, 8, 8, 10, 12)))
    heads = wordings("heads")
    return examples(rng, rng.choice(wordings("forms")), rng.choice(heads), pair, labels,
                    simple=rng.random() < 0.35)  # fmt: skip
