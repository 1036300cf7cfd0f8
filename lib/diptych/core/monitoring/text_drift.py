"""Numbers that describe texts, in which drift can show, and the words that are new in a window."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

WORD = re.compile(r"[\w']+")


def vocabulary(texts: Iterable[str]) -> set[str]:
    """Return the words of texts, in lower case."""
    return {word for text in texts for word in WORD.findall(text.lower())}


def describe_texts(texts: list[str], known: set[str]) -> pd.DataFrame:
    """Return length in words, share of unknown words, exclamations and capitals of each text."""
    rows = []
    for text in texts:
        words = WORD.findall(text.lower())
        rows.append(
            {
                "words": len(words),
                "unknown words": sum(word not in known for word in words) / max(len(words), 1),
                "exclamations": text.count("!"),
                "capitals": sum(map(str.isupper, text)) / max(len(text), 1),
            }
        )
    return pd.DataFrame(rows, columns=["words", "unknown words", "exclamations", "capitals"])


def new_words(log: pd.DataFrame, before: pd.DataFrame, count: int = 12) -> pd.DataFrame:
    """Return the words whose share grew most against the training texts.

    Ranked by the lower end of the 95 % interval of the log odds ratio with an add-half prior
    (its variance: Monroe, Colaresi and Quinn 2008, Political Analysis 16, 372-403, eq. 20).
    """
    if "text" not in before or log.empty:
        return pd.DataFrame(columns=["word", "now", "in training"])
    now, then = _counts(log["input"]), _counts(before["text"])
    words = now[now >= 10].index
    a, b = now.reindex(words) + 0.5, then.reindex(words, fill_value=0) + 0.5
    odds = np.log(a / (now.sum() - a)) - np.log(b / (then.sum() - b))
    score = (odds - 1.96 * np.sqrt(1 / a + 1 / b)).sort_values(ascending=False).head(count)
    return pd.DataFrame(
        {
            "word": score.index,
            "now": now[score.index].to_numpy(),
            "in training": then.reindex(score.index, fill_value=0).to_numpy(),
        }
    )


def _counts(texts: pd.Series) -> pd.Series:
    return pd.Series([word for text in texts for word in WORD.findall(text.lower())]).value_counts()
