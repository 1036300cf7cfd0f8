"""Training of the detector: fitted to labelled answers, tested on held-out sources."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diptych.core.evaluation import stats
from diptych.llmops.hallucination import detector as shipped
from diptych.llmops.hallucination.detector import (
    POOLED,
    WHOLE,
    Detector,
    Layer,
    pool,
    pooled_names,
    squeeze,
)
from diptych.llmops.hallucination.features import describe
from diptych.llmops.hallucination.source import Source
from diptych.llmops.hallucination.uncertainty import auroc

SENTENCE, SCORES, ALL = 0.02, 0.01, 0.001  # C of the regressions, chosen by cross-validation
OVERLAP = 0.1  # a sentence is hallucinated if more than this share of it is marked
FOLDS, INNER = 5, 4


@dataclass(frozen=True, eq=False)
class Answers:
    """Labelled answers.

    Attributes
    ----------
    features : array, shape (sentences, features)
    marked : array of bool, shape (sentences,)
        Whether a sentence is hallucinated.
    of : array of int, shape (sentences,)
        The answer of each sentence.
    bad : array of bool, shape (answers,)
    groups : array, shape (answers,)
        The source of each answer.
    models : array, shape (answers,)
        The model that wrote each answer.
    names : tuple of str
        Of the features.
    """

    features: np.ndarray
    marked: np.ndarray
    of: np.ndarray
    bad: np.ndarray
    groups: np.ndarray
    models: np.ndarray
    names: tuple[str, ...]


def ragtruth(sources: Path, responses: Path) -> Answers:
    """Read RAGTruth's answers to questions (Niu et al. 2024, ACL, 10862-10878).

    Parameters
    ----------
    sources : Path
        JSON lines with ``source_id``, ``passages`` and ``question``.
    responses : Path
        JSON lines with ``source_id``, ``model``, ``response``, ``labels`` (``start`` and ``end``
        of hallucinated spans) and ``hallucinated``.

    Raises
    ------
    ValueError
        If a file cannot be read, or a field is missing.
    """
    known, lines = {}, []
    for line in _json_lines(sources, ("source_id", "passages", "question")):
        known[line["source_id"]] = Source(line["passages"], line["question"])
    fields = ("source_id", "model", "response", "labels", "hallucinated")
    for line in _json_lines(responses, fields):
        if line["source_id"] not in known:
            raise ValueError(f"{sources}: lacks source {line['source_id']} of an answer")
        spans = [(label["start"], label["end"]) for label in line["labels"]]
        lines.append((known[line["source_id"]], line["response"], spans,
                      bool(line["hallucinated"]), line["source_id"], line["model"]))  # fmt: skip
    return _described(lines)


def begin(path: Path) -> Answers:
    """Read BEGIN's replies in a dialogue (Dziri et al. 2022, TACL 10, 1066-1083).

    A reply is bad if it is *not fully attributable* to its source. Generic replies, which state
    nothing that could be attributed, are left out.

    Parameters
    ----------
    path : Path
        Tab-separated, with ``model_name``, ``knowledge``, ``message``, ``response`` and
        ``begin_label``.
    """
    lines = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            label = row["begin_label"].strip().lower()
            if label == "generic":
                continue
            source, bad = row["knowledge"], not label.startswith("fully")
            lines.append((Source(source), row["response"], [], bad, source, row["model_name"]))
    return _described(lines)


def _json_lines(path: Path, needed: Sequence[str]):
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                record = json.loads(line)
                if missing := [name for name in needed if name not in record]:
                    raise ValueError(f"line {number} lacks {', '.join(missing)}")
                yield record
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error


def _described(lines: Sequence[tuple]) -> Answers:
    rows, marked, of, answers = [], [], [], []
    names: tuple[str, ...] = ()
    for source, answer, spans, bad, group, model in lines:
        sentences, described = describe(source, answer)
        if not sentences:
            continue
        names = tuple(described[0])
        rows += [list(row.values()) for row in described]
        for start, end in sentences:
            held = sum(max(0, min(end, b) - max(start, a)) for a, b in spans)
            marked.append(held > OVERLAP * (end - start))
        of += [len(answers)] * len(sentences)
        answers.append((bad, group, model))
    if not answers:
        raise ValueError("answers: there are none with a sentence in them")
    bad, groups, models = zip(*answers, strict=True)
    return Answers(np.array(rows, float), np.array(marked), np.array(of), np.array(bad),
                   np.array(groups), np.array(models), names)  # fmt: skip


def fit(data: Answers, chosen: np.ndarray | None = None) -> Detector:
    """Fit a detector to some answers.

    The answer model is trained on out-of-fold scores of the sentences.

    Parameters
    ----------
    chosen : array of int, optional
        Places of the answers; by default all.
    """
    chosen = np.arange(len(data.bad)) if chosen is None else chosen
    odds = np.zeros(len(data.of))
    for learn, rest in _folds(data.groups[chosen], INNER):
        layer = _sentences(data, chosen[learn])
        held = np.isin(data.of, chosen[rest])
        odds[held] = layer(data.features[held])
    rows = pooled(data, odds, chosen)
    rate = float(data.bad[chosen].mean())
    return Detector(_sentences(data, chosen), _answers(data, rows, chosen), 1.0, 0.0, rate)


def crossed(data: Answers) -> np.ndarray:
    """Return the log odds of each answer from a detector that never saw its source."""
    odds = np.zeros(len(data.bad))
    for learn, rest in _folds(data.groups, FOLDS):
        odds[rest] = scored(fit(data, learn), data, rest)
    return odds


def scored(detector: Detector, data: Answers, chosen: np.ndarray | None = None) -> np.ndarray:
    """Return the detector's log odds of some answers."""
    chosen = np.arange(len(data.bad)) if chosen is None else chosen
    return detector.answer(pooled(data, detector.sentence(data.features), chosen))


def pooled(data: Answers, odds: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the features of the answer model, shape (answers, features)."""
    ends = np.searchsorted(data.of, [chosen, chosen + 1])
    return np.array([pool(data.features[a:b], odds[a:b], data.names) for a, b in ends.T])


def calibrated(detector: Detector, odds: np.ndarray, bad: np.ndarray) -> Detector:
    """Return the detector with its probabilities calibrated on held-out answers (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    platt = LogisticRegression(C=1e6).fit(odds[:, None], bad)
    slope, offset = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    return Detector(detector.sentence, detector.answer, slope, offset, detector.rate)


def report(data: Answers, odds: np.ndarray, detector: Detector) -> pd.DataFrame:
    """Return the results on held-out sources, as lines of the card.

    Intervals resample sources. The flagged shares are those of the writer with the fewest
    hallucinations, at two thresholds: that of the training rate, and that of the writer's own rate.

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high``, ``n``.
    """
    lines = [("AUROC, sources held out", auroc(data.bad, odds, data.groups))]
    p = shipped.sigmoid(detector.slope * odds + detector.offset)
    gap = stats.calibration_error(p, data.bad)
    lines.append(("expected calibration error", stats.Estimate(gap, np.nan, np.nan, len(p))))
    for writer in np.unique(data.models):
        written = data.models == writer
        area = auroc(data.bad[written], odds[written], data.groups[written])
        lines.append((f"AUROC, {writer}", area))
    few = min(np.unique(data.models), key=lambda writer: data.bad[data.models == writer].mean())
    written = data.models == few
    count, n = int(data.bad[written].sum()), int(written.sum())
    lines.append((f"hallucinated, {few}", stats.wilson(count, n)))
    for which, limit in (
        ("threshold of the training rate", shipped.threshold(p, data.bad.mean())),
        ("threshold of its own rate", shipped.threshold(p[written], count / n)),
    ):
        flagged = int((p[written] >= limit).sum())
        lines.append((f"flagged, {few}, {which}", stats.wilson(flagged, n)))
    return as_lines(lines)


def as_lines(lines: Sequence[tuple]) -> pd.DataFrame:
    """Return named estimates as a table."""
    rows = [(name, x.value, x.low, x.high, x.n) for name, x in lines]
    return pd.DataFrame(rows, columns=["name", "value", "low", "high", "n"])


def _folds(groups: np.ndarray, count: int):
    from sklearn.model_selection import GroupKFold

    return GroupKFold(count).split(groups, groups=groups)


def _sentences(data: Answers, chosen: np.ndarray) -> Layer:
    mask = np.isin(data.of, chosen)
    return _layer(data.names, data.features[mask], data.marked[mask], SENTENCE)


def _answers(data: Answers, rows: np.ndarray, chosen: np.ndarray) -> Layer:
    """Return the mean of two regressions, as one: over all pooled features, and over a part.

    The part (the scores and the features of the whole answer) transfers to another kind of text
    (BEGIN); the features of the sentences' form do not.
    """
    names, bad = pooled_names(data.names), data.bad[chosen]
    few = len(POOLED) + sum(name.startswith(WHOLE) for name in data.names)
    small = _layer(names[:few], rows[:, :few], bad, SCORES)
    full = _layer(names, rows, bad, ALL)
    weights = full.weights / 2
    weights[:few] += small.weights / 2
    return Layer(names, full.mean, full.scale, weights, (small.bias + full.bias) / 2)


def _layer(names: Sequence[str], rows: np.ndarray, bad: np.ndarray, strength: float) -> Layer:
    from sklearn.linear_model import LogisticRegression

    rows = squeeze(rows)
    mean, scale = rows.mean(0), rows.std(0)
    scale[scale == 0] = 1.0
    regression = LogisticRegression(C=strength, solver="newton-cholesky")
    regression.fit((rows - mean) / scale, bad)
    return Layer(tuple(names), mean, scale, regression.coef_[0], float(regression.intercept_[0]))
