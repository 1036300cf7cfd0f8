"""Which encoding of an alphabet other than the Latin a text is in, and how sure that is.

`charset_normalizer` is wrong on a handful of words: three words of Russian in cp1251 are Korean to
it. Two plain facts decide nearly always. In a language's own alphabet, its most frequent letters
are more than half of all letters, and capitals stand at the beginning of words. In a double-byte
encoding, nearly all characters lie in the rows of the frequent ones (level 1 of the standards);
text of another encoding decodes to rare ones.
"""

import re
from dataclasses import dataclass

# the most frequent letters of the languages written so
LETTERS = {
    "cp1251": "оеаинтсрвлкмдпуіяъ", "koi8-r": "оеаинтсрвлкмдпуя", "cp866": "оеаинтсрвлкмдпуя",
    "cp1253": "αοιετσνηυρπκμλάέήίόύς", "cp1255": "יוהלאתרבשמנד", "cp1256": "اليمونرتبعدهةسك",
    "cp874": "านรอกเงมยลวดทสตะ",
}  # fmt: skip
# lead bytes of the rows that hold frequent characters, and of those that hold kana and marks
ROWS = {
    "cp949": [(0xB0, 0xC8)],
    "gb18030": [(0xA1, 0xA3), (0xB0, 0xD7)],
    "big5": [(0xA1, 0xC6)],
    "cp932": [(0x81, 0x97)],
    "euc_jp": [(0xA1, 0xA9), (0xB0, 0xCF)],
}
USUAL = 0.8  # share of a language's frequent letters in an ordinary text, about
CLOSE = 0.85  # a second encoding with so much of the first one's score may as well be it
FEW = 4  # words
MARKS = "\xa0«»№\u2013\u2014\u2018\u2019\u201c\u201d\u201e"
WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Alphabet:
    """An encoding and how sure it is.

    Attributes
    ----------
    encoding : str
    second : str
        The one that fits next best.
    sure : bool
    """

    encoding: str
    second: str
    sure: bool


def alphabet_of(lines: bytes) -> Alphabet | None:
    """Return the encoding in which some lines read most like a language; None if none does."""
    scores = {name: min(1.0, _letters(lines, name) / USUAL) for name in LETTERS}
    scores |= {name: _rows(lines, name) for name in ROWS}
    first, second, *_ = sorted(scores, key=scores.__getitem__, reverse=True)
    if scores[first] < 0.5:
        return None
    words = len(re.findall(rb"[\x80-\xff]+", lines))
    sure = words >= FEW and scores[second] < CLOSE * scores[first]
    return Alphabet(first, second, sure)


def _letters(lines: bytes, encoding: str) -> float:
    """Return the share of a language's frequent letters, less where capitals stand inside words."""
    try:
        text = lines.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    others = [x for x in text if x > "\x7f" and x not in MARKS]
    words = [x for x in WORD.findall(text) if not x.isascii()]
    if not words:
        return 0.0
    frequent = sum(x.lower() in LETTERS[encoding] for x in others) / len(others)
    odd = sum(not (x.islower() or x.isupper() or x.istitle() or x.lower() == x) for x in words)
    return frequent * (1 - odd / len(words))


def _rows(lines: bytes, encoding: str) -> float:
    """Return the share of double-byte characters in the rows of frequent ones."""
    try:
        text = lines.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    leads = [x.encode(encoding)[0] for x in text if x > "\x7f"]
    if not leads:
        return 0.0
    frequent = sum(any(low <= lead <= high for low, high in ROWS[encoding]) for lead in leads)
    return frequent / len(leads)
