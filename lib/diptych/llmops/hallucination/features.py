"""Features of each sentence of an answer: how far does the source support it?

The features count the words, n-grams, numbers and names that the source contains, and measure how
well one place of the source covers the sentence, whether the cited passage is the right one, and
what kind of sentence it is. N-gram support goes back to ROUGE (Lin 2004); the *least* supported
sentence decides, as in SummaC (Laban et al. 2022, TACL 10, 163-177).
"""

import math
import re
from collections import Counter
from itertools import pairwise

import numpy as np

from diptych.llmops.hallucination import text as reading
from diptych.llmops.hallucination.source import RUNS, Source
from diptych.llmops.hallucination.text import CUES, Word

FROM_NEIGHBOURS = ("support", "best sentence", "runs of 3", "unsupported", "refuses", "concludes")
HEADING = re.compile(r"[\s#*(\[]*passages?\s*#?\s*(\d+)[\s*)\]]*(?::|\s*$)", re.IGNORECASE)
BEGINS = re.compile(r"(?:^|[.!?:*\n\"“])\s*$")  # where every word has a capital
ADJECTIVES = ("ful", "ous", "ive", "able", "al", "ic")
SCOPE = re.compile(r"\W*(?:in|according to|as (?:stated|mentioned) in|from)?\s*passage", re.I)


def describe(source: Source, answer: str) -> tuple[list[tuple[int, int]], list[dict]]:
    """Return the spans (start, end) of an answer's sentences, and the features of each by name."""
    spans = reading.sentences(answer)
    words = reading.words(answer)
    marks = _Marks(source, words, answer)
    rows, seen, scope = [], set(), set()
    for number, (start, end) in enumerate(spans):
        part = answer[start:end]
        inside = [i for i, word in enumerate(words) if start <= word.start < end]
        content = [i for i in inside if words[i].content]
        row = _support(marks, inside, content)
        row |= _alignment(source, words, content, part, row["support"])
        row |= _values(marks, inside, content, row.pop("best"))
        cites = reading.cited(part)
        if heading := HEADING.match(part):
            scope = {int(heading[1])}
        elif cites and SCOPE.match(part):
            scope = cites
        elif not cites and (CUES["concludes"].search(part) or CUES["refuses"].search(part)):
            scope = set()
        row |= _citation(source, words, content, cites, scope)
        row |= _clauses(source, words, content, part, start)
        new = {words[i].stem for i in content if not marks.supported[i]}
        row |= {"first met": len(new - seen), "met again": len(new & seen)}
        seen |= new
        row |= _form(words, inside, content, part, number, len(spans), len(words))
        row["refuses though supported"] = row["support"] * bool(row["refuses"])
        row["refuses late"] = row["place"] * bool(row["refuses"])
        rows.append(row)
    whole = _answer(source, marks, rows)
    for i, row in enumerate(rows):
        for name in FROM_NEIGHBOURS:
            row[f"{name}, before"] = rows[i - 1][name] if i else 0.0
            row[f"{name}, after"] = rows[i + 1][name] if i + 1 < len(rows) else 0.0
    return spans, [row | whole for row in rows]


class _Marks:
    """Properties of each word of an answer against the source, as arrays of one entry a word."""

    def __init__(self, source: Source, words: list[Word], answer: str):
        self.source, self.words = source, words
        stems = [word.stem for word in words]
        self.content = np.array([word.content for word in words], bool)
        self.weight = np.array([word.weight for word in words])
        self.supported = np.array([source.has(stem) for stem in stems], bool)
        self.in_question = np.array([stem in source.question for stem in stems], bool)
        self.likeness = np.array(
            [source.likeness(w.stem) if w.content else 1.0 for w in words], float
        )
        self.runs = {n: _covered(stems, source.runs[n], n) for n in RUNS}
        self.name = np.array(
            [
                word.content
                and not word.number
                and word.text[0].isupper()
                and not BEGINS.search(answer[max(0, word.start - 3) : word.start])
                for word in words
            ],
            bool,
        )


def _support(marks: _Marks, inside: list[int], content: list[int]) -> dict:
    """Count the words and n-grams that the source contains."""
    supported, weight = marks.supported[content], marks.weight[content]
    likeness, runs = marks.likeness[content], {n: marks.runs[n][inside] for n in RUNS}
    missing = weight[~supported]
    unheld = 1 - marks.runs[1][content]
    stems = [marks.words[i].stem for i in content]
    pairs = [(a, b) for a, b in pairwise(stems) if b in marks.source.near]
    apart = sum(b not in marks.source.near[a] for a, b in pairs if a in marks.source.near)
    return {
        "words": len(inside),
        "content words": len(content),
        "unsupported": len(missing),
        "unsupported weight": missing.sum(),
        "heaviest unsupported": missing.max(initial=0.0),
        "supported share": _mean(supported, 1),
        "support": float(weight[supported].sum() / weight.sum()) if len(content) else 1.0,
        "likeness": _mean(likeness, 1),
        "unlike": (1 - likeness).sum(),
        "utterly unlike": (likeness < 0.5).sum(),
        "nearly alike": ((likeness >= 0.55) & (likeness < 1)).sum(),
        "names nearly alike": sum(
            0.55 <= marks.likeness[i] < 1 and marks.words[i].text[0].isupper() for i in content
        ),
        "in the source": _mean(1 - unheld, 1),
        "in the question": _mean(marks.in_question[content], 0),
        "only in the question": _mean(marks.in_question[content] & (unheld > 0), 0),
        **{f"runs of {n}": _mean(runs[n], 1) for n in RUNS[1:]},
        "outside runs of 3": (~runs[3]).sum(),
        "longest outside 2": _longest(~runs[2]),
        "longest outside 3": _longest(~runs[3]),
        "longest unsupported": _longest(~supported),
        "longest copied": _longest(runs[4]),
        "copied share": _longest(runs[4]) / max(1, len(inside)),
        "apart": apart,
        "apart share": apart / max(1, len(pairs)),
        "unsupported at the start": _mean(~supported[:4], 0),
        "unsupported at the end": _mean(~supported[-4:], 0),
    }


def _alignment(source: Source, words: list, content: list[int], part: str, support: float) -> dict:
    """Measure how much of a sentence one place of the source covers."""
    weight = {words[i].stem: words[i].weight for i in content}
    total = math.fsum(weight.values())
    if not total or not source.sentences:
        ones = ("best sentence", "best two in a row", "best two", "best passage", "in order")
        return dict.fromkeys(ones, 1.0) | {"scattered": 0.0, "denial differs": 0.0, "best": None}

    def share(held: set[str]) -> float:
        # exact whatever the order of a set, so that of two equal sentences the first is best
        return math.fsum(weight[stem] for stem in weight.keys() & held) / total

    shares = [share(held) for held in source.sentences]
    best = int(np.argmax(shares))
    rows = range(len(shares) - 1)
    joint = [
        share(source.sentences[i] | source.sentences[i + 1])
        for i in rows
        if source.passage_of[i] == source.passage_of[i + 1]
    ]
    rest = weight.keys() - source.sentences[best]
    more = max(share(rest & held) for held in source.sentences)
    stems = [words[i].stem for i in content]
    order = _common([stem for stem in source.order[best] if stem in weight], stems)
    return {
        "best sentence": shares[best],
        "best two in a row": max([*joint, shares[best]]),
        "best two": shares[best] + more,
        "best passage": max(share(held) for held in source.passages),
        "in order": order / len(stems),
        "scattered": support - shares[best],
        "denial differs": float(bool(CUES["denies"].search(part)) != source.denies[best]),
        "best": best,
    }


def _values(marks: _Marks, inside: list[int], content: list[int], best: int | None) -> dict:
    """Count numbers and names, and numbers whose neighbours differ from those in the source."""
    words, source = marks.words, marks.source
    numbers = [i for i in inside if words[i].number]
    names = [i for i in content if marks.name[i]]
    held = set() if best is None else source.sentences[best]
    lonely = broken = 0
    for i in numbers:
        beside = [j for j in (i - 1, i + 1) if j in inside and words[j].content]
        near = source.near.get(words[i].stem, set())
        lonely += bool(beside) and not any(words[j].stem in near for j in beside)
        if i + 1 in inside and words[i + 1].number:
            broken += (words[i].stem, words[i + 1].stem) not in source.runs[2]
    return {
        "numbers": len(numbers),
        "unsupported numbers": sum(not marks.supported[i] for i in numbers),
        "numbers elsewhere": sum(
            words[i].stem not in held and not marks.in_question[i] for i in numbers
        ) if best is not None else 0,
        "numbers beside other words": lonely,
        "broken ranges": broken,
        "names": len(names),
        "unsupported names": sum(not marks.supported[i] for i in names),
    }  # fmt: skip


def _citation(source: Source, words: list, content: list[int], cites: set, scope: set) -> dict:
    """Measure whether the cited passage, here or in a sentence before, contains the words."""
    count = len(source.passages)
    known = [n - 1 for n in cites or scope if 1 <= n <= count]
    stems = {words[i].stem for i in content} - source.question
    row = {
        "citations": len(cites),
        "no such passage": float(any(not 1 <= n <= count for n in cites)),
        "in scope": float(bool(scope and not cites)),
        "elsewhere": 0.0, "elsewhere share": 0.0, "better passage": 0.0, "least cited": 1.0,
    }  # fmt: skip
    if known and stems:
        inside = set().union(*(source.passages[n] for n in known))
        anywhere = stems & source.held
        shares = [len(stems & held) / len(stems) for held in source.passages]
        row["elsewhere"] = float(len(anywhere - inside))
        row["elsewhere share"] = row["elsewhere"] / max(1, len(anywhere))
        row["better passage"] = max(shares) - max(shares[n] for n in known)
        row["least cited"] = min(shares[n] for n in known)
    row["elsewhere, cited"] = row["elsewhere"] if cites else 0.0
    row["better passage, cited"] = row["better passage"] if cites else 0.0
    return row


def _clauses(source: Source, words: list, content: list[int], part: str, start: int) -> dict:
    """Describe the least supported clause."""
    cuts = [start, *(start + m.start() for m in reading.CLAUSE.finditer(part)), start + len(part)]
    shares, counts, covers, whole = [0.0], [0], [1.0], 0
    for low, high in pairwise(cuts):
        stems = [words[i].stem for i in content if low <= words[i].start < high]
        if len(stems) < 2:
            continue
        missing = sum(not source.has(stem) for stem in stems)
        counts.append(missing)
        whole += missing == len(stems)
        if len(stems) > 2:
            shares.append(missing / len(stems))
            held = (sum(stem in held for stem in stems) for held in source.sentences)
            covers.append(max(held, default=0) / len(stems))
    return {
        "clauses": len(cuts) - 1,
        "worst clause": max(shares),
        "most in a clause": max(counts),
        "clauses unsupported": whole,
        "worst clause's best sentence": min(covers),
    }


def _form(words, inside, content, part: str, number: int, count: int, length: int) -> dict:
    """Describe the kind of the sentence."""
    texts = [words[i].text.lower() for i in inside]
    return {
        "place": number / max(1, count - 1),
        "first": float(number == 0),
        "last": float(number == count - 1),
        "share of the answer": len(inside) / max(1, length),
        "list item": float(bool(reading.MARKER.match(part))),
        "colon": float(part.rstrip().endswith(":")),
        "cut off": float(not re.search(r"[.!?:\"”)\]]\s*$", part)),
        "parenthesis": float("(" in part),
        "quoted": float(bool(re.search(r"[\"“]", part))),
        "bold": float("**" in part),
        "commas": part.count(","),
        "word length": _mean([len(text) for text in texts], 0),
        "function words": 1 - len(content) / max(1, len(inside)),
        "ends in -ing": sum(text.endswith("ing") for text in texts),
        "ends in -ly": sum(text.endswith("ly") for text in texts),
        "adjectives": sum(text.endswith(ADJECTIVES) for text in texts),
        **{name: len(cue.findall(part)) for name, cue in CUES.items()},
    }


def _answer(source: Source, marks: _Marks, rows: list[dict]) -> dict:
    """Describe the answer as a whole."""
    content = marks.content
    counts = Counter(word.stem for word in marks.words if word.content)
    shared = sum(n * source.counts[stem] for stem, n in counts.items())
    norm = math.sqrt(sum(n * n for n in counts.values()))
    norm *= math.sqrt(sum(n * n for stem, n in source.counts.items() if stem and len(stem) > 3))
    weight, question = marks.weight[content], source.question
    return {
        "answer: words": len(marks.words),
        "answer: sentences": len(rows),
        "answer: supported share": _mean(marks.supported[content], 1),
        "answer: support": float((weight * marks.supported[content]).sum() / max(weight.sum(), 1)),
        "answer: runs of 3": _mean(marks.runs[3], 1),
        "answer: refusals": sum(row["refuses"] for row in rows),
        "answer: cosine": shared / norm if norm else 1,
        "source: words": source.length,
        "source: sentences": len(source.sentences),
        "source: of the question": len(question & source.held) / max(1, len(question)),
    }


def _covered(stems: list[str], held: set[tuple], n: int) -> np.ndarray:
    """Mark the words that are part of an n-gram of the source."""
    marked = np.zeros(len(stems), bool)
    for i in range(len(stems) - n + 1):
        if tuple(stems[i : i + n]) in held:
            marked[i : i + n] = True
    return marked


def _longest(flags: np.ndarray) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def _common(a: list[str], b: list[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, 1):
            row[j], before = (before + 1 if x == y else max(row[j], row[j - 1])), row[j]
    return row[-1]


def _mean(values, empty: float) -> float:
    return float(np.mean(values)) if len(values) else float(empty)
