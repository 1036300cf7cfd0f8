"""The training corpus of the language model: generated word by word from seeded grammars.

A document is a list of (role, text) turns. Its task is drawn by the weights of the stage (see
`STAGES`): first dense polarity only, then also label words and all other tasks, then arbitrary
labels and inversions, last more tasks that copy from a text. The demo has one stage, of single
words and dense polarity.
"""

import random
from dataclasses import dataclass

from diptych.llmops.pretrain.corpus import cards, sentiment, talk
from diptych.llmops.pretrain.corpus.sentiment import CLOSE, OPEN

TASKS = {
    "dense": sentiment.dense,
    "plain": sentiment.plain,
    "other_labels": sentiment.other_labels,
    "mapping": sentiment.mapping,
    "lookup": sentiment.lookup,
    "inverse": sentiment.inverse,
    "yes_no": sentiment.yes_no,
    "json": sentiment.as_json,
    "few_shot": sentiment.few_shot,
    "episode": sentiment.episode,
    "card": cards.card,
    "extract": cards.extract,
    "summary": talk.summary,
    "chat": talk.chat,
    "copy": talk.copy,
    "words": sentiment.words,
}
LABELLING = {"dense", "plain", "other_labels", "mapping", "lookup", "inverse", "yes_no",
             "few_shot", "episode", "words"}  # fmt: skip
STAGES = {  # weights of the tasks by document
    "words": {"words": 0.6, "dense": 0.4},
    "polarity": {"dense": 1.0},
    "labels": {"dense": 0.33, "plain": 0.08, "other_labels": 0.1, "mapping": 0.1, "lookup": 0.05,
               "yes_no": 0.03, "json": 0.03, "few_shot": 0.04, "episode": 0.06, "card": 0.08,
               "summary": 0.03, "chat": 0.04, "copy": 0.06},
    "everything": {"dense": 0.2, "plain": 0.07, "other_labels": 0.08, "mapping": 0.1,
                   "lookup": 0.02, "inverse": 0.05, "yes_no": 0.03, "json": 0.03,
                   "few_shot": 0.05, "episode": 0.11, "card": 0.11, "extract": 0.02,
                   "summary": 0.1, "chat": 0.06, "copy": 0.06},
    "grounding": {"dense": 0.14, "plain": 0.06, "other_labels": 0.07, "mapping": 0.1,
                  "inverse": 0.05, "yes_no": 0.03, "json": 0.03, "few_shot": 0.05,
                  "episode": 0.11, "card": 0.2, "extract": 0.02, "summary": 0.11, "chat": 0.05,
                  "copy": 0.03},
}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """A conversation of one task."""

    task: str
    turns: tuple[tuple[str, str], ...]

    def texts(self) -> list[str]:
        """Return the turns' texts without marks."""
        return [text.replace(OPEN, "").replace(CLOSE, "") for _, text in self.turns]


def document(rng: random.Random, stage: str = "everything") -> Document:
    """Write one document; one in ten without a system turn gets one."""
    weights = STAGES[stage]
    task = rng.choices(list(weights), weights.values())[0]
    turns = TASKS[task](rng)
    if turns[0][0] != "system" and rng.random() < 0.1:
        turns = [("system", rng.choice(sentiment.wordings("systems"))), *turns]
    return Document(task, tuple(turns))


__all__ = ["CLOSE", "LABELLING", "OPEN", "STAGES", "TASKS", "Document", "document"]
