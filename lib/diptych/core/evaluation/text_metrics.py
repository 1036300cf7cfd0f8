"""How free answers are graded in MLOps and LLMOps: by what must be in them, and by ROUGE.

A reference is one text, or several of which the best counts, a line each.
"""

import re
import unicodedata

# words that carry no content
FUNCTION_WORDS = frozenset(re.findall(r"\w+", """
a about all also am an and any are as at be because been being but by can could did do does for
from had has have he her here him his how i if in into is it its just me more most my no not of
on one or other our out over really s she so some such t than that the their them then there
these they this those to too up us very was we were what when where which while who why will
with would you your
"""))  # fmt: skip


def contains(text: str, reference: str) -> float:
    """Return 1 if a text holds a reference as whole words, else 0; case and spaces do not count."""
    text = normal(text)
    wanted = (normal(one) for one in reference.splitlines())
    return float(any(one and re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text) for one in wanted))


def rouge(text: str, reference: str) -> float:
    """Return the best `rouge_l` of a text against a reference's lines."""
    return max((rouge_l(text, one) for one in reference.splitlines()), default=0.0)


def rouge_l(text: str, reference: str) -> float:
    """Return the F1 of the longest common subsequence of two texts' words, from 0 to 1.

    C.-Y. Lin, "ROUGE: a package for automatic evaluation of summaries" (2004), with beta 1. Words
    are runs of letters and digits in lower case, without stemming.
    """
    words, wanted = (re.findall(r"\w+", normal(x)) for x in (text, reference))
    if not words or not wanted:
        return 0.0
    before = [0] * (len(wanted) + 1)
    for word in words:
        now = [0]
        for i, other in enumerate(wanted):
            now.append(before[i] + 1 if word == other else max(before[i + 1], now[i]))
        before = now
    return 2 * before[-1] / (len(words) + len(wanted))


def faithful(text: str, source: str) -> bool:
    """Say whether every content word of a text stands in its source; a blank text is not."""
    words = content_words(text)
    return bool(words) and words <= set(re.findall(r"[\w']+", normal(source)))


def copied(text: str, source: str) -> bool:
    """Say whether a text stands in its source word for word; case and marks do not count."""
    words, written = (" ".join(re.findall(r"[\w']+", normal(x))) for x in (text, source))
    return bool(words) and f" {words} " in f" {written} "


def content_words(text: str) -> set[str]:
    """Return a text's words in lower case, less `FUNCTION_WORDS`."""
    return set(re.findall(r"[\w']+", normal(text))) - FUNCTION_WORDS


def sentences(text: str) -> list[str]:
    """Split a text after ``.``, ``!`` or ``?`` and a space; a blank text is one sentence."""
    return re.split(r"(?<=[.!?])\s+", text.strip())


def normal(text: str) -> str:
    """Return a text in lower case, with single spaces and characters of one width."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
