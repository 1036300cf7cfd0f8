"""The index of a source and its question, in which words are looked up."""

from collections import Counter, defaultdict

from diptych.llmops.hallucination import text as reading
from diptych.llmops.hallucination.text import CUES

RUNS = (1, 2, 3, 4, 5)  # lengths of the word runs looked up in the source
NEAR = 6  # two words of the source are near each other within so many words


class Source:
    """The index of a source and its question.

    Parameters
    ----------
    text : str
        The source; passages may be headed "passage 1:" and so on.
    question : str
        Its words also count as supported.
    """

    def __init__(self, text: str, question: str = ""):
        self.question = {word.stem for word in reading.words(question)}
        self.sentences: list[set[str]] = []
        self.order: list[list[str]] = []
        self.denies: list[bool] = []
        self.passage_of: list[int] = []
        self.passages: list[set[str]] = []
        stems: list[str] = []
        for number, passage in enumerate(reading.passages(text)):
            held: set[str] = set()
            for start, end in reading.sentences(passage):
                sentence = [word.stem for word in reading.words(passage[start:end])]
                if sentence:
                    self.sentences.append(set(sentence))
                    self.order.append(sentence)
                    self.denies.append(bool(CUES["denies"].search(passage[start:end])))
                    self.passage_of.append(number)
                    held.update(sentence)
                    stems += sentence
            self.passages.append(held)
            stems.append("")  # no run of words crosses from passage to passage
        self.counts = Counter(stems)
        self.length = len(stems)
        self.held = set(stems)
        self.runs = {n: set(zip(*(stems[i:] for i in range(n)), strict=False)) for n in RUNS}
        self.near: dict[str, set[str]] = defaultdict(set)
        for place, stem in enumerate(stems):
            self.near[stem].update(stems[max(0, place - NEAR) : place + NEAR + 1])
        self._by_letters: dict[str, set[str]] = defaultdict(set)
        for stem in self.held | self.question:
            for letters in _trigrams(stem) if len(stem) > 3 else ():
                self._by_letters[letters].add(stem)
        self._likeness: dict[str, float] = {}

    def has(self, stem: str) -> bool:
        """Return whether the source or the question contains a word."""
        return stem in self.held or stem in self.question

    def likeness(self, stem: str) -> float:
        """Return the letter-trigram Dice coefficient with the most similar word of the source."""
        if self.has(stem):
            return 1.0
        if stem not in self._likeness:
            trigrams, shared = _trigrams(stem), Counter()
            for letters in trigrams if len(stem) > 3 else ():
                shared.update(self._by_letters.get(letters, ()))
            alike = (2 * n / (len(trigrams) + len(_trigrams(other))) for other, n in shared.items())
            self._likeness[stem] = max(alike, default=0.0)
        return self._likeness[stem]


def _trigrams(stem: str) -> set[str]:
    padded = f"#{stem}#"
    return {padded[i : i + 3] for i in range(len(padded) - 2)}
