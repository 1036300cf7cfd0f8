"""Which one of the labels an answer names, as models write answers: in sentences, JSON, Markdown.

What an answer says is taken in this order, and the first that names exactly one label decides:

1. the answer is a label, to the letter;
2. JSON: the value of a key such as ``label`` or ``answer``, else the texts in it;
3. the answer, or its first or last line or sentence, is a label and nothing else;
4. ``Answer: x``, ``the sentiment is x``, ``I pick x``, ``x is the right one``, or the only label
   in bold;
5. the only label that is named and not denied.

Before that, what a model thought aloud is taken out; of thinking that never ended nothing is read.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

THOUGHTS = "think|thinking|thought|reasoning|reflection|analysis"
KEYS = (
    "label", "answer", "final_answer", "class", "category", "sentiment", "classification",
    "prediction", "predicted", "result", "output", "verdict", "choice", "intent", "topic",
)  # fmt: skip
NAMED = (
    r"(?:final |correct |overall |my |the |best |predicted )*(?:answer|label|sentiment|class|"
    r"category|classification|verdict|prediction|result|output|choice|rating|intent|topic)"
    r"(?: (?:of|for) (?:the|this) \w+)?(?: (?:is|would be|should be)|\s*[:=]|\s*->)\s*"
)
CHOSEN_BEFORE = (
    r"(?:i|we)(?:'d|'ll| would| will)?(?: \w+ly)? (?:pick|choose|select|go with|settle on|opt for"
    r"|lean towards?|prefer|take|chose|picked|selected)(?: the (?:label|answer|class|category))?\s*"
)
CHOSEN_AFTER = (
    r"[\"'`*)]* (?:is|would be|seems|remains) (?:the|my|a) (?:\w+ )?"
    r"(?:right|correct|best|better|closest|most \w+|final|fitting)\b"
)
SURELY = re.compile(
    r"(?:(?:clearly|therefore|thus|most likely|likely|probably|a|an) )+", re.IGNORECASE
)
NO = (
    r"(?:not|non|never|no|neither|nor|without|isn't|wasn't|aren't|weren't|doesn't|don't|cannot|"
    r"can't|hardly|rather than|instead of|as opposed to|far from"
    r"|nicht|kein|keine|statt|niet|geen|pas|plut\u00f4t que|n\u00e3o|nem|ni|en lugar de|invece di"
    r"|\u043d\u0435|nie)"
)
# words that may stand between a denial and what it denies
BETWEEN = (
    "a", "an", "the", "at", "all", "really", "very", "so", "too", "particularly", "clearly",
    "necessarily", "considered", "classified", "labelled", "labeled", "seem", "sound", "called",
    "as", "be", "being", "to", "any", "entirely", "purely", "exactly", "quite", "just", "simply",
    "especially", "express", "convey",
)  # fmt: skip
# where words are not set apart
NO_UNSPACED = r"(?:\u4e0d\u662f|\u5e76\u975e|\u4e26\u975e|\u800c\u975e|\u6ca1\u6709|\u4e0d)"
UNSPACED = re.compile("[\u2e80-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
WORD = re.compile(r"\w")
OPEN, CLOSE = "\"'`(\\[{<>:=*/\u300c\u201c", "\"'`)\\]}<.,;:!?*/\u300d\u201d\u3002"
ARTICLES = ("A", "I")
# what follows a label, never a word that it only begins or joins, such as "A text" and "no hint"
REASONS = (
    r"(?:because|since|as|and|but|or|not|here|is|rather|instead|over|fits?|seems?|applies|apply|vs"
    r"|versus|would)\b"
)
LONGEST = (
    20_000  # characters of an answer that are read: half from its beginning, half from its end
)
NEAR = 100  # characters around a label that may say more of it
LIST_MARK = re.compile(r"^[-*\u2022>]\s+")
MARKS = " \t\r\n.,;:!?\"'`()[]<>{}|~"
EDGES = MARKS + "_#-\u2013\u2014"
SENTENCE = "(?<=[.!?;])\\s+|(?<=:)\\s+(?!(?:yes|no|true|false|\\d))|\n+| [-\u2013\u2014] "
SHORTEST = 3  # letters of an abbreviation


def read_label(text: str | None, labels: Sequence[str]) -> str | None:
    """Return the one label that an answer names, None if it names none, several, or denies one.

    Case, width, quotes, Markdown, underscores and words around it do not count, but where labels
    differ in them only.

    Parameters
    ----------
    labels : sequence of str
        The task's labels; they may hold each other, or differ by a sign (``A``, ``A*``) or in
        case (``POS``, ``Pos``).
    """
    if text is None or (text in labels and text.strip()):
        return text
    answer = without_thoughts(text)
    if len(answer or "") > LONGEST:
        answer = f"{answer[: LONGEST // 2]}\n{answer[-LONGEST // 2 :]}"
    names = tuple(name for name in labels if name.strip())
    if answer is None or not answer.strip() or not names:
        return None
    written = _Labels(names)
    ways: tuple[Callable, ...] = (
        _in_json, _whole, _first_or_last, _named, _chosen, _in_bold, _mentioned,
    )  # fmt: skip
    for way in ways:
        read = set(way(answer, written))
        if read:
            return read.pop() if len(read) == 1 else None
    return None


def without_thoughts(text: str) -> str | None:
    """Return an answer without what was thought aloud; None if the thinking never ended."""
    if final := re.findall(r"<\|channel\|>final<\|message\|>(.*?)(?:<\|(?:end|return)\|>|$)", text,
                           re.DOTALL):  # fmt: skip
        return final[-1]
    if "<|channel|>analysis" in text:
        return None
    text = re.sub(rf"<({THOUGHTS})>.*?</\1>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    # some templates open the thinking themselves
    text = re.split(rf"</(?:{THOUGHTS})>", text, flags=re.IGNORECASE)[-1]
    return None if re.search(rf"<(?:{THOUGHTS})>", text, re.IGNORECASE) else text


class _Labels:
    """Labels in the form in which answers are compared with them."""

    def __init__(self, names: tuple[str, ...]):
        folded = {_folded(name) for name in names}
        # of labels that differ in case only, case counts
        self.form = _folded if len(folded) == len(set(names)) else _spaced
        self.exact = {self.form(name): name for name in names}
        self.pattern = _pattern(tuple(self.exact))
        self.reach = 2 * max(map(len, names)) + NEAR  # of two labels and what joins them

    def whole(self, text: str) -> str | None:
        """Return the label that a text is, but for what stands at its edges."""
        form = self.form(_without_emphasis(text)).strip()
        item = LIST_MARK.sub("", form)
        for bare in (form, form.strip(MARKS), item, item.strip(MARKS), item.strip(MARKS + "*"),
                     form.strip(EDGES), form.strip(EDGES + "*")):  # fmt: skip
            if bare in self.exact:
                return self.exact[bare]
        short = form.strip(EDGES + "*")
        if len(short) < SHORTEST or not short.isalpha():
            return None
        longer = [name for key, name in self.exact.items() if key.startswith(short)]
        return longer[0] if len(longer) == 1 else None

    def mentions(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yield each label that a text names, and whether it is denied there."""
        text = _spaced(_without_emphasis(text))
        for match in self.pattern.finditer(text):
            label = self.of(match)
            if label is not None:
                yield label, match["denied"] is not None

    def first(self, text: str) -> re.Match | None:
        """Return where a text begins with a label that it does not deny."""
        match = self.pattern.match(text)
        return match if match and match["label"] and self.of(match) else None

    def of(self, match: re.Match) -> str | None:
        """Return the label of a match, None where it is a word of the sentence."""
        written = match["denied"] or match["label"]
        name = self.exact.get(self.form(written))
        if name is None or (len(name) == 1 and name.isalpha() and written != name):
            return None  # "a" is an article, A a label
        after = match.string[match.end() : match.end() + NEAR]
        is_word = written in ARTICLES or written.casefold() == "no"
        return None if is_word and re.match(rf" (?!{REASONS})[^\W\d_A-Z]", after) else name


@lru_cache
def _pattern(labels: tuple[str, ...]) -> re.Pattern:
    # the longest first, so that "not worth it" is a label before it is a denial
    one = "|".join(_bounded(name) for name in sorted(labels, key=len, reverse=True))
    between = rf"(?:(?:{'|'.join(BETWEEN)})[\s-]+){{0,4}}"
    return re.compile(
        rf"(?:(?P<label>{one})|(?:(?<!\w)(?i:{NO})[\s-]+{between}|{NO_UNSPACED})[\"'`*(]*"
        rf"(?P<denied>{one}))",
        re.IGNORECASE if all(x == x.casefold() for x in labels) else 0,
    )


def _bounded(label: str) -> str:
    """Return the pattern of a label that is no part of a longer word, sign or row of emoji."""
    first, last, spelt = label[0], label[-1], re.escape(label)
    if re.fullmatch(r"[!-/:-@\[-`{-~]+", label):  # signs: no dash between words, no part of others
        return rf"(?<![^\s{OPEN}]){spelt}(?![^\s{CLOSE}])(?!(?<!\S{spelt})\s(?!\(|{REASONS}))"
    before = "" if UNSPACED.match(first) else r"(?<!\w)" if WORD.match(first) else (
        rf"(?<!{re.escape(first)})" if not first.isascii() else r"(?<![\w.])"
    )  # fmt: skip
    after = "" if UNSPACED.match(last) else r"(?!\w)" if WORD.match(last) else (
        rf"(?!{re.escape(last)})"
    )  # fmt: skip
    return before + spelt + after


def _spaced(text: str) -> str:
    """Return a text with straight quotes, no underscores, single spaces, letters of one width."""
    text = unicodedata.normalize("NFKC", text).translate(QUOTES).replace("\ufe0f", "")
    return " ".join(re.sub(r"(?<=\w)[_-](?=\w)", " ", text).split())


QUOTES = str.maketrans("\u2018\u2019\u02bc\u201c\u201d\u00ab\u00bb", "'''" + '""""')


def _folded(text: str) -> str:
    return _spaced(text).casefold()


def _without_emphasis(text: str) -> str:
    """Take Markdown's marks off, but not a star that belongs to a label."""
    text = re.sub(r"(\*{2,3})([^*\n]+\*?)\1(?!\*)", r"\2", text)
    text = re.sub(r"(?<![\w*])\*([^*\s][^*\n]*)\*(?![\w*])", r"\1", text)
    return re.sub(r"(?<!\w)_{1,2}([^_\n]+)_{1,2}(?!\w)", r"\1", text)


def _in_json(answer: str, labels: _Labels) -> Iterator[str]:
    for content in _contents(answer):
        if isinstance(content, dict):
            if name := _likeliest(content, labels):
                yield name
                continue
            keyed = {_folded(str(key)).replace(" ", "_"): value for key, value in content.items()}
            values = [keyed[key] for key in KEYS if key in keyed] or list(content.values())
        else:
            values = content if isinstance(content, list) else [content]
        for value in _flat(values):
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                name = labels.whole(str(value))
                yield from [name] if name else _mentioned(str(value), labels)


def _flat(values: Sequence, depth: int = 3) -> Iterator:
    """Yield values, and those of objects and lists among them."""
    for value in values:
        if isinstance(value, dict | list) and depth:
            inside = value if isinstance(value, list) else list(value.values())
            yield from _flat(inside, depth - 1)
        else:
            yield value


def _likeliest(content: dict, labels: _Labels) -> str | None:
    """Return the label with the highest number, where each key is a label."""
    scores = {labels.whole(str(key)): value for key, value in content.items()}
    numbers = [x for x in scores.values() if isinstance(x, int | float) and not isinstance(x, bool)]
    if None in scores or len(scores) < 2 or len(numbers) < len(scores):
        return None
    best = [name for name, score in scores.items() if score == max(numbers)]
    return best[0] if len(best) == 1 else None


def _contents(answer: str) -> Iterator:
    """Yield what JSON an answer is, or holds in a fence or in braces."""
    fenced = re.findall(r"```\w*\s*\n(.*?)\n?\s*```", answer, re.DOTALL)
    braced = re.findall(r"\{[^{}]*\}", answer) or re.findall(r"\[[^\[\]]*\]", answer)
    for text in ([answer], fenced, braced):
        read = []
        for part in text:
            try:
                content = json.loads(part)
            except (ValueError, RecursionError):
                continue
            if isinstance(content, dict | list) or (text[0] is answer and isinstance(content, str)):
                read.append(content)
        if read:
            yield from read
            return


def _whole(answer: str, labels: _Labels) -> Iterator[str]:
    if name := labels.whole(answer):
        yield name


def _first_or_last(answer: str, labels: _Labels) -> Iterator[str]:
    """Yield the label that is the first line or sentence, or the last."""
    answer = _without_emphasis(answer)
    lines = [line for line in _spans(answer, r"\n+") if line.strip(EDGES) or labels.whole(line)]
    sentences = [x for x in _spans(answer, SENTENCE) if x.strip(EDGES) or labels.whole(x)]
    for parts in (lines, sentences):
        if len(parts) > 1:
            ends = {labels.whole(part) for part in (parts[0], parts[-1])} - {None}
            if ends:
                yield from ends
                return


def _spans(answer: str, between: str) -> list[str]:
    return re.split(between, answer.strip())


def _named(answer: str, labels: _Labels) -> Iterator[str]:
    """Yield labels after words such as "the answer is"."""
    text = _spaced(_without_emphasis(answer))
    for start in re.finditer(rf"(?<!\w){NAMED}", text, re.IGNORECASE):
        rest = text[start.end() : start.end() + labels.reach].lstrip("\"'`*([")
        match = labels.first(rest)
        if not match:
            rest = SURELY.sub("", rest, count=1)
            match = labels.first(rest)
        if not match:
            continue
        after = rest[match.end() :]
        other = re.match(r"[\s\"'`*)\]]*(?:(?:or|and)\b|/)[\s\"'`*(\[]*", after)
        if not other or not labels.first(after[other.end() :]):
            yield labels.of(match)


def _chosen(answer: str, labels: _Labels) -> Iterator[str]:
    """Yield labels after words such as "I pick", or before "is the right one"."""
    text = _spaced(_without_emphasis(answer))
    for start in re.finditer(rf"(?<!\w){CHOSEN_BEFORE}", text, re.IGNORECASE):
        if match := labels.first(text[start.end() : start.end() + labels.reach].lstrip("\"'`*([")):
            yield labels.of(match)
    for match in labels.pattern.finditer(text):
        after = re.match(CHOSEN_AFTER, text[match.end() : match.end() + NEAR], re.I)
        if after and match["label"] and (name := labels.of(match)):
            yield name


def _in_bold(answer: str, labels: _Labels) -> Iterator[str]:
    for bold in re.findall(r"\*\*([^*\n]+\*?)\*\*(?!\*)", answer):
        if name := labels.whole(bold):
            yield name


def _mentioned(answer: str, labels: _Labels) -> Iterator[str]:
    """Yield labels that are named, but those that are also denied, or only denied."""
    mentions = list(labels.mentions(answer))
    denied = {name for name, is_denied in mentions if is_denied}
    named = {name for name, is_denied in mentions if not is_denied}
    # "Negative. This was not a positive experience." denies the other label
    yield from named if named & denied else named - denied
