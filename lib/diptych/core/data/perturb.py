"""Perturbed test rows: the same for both panels, their labels known by construction.

Texts get typing errors and, where that surely turns the label, *not*; tables get noise in their
numbers and missing values; images get noise and a shift. How a row is perturbed depends on its id
and the seed.
"""

import random
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from diptych.core.data import splits
from diptych.core.data.column import NUMBER
from diptych.core.data.generators import grammar, lexicon
from diptych.core.data.tasks import Task
from diptych.core.evaluation import stats
from diptych.core.evaluation.metrics import LABELS_OR, METRICS, Figure, Metric, MetricError
from diptych.core.evaluation.scored import ScoredRows, class_shares

MARK = "~"  # between a row's id and the way it was perturbed
EVERY = 4  # words to a typing error
TABLE_NOISE = 0.5  # of a column's deviation among the train rows
MISSING = 0.2  # share of the values
IMAGE_NOISE = 0.2  # of the range of a pixel
WORD = re.compile(r"[a-z0-9']+")
KNOWN = 5  # rows that hold a word that is no typing error
COPULAS = ("is", "was", "are", "were")
# what turns, weighs or asks: an opinion near it may not be what its words say
TURNING = {"not", "no", "never", "nothing", "none", "hardly", "far", "anything", "but", "however",
           "yet", "although", "though", "while", "call", "find", "found", "could", "cannot", "if",
           "once", "disagree", "doubts", "better", "worse", "nicer", "beats", "match", "compared",
           "less", "why", "how", "who", "half", "until", "instead", "only"}  # fmt: skip


def rows(data: pd.DataFrame, task: Task, most: int, seed: int) -> pd.DataFrame:
    """Return test rows unperturbed and perturbed, in every way that suits the task.

    Parameters
    ----------
    data : DataFrame
        Canonical rows; columns are scaled by the train rows.
    most : int
        The most test rows to perturb in each way. There are fewer where a way suits few rows: a
        text is negated only where its label surely turns.

    Returns
    -------
    DataFrame
        Each chosen row once as it is, and once perturbed in each way, with the id ``<id>~<way>``.
    """
    test = splits.shuffled(data[data["split"] == "test"], seed)
    frames = {way: make(data, test, task, most, seed) for way, make in _ways(task).items()}
    named = [frame.assign(id=frame["id"] + MARK + way) for way, frame in frames.items()]
    whole = test[test["id"].isin({name for frame in frames.values() for name in frame["id"]})]
    return pd.concat([whole, *named], ignore_index=True)


def accuracy_drop(
    predictions: pd.DataFrame, model: str, seed: int, metric: Metric | None = None
) -> pd.DataFrame:
    """Return how much accuracy models lose on perturbed rows, against the same rows unperturbed.

    Of another metric of labels, how much worse that gets; a model for which it is not defined has
    no line.

    Of numbers, by how much their mean absolute error rises.

    Parameters
    ----------
    predictions : DataFrame
        ``id`` as `rows` gives it, `model` and ``correct``; of numbers ``label`` and ``predicted``.
    model : str
        The column that names the model.
    metric : Metric, optional
        Of the task; then also ``label``, ``predicted``, ``confidence`` and ``probabilities``.

    Returns
    -------
    DataFrame
        ``name`` (``typos, xgboost``), ``value`` (accuracy before less after, paired), ``low``,
        ``high``, ``n``.
    """
    of_numbers = "label" in predictions and pd.api.types.is_float_dtype(predictions["label"])
    columns = ["label", "predicted"] if of_numbers else ["correct"]
    lose = _rise if of_numbers else _drop
    if by_another(metric):
        columns = ["label", "predicted", "confidence", "probabilities"]
    base = predictions["id"].str.split(MARK, n=1)
    marked = predictions.assign(base=base.str[0], way=base.str[1])
    before = marked[marked["way"].isna()].set_index([model, "base"])[columns]
    lines = []
    for (way, name), after in marked.dropna(subset="way").groupby(["way", model], sort=False):
        if len(after) < 2:
            continue
        unperturbed = before.loc[name].reindex(after["base"])
        lost: stats.Estimate | None
        if metric is not None and by_another(metric):
            lost = _worse(unperturbed, after[columns], metric)
        else:
            lost = lose(unperturbed.to_numpy(float), after[columns].to_numpy(float), seed)
        if lost is None:
            continue
        lines.append((f"{way}, {name}", lost.value, lost.low, lost.high, lost.n))
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n"])


def by_another(metric: Metric | None) -> bool:
    """Say whether labels are judged by another metric than the share that is right."""
    return metric is not None and metric.needs in LABELS_OR and metric.spec != "accuracy"


def _worse(before: pd.DataFrame, after: pd.DataFrame, metric: Metric) -> Figure | None:
    """Return how much worse the metric gets, None where it is not defined for these rows."""
    texts = pd.concat([before, after])[["label", "predicted"]].stack().dropna()
    classes, scored = sorted(set(texts)), []
    for lines in (before, after):
        answers = lines["predicted"].to_numpy(object)
        predicted = np.where(pd.isna(answers), np.array(None), answers)
        sure = lines["confidence"].to_numpy(float)
        known = class_shares(predicted, classes, sure, lines["probabilities"])
        scored.append(metric.scored(lines["label"].to_numpy(object), predicted, known, classes))
    try:
        lost = metric.drop(scored[0], scored[1])
    except MetricError:
        return None
    return lost if np.isfinite(lost.value) else None


def _drop(before: np.ndarray, after: np.ndarray, seed: int) -> stats.Estimate:
    """Return how much less is right, from columns of right (1) and wrong (0)."""
    return stats.paired_difference(before[:, 0], after[:, 0], seed=seed)


def _rise(before: np.ndarray, after: np.ndarray, seed: int) -> stats.Estimate:
    """Return how much the mean absolute error rises, from numbers and their predictions."""
    unperturbed, perturbed = (ScoredRows.of_numbers(*pair.T) for pair in (before, after))
    return METRICS["mae"].improvement(unperturbed, perturbed)


def _ways(task: Task) -> dict[str, Callable]:
    if task.kind == "text":
        # only of the built-in reviews is it known which words carry the label
        negate = task.base == "reviews"
        return {"typos": _typos} | ({"negation": _negation} if negate else {})
    if task.columns:
        numbers = any(column.kind == NUMBER for column in task.columns)
        return ({"noise": _typed_noise} if numbers else {}) | {"missing": _typed_missing}
    if task.kind == "table":
        return {"noise": _noise, "missing": _missing}
    return {"noise": _noise, "shift": _shift} if task.kind == "image" else {}


def _typos(data: Any, test: pd.DataFrame, task: Task, most: int, seed: int) -> pd.DataFrame:
    chosen = test.head(most)
    texts = [mistyped(_rng("typos", seed, row.id), row.text) for row in chosen.itertuples()]
    return chosen.assign(text=texts)


def mistyped(rng: random.Random, text: str) -> str:
    """Return a text with one typing error to `EVERY` words, in its last line only."""
    before, end, last = text.rpartition("\n")
    errors = max(1, len(last.split()) // EVERY)
    return before + end + grammar.mistype(rng, last, errors)


def _negation(data: pd.DataFrame, test: pd.DataFrame, task: Task, most: int, seed: int) -> Any:
    held = Counter(word for text in data["text"] for word in set(_words(text)))
    known = {word for word, count in held.items() if count >= KNOWN}
    turned = {row.id: negated(row.text, known) for row in test.itertuples()}
    chosen = test[test["id"].map(turned).notna()].head(most)
    labels = chosen["label"].map(grammar.OPPOSITE)
    return chosen.assign(text=chosen["id"].map(turned).astype("str"), label=labels)


def negated(text: str, known: set[str]) -> str | None:
    """Return a review that says the opposite, None where that is not certain.

    It is certain if all opinions of the review read like "... is great" or "... was very poor", and
    no word turns, compares or asks; each opinion then reads "... is not great at all".

    Parameters
    ----------
    known : set of str
        Words in lower case; a text with another may hide an opinion behind a typing error.
    """
    matches = list(WORD.finditer(_lower(text)))
    words, spans = [x[0] for x in matches], [x.span() for x in matches]
    if not known.issuperset(words) or TURNING & set(words) or any("n't" in w for w in words):
        return None
    opinions, adjectives, intensifiers, longest = _lexicon()
    at, changes = 0, []
    while at < len(words):
        size = next((n for n in range(longest, 0, -1) if tuple(words[at : at + n]) in opinions), 0)
        if size:
            if tuple(words[at : at + size]) not in adjectives:
                return None
            before = next(
                (n for n in (3, 2, 1, 0) if n == 0 or tuple(words[at - n : at]) in intensifiers), 0
            )
            start = at - before - 1
            if start < 0 or words[start] not in COPULAS:
                return None
            changes.append((start, at, min(at + size, len(words))))
        at += size or 1
    return _rewritten(text, spans, words, changes) if changes else None


def _rewritten(text: str, spans: list, words: list[str], changes: list) -> str | None:
    """Return a text with each copula and opinion turned; None if letters stand between words.

    Parameters
    ----------
    spans : list of (int, int)
        Where each of the words begins and ends.
    changes : list of (int, int, int)
        Places of the copula, of the opinion, and of the word after it.
    """
    parts, done = [], 0
    for copula, opinion, end in changes:
        first, last = spans[copula][0], spans[end - 1][1]
        gaps = [text[spans[at][1] : spans[at + 1][0]] for at in range(copula, end - 1)]
        around = text[max(first - 1, 0) : first] + text[last : last + 1]
        if re.search(r"\w", "".join(gaps) + around):
            return None
        turned = f"{words[copula]} not {' '.join(words[opinion:end])} at all"
        parts += [text[done:first], turned]
        done = last
    return "".join([*parts, text[done:]])


def _words(text: str) -> list[str]:
    return WORD.findall(_lower(text))


def _lower(text: str) -> str:
    """Return a text in lower case with every letter at its place."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(x.lower()[0] for x in text)


@cache
def _lexicon() -> tuple[set, set, set, int]:
    """Return all opinions, those that are adjectives, and intensifiers, each as tuples of words."""

    def split(entries: Any) -> set[tuple[str, ...]]:
        return {tuple(_words(entry)) for entry in entries}

    files = [lexicon.read_lexicon(name) for name in ("general", *lexicon.STABLE, lexicon.NEW)]
    sides = [words for file in files for words in file.get("adjectives", {}).values()]
    opinions = split(lexicon.opinions())
    return (
        opinions,
        split(word for words in sides for word in words.words),
        split(lexicon.read_lexicon("general")["intensifiers"].words),
        max(map(len, opinions)),
    )


def _noise(data: Any, test: pd.DataFrame, task: Task, most: int, seed: int) -> pd.DataFrame:
    low, high = task.bounds or (-np.inf, np.inf)
    train = data[data["split"] == "train"][task.features]
    image = task.kind == "image"
    scale = (high - low) * IMAGE_NOISE if image else train.std().to_numpy() * TABLE_NOISE

    def change(values: Any, rng: Any) -> Any:
        noisy = np.clip(values + rng.normal(size=len(values)) * scale, low, high)
        return noisy.round() if image else noisy

    return _changed(test.head(most), task, "noise", seed, change)


def _missing(data: Any, test: pd.DataFrame, task: Task, most: int, seed: int) -> pd.DataFrame:
    def change(values: Any, rng: Any) -> Any:
        return np.where(rng.random(len(values)) < MISSING, np.nan, values)

    return _changed(test.head(most), task, "missing", seed, change)


def _typed_noise(data: Any, test: pd.DataFrame, task: Task, most: int, seed: int) -> pd.DataFrame:
    """Add noise to the numbers of a typed table; its other columns stay as they are."""
    names = [column.name for column in task.columns if column.kind == NUMBER]
    scale = data.loc[data["split"] == "train", names].std().fillna(0).to_numpy() * TABLE_NOISE
    chosen = test.head(most).copy()
    noise = [_generator("noise", seed, name).normal(size=len(names)) for name in chosen["id"]]
    chosen[names] += np.asarray(noise).reshape(len(chosen), len(names)) * scale
    return chosen


def _typed_missing(data: Any, test: pd.DataFrame, task: Task, most: int, seed: int) -> pd.DataFrame:
    """Take values out of a typed table, of whatever kind."""
    chosen = test.head(most).copy()
    width = len(task.features)
    drawn = [_generator("missing", seed, name).random(width) < MISSING for name in chosen["id"]]
    gaps = np.asarray(drawn).reshape(len(chosen), width)
    for at, name in enumerate(task.features):
        chosen[name] = chosen[name].mask(gaps[:, at])
    return chosen


def _shift(data: Any, test: pd.DataFrame, task: Task, most: int, seed: int) -> pd.DataFrame:
    """Move square images by one pixel in one of four directions; what comes in is blank."""
    if task.bounds is None:
        raise ValueError(f"{task.name}: an image needs bounds, of which the lower is blank")
    side, blank = round(len(task.features) ** 0.5), task.bounds[0]

    def change(values: Any, rng: Any) -> Any:
        axis, step = rng.integers(2), rng.choice((-1, 1))
        moved = np.roll(values.reshape(side, side), step, axis)
        edge = 0 if step == 1 else side - 1
        moved[(edge, slice(None)) if axis == 0 else (slice(None), edge)] = blank
        return moved.ravel()

    return _changed(test.head(most), task, "shift", seed, change)


def _changed(chosen: pd.DataFrame, task: Task, way: str, seed: int, change: Any) -> pd.DataFrame:
    """Return rows with `change` made to the numbers of each, by its own random numbers."""
    values = chosen[task.features].to_numpy(np.float64)
    changed = [
        change(row, _generator(way, seed, name))
        for row, name in zip(values, chosen["id"], strict=True)
    ]
    numbers = np.asarray(changed, dtype=np.float32).reshape(values.shape)
    frame = pd.DataFrame(numbers, columns=task.features, index=chosen.index)
    return pd.concat([chosen.drop(columns=task.features), frame], axis=1)[chosen.columns]


def _generator(way: str, seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng(_rng(way, seed, name).getrandbits(64))


def _rng(way: str, seed: int, name: str) -> random.Random:
    return random.Random(f"{way} {seed} {name}")
