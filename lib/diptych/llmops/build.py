"""Stage 2, build: nothing is fitted; prompts, models and numbers of examples are compared."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from diptych.core.calls import Calls
from diptych.llmops import scorers
from diptych.llmops.ask import Answer, ask_many
from diptych.llmops.budget import Budget
from diptych.llmops.plan import opened
from diptych.llmops.prompts import Prompt

CHUNK = 1_000  # requests made and graded at once, so that memory stays flat
COLUMNS = (
    "variant", "id", "repeat", "output", "predicted", "expected", "score", "correct", "confidence",
    "error", "prompt_tokens", "completion_tokens", "usd", "first_token_ms", "latency_ms", "cached",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One way to ask: a prompt, a model, a number of examples, a temperature.

    Attributes
    ----------
    prompt : Prompt
    endpoint, model : str
        See `diptych.llmops.ask.ask_many`; "" is the endpoint's own model.
    shots : int
        Examples taken from the front of the pool.
    temperature : float
    parameters : dict
        Further fields of each request; None takes one out, such as ``{"logprobs": None}``.
    server : dict
        For ``"local"``: what `endpoint.start` takes.
    """

    prompt: Prompt
    endpoint: str = "local"
    model: str = ""
    shots: int = 0
    temperature: float = 0.0
    parameters: dict = field(default_factory=dict, hash=False)
    server: dict = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Readable and, in one grid, unique: what differs from the defaults."""
        file = self.server.get("model")
        parts = [
            self.prompt.name,
            self.endpoint if self.endpoint != "local" else "",
            self.model or (Path(str(file)).stem if file else ""),
            f"k={self.shots}" if self.shots else "",
            f"t={self.temperature:g}" if self.temperature else "",
            *(f"{key}={value}" for key, value in sorted(self.parameters.items())),
        ]
        return " · ".join(filter(None, parts))

    def fields(self) -> dict:
        """Return what every request of it holds besides its messages and model.

        Probabilities of the answer's tokens are asked for; endpoints that have none ignore it.
        """
        made = {"temperature": self.temperature, "max_tokens": 16, "logprobs": True}
        if self.prompt.output.get("type") == "object":
            named = {"name": "answer", "strict": True, "schema": self.prompt.output}
            made["max_tokens"] = 64
            made["response_format"] = {"type": "json_schema", "json_schema": named}
        elif not self.prompt.labels:
            made["max_tokens"] = 256
        return {k: v for k, v in (made | self.parameters).items() if v is not None}

    def requests(self, rows: Iterable[Mapping], pool: Sequence[tuple] = ()) -> list[dict]:
        """Return the requests for some rows, as `ask_many` takes them."""
        fields, shots = self.fields(), pool[: self.shots]
        return [{"messages": self.prompt.messages(row, shots), **fields} for row in rows]


def evaluate(
    variants: Sequence[Variant],
    rows: pd.DataFrame,
    *,
    pool: Sequence[tuple[Mapping, str]] = (),
    repeats: int = 1,
    scorer: scorers.Scorer = scorers.by_label,
    calls: Calls | str | Path | None = None,
    run: str = "",
    budget: Budget | None = None,
    concurrency: int = 64,
    stream: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """Ask every variant about every row and grade the answers.

    A call that failed is a row with its ``error`` and counts as wrong. What was answered before is
    read from the ledger and not paid again, so a run that was cut off goes on where it stopped.

    Parameters
    ----------
    variants : sequence of Variant
    rows : DataFrame, shape (n, ...)
        With ``id``, ``label`` and what the prompts read.
    pool : sequence of (dict, str)
        Examples, see `diptych.llmops.data.pool`.
    repeats : int
        How often each question is asked; a repeat is not answered from an earlier one.
    scorer : callable
        See `diptych.llmops.scorers`.
    calls, run, budget, concurrency, stream, progress
        See `diptych.llmops.ask.ask_many`.

    Returns
    -------
    DataFrame
        `COLUMNS`, one line per variant, repeat and row: ``score`` from 0 to 1, ``correct`` where
        it is 0.5 or more, ``confidence`` the probability of the answer, NaN where not told.

    Raises
    ------
    ValueError
        If something is wrong with what is asked; nothing is asked then.
    EndpointError, BudgetError, LedgerError
        See `ask_many`.
    """
    _check(variants, rows, pool, repeats)
    frames = []
    with (
        opened(calls) as book,
        tqdm(total=len(variants) * len(rows) * repeats, unit="call", disable=not progress) as bar,
    ):
        for variant in variants:
            for repeat in range(repeats):
                for start in range(0, len(rows), CHUNK):
                    some = rows.iloc[start : start + CHUNK].to_dict("records")
                    answers = ask_many(
                        variant.requests(some, pool), endpoint=variant.endpoint,
                        model=variant.model, server=variant.server, repeat=repeat, calls=book,
                        run=run, prompt_version=variant.prompt.version, budget=budget,
                        concurrency=concurrency, stream=stream,
                    )  # fmt: skip
                    frames.append(_graded(variant, repeat, some, answers, scorer))
                    bar.update(len(some))
    return pd.concat(frames, ignore_index=True)


def _check(variants: Sequence[Variant], rows: pd.DataFrame, pool: Sequence, repeats: int) -> None:
    if not variants or rows.empty:
        raise ValueError("variants, rows: there are none; give at least one of each")
    if repeats < 1:
        raise ValueError(f"repeats: {repeats}; at least 1")
    for name, count in Counter(variant.name for variant in variants).items():
        if count > 1:
            raise ValueError(f"variants: {count} are called {name!r}; let them differ")
    if (again := rows["id"].duplicated()).any():
        raise ValueError(f"rows: id {rows['id'][again].iloc[0]} is there twice; ids must differ")
    for variant in variants:
        if variant.shots > len(pool):
            told = f"the pool holds {len(pool)} examples; give more, or fewer shots"
            raise ValueError(f"shots: {variant.name} needs {variant.shots}, and {told}")


def _graded(variant, repeat: int, rows: list, answers: list[Answer], scorer) -> pd.DataFrame:
    """Return the lines of one chunk."""
    grades = scorer(variant.prompt, rows, [answer.text for answer in answers])
    lines = [
        (
            variant.name, row["id"], repeat, answer.text, grade.predicted, row["label"],
            grade.score, grade.score >= 0.5, confidence(answer), answer.error,
            answer.prompt_tokens, answer.completion_tokens, answer.usd, answer.first_token_ms,
            answer.latency_ms, answer.cached,
        )
        for row, answer, grade in zip(rows, answers, grades, strict=True)
    ]  # fmt: skip
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    numbers = [*COLUMNS[10:15], "score", "confidence"]
    texts = ["output", "predicted", "expected", "error"]
    return frame.astype(dict.fromkeys(numbers, "float64") | dict.fromkeys(texts, "str"))


def confidence(answer: Answer) -> float:
    """Return the probability that the model gave to its answer, NaN if the endpoint told none."""
    if answer.response is None:
        return math.nan
    told = (answer.response["choices"][0].get("logprobs") or {}).get("content") or []
    known = [token["logprob"] for token in told if token.get("logprob") is not None]
    return math.exp(min(sum(known), 0.0)) if known else math.nan


def leaderboard(
    results: pd.DataFrame, margin: float, seed: int, baseline: str | None = None
) -> pd.DataFrame:
    """Compare every variant with the best one on the same rows."""
    raise NotImplementedError
