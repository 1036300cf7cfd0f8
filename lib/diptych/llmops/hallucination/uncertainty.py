"""Hallucination seen through the chat API: asking again, the model's own doubt, and a judge.

The task is questions to a product card, where the truth is known by construction: what a card
does not say, no answer can know.
"""

import math
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pandas as pd
import yaml

from diptych.core.evaluation import stats
from diptych.llmops.client.ask import Answer, ask_many
from diptych.llmops.evaluation.judge import Judge
from diptych.llmops.hallucination.detector import Detector, threshold
from diptych.llmops.pretrain.corpus import cards
from diptych.llmops.pretrain.gates import suites

EXAMPLES = "assets/grounding/examples.yaml"
TOKENS = 40  # most of an answer
JUDGED = """Card:
{question}

Answer A:
{a}

Answer B:
{b}

Which answer agrees with the card? Reply with A or B."""


@dataclass(frozen=True)
class Row:
    """A question to a card, what the card is asked for, and its value there (None: not there)."""

    card: str
    question: str
    value: str | None

    @property
    def message(self) -> str:
        """What the model is asked."""
        return f"{self.card}\n{self.question}"


def rows(n: int, seed: int) -> list[Row]:
    """Return questions to new cards in wordings the model never met; half ask what is not there."""
    rng = random.Random(seed)
    made = []
    for absent in (False, True):
        for item in suites.card_questions(rng, n // 2 if absent else n - n // 2, absent, True):
            card = item.facts["card"]
            question = item.turns[-1][1].removeprefix(card).lstrip("\n")
            made.append(Row(card, question, item.facts["value"]))
    rng.shuffle(made)
    return made


def invents(row: Row, answer: str) -> bool:
    """Say whether an answer states what the card does not say of what was asked.

    To say nothing is no invention, even where the card would tell.
    """
    if not (said := meaning(answer)):
        return False
    return row.value is None or not re.search(rf"(?<!\w){re.escape(row.value.lower())}(?!\w)", said)


def examples() -> dict:
    """Return a source, a question and four answers to it: what the detector sees, and does not."""
    return yaml.safe_load((resources.files("diptych") / EXAMPLES).read_text("utf-8"))


def meaning(answer: str) -> str:
    """Return what an answer says: lower case, single spaces, "" if it declines to say anything.

    Card answers are short and state one value, so equal words stand for equal meaning; longer
    answers need a model that compares them in both directions.
    """
    said = " ".join(answer.lower().split()).strip(" .!")
    return "" if said == cards.ABSENT.lower().strip(".") else said


def entropy(answers: Sequence[str]) -> float:
    """Return the semantic entropy of answers to one question, in nats.

    The discrete form of Farquhar, Kossen, Kuhn and Gal (2024, Nature 630, 625-630): the entropy
    of the shares of the meanings.

    Raises
    ------
    ValueError
        If there are fewer than two answers.
    """
    if len(answers) < 2:
        raise ValueError(f"answers: {len(answers)}; their spread needs at least two")
    shares = np.array(list(Counter(map(meaning, answers)).values())) / len(answers)
    return float(-(shares * np.log(shares)).sum()) + 0.0


def surprisal(answer: Answer) -> float:
    """Return the mean of -log p over the answer's tokens, NaN if the endpoint tells none."""
    if answer.response is None:
        return math.nan
    told = (answer.response["choices"][0].get("logprobs") or {}).get("content") or []
    known = [token["logprob"] for token in told if token.get("logprob") is not None]
    return -float(np.mean(known)) if known else math.nan


def collect(
    asked: Sequence[Row],
    detector: Detector,
    *,
    samples: int = 5,
    temperature: float = 1.0,
    **options,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask, then score each answer in the four ways; the higher a score, the less it is trusted.

    Parameters
    ----------
    asked : sequence of Row
    detector : Detector
        Scores support by the card.
    samples, temperature : int, float
        How often a question is asked again for the entropy, and at which temperature.
    **options
        As `diptych.llmops.client.ask.ask_many` takes them.

    Returns
    -------
    answers : DataFrame
        ``card``, ``question``, ``answer``, ``claims`` (it states something), ``invented`` and the
        scores ``support``, ``surprisal``,
        ``entropy`` and ``judge``; a question whose call failed is left out.
    costs : DataFrame
        ``method``, and what it takes beside the answer, on average: ``calls``, ``tokens``, ``usd``
        and ``ms`` (of the calls one after the other, or of the detector's own work). Surprisal
        takes nothing: the tokens' probabilities come with the answer.
    """
    if samples < 2:
        raise ValueError(f"samples: {samples}; their spread needs at least two")
    messages = [row.message for row in asked]
    cold = {"temperature": 0.0, "max_tokens": TOKENS, "logprobs": True}
    first = ask_many(messages, **options | {"parameters": cold})
    kept = [i for i, answer in enumerate(first) if answer.text is not None]
    if not kept:
        told = next((answer.error for answer in first), "there are no rows")
        raise ValueError(f"asked: no question was answered ({told})")
    own, said = [asked[i] for i in kept], [first[i].text for i in kept]
    lines = [
        (row.card, row.question, text, bool(meaning(text)), invents(row, text))
        for row, text in zip(own, said, strict=True)
    ]
    found = pd.DataFrame(lines, columns=["card", "question", "answer", "claims", "invented"])
    began = time.perf_counter()
    found["support"] = [
        detector.score(row.card, text, row.question) for row, text in zip(own, said, strict=True)
    ]
    spent = (time.perf_counter() - began) * 1000
    costs = [("support", 0.0, 0.0, 0.0, spent / len(own))]
    found["surprisal"] = [surprisal(first[i]) for i in kept]
    costs.append(("surprisal", 0.0, 0.0, 0.0, 0.0))
    warm = {"temperature": temperature, "max_tokens": TOKENS}
    again = [
        ask_many([messages[i] for i in kept], **options | {"parameters": warm, "repeat": repeat})
        for repeat in range(1, samples + 1)
    ]
    drawn = [list(answers) for answers in zip(*again, strict=True)]
    texts = [[answer.text for answer in group if answer.text is not None] for group in drawn]
    found["entropy"] = [entropy(group) if len(group) > 1 else math.nan for group in texts]
    costs.append(("entropy", *_cost(drawn)))
    judged = _judged(own, said, **options)
    found["judge"] = judged["score"]
    costs.append(("judge", *judged[["calls", "tokens", "usd", "ms"]].mean()))
    return found, pd.DataFrame(costs, columns=["method", "calls", "tokens", "usd", "ms"])


def _judged(own: Sequence[Row], said: Sequence[str], **options) -> pd.DataFrame:
    """Ask a judge, in both orders, whether the answer or "Not stated." agrees with the card."""
    place = {key: options.pop(key) for key in ("endpoint", "model") if key in options}
    judge = Judge(JUDGED, options=options, **place)
    judged = judge.compare([row.message for row in own], said, [cards.ABSENT] * len(said))
    scores = judged["verdict"].map({"a": 0.0, "b": 1.0}).fillna(0.5)
    return judged.assign(score=scores.where([bool(meaning(text)) for text in said], 0.0))


def compare(found: pd.DataFrame, costs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return how well each way tells inventions, with bootstrap intervals, beside its cost.

    Only answers that claim something are ranked: that "Not stated." is no invention needs no
    detector, and would flatter every one of them.

    Returns
    -------
    DataFrame
        ``name``, AUROC ``value``, ``low`` and ``high``, ``n``, and the columns of `costs`. Rows
        that a method has no score for are left out of its figure; NaN where nothing can be ranked.
    """
    lines = []
    for name in costs["method"]:
        own = found[found[name].notna() & found["claims"]]
        estimate = auroc(own["invented"].to_numpy(bool), own[name].to_numpy(float), seed=seed)
        lines.append((name, estimate.value, estimate.low, estimate.high, estimate.n))
    table = pd.DataFrame(lines, columns=["name", "value", "low", "high", "n"])
    return table.merge(costs.rename(columns={"method": "name"}), on="name")


def flag(found: pd.DataFrame, ways: pd.DataFrame, rate: float) -> tuple[str, pd.Series]:
    """Flag claims by the way that tells best, from a threshold for the rate expected here.

    Parameters
    ----------
    found, ways : DataFrame
        From `collect` and `compare`.
    rate : float
        Share of invented answers expected, of all.

    Returns
    -------
    name : str
        The way; support where none could be ranked.
    flags : Series of bool
    """
    best = ways["value"].fillna(0.0).idxmax()
    name = ways["name"][best]
    scores = found[name].where(found["claims"], -math.inf).fillna(-math.inf)
    least = threshold(scores.replace(-math.inf, -1.0), rate)
    return name, (scores >= least) & found["claims"]


def auroc(bad: np.ndarray, score: np.ndarray, groups=None, seed: int = 0) -> stats.Estimate:
    """Return the area under the ROC curve, with a bootstrap interval; NaN if one kind is absent."""
    from scipy.stats import rankdata

    bad, score = np.asarray(bad, bool), np.asarray(score, float)
    if bad.all() or not bad.any():  # also where there are none
        return stats.Estimate(math.nan, math.nan, math.nan, len(bad))

    def area(picked: np.ndarray) -> float:
        chosen = picked.astype(int)
        own = bad[chosen]
        if own.all() or not own.any():
            return 0.5
        ranks, count = rankdata(score[chosen]), int(own.sum())
        return (ranks[own].sum() - count * (count + 1) / 2) / (count * (len(own) - count))

    return stats.bootstrap(np.arange(len(bad)), area, clusters=groups, resamples=1000, seed=seed)


def _cost(groups: Sequence[Sequence[Answer]]) -> tuple[float, float, float, float]:
    """Return calls, tokens, dollars and milliseconds, on average of the groups."""
    n = max(len(groups), 1)
    calls = [answer for group in groups for answer in group]
    tokens = sum((a.prompt_tokens or 0) + (a.completion_tokens or 0) for a in calls)
    usd = sum(math.nan if a.usd is None else a.usd for a in calls)
    return len(calls) / n, tokens / n, usd / n, sum(a.latency_ms or 0 for a in calls) / n
