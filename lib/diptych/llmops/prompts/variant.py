"""What is to be asked: one way to ask, a grid of them, and what it would cost."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from diptych.llmops.client import adaptation
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.request import estimate
from diptych.llmops.client.target import Target
from diptych.llmops.prompts import constraint
from diptych.llmops.prompts.constraint import FREE, SCORES
from diptych.llmops.prompts.prompt import Prompt

# tokens of an answer at most: enough for a sentence around the label, or an object with a reason
MAX_TOKENS, MAX_TOKENS_JSON, MAX_TOKENS_TEXT = 64, 128, 256
TOP_LOGPROBS = 5  # alternatives of a token that are told
SCORED_LOGPROBS = 20  # the same where they score the labels: the most that OpenAI's API gives


@dataclass(frozen=True)
class Variant:
    """One way to ask: a prompt, a target, a number of examples, a temperature.

    Attributes
    ----------
    prompt : Prompt
    target : Target
        Its parameters are in every request, and take precedence over the prompt's, and those over
        what ``params/endpoints.yaml`` says of the model.
    shots : int
        Examples taken from the front of the pool.
    temperature : float
    decoding : str
        How an answer is made, one of `constraint.DECODINGS`.
    """

    prompt: Prompt
    target: Target = Target()
    shots: int = 0
    temperature: float = 0.0
    decoding: str = FREE

    def __post_init__(self):
        """Check the decoding.

        Raises
        ------
        ValueError
            If it is unknown.
        """
        constraint.check(self.decoding)

    @property
    def name(self) -> str:
        """Readable and, in one grid, unique: what differs from the defaults."""
        parts = [
            self.prompt.name,
            self.target.name,
            f"k={self.shots}" if self.shots else "",
            f"t={self.temperature:g}" if self.temperature else "",
            self.decoding if self.decoding != FREE else "",
            *(f"{key}={value}" for key, value in sorted(self.target.parameters.items())),
        ]
        return " · ".join(filter(None, parts))

    def fields(self) -> dict:
        """Return what every request of it holds besides its messages and model.

        Probabilities of a label's tokens are asked for, and of what might have been there instead;
        endpoints that have none ignore it.
        """
        fields = {"temperature": self.temperature, "max_tokens": MAX_TOKENS, "logprobs": True}
        if self.prompt.output.get("type") == "object":
            schema = {"name": "answer", "strict": True, "schema": self.prompt.schema}
            fields["max_tokens"] = MAX_TOKENS_JSON
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif not self.prompt.labels and not self.prompt.answers_number:
            fields["max_tokens"] = MAX_TOKENS_TEXT
        if self.prompt.labels:
            scored = self.decoding == SCORES
            fields["top_logprobs"] = SCORED_LOGPROBS if scored else TOP_LOGPROBS
        if self.decoding != FREE:
            fields |= constraint.fields(self.prompt, self.target)
        fields |= self.target.provider.fields(self.target.model_name)
        fields |= {**self.prompt.request, **self.target.parameters}
        if not fields.get("logprobs"):
            fields.pop("top_logprobs", None)
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def takes_temperature(self) -> bool:
        """Whether its model takes a temperature, by what is known and what was learned of it."""
        target = self.target
        body = {"model": target.model_name, "messages": [], **self.fields()}
        rules = target.provider.rules(body)
        rules |= adaptation.learned(target.provider.base_url, target.model_name).rules
        return adaptation.effective(body, rules).get("temperature", "") is not None

    def at(self, temperatures: Sequence[float]) -> "list[Variant]":
        """Return it at other temperatures; at its model's own, once, where that takes none."""
        ways = [replace(self, temperature=t) for t in sorted(set(temperatures))]
        return [way for way in ways if way == ways[0] or way.takes_temperature]

    def requests(self, rows: Iterable[Mapping], pool: Sequence[tuple] = ()) -> list[dict]:
        """Return the requests for some rows, as `ask_many` takes them."""
        fields, shots = self.fields(), pool[: self.shots]
        return [{"messages": self.prompt.messages(row, shots), **fields} for row in rows]


def grid(
    prompts: Sequence[Prompt],
    models: Sequence[str | Target] = ("local",),
    shots: Sequence[int] = (0,),
    temperatures: Sequence[float] = (0.0,),
    decodings: Sequence[str] = (FREE,),
) -> list[Variant]:
    """Return every combination, those of one prompt and model together and the plainest first.

    A model that takes no temperature is asked with its own, once.

    Parameters
    ----------
    prompts : sequence of Prompt
    models : sequence of str or Target
        A text is read by `Target.parse`.
    shots : sequence of int
    temperatures : sequence of float
    decodings : sequence of str
        One that does not suit a prompt is left out; where none does, the answer is free.

    Raises
    ------
    ValueError
        If a decoding is unknown.
    """
    for decoding in decodings:
        constraint.check(decoding)
    targets = [model if isinstance(model, Target) else Target.parse(model) for model in models]
    combined = itertools.product(prompts, targets, sorted(shots), sorted(temperatures))
    variants = [
        Variant(prompt, *rest, decoding)
        for prompt, *rest in combined
        for decoding in constraint.suitable(prompt, decodings)
    ]
    lowest = min(temperatures, default=0.0)
    return [v for v in variants if v.temperature == lowest or v.takes_temperature]


@dataclass(frozen=True)
class Step:
    """A part of an evaluation: variants that are asked about rows.

    Attributes
    ----------
    name : str
    variants : sequence of Variant
        Their model does not matter to a forecast.
    rows : DataFrame
    repeats : int
        How often each question is asked.
    one : bool
        Only one of the variants will be asked, and which is not known: the dearest counts.
    free : bool
        It is asked where calls cost nothing and take milliseconds, see `Target.is_quick`.
    model : str
        That is asked, whichever the other steps ask; "" for theirs.
    """

    name: str
    variants: Sequence[Variant]
    rows: pd.DataFrame
    repeats: int = 1
    one: bool = False
    free: bool = False
    model: str = ""


def forecast(
    planned: Sequence[Step],
    models: Sequence[str],
    pool: Sequence[tuple] = (),
    max_usd: float | None = None,
    options: CallOptions = CallOptions(),
) -> pd.DataFrame:
    """Return what an evaluation would cost on each model, before anything is asked.

    Parameters
    ----------
    planned : sequence of Step
    models : sequence of str
        See `Target.parse`.
    max_usd : float, optional
        The limit that evaluation will keep; by default that of the options' budget.
    options : CallOptions
        Its ledger decides what is cached.

    Returns
    -------
    DataFrame
        ``model``, ``calls`` (at most, but for calls that fail and are tried again), ``cached``
        (answered before, free), ``tokens in`` (about: 4 bytes each), ``tokens out`` (at most),
        ``usd, about`` (of these tokens), ``usd`` (at most: no token is shorter than a byte; NaN
        where no price is known) and ``fits``.
    """
    requests = [
        [variant.requests(step.rows.to_dict("records"), pool) for variant in step.variants]
        for step in planned
    ]
    lines = []
    for model in models:
        parts = [_bill(*each, model, options) for each in zip(planned, requests, strict=True)]
        lines.append({"model": model} | pd.DataFrame(parts).sum(skipna=False).to_dict())
    counts = dict.fromkeys(("calls", "cached", "tokens in", "tokens out"), "int64")
    frame = pd.DataFrame(lines).astype(counts)
    if max_usd is None and options.budget:
        max_usd = options.budget.max_usd
    if max_usd is not None:
        frame["fits"] = [
            "unknown" if pd.isna(usd) else "yes" if usd <= max_usd else "no" for usd in frame["usd"]
        ]
    return frame


def by_step(
    planned: Sequence[Step],
    model: str,
    pool: Sequence[tuple] = (),
    options: CallOptions = CallOptions(),
) -> pd.DataFrame:
    """Return the line of each step of a `forecast` for one model: ``step`` instead of ``model``."""
    bills = [forecast([step], [model], pool, options=options) for step in planned]
    frame = pd.concat(bills, ignore_index=True).drop(columns="model")
    frame.insert(0, "step", [step.name for step in planned])
    return frame


def _bill(step: Step, requests: list, model: str, options: CallOptions) -> dict:
    """Return the figures of one step on one model."""
    target, lines = Target.parse(step.model or model), []
    for each in [[]] if step.free and not target.is_quick else requests:
        estimates = [
            estimate(each, target, replace(options, repeat=repeat))
            for repeat in range(step.repeats)
        ]
        lines.append({
            "calls": sum(x.calls for x in estimates),
            "cached": sum(x.cached for x in estimates),
            "tokens in": sum(x.prompt_tokens for x in estimates),
            "tokens out": sum(x.completion_tokens for x in estimates),
            "usd, about": sum(math.nan if x.usd is None else x.usd for x in estimates),
            "usd": sum(math.nan if x.most_usd is None else x.most_usd for x in estimates),
        })  # fmt: skip
    frame = pd.DataFrame(lines)
    return (frame.max() if step.one else frame.sum(skipna=False)).to_dict()
