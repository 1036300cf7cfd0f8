"""The hallucination detector: from features of support to probabilities, sentence by sentence.

Two logistic regressions, no more than numbers in a JSON file: one for a sentence, one for the
answer, which reads the sentences' scores and the spread of their features. Asking is a product
of arrays, without any library of models.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np

from diptych.llmops.hallucination import text as reading
from diptych.llmops.hallucination.features import describe
from diptych.llmops.hallucination.source import Source

FORM = 1  # of the file
WEIGHTS = "assets/grounding/detector.json"
WHOLE = ("answer: ", "source: ")  # features that all sentences of an answer share
TOP = 3  # sentences whose scores the answer's model reads one by one
POOLED = ("score 1", "score 2", "score 3", "mean score", "spread of scores", "sum", "any",
          "mean of 2", "mean of 3", "place", "sentences")  # fmt: skip
SHARES = 0.98  # a sentence's probability is cut there, or one would decide alone


@dataclass(frozen=True, eq=False)
class Layer:
    """A logistic regression over standardised features, squeezed by sign(x) log(1 + |x|)."""

    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the log odds of rows, shape (n, features)."""
        return (squeeze(rows) - self.mean) / self.scale @ self.weights + self.bias

    def to_dict(self) -> dict:
        """Return the layer as JSON-safe values."""
        arrays = {key: getattr(self, key).tolist() for key in ("mean", "scale", "weights")}
        return {"names": list(self.names), **arrays, "bias": self.bias}

    @classmethod
    def from_dict(cls, content: dict) -> "Layer":
        """Rebuild a layer from what `to_dict` returned.

        Raises
        ------
        ValueError
            If its parts are of different lengths, or hold what is no number.
        """
        names = tuple(content["names"])
        arrays = [np.array(content[key], float) for key in ("mean", "scale", "weights")]
        if any(x.shape != (len(names),) or not np.isfinite(x).all() for x in arrays):
            raise ValueError(f"a layer needs {len(names)} finite numbers in each of its parts")
        return cls(names, *arrays, float(content["bias"]))


def squeeze(rows: np.ndarray) -> np.ndarray:
    """Return sign(x) log(1 + |x|): counts with a long tail become alike."""
    return np.sign(rows) * np.log1p(np.abs(rows))


@dataclass(frozen=True)
class Sentence:
    """A sentence of an answer: where it stands, its probability, its words without support."""

    start: int
    end: int
    probability: float
    unsupported: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Detector:
    """What `python -m diptych.llmops.hallucination` makes.

    Attributes
    ----------
    sentence, answer : Layer
    slope, offset : float
        Of the calibration (Platt 1999) of the answer's log odds.
    rate : float
        Share of hallucinated answers in the data it learnt from.
    """

    sentence: Layer
    answer: Layer
    slope: float
    offset: float
    rate: float

    @classmethod
    def load(cls, path: Path | None = None) -> "Detector":
        """Return the detector in a file, by default the one that is shipped.

        Raises
        ------
        ValueError
            If the file is none, or was made for other features.
        """
        if path is None:
            return _shipped()
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            if content["form"] != FORM:
                raise ValueError(f"form {content['form']}, and {FORM} is read")
            layers = [Layer.from_dict(content[key]) for key in ("sentence", "answer")]
            own = cls(*layers, *(float(content[key]) for key in ("slope", "offset", "rate")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            told = f"{type(error).__name__}: {error}"
            raise ValueError(f"{path}: no detector can be read ({told}); retrain it") from error
        names = tuple(describe(Source(""), "x")[1][0])
        if own.sentence.names != names or own.answer.names != pooled_names(names):
            raise ValueError(f"{path}: made for other features than this version's; retrain it")
        return own

    def save(self, path: Path) -> None:
        """Write the detector as JSON."""
        content = {"form": FORM, "sentence": self.sentence.to_dict(),
                   "answer": self.answer.to_dict(), "slope": self.slope, "offset": self.offset,
                   "rate": self.rate}  # fmt: skip
        path.write_text(json.dumps(content, indent=None) + "\n", "utf-8")

    def score(self, source: str, answer: str, question: str = "", rate: float | None = None):
        """Return the probability that an answer holds something its source does not support.

        Parameters
        ----------
        source, answer, question : str
        rate : float, optional
            Share of hallucinated answers to be expected here, see `moved`; by default that of
            the data it learnt from. The order of answers does not depend on it.
        """
        spans, rows = describe(Source(source, question), answer)
        if not spans:
            return 0.0
        features = np.array([list(row.values()) for row in rows], float)
        odds = self.answer(pool(features, self.sentence(features), self.sentence.names)[None])[0]
        found = sigmoid(self.slope * odds + self.offset)
        return float(found if rate is None else moved(found, self.rate, rate))

    def sentences(self, source: str, answer: str, question: str = "") -> list[Sentence]:
        """Return the sentences of an answer, each with its probability of being unsupported."""
        index = Source(source, question)
        spans, rows = describe(index, answer)
        if not spans:
            return []
        odds = self.sentence(np.array([list(row.values()) for row in rows], float))
        missing = [
            (word.start, word.end)
            for word in reading.words(answer)
            if word.content and not index.has(word.stem)
        ]
        return [
            Sentence(
                start, end, float(sigmoid(z)), tuple(x for x in missing if start <= x[0] < end)
            )
            for (start, end), z in zip(spans, odds, strict=True)
        ]


@lru_cache(maxsize=1)
def _shipped() -> Detector:
    with resources.as_file(resources.files("diptych") / WEIGHTS) as path:
        return Detector.load(path)


def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def pooled_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of what `pool` returns."""
    part = [name for name in names if not name.startswith(WHOLE)]
    whole = [name for name in names if name.startswith(WHOLE)]
    kinds = ("mean", "highest", "lowest", "of the worst")
    return (*POOLED, *whole, *(f"{name}, {kind}" for kind in kinds for name in part))


def pool(features: np.ndarray, odds: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return what the answer's model reads of its sentences.

    Parameters
    ----------
    features : array, shape (sentences, features)
    odds : array, shape (sentences,)
        What the sentence's model says of them.
    names : sequence of str
        Of the features.
    """
    shared = np.array([name.startswith(WHOLE) for name in names])
    part, worst = features[:, ~shared], int(np.argmax(odds))
    z = np.sort(odds)[::-1]
    p = np.minimum(sigmoid(z), SHARES)
    first = np.append(z, [-9.0] * TOP)[:TOP]
    n = len(odds)
    scores = [*first, z.mean(), z.std(), p.sum(), -np.log1p(-p).sum(), p[:2].mean(), p[:3].mean(),
              worst / max(1, n - 1), n]  # fmt: skip
    return np.concatenate([
        scores, features[0, shared], part.mean(0), part.max(0), part.min(0), part[worst],
    ])  # fmt: skip


def moved(probability, learnt: float, expected: float):
    """Return a probability for a place where the rate differs from the one it was learnt at.

    Bayes' rule with another prior (Saerens, Latinne and Decaestecker 2002, Neural Computation 14,
    21-41, eq. 2.4).

    Raises
    ------
    ValueError
        If a rate does not lie between 0 and 1.
    """
    for name, rate in (("learnt", learnt), ("expected", expected)):
        if not 0 < rate < 1:
            raise ValueError(f"{name}: a rate of {rate}; give one between 0 and 1")
    yes = np.asarray(probability, float) * (expected / learnt)
    no = (1 - np.asarray(probability, float)) * ((1 - expected) / (1 - learnt))
    return yes / (yes + no)


def estimated_rate(probabilities: Sequence[float], learnt: float) -> float:
    """Estimate the rate of hallucinated answers from unlabelled ones.

    The EM algorithm of Saerens, Latinne and Decaestecker (2002). It holds while hallucinated and
    good answers look as they did in the data learnt from and only their shares differ.

    Raises
    ------
    ValueError
        If there are no probabilities.
    """
    given = np.asarray(probabilities, float)
    if not len(given):
        raise ValueError("probabilities: there are none; score some answers first")
    rate = learnt
    for _ in range(1000):
        new = float(np.clip(moved(given, learnt, rate).mean(), 1e-4, 1 - 1e-4))
        if math.isclose(new, rate, abs_tol=1e-6):
            break
        rate = new
    return rate


def threshold(probabilities: Sequence[float], rate: float) -> float:
    """Return the probability from which on a share `rate` of recent answers is flagged.

    The threshold that was best where the detector learnt flags too many where fewer answers are
    hallucinated; this one is set by what is seen, and needs no labels.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate: {rate}; give one between 0 and 1")
    given = np.asarray(probabilities, float)
    if not len(given):
        raise ValueError("probabilities: there are none; score some answers first")
    return float(np.quantile(given, 1 - rate))


def highlighted(answer: str, sentences: Sequence[Sentence], least: float = 0.5) -> str:
    """Return an answer as HTML: doubtful sentences marked, words without support underlined.

    Every character of the answer is escaped. The marks are words too: a screen reader and a
    reader who sees no colour learn the same from each mark's title and brackets.
    """
    parts, at = [], 0
    for sentence in sentences:
        parts.append(escape(answer[at : sentence.start]))
        inside, here = [], sentence.start
        for start, end in sentence.unsupported:
            inside += [escape(answer[here:start]), f"<u>{escape(answer[start:end])}</u>"]
            here = end
        inside.append(escape(answer[here : sentence.end]))
        said = "".join(inside)
        if sentence.probability >= least:
            told = f"unsupported, probability {sentence.probability:.2f}"
            said = f'<mark title="{told}">[{said}]</mark>'
        parts.append(said)
        at = sentence.end
    parts.append(escape(answer[at:]))
    return f'<p class="answer">{"".join(parts)}</p>'
