"""Hallucination through the chat API: semantic entropy, surprisal, support and an LLM judge.

The task is questions about a product card. The truth is known by construction: an answer that
states a value which the card lacks is invented.
"""

import math
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources

import numpy as np
import pandas as pd
import yaml

from diptych.core.evaluation import stats
from diptych.llmops.client.ask import Answer, ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation.judge import Judge
from diptych.llmops.hallucination import values
from diptych.llmops.hallucination.detector import Detector, threshold
from diptych.llmops.pretrain.corpus import cards
from diptych.llmops.pretrain.gates import suites

EXAMPLES = "assets/grounding/examples.yaml"
TOKENS = 40  # of an answer, at most
JUDGED = """Card:
{question}

Answer A:
{a}

Answer B:
{b}

Which answer agrees with the card? Reply with A or B."""


@dataclass(frozen=True)
class Row:
    """A product card, a question about it, and the right value (None: the card lacks it)."""

    card: str
    question: str
    value: str | None

    @property
    def message(self) -> str:
        """The user message: the card, then the question."""
        return f"{self.card}\n{self.question}"


def rows(n: int, seed: int) -> list[Row]:
    """Return questions about new cards in held-out wordings; half ask for an absent value."""
    rng = random.Random(seed)
    questions = []
    for absent in (False, True):
        for item in suites.card_questions(rng, n // 2 if absent else n - n // 2, absent, True):
            card = item.facts["card"]
            question = item.turns[-1][1].removeprefix(card).lstrip("\n")
            questions.append(Row(card, question, item.facts["value"]))
    rng.shuffle(questions)
    return questions


def invents(row: Row, answer: str) -> bool:
    """Return whether an answer states something other than the card's value.

    An answer that states nothing invents nothing, even if the card has the value.
    """
    if values.declines(answer):
        return False
    return row.value is None or not values.states(answer, row.value)


def examples() -> dict:
    """Return a source, a question and four answers that show what the detector sees and misses."""
    return yaml.safe_load((resources.files("diptych") / EXAMPLES).read_text("utf-8"))


def meaning(answer: str) -> str:
    """Return an answer's meaning: its words in one form, "" if it declines to answer.

    Card answers are short and state one value, so equal words mean equal meaning. Longer answers
    would need a model that tests entailment in both directions.
    """
    return "" if values.declines(answer) else values.meaning(answer)


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
        raise ValueError(f"answers: {len(answers)}; their entropy needs at least two")
    shares = np.array(list(Counter(map(meaning, answers)).values())) / len(answers)
    return float(-(shares * np.log(shares)).sum()) + 0.0


def surprisal(answer: Answer) -> float:
    """Return the mean of -log p over the answer's tokens, NaN without log-probabilities."""
    known = answer.log_probabilities
    return -float(np.mean(known)) if known else math.nan


def collect(
    questions: Sequence[Row],
    detector: Detector,
    target: Target = Target(),
    options: CallOptions = CallOptions(),
    *,
    judge: Target | None = None,
    samples: int = 5,
    temperature: float = 1.0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask, then score each answer by four methods; a higher score means less trust.

    Parameters
    ----------
    questions : sequence of Row
    detector : Detector
        Scores support by the card.
    target : Target
        Who answers.
    options : CallOptions
        The repeat is set here.
    judge : Target, optional
        Who judges; by default who answers.
    samples, temperature : int, float
        Repeated answers a question for the entropy, and their temperature.

    Returns
    -------
    answers : DataFrame
        ``card``, ``question``, ``answer``, ``claims`` (whether it states something), ``invented``
        the scores ``support``, ``surprisal``, ``entropy`` and ``judge``, and what the judge said
        in either order (``first``, ``second``, as `judge.trust` takes them); a question whose call
        failed is left out.
    costs : DataFrame
        ``method``, and its mean cost in addition to the answer: ``calls``, ``tokens``, ``usd`` and
        ``ms`` (of the calls one after the other, or of the detector). Surprisal costs nothing: the
        log-probabilities come with the answer.
    """
    if samples < 2:
        raise ValueError(f"samples: {samples}; their entropy needs at least two")
    rows, answers, costs = answered(questions, detector, target, options)
    replies = answers["answer"].tolist()
    warm = {"temperature": temperature, "max_tokens": TOKENS}
    messages = [row.message for row in rows]
    repeats = [
        ask_many(messages, _with(target, warm), replace(options, repeat=repeat))
        for repeat in range(1, samples + 1)
    ]
    drawn = [list(draws) for draws in zip(*repeats, strict=True)]
    texts = [[answer.text for answer in group if answer.text is not None] for group in drawn]
    answers["entropy"] = [entropy(group) if len(group) > 1 else math.nan for group in texts]
    costs.append(("entropy", *_cost(drawn)))
    judged = _judged(rows, replies, judge or target, options)
    answers["judge"] = judged["score"]
    answers = answers.join(judged[["first", "second"]])
    costs.append(("judge", *judged[["calls", "tokens", "usd", "ms"]].mean()))
    return answers, pd.DataFrame(costs, columns=["method", "calls", "tokens", "usd", "ms"])


def answered(
    questions: Sequence[Row],
    detector: Detector,
    target: Target = Target(),
    options: CallOptions = CallOptions(),
) -> tuple[list[Row], pd.DataFrame, list[tuple]]:
    """Ask each question once, and score the answers by what needs no further call.

    Returns
    -------
    rows : list of Row
        Those answered.
    answers, costs
        As `collect` has them, by ``support`` and ``surprisal`` alone.

    Raises
    ------
    ValueError
        If no question was answered.
    """
    messages = [row.message for row in questions]
    cold = {"temperature": 0.0, "max_tokens": TOKENS, "logprobs": True}
    first = ask_many(messages, _with(target, cold), options)
    known = [i for i, answer in enumerate(first) if answer.text is not None]
    if not known:
        reason = next((answer.error for answer in first), "there are no rows")
        raise ValueError(f"questions: none was answered ({reason})")
    rows, replies = [questions[i] for i in known], [first[i].text for i in known]
    lines = [
        (row.card, row.question, text, bool(meaning(text)), invents(row, text))
        for row, text in zip(rows, replies, strict=True)
    ]
    answers = pd.DataFrame(lines, columns=["card", "question", "answer", "claims", "invented"])
    began = time.perf_counter()
    answers["support"] = [
        detector.score(row.card, reply, row.question)
        for row, reply in zip(rows, replies, strict=True)
    ]
    spent = (time.perf_counter() - began) * 1000
    costs = [("support", 0.0, 0.0, 0.0, spent / len(rows))]
    answers["surprisal"] = [surprisal(first[i]) for i in known]
    costs.append(("surprisal", 0.0, 0.0, 0.0, 0.0))
    return rows, answers, costs


def _with(target: Target, parameters: dict) -> Target:
    return replace(target, parameters={**target.parameters, **parameters})


def _judged(
    rows: Sequence[Row], replies: Sequence[str], target: Target, options: CallOptions
) -> pd.DataFrame:
    """Let a judge choose, in both orders, between the answer and "Not stated."."""
    judge = Judge(JUDGED, target, options)
    judged = judge.prefer([row.message for row in rows], replies, [cards.ABSENT] * len(replies))
    scores = judged["verdict"].map({"a": 0.0, "b": 1.0}).fillna(0.5)
    return judged.assign(score=scores.where([bool(meaning(text)) for text in replies], 0.0))


def compare_methods(answers: pd.DataFrame, costs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return how well each method detects inventions, with bootstrap intervals, and its cost.

    Only answers that claim something are ranked. "Not stated." is never an invention; counting it
    would flatter every method.

    Returns
    -------
    DataFrame
        ``name``, AUROC ``value``, ``low`` and ``high``, ``n``, and the columns of `costs`. A
        row without a score is left out of that method's AUROC; NaN if nothing can be ranked.
    """
    lines = []
    for name in costs["method"]:
        ranked = answers[answers[name].notna() & answers["claims"]]
        estimate = auroc(ranked["invented"].to_numpy(bool), ranked[name].to_numpy(float), seed=seed)
        lines.append((name, estimate.value, estimate.low, estimate.high, estimate.n))
    table = pd.DataFrame(lines, columns=["name", "value", "low", "high", "n"])
    return table.merge(costs.rename(columns={"method": "name"}), on="name")


def flag(answers: pd.DataFrame, methods: pd.DataFrame, rate: float) -> tuple[str, pd.Series]:
    """Flag claims by the best method, with a threshold for the expected rate.

    Parameters
    ----------
    found, methods : DataFrame
        From `collect` and `compare_methods`.
    rate : float
        Expected share of invented answers, of all.

    Returns
    -------
    name : str
        The method; support if none could be ranked.
    flags : Series of bool
    """
    best = methods["value"].fillna(0.0).idxmax()
    name = methods["name"][best]
    scores = answers[name].where(answers["claims"], -math.inf).fillna(-math.inf)
    least = threshold(scores.replace(-math.inf, -1.0), rate)
    return name, (scores >= least) & answers["claims"]


def auroc(bad: np.ndarray, score: np.ndarray, groups=None, seed: int = 0) -> stats.Estimate:
    """Return the area under the ROC curve, with a bootstrap interval; NaN if a class is absent."""
    from scipy.stats import rankdata

    bad, score = np.asarray(bad, bool), np.asarray(score, float)
    if bad.all() or not bad.any():  # also where there are none
        return stats.Estimate(math.nan, math.nan, math.nan, len(bad))

    def area(picked: np.ndarray) -> float:
        chosen = picked.astype(int)
        drawn = bad[chosen]
        if drawn.all() or not drawn.any():
            return 0.5
        ranks, count = rankdata(score[chosen]), int(drawn.sum())
        return (ranks[drawn].sum() - count * (count + 1) / 2) / (count * (len(drawn) - count))

    return stats.bootstrap(np.arange(len(bad)), area, clusters=groups, resamples=1000, seed=seed)


def _cost(groups: Sequence[Sequence[Answer]]) -> tuple[float, float, float, float]:
    """Return calls, tokens, dollars and milliseconds, on average of the groups."""
    n = max(len(groups), 1)
    calls = [answer for group in groups for answer in group]
    tokens = sum((a.prompt_tokens or 0) + (a.completion_tokens or 0) for a in calls)
    usd = sum(math.nan if a.usd is None else a.usd for a in calls)
    return len(calls) / n, tokens / n, usd / n, sum(a.latency_ms or 0 for a in calls) / n
