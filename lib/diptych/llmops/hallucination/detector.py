"""The hallucination detector: from features of support to probabilities, sentence by sentence.

Two logistic regressions, stored as numbers in a JSON file: one scores a sentence; one scores the
answer, from its sentences' scores and features. Scoring is a product of arrays and needs no model
library.
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

FORM = 1  # version of the file format
WEIGHTS = "assets/grounding/detector.json"
WHOLE = ("answer: ", "source: ")  # features that all sentences of an answer share
TOP = 3  # the highest sentence scores, each a feature of the answer
POOLED = ("score 1", "score 2", "score 3", "mean score", "spread of scores", "sum", "any",
          "mean of 2", "mean of 3", "place", "sentences")  # fmt: skip
SHARES = 0.98  # a sentence's probability at most, so that none decides alone


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
        """Rebuild a layer from the result of `to_dict`.

        Raises
        ------
        ValueError
            If its parts differ in length, or a value is not a finite number.
        """
        names = tuple(content["names"])
        arrays = [np.array(content[key], float) for key in ("mean", "scale", "weights")]
        if any(x.shape != (len(names),) or not np.isfinite(x).all() for x in arrays):
            raise ValueError(f"a layer needs {len(names)} finite numbers in each of its parts")
        return cls(names, *arrays, float(content["bias"]))


def squeeze(rows: np.ndarray) -> np.ndarray:
    """Return sign(x) log(1 + |x|), which shortens the long tail of counts."""
    return np.sign(rows) * np.log1p(np.abs(rows))


@dataclass(frozen=True)
class Sentence:
    """A sentence of an answer: its span, its probability, and its unsupported words."""

    start: int
    end: int
    probability: float
    unsupported: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Detector:
    """The trained detector, made by `python -m diptych.llmops.hallucination`.

    Attributes
    ----------
    sentence, answer : Layer
    slope, offset : float
        Of the calibration (Platt 1999) of the answer's log odds.
    rate : float
        Share of hallucinated answers in its training data.
    """

    sentence: Layer
    answer: Layer
    slope: float
    offset: float
    rate: float

    @classmethod
    def load(cls, path: Path | None = None) -> "Detector":
        """Load a detector from a file, by default the shipped one.

        Raises
        ------
        ValueError
            If the file is no detector, or has other features than this version.
        """
        if path is None:
            return _shipped()
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            if content["form"] != FORM:
                raise ValueError(f"it has form {content['form']}; only form {FORM} can be read")
            layers = [Layer.from_dict(content[key]) for key in ("sentence", "answer")]
            detector = cls(*layers, *(float(content[key]) for key in ("slope", "offset", "rate")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{path}: not a detector ({reason}); retrain it") from error
        names = tuple(describe(Source(""), "x")[1][0])
        if detector.sentence.names != names or detector.answer.names != pooled_names(names):
            raise ValueError(f"{path}: its features are not those of this version; retrain it")
        return detector

    def save(self, path: Path) -> None:
        """Write the detector as JSON."""
        content = {"form": FORM, "sentence": self.sentence.to_dict(),
                   "answer": self.answer.to_dict(), "slope": self.slope, "offset": self.offset,
                   "rate": self.rate}  # fmt: skip
        path.write_text(json.dumps(content, indent=None) + "\n", "utf-8")

    def score(self, source: str, answer: str, question: str = "", rate: float | None = None):
        """Return the probability that a part of an answer is not supported by its source.

        Parameters
        ----------
        source, answer, question : str
        rate : float, optional
            Expected share of hallucinated answers, see `moved`; by default that of the training
            data. It does not change the order of answers.
        """
        spans, rows = describe(Source(source, question), answer)
        if not spans:
            return 0.0
        features = np.array([list(row.values()) for row in rows], float)
        odds = self.answer(pool(features, self.sentence(features), self.sentence.names)[None])[0]
        probability = sigmoid(self.slope * odds + self.offset)
        return float(probability if rate is None else moved(probability, self.rate, rate))

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
    """Return the features of an answer, pooled over its sentences.

    Parameters
    ----------
    features : array, shape (sentences, features)
    odds : array, shape (sentences,)
        Log odds of each sentence.
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
    """Adjust a probability from the rate in the training data to the rate expected here.

    Bayes' rule with another prior (Saerens, Latinne and Decaestecker 2002, Neural Computation 14,
    21-41, eq. 2.4).

    Raises
    ------
    ValueError
        If a rate is not between 0 and 1.
    """
    for name, rate in (("learnt", learnt), ("expected", expected)):
        if not 0 < rate < 1:
            raise ValueError(f"{name}: a rate of {rate}; give one between 0 and 1")
    yes = np.asarray(probability, float) * (expected / learnt)
    no = (1 - np.asarray(probability, float)) * ((1 - expected) / (1 - learnt))
    return yes / (yes + no)


def estimated_rate(probabilities: Sequence[float], learnt: float) -> float:
    """Estimate the rate of hallucinated answers from unlabelled ones.

    The EM algorithm of Saerens, Latinne and Decaestecker (2002). It assumes that only the share of
    hallucinated answers differs from the training data, not how either kind looks.

    Raises
    ------
    ValueError
        If there are no probabilities.
    """
    known = np.asarray(probabilities, float)
    if not len(known):
        raise ValueError("probabilities: there are none; score some answers first")
    rate = learnt
    for _ in range(1000):
        new = float(np.clip(moved(known, learnt, rate).mean(), 1e-4, 1 - 1e-4))
        if math.isclose(new, rate, abs_tol=1e-6):
            break
        rate = new
    return rate


def threshold(probabilities: Sequence[float], rate: float) -> float:
    """Return the threshold that flags a share `rate` of recent answers.

    The best threshold of the training data flags too many answers where fewer are hallucinated.
    This one is set on the answers themselves, without labels.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate: {rate}; give one between 0 and 1")
    known = np.asarray(probabilities, float)
    if not len(known):
        raise ValueError("probabilities: there are none; score some answers first")
    return float(np.quantile(known, 1 - rate))


def highlighted(answer: str, sentences: Sequence[Sentence], least: float = 0.5) -> str:
    """Return an answer as HTML: doubtful sentences marked, words without support underlined.

    Every character of the answer is escaped. Each mark has a title and brackets, so that it does
    not depend on colour.
    """
    parts, at = [], 0
    for sentence in sentences:
        parts.append(escape(answer[at : sentence.start]))
        inside, here = [], sentence.start
        for start, end in sentence.unsupported:
            inside += [escape(answer[here:start]), f"<u>{escape(answer[start:end])}</u>"]
            here = end
        inside.append(escape(answer[here : sentence.end]))
        marked = "".join(inside)
        if sentence.probability >= least:
            title = f"unsupported, probability {sentence.probability:.2f}"
            marked = f'<mark title="{title}">[{marked}]</mark>'
        parts.append(marked)
        at = sentence.end
    parts.append(escape(answer[at:]))
    return f'<p class="answer">{"".join(parts)}</p>'
