"""In which encoding a text is written.

UTF-8 is tried by reading the text; UTF-16 and UTF-32 show by their mark or by their zero bytes. For
any other text `alphabets` decides between alphabets, and `charset_normalizer` where it cannot. They
see only the lines with non-ASCII bytes, because the latter calls a long English file with one
accented word cp1250. It cannot choose between the Latin code pages, which all fit: of the cases
tried it took every one for cp1250. There, cp1252 holds, the default of Windows and of web browsers,
unless it puts symbols inside words.
"""

import codecs
import itertools
import re

import charset_normalizer

from diptych.core.data.readers.alphabets import FEW, alphabet_of
from diptych.core.data.readers.table import Guess
from diptych.core.data.sources import DataError

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# what is most often meant instead, where a guess is wrong
OTHERS = {"cp1252": "cp1250", "cp1250": "cp1254", "latin-1": "cp1252", "cp850": "cp437"} | {
    "cp1251": "koi8-r", "koi8-r": "cp1251", "cp866": "cp1251", "cp932": "euc_jp",
    "euc_jp": "cp932", "gb18030": "big5", "big5": "gb18030",
}  # fmt: skip
LATIN = ("cp1252", "cp1250", "latin-1", "cp850")
SAMPLE = 2**16  # bytes of lines with other than ASCII that are looked at
WORD = re.compile(r"[^\W\d_]+")
# what stands in no word: marks of cp1252 but for dashes, apostrophes and the point of Catalan
SYMBOLS = "\x80-\x9f\xa1-\xb6\xb8-\xbf\xd7\xf7\u2018\u201a-\u2022\u2026-\u203a\u02c6\u02dc"
SYMBOL_IN_WORD = re.compile(
    rf"(?<=[^\W\d_])[{SYMBOLS}](?=[^\W\d_])|[\x80-\x9f\xa5\xa6\xac\xaf\xb3\xb6\xb9](?=[^\W\d_])"
)
HIGH_WORD = re.compile(rb"(?<![A-Za-z\x80-\xff])[\x80-\xff]{2,}(?![A-Za-z\x80-\xff])")
CONTROL = re.compile("[\0-\x08]")


def decoded(data: bytes, place: str, encoding: str = "") -> tuple[str, list[Guess]]:
    """Return a file's text without its mark, and the guess if its encoding had to be guessed.

    Raises
    ------
    DataError
        If it is no text, or not in the `encoding` that was given.
    """
    mark = next((m for m in MARKS if data.startswith(m)), b"")
    if encoding:
        return _as_chosen(data, place, encoding), []
    if mark:
        text = _strict(data, place, MARKS[mark]).removeprefix("\ufeff")
        if MARKS[mark] == "utf-8":
            return text, []
        return text, [_guess(MARKS[mark], "the file begins with its mark")]
    if b"\0" in data:
        wide = _without_mark(data)
        if not wide or CONTROL.search(data[:SAMPLE].decode(wide, "replace")):
            raise DataError(
                f"task: {place} holds zero bytes and is no text; give a text file, or name its "
                "format by its suffix (.xlsx, .parquet, ...)."
            )
        return _strict(data, place, wide), [_guess(wide, "every second byte is zero")]
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _refuse_damaged(data, place, line)
        return _legacy(data, line)


def _refuse_damaged(data: bytes, place: str, line: int) -> None:
    """Refuse UTF-8 with a few wrong bytes: any other encoding would garble all other lines."""
    matches = re.finditer(rb"[^\n]*[\x80-\xff][^\n]*", data)
    lines = [match[0] for match in itertools.islice(matches, 2000)]
    good = sum(_is_utf8(content) for content in lines)
    if good >= 3 and good >= 0.9 * len(lines):
        raise DataError(
            f"task: {place} is UTF-8 but for line {line}, which holds other bytes; correct it, or "
            "give the encoding of all lines with read_options: encoding=..."
        )


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _as_chosen(data: bytes, place: str, encoding: str) -> str:
    return _strict(data, place, encoding).removeprefix("\ufeff")


def _strict(data: bytes, place: str, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        raise DataError(
            f"task: {place} is not {encoding}: line {data.count(10, 0, start) + 1} holds bytes "
            "that are none of its letters. Give another read_options: encoding=..."
        ) from error


def _without_mark(data: bytes) -> str:
    """Return which UTF-16 a text without a mark is in, or "" if it is none."""
    head = data[: SAMPLE // 2 * 2]
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if len(data) % 2 or not half or max(even, odd) < 0.3 * half or min(even, odd) > 0.05 * half:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _legacy(data: bytes, line: int) -> tuple[str, list[Guess]]:
    matches = re.finditer(rb"[^\n]*[\x80-\xff][^\n]*", data)
    lines = b"\n".join(match[0] for match in itertools.islice(matches, 2000))[:SAMPLE]
    encoding, doubt = _of_lines(lines)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"
        text = data.decode(encoding)
        doubt = "cp1252"
    words = re.findall(r"\S*[^\x00-\x7f]\S*", lines.decode(encoding, "replace"))
    shown = ", ".join(dict.fromkeys(word.strip("\"',;")[:30] for word in words[:3]))
    why = f"line {line} is not UTF-8; read as {shown}"
    if doubt:
        why += "; that is not sure, so check it"
    other = doubt or OTHERS.get(encoding, "utf-8")
    return text, [Guess("encoding", encoding, why, f"encoding={other}")]


def _of_lines(lines: bytes) -> tuple[str, str]:
    """Return the encoding of lines with other than ASCII, and another one if it may as well be."""
    latin = {name: _symbols_in_words(lines, name) for name in LATIN}
    best = min(latin, key=latin.__getitem__)  # the first of equals
    words = [w for w in WORD.findall(lines.decode("latin-1")) if not w.isascii() and len(w) > 1]
    foreign = sum(not re.search("[A-Za-z]", word) for word in words)
    runs = [run.decode("latin-1") for run in HIGH_WORD.findall(lines)]
    strange = 2 * sum(not run.isalpha() for run in runs) > len(runs)  # rare in a Latin language
    latin_words = 10 * latin[best] <= len(words) and (not words or 2 * foreign < len(words))
    if latin_words and not strange:
        if best == "cp1252" and _is_turkish(lines.decode(best, "replace")):
            return "cp1254", best
        other = OTHERS[best]
        same = lines.decode(best, "replace") == lines.decode(other, "replace")
        return best, other if len(words) < FEW and not same else ""
    if alphabet := alphabet_of(lines):
        return alphabet.encoding, "" if alphabet.sure else alphabet.second
    for match in charset_normalizer.from_bytes(lines):
        names = {name.replace("_", "-") for name in match.could_be_from_charset}
        if match.encoding.startswith(("cp1250", "cp1252", "cp1254", "cp1257", "cp1258", "iso8859")):
            continue
        if not names & set(LATIN):
            return match.encoding, best
    return best, OTHERS[best]


def _is_turkish(text: str) -> bool:
    """Whether letters that only Icelandic has in cp1252, and Turkish in cp1254, are Turkish."""
    text = text.casefold()
    return any(x in text for x in "ýþð") and not any(x in text for x in "áéíóúæ")


def _symbols_in_words(lines: bytes, encoding: str) -> float:
    try:
        return len(SYMBOL_IN_WORD.findall(lines.decode(encoding)))
    except UnicodeDecodeError:
        return float("inf")


def _guess(encoding: str, why: str) -> Guess:
    return Guess("encoding", encoding, why, "encoding=utf-8")
