"""A model as judge of two answers, asked in both orders, and how far it can be trusted.

Judges favour a place: L. Zheng and others, "Judging LLM-as-a-judge with MT-bench and chatbot
arena" (arXiv 2306.05685). So each pair is shown in both orders, and a verdict counts only where
the two agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from diptych.core import stats
from diptych.llmops import scorers
from diptych.llmops.ask import ask_many
from diptych.llmops.prompts import SLOT, Prompt

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
    """A model that compares answers; also a scorer that compares each with the row's label.

    Attributes
    ----------
    question : str
        With ``{question}``, ``{a}`` and ``{b}``; the model is to reply A or B.
    endpoint, model : str
        Who judges.
    options : dict
        Further options of `diptych.llmops.ask.ask_many`, such as ``calls`` and ``budget``.
    """

    question: str = QUESTION
    endpoint: str = "local"
    model: str = ""
    options: dict = field(default_factory=dict, hash=False)

    def compare(self, questions: Sequence[str], a: Sequence[str], b: Sequence[str]) -> pd.DataFrame:
        """Judge pairs of answers; equal answers are undecided and cost nothing.

        Returns
        -------
        DataFrame
            ``first`` and ``second``: who was preferred with `a` shown first, and shown second
            ("" where the reply names neither); ``verdict``: ``"a"`` or ``"b"`` where both orders
            say so, ``"failed"`` where a call did, else ``"undecided"``.
        """
        pairs = list(zip(questions, a, b, strict=True))
        asked = [i for i, (_, x, y) in enumerate(pairs) if x != y]
        prompts = [self._filled(*pairs[i]) for i in asked]
        prompts += [self._filled(q, y, x) for q, x, y in (pairs[i] for i in asked)]
        common = {"temperature": 0.0, "max_tokens": 8}
        options = {"parameters": common, "prompt_version": "judge"} | self.options
        answers = ask_many(prompts, endpoint=self.endpoint, model=self.model, **options)
        found = pd.DataFrame({"first": "", "second": "", "verdict": "undecided"}, range(len(pairs)))
        for i, one, two in zip(asked, answers[: len(asked)], answers[len(asked) :], strict=True):
            first = {"A": "a", "B": "b"}.get(scorers.label(one.text, ("A", "B")), "")
            second = {"A": "b", "B": "a"}.get(scorers.label(two.text, ("A", "B")), "")
            verdict = first if first == second != "" else "undecided"
            found.loc[i] = [first, second, "failed" if one.error or two.error else verdict]
        return found

    def _filled(self, question: str, a: str, b: str) -> str:
        given = {"question": question, "a": a, "b": b}
        return SLOT.sub(lambda m: given.get(m[1], m[0]), self.question)

    def __call__(
        self, prompt: Prompt, rows: Sequence[Mapping], texts: Sequence[str | None]
    ) -> list[scorers.Grade]:
        """Grade 1 where the reference is not preferred, 0 where it is, 0.5 where orders differ."""
        given = [prompt.messages(row)[-1]["content"] for row in rows]
        said = ["" if text is None else text for text in texts]
        judged = self.compare(given, said, [row["label"] for row in rows])
        values = {"a": 1.0, "b": 0.0, "undecided": 0.5, "failed": 0.0}
        return [
            scorers.Grade(text, float(text == row["label"]) or values[verdict] * (text is not None))
            for text, row, verdict in zip(texts, rows, judged["verdict"], strict=True)
        ]


def agreement(judged: pd.DataFrame) -> stats.Estimate:
    """Return how often the two orders named the same answer, with Wilson's interval.

    Pairs of equal answers and failed calls do not count. A judge that only follows the place
    agrees never, one that throws a coin half of the time.

    Raises
    ------
    ValueError
        If no pair counts.
    """
    counted = judged[(judged["first"] != "") | (judged["second"] != "")]
    same = (counted["first"] == counted["second"]).sum()
    return stats.wilson(int(same), len(counted))


def against_truth(judged: pd.DataFrame, truth: Sequence[str]) -> dict[str, float]:
    """Return how the decided verdicts agree with the truth, ``"a"`` or ``"b"`` for each pair.

    Returns
    -------
    dict
        ``decided``: the share of pairs; ``right``: the share of those; ``kappa``: Cohen's kappa
        (1960) of verdict and truth, NaN where one of them never varies.
    """
    from sklearn.metrics import cohen_kappa_score

    decided = judged["verdict"].isin(("a", "b"))
    said, true = judged["verdict"][decided], pd.Series(list(truth))[decided.to_numpy()]
    right = float((said.to_numpy() == true.to_numpy()).mean()) if len(said) else float("nan")
    varied = len(set(said)) > 1 and len(set(true)) > 1
    kappa = float(cohen_kappa_score(said, true)) if varied else float("nan")
    return {"decided": float(decided.mean()), "right": right, "kappa": kappa}
