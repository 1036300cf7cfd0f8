"""A model as judge of two answers, asked in both orders, and how far it can be trusted.

Judges favour a place: L. Zheng and others, "Judging LLM-as-a-judge with MT-bench and chatbot
arena" (arXiv 2306.05685). So each pair is shown in both orders, and a verdict counts only where
the two agree.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from diptych.core.data.schema import REFERENCE, is_number
from diptych.core.evaluation import graders, stats
from diptych.llmops.client.ask import Answer, ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import scorers
from diptych.llmops.prompts.prompt import SLOT, Prompt
from diptych.llmops.prompts.variant import Step, Variant

SAME, RIGHT = "same in both orders", "right where decided"
PREFERRED = "preferred to the reference"
MOST = 20  # pairs that are judged
TOKENS = 32  # of a reply, at most
BYTES = 4  # of a token, about
CHANCE = 0.5  # what a coin reaches in either
QUESTION = """Two answers were given to the same question. Which one is better?

Question:
{question}

Answer A:
{a}

Answer B:
{b}

Reply with A or B."""


@dataclass(frozen=True)
class Judge:
    """A model that compares answers; also a scorer that compares each with the row's right answer.

    Attributes
    ----------
    question : str
        With ``{question}``, ``{a}`` and ``{b}``; the model is to reply A or B.
    target : Target
        The model that judges.
    options : CallOptions
    """

    question: str = QUESTION
    target: Target = Target()
    options: CallOptions = field(default=CallOptions(), hash=False)

    def prefer(self, questions: Sequence[str], a: Sequence[str], b: Sequence[str]) -> pd.DataFrame:
        """Say which answer of each pair is better; equal ones are undecided and cost nothing.

        Returns
        -------
        DataFrame
            ``first`` and ``second``: which was preferred with `a` shown first, and shown second
            ("" where the reply names neither); ``verdict``: ``"a"`` or ``"b"`` where both orders
            agree, ``"failed"`` where a call failed, else ``"undecided"``; ``calls``, ``tokens``,
            ``usd`` and ``ms`` of both together, 0 where no call was made, NaN where unknown.
        """
        pairs = list(zip(questions, a, b, strict=True))
        differing = [i for i, (_, x, y) in enumerate(pairs) if x != y]
        prompts = [self._filled(*pairs[i]) for i in differing]
        prompts += [self._filled(q, y, x) for q, x, y in (pairs[i] for i in differing)]
        common = {"temperature": 0.0, "max_tokens": TOKENS}
        target = replace(self.target, parameters=common | self.target.parameters)
        version = self.options.prompt_version or "judge"
        answers = ask_many(prompts, target, replace(self.options, prompt_version=version))
        undecided = {"first": "", "second": "", "verdict": "undecided"}
        judged = pd.DataFrame(undecided, range(len(pairs)))
        judged = judged.assign(calls=0, tokens=0.0, usd=0.0, ms=0.0)
        n = len(differing)
        for i, one, two in zip(differing, answers[:n], answers[n:], strict=True):
            first = {"A": "a", "B": "b"}.get(_named(one.text), "")
            second = {"A": "b", "B": "a"}.get(_named(two.text), "")
            verdict = first if first == second != "" else "undecided"
            verdict = "failed" if one.error or two.error else verdict
            both = (x + y for x, y in zip(_cost(one), _cost(two), strict=True))
            judged.loc[i] = [first, second, verdict, 2, *both]
        return judged

    def asked(self, compared: pd.DataFrame) -> list[str]:
        """Return what is asked to compare `pairs`, in both orders."""
        some = compared[compared["a"] != compared["b"]]
        texts = [some[name].tolist() for name in ("question", "a", "b")]
        ahead = [self._filled(q, a, b) for q, a, b in zip(*texts, strict=True)]
        return ahead + [self._filled(q, b, a) for q, a, b in zip(*texts, strict=True)]

    def _filled(self, question: str, a: str, b: str) -> str:
        texts = {"question": question, "a": a, "b": b}
        return SLOT.sub(lambda m: texts.get(m[1], m[0]), self.question)

    def __call__(
        self, prompt: Prompt, rows: Sequence[Mapping], texts: Sequence[str | None]
    ) -> list[scorers.Grade]:
        """Grade 1 where an answer is preferred to the right one, 0.5 where orders differ, else 0.

        The right answer is the row's reference, or its label if it has none.
        """
        questions = [prompt.messages(row)[-1]["content"] for row in rows]
        answers = ["" if text is None else text for text in texts]
        expected = [scorers.expected(row, self) for row in rows]
        judged = self.prefer(questions, answers, expected)
        values = {"a": 1.0, "b": 0.0, "undecided": 0.5, "failed": 0.0}
        return [
            scorers.Grade(text, float(text == right) or values[verdict] * (text is not None))
            for text, right, verdict in zip(texts, expected, judged["verdict"], strict=True)
        ]


def _cost(answer: Answer) -> tuple[float, float, float]:
    """Return tokens, dollars and milliseconds, NaN where unknown."""
    known = (answer.prompt_tokens, answer.completion_tokens, answer.usd, answer.latency_ms)
    read, written, usd, ms = (math.nan if x is None else float(x) for x in known)
    return read + written, usd, ms


def _named(text: str | None) -> str:
    """Return the one letter that a reply names, "" if it names none or both."""
    letters = set(re.findall(r"\b[AB]\b", text or ""))
    return letters.pop() if len(letters) == 1 else ""


def trust(judged: pd.DataFrame, truth: Sequence[str] = ()) -> pd.DataFrame:
    """Return how far a judge can be trusted.

    A judge that only follows the place never gives the same verdict in both orders; one that
    tosses a coin gives it half of the time.

    Parameters
    ----------
    judged : DataFrame
        From `Judge.prefer`.
    truth : sequence of str, optional
        For each pair the better answer, ``"a"`` or ``"b"``.

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high`` (Wilson) and ``n``, NaN where nothing counts:
        ``same in both orders`` among the pairs with a reply, and with a truth ``right`` among the
        decided, and Cohen's ``kappa`` (1960) of verdict and truth, which has no interval here.
    """
    from sklearn.metrics import cohen_kappa_score

    replied = judged[(judged["first"] != "") | (judged["second"] != "")]
    lines = [(SAME, replied["first"] == replied["second"])]
    kappa = None
    if len(truth):
        decided = judged["verdict"].isin(("a", "b")).to_numpy()
        verdicts, true = judged["verdict"][decided], pd.Series(list(truth), judged.index)[decided]
        lines.append((RIGHT, verdicts == true))
        varied = len(set(verdicts) | set(true)) > 1
        kappa = cohen_kappa_score(verdicts, true) if varied else float("nan")
    shares = []
    for name, right in lines:
        n = len(right)
        share = stats.wilson(int(right.sum()), n) if n else None
        values = (share.value, share.low, share.high) if share else [float("nan")] * 3
        shares.append((name, *values, n))
    if kappa is not None:
        shares.append(("kappa", float(kappa), float("nan"), float("nan"), shares[-1][-1]))
    return pd.DataFrame(shares, columns=["name", "value", "low", "high", "n"])


def target_of(name: str, champion: Target) -> Target:
    """Return who judges: a model as `Target.parse` takes it, or the champion's own without one.

    The champion's requests' fields are left out: they are those of its answers.
    """
    return Target.parse(name) if name else replace(champion, parameters={})


def verdict(trusted: pd.DataFrame) -> str:
    """Say in a sentence whether a judge can be used.

    It is unusable where it is not shown to agree with itself in both orders more often than a coin
    does, or not shown to be right more often where the right answers are known.

    Parameters
    ----------
    trusted : DataFrame
        From `trust`.
    """
    if trusted.empty:
        return "There was nothing to judge."
    lines = trusted.set_index("name")
    for name in (SAME, RIGHT):
        if name not in lines.index:
            continue
        value, low, high, n = lines.loc[name, ["value", "low", "high", "n"]]
        if not n:
            return f'The judge is unusable: no pair counts for "{name}".'
        shown = f'"{name}": {value:.0%} ({low:.0%} to {high:.0%}) of {n:.0f} pairs'
        if not low > CHANCE:
            return f"The judge is unusable: {shown}; a coin reaches {CHANCE:.0%}."
    same = lines.loc[SAME, "value"]
    return f"The judge can be used: it gave the same verdict in both orders for {same:.0%}."


def pairs(
    answers: pd.DataFrame, divided: pd.DataFrame, rows: pd.DataFrame, grader: str, labels: Sequence
) -> pd.DataFrame:
    """Return what a judge is to compare, on at most `MOST` rows.

    Of labels it is the right one with another, on the rows that variants read differently; of texts
    a variant's answer with the reference. Numbers are not judged.

    Parameters
    ----------
    answers : DataFrame
        Of one variant, as `evaluate` returns them.
    divided : DataFrame
        As `disagreements` returns it.
    rows : DataFrame
        What was asked.

    Returns
    -------
    DataFrame
        ``question``, ``a``, ``b`` and ``better``: "a" where it is known, else "".
    """
    if graders.get(grader).needs_reference:
        written = answers.dropna(subset="output").head(MOST)
        known = rows.set_index("id").loc[written["id"]]
        references = known["reference"].str.split("\n").str[0].to_numpy()
        columns = {"question": known["text"].to_numpy(), "a": written["output"].to_numpy()}
        return pd.DataFrame({**columns, "b": references, "better": ""})
    unsure = divided.head(MOST if len(labels) else 0)
    others = [next(x for x in labels if x != label) for label in unsure["label"]]
    columns = {"question": unsure["text"].to_numpy(), "a": unsure["label"].to_numpy()}
    return pd.DataFrame({**columns, "b": others, "better": "a"})


def steps(rows: pd.DataFrame, longest: int, model: str = "") -> list[Step]:
    """Return what a judge is asked of `rows` at most, before there are answers, for `forecast`.

    Which rows are judged is not known then: the longest count, with answers as long as they may be.

    Parameters
    ----------
    rows : DataFrame
        As `pairs` takes them; of numbers nothing is judged.
    longest : int
        Tokens of an answer at most, where answers are texts.
    model : str
        That judges; "" for the one that answers.
    """
    labels = rows["label"].unique()
    has_two = REFERENCE in rows or len(labels) > 1
    if rows.empty or not has_two or "text" not in rows or is_number(rows["label"]):
        return []
    some = rows.loc[rows["text"].str.len().nlargest(MOST).index]
    if REFERENCE in rows:
        a, b = "x" * (BYTES * longest), some[REFERENCE].str.split("\n").str[0]
    else:
        a, b = sorted(labels, key=len)[-2:]
    asked = pd.DataFrame({"question": some["text"], "a": a, "b": b})
    both = pd.concat([asked, asked.rename(columns={"a": "b", "b": "a"})], ignore_index=True)
    prompt = Prompt("judge", "judge", tuple(asked), "", QUESTION, request={"max_tokens": TOKENS})
    return [Step("judge", [Variant(prompt)], both, model=model)]


def compare(judge: Judge, compared: pd.DataFrame) -> pd.DataFrame:
    """Let a judge compare `pairs`; return how far it can be trusted, and what it preferred.

    Returns
    -------
    DataFrame
        As `trust` returns it; where nobody knows which is better, also `PREFERRED`: the share of
        the decided pairs whose first answer was.
    """
    if compared.empty:
        return pd.DataFrame(columns=["name", "value", "low", "high", "n"])
    known = list(compared["better"]) if (compared["better"] != "").all() else []
    judged = judge.prefer(*(compared[name].tolist() for name in ("question", "a", "b")))
    trusted = trust(judged, known)
    decided = judged[judged["verdict"].isin(("a", "b"))]
    if known or decided.empty:
        return trusted
    share = stats.wilson(int((decided["verdict"] == "a").sum()), len(decided))
    line = {"name": PREFERRED, "value": share.value, "low": share.low, "high": share.high}
    return pd.concat([trusted, pd.DataFrame([line | {"n": share.n}])], ignore_index=True)
