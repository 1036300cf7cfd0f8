"""Two tasks, a model family, a metric, a scorer and two prompts of one package."""

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.naive_bayes import BernoulliNB
from sklearn.pipeline import make_pipeline

import diptych as dt

WORDS = {
    "berth": ["moor", "quay", "berth", "pier", "dock"],
    "cargo": ["crate", "pallet", "load", "freight", "hold"],
}
ANSWERS = {"berth": "call the harbour master", "cargo": "call the freight desk"}


def _rows(n):
    draw, rows = np.random.default_rng(7), []
    for i in range(n):
        label = ("berth", "cargo")[i % 2]
        words = draw.choice(WORDS[label], 3).tolist() + draw.choice(WORDS["berth"], 1).tolist()
        time = pd.Timestamp("2026-01-01") + pd.Timedelta(hours=5 * i)
        text = f"{' '.join(words)} asks ship {i} of {draw.integers(9999)}"
        rows.append((text, label, time, ANSWERS[label]))
    return pd.DataFrame(rows, columns=["call", "desk", "sent", "answer"])


@dt.register.task("calls", text_column="call", label_column="desk", time_column="sent")
def calls():
    return _rows(600)


@dt.register.task(
    "desk", text_column="call", label_column="desk", grader="overlap", reference_column="answer",
    replies=ANSWERS,
)  # fmt: skip
def desk():
    return _rows(400)


@dt.register.estimator("bernoulli", kinds=["text"], settings={"alpha": [1.0, 0.1]})
def bernoulli(alpha):
    return make_pipeline(HashingVectorizer(n_features=512, binary=True), BernoulliNB(alpha=alpha))


@dt.register.metric("hit_rate", title="hit rate", per_row=True)
def hit_rate(true, predicted):
    return true == predicted


@dt.register.scorer("overlap", title="overlap of words")
def overlap(answer, expected):
    a, b = set(answer.lower().split()), set(expected.split())
    return len(a & b) / max(len(a | b), 1)


dt.register.prompt(
    "bosun",
    """---
task: calls
inputs: [text]
output: {type: string, enum: [berth, cargo]}
---
## user
Bosun, which desk takes this call: berth or cargo?
{text}
""",
)
dt.register.prompt(
    "clerk",
    """---
task: desk
inputs: [text]
graded: overlap
---
## user
Clerk, whom shall this ship call?
{text}
""",
)
