"""Which number an answer gives, as models write them: with units, marks of thousands, in sentences.

What an answer says is taken in this order, and the first way that gives exactly one number decides:

1. JSON: the value of a key such as ``prediction`` or ``answer``, else the only number in it;
2. the answer, but for its unit, is a number;
3. ``Answer: 120``, ``the estimate is 120``, or after the name of what is predicted;
4. the only number in bold;
5. the first or last line or sentence is a number and nothing else;
6. the number before the name of what is predicted (``120 rentals``);
7. the only number that is named, or the one inside the only range.

A range (``between 3 and 5``, ``3-5``) stands for its middle, and says so. A bound (``more than
100``) is no number. Times, dates and numbers of a list do not count. A point before three digits
is a decimal one (``1.234``), a comma a mark of thousands (``1,234``), unless another mark shows
which it is (``1.234,5``).
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diptych.llmops.evaluation.label_reading import KEYS, without_thoughts

LONGEST = (
    20_000  # characters of an answer that are read: half from its beginning, half from its end
)
NEAR = 40  # characters before a number that may make it a bound
NUMBER_KEYS = (
    "value", "number", "estimate", "forecast", "prediction", "predicted_value", "final_value",
    "expected", "amount", "count", *KEYS,
)  # fmt: skip
LOWS, HIGHS = ("low", "min", "minimum", "lower", "from"), ("high", "max", "maximum", "upper", "to")
_DIGITS = (
    r"(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?(?![\d,])|[1-9]\d{0,2}(?:\.\d{3})+,\d+"
    r"|[1-9]\d{0,2}(?:\.\d{3}){2,}(?!\d)|[1-9]\d{0,2}(?:[ ']\d{3})+(?:[.,]\d+)?(?!\d)"
    r"|[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?|\d+,\d+|\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?"
)
_SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "b": 1e9, "bn": 1e9,
           "billion": 1e9}  # fmt: skip
_SCALE = r"(?:\s?(?:thousand|million|billion)\b|(?:k|mn|bn)\b|(?-i:[MB])\b)?"
_SIGN = r"(?:(?:minus|negative)\s+|(?<![\w.)])[-+]\s?)?"
_MONEY = r"(?:(?:us\$|usd|eur|gbp|chf|[$\u20ac\u00a3\u00a5\u20b9])\s?)?"
_ONE = rf"{_SIGN}{_MONEY}{_SIGN}(?<![\w.,/]){_DIGITS}{_SCALE}(?!(?:st|nd|rd|th)\b)\s?%?"
_AND = r"\s*(?:-|\bto\b|\band\b|\bthrough\b)\s*"
_UNIT_BETWEEN = r"(?:\s?(?!to\b|and\b|or\b|through\b)[^\W\d]{1,15})?"
_QUANTITY = re.compile(
    rf"(?:(?P<between>\bbetween\b)\s+(?P<a>{_ONE}){_UNIT_BETWEEN}\s*\band\b\s*(?P<b>{_ONE})"
    rf"|(?P<low>{_ONE}){_UNIT_BETWEEN}(?P<to>{_AND})(?P<high>{_ONE})(?!\w)|(?P<one>{_ONE}))",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"(?:\b(?:more|less|fewer|greater|higher|lower|larger|smaller) than|\bat (?:least|most)"
    r"|\b(?:over|above|below|under|exceeding|up to|no more than)|[<>\u2264\u2265]=?)\s*$",
    re.IGNORECASE,
)
_SPREAD = re.compile(rf"\s*\(?(?:\u00b1|\+/-|\+-)\s*{_DIGITS}\s?%?\)?", re.IGNORECASE)
_TIME = re.compile(
    r"\b\d{1,2}:\d{2}(?::\d{2})?\b|\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}/\d{1,2}/\d{2,4}\b"
)
_ITEM = re.compile(r"^\s*(\d{1,2})[.)]\s+(?=\S)", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_FILLER = (
    r"(?:\s*(?:is|are|was|would be|will be|should be|to be|of|for|about|around|approximately"
    r"|approx\.?|roughly|nearly|close to|exactly|likely|probably|a|an|the|equals|at|this|that|hour"
    r"|case|row|\w+ly|[:=\u2248~*\"'(>-])){0,12}\s*"
)
_SAID = (
    r"(?:answer|prediction|predicted\s+\w+|predict|estimate|estimated\s+\w+|forecast|expect|value|"
    r"number|result|total|guess)"
)
_WORDS = {name: n for n, name in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen".split())}  # fmt: skip
_WORDS |= {name: 10 * n for n, name in enumerate(
    "twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}  # fmt: skip
_BIG = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_SPELT = re.compile(
    rf"\b(?:{'|'.join((*_WORDS, *_BIG))})(?:(?:[\s-]|\sand\s)+(?:{'|'.join((*_WORDS, *_BIG))}))*\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The number that an answer gives, and whether it is the middle of a range."""

    value: float
    is_range: bool = False


def read_number(text: str | None, names: Sequence[str] = (), share: bool = False) -> Reading | None:
    """Return the one number that an answer gives, None if it gives none, or several.

    Parameters
    ----------
    names : sequence of str
        What the number is called, such as ``("rentals",)``; keys of the answer's JSON, too.
    share : bool
        Whether the numbers are shares from 0 to 1: then ``45 %`` is 0.45, else 45.
    """
    if text is None or (answer := without_thoughts(text)) is None or not answer.strip():
        return None
    if len(answer) > LONGEST:
        answer = f"{answer[: LONGEST // 2]}\n{answer[-LONGEST // 2 :]}"
    plain = _plain(answer)
    words = [re.escape(_plain(name).replace("_", " ").strip()) for name in names if name.strip()]
    prose = _digits_only(plain)
    ways = (
        _in_json(answer, names), _whole(prose), _named(prose, words), _bold(plain),
        _ends(prose), _before_name(prose, words), _mentioned(prose),
    )  # fmt: skip
    for way in ways:
        readings = set(way)
        if len(readings) == 1:
            return _scaled(readings.pop(), plain, share)
        if len({reading.value for reading in readings}) > 1:
            return None
    return None


def _scaled(reading: Reading, text: str, share: bool) -> Reading:
    percent = share and "%" in text and abs(reading.value) > 1
    return Reading(reading.value / 100, reading.is_range) if percent else reading


def _plain(text: str) -> str:
    """Return a text with one kind of dash, space and apostrophe."""
    text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    return re.sub(r"\\[()\[\]]|\\boxed\{([^{}]*)\}", r"\1", text)


_SIGNS = str.maketrans("\u2212\u2013\u2014\u2019\u02bc", "---''")


def _digits_only(text: str) -> str:
    """Return a text without emphasis, times, dates and numbers of lists; words become digits."""
    text = _SPREAD.sub(" ", re.sub(r"\*\*|__|`", "", text))
    text = _TIME.sub(" ", text)
    items = [int(n) for n in _ITEM.findall(text)]
    if len(items) > 1 and items == list(range(items[0], items[0] + len(items))):
        text = _ITEM.sub(" ", text)
    return text if re.search(r"\d", text) else _SPELT.sub(_spelt, text)


def _spelt(match: re.Match) -> str:
    """Return a number in words as digits."""
    total = part = 0
    for word in re.findall(r"[a-z]+", match[0].lower()):
        if word in _WORDS:
            part += _WORDS[word]
        elif word == "hundred":
            part = max(part, 1) * 100
        elif word in _BIG:
            total, part = total + max(part, 1) * _BIG[word], 0
    return str(total + part)


def _value(text: str) -> float:
    """Return the value of a written number."""
    text = text.strip().lower()
    below = bool(re.match(r"(?:minus|negative)\b|[^\d.]*-", text))
    digits = re.search(_DIGITS, text)[0]
    scale = re.search(r"[a-z]+$", re.sub(_DIGITS, "", text.rstrip(" %"), count=1).strip())
    power = _SCALES.get(scale[0], 1.0) if scale else 1.0
    number, mark, exponent = digits.partition("e")
    return (-1) ** below * float(_standard(number) + mark + exponent) * power


def _standard(number: str) -> str:
    """Return digits without marks of thousands, with a decimal point."""
    number = re.sub(r"[ ']", "", number)
    comma, point = number.rfind(","), number.rfind(".")
    if comma >= 0 and point >= 0:
        first, last = sorted((",", "."), key=number.rfind)
        return number.replace(first, "").replace(last, ".")
    if number.count(".") > 1:
        return number.replace(".", "")
    thousands = re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3}", number)
    return number.replace(",", "" if thousands else ".")


def _quantities(text: str) -> Iterator[tuple[re.Match, Reading]]:
    """Yield the numbers and ranges of a text, but bounds."""
    for match in _QUANTITY.finditer(text):
        if reading := _reading(match, text[: match.start()]):
            yield match, reading


def _reading(match: re.Match, before: str = "") -> Reading | None:
    if _BOUND.search(before[-NEAR:]):
        return None
    if match["one"]:
        return _finite(_value(match["one"]))
    a, b = _value(match["a"] or match["low"]), _value(match["b"] or match["high"])
    if a > b and match["low"] and not match["low"].rstrip().endswith("%"):
        return None
    return _finite((a + b) / 2, is_range=True)


def _finite(value: float, is_range: bool = False) -> Reading | None:
    return Reading(value, is_range) if math.isfinite(value) else None


def _whole(text: str) -> Iterator[Reading]:
    """Yield the number that a text is, but for what stands at its edges, and a unit."""
    text = re.sub(r"\.$", "", text.strip(" \t\r\n,;:!?\"'`()[]{}=~\u2248#*_|"))
    text = re.sub(r"^(?:about|around|approximately|approx\.?|roughly|circa|ca\.|nearly)\s+", "",
                  text, flags=re.IGNORECASE)  # fmt: skip
    match = _QUANTITY.match(text)
    if match and re.fullmatch(r"\s?(?:[^\W\d]\S{0,15}(?:\s[^\W\d]\S{0,15}){0,2})?\)?",
                              text[match.end() :]) and (reading := _reading(match)):  # fmt: skip
        yield reading


def _named(text: str, words: Sequence[str]) -> Iterator[Reading]:
    """Yield numbers after words such as "the estimate is"; a final one alone counts."""
    names = "|".join([_SAID, *words])
    final = r"(?:final|my|best|overall|so|therefore|thus|hence)\W+(?:the\s|my\s)?"
    for before in (rf"{final}(?:\w+\s+)?(?:{names})", rf"(?:{names})"):
        readings = []
        for start in re.finditer(rf"\b{before}{_FILLER}", text, re.IGNORECASE):
            match = _QUANTITY.match(text, start.end())
            # a sign or a word that begins a range belongs to the quantity
            for back in range(1, 9):
                match = match or _QUANTITY.match(text, max(start.end() - back, start.start()))
            if match and (reading := _reading(match, text[: match.start()])):
                readings.append(reading)
        if readings:
            yield from readings
            return


def _bold(text: str) -> Iterator[Reading]:
    for part in re.findall(r"\*\*([^*\n]+)\*\*", text):
        yield from _whole(part)


def _ends(text: str) -> Iterator[Reading]:
    """Yield the number that is the first line or sentence, or the last."""
    parts = [part for part in _SENTENCE.split(text.strip()) if re.search(r"\w", part)]
    if len(parts) > 1:
        yield from _whole(parts[0])
        yield from _whole(parts[-1])


def _before_name(text: str, words: Sequence[str]) -> Iterator[Reading]:
    if not words:
        return
    named = re.compile(rf"\s?(?:\w+\s)?(?:{'|'.join(words)})\b", re.IGNORECASE)
    for match, reading in _quantities(text):
        if named.match(text, match.end()):
            yield reading


def _mentioned(text: str) -> Iterator[Reading]:
    """Yield all numbers; of one number and the range around it the number."""
    matches = list(_quantities(text))
    points = {reading for _, reading in matches if not reading.is_range}
    ranges = [match for match, reading in matches if reading.is_range]
    if len(points) == 1 and len(ranges) == 1:
        low, high = (_value(ranges[0][x] or ranges[0][y]) for x, y in (("a", "low"), ("b", "high")))
        if low <= next(iter(points)).value <= high:
            yield from points
            return
    yield from (reading for _, reading in matches)


def _in_json(answer: str, names: Sequence[str]) -> Iterator[Reading]:
    content = _content(answer)
    if content is None or isinstance(content, int | float):
        return
    if isinstance(content, list):
        yield from _of_values(content)
        return
    keyed = {re.sub(r"\W+", "_", str(key).casefold()): value for key, value in content.items()}
    lows = [keyed[key] for key in LOWS if key in keyed]
    highs = [keyed[key] for key in HIGHS if key in keyed]
    wanted = [re.sub(r"\W+", "_", name.casefold()) for name in names]
    values = [keyed[key] for key in (*wanted, *NUMBER_KEYS) if key in keyed][:1]
    if not values and len(lows) == len(highs) == 1:
        values = [[lows[0], highs[0]]]
    yield from _of_values(values[0] if values and isinstance(values[0], list) else
                          values or list(keyed.values()))  # fmt: skip


def _of_values(values: Sequence) -> Iterator[Reading]:
    """Yield what values of JSON give; two numbers in a list are a range."""
    numbers = [x for x in values if isinstance(x, int | float) and not isinstance(x, bool)]
    if len(numbers) == 2 and len(values) == 2 and numbers[0] <= numbers[1]:
        middle = _finite(sum(map(float, numbers)) / 2, is_range=True)
        yield from [middle] if middle else []
        return
    for value in values:
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int | float):
            reading = _finite(float(value)) if abs(value) < 1e300 else None
            yield from [reading] if reading else []
        elif isinstance(value, str):
            yield from _whole(_digits_only(_plain(value)))


def _content(answer: str):
    """Return the JSON that an answer is, or holds in a fence or in braces, else None."""
    fenced = re.findall(r"```\w*\s*\n(.*?)\n?\s*```", answer, re.DOTALL)
    braced = re.findall(r"\{[^{}]*\}", answer)
    for text in (answer, *fenced[-1:], *braced[-1:]):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict | list):
            return content
    return None
