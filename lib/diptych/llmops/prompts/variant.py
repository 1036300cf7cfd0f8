"""What is to be asked: one way to ask, a grid of them, and what it would cost."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.request import estimate
from diptych.llmops.client.target import Target
from diptych.llmops.prompts.prompt import Prompt


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
    """

    prompt: Prompt
    target: Target = Target()
    shots: int = 0
    temperature: float = 0.0

    @property
    def name(self) -> str:
        """Readable and, in one grid, unique: what differs from the defaults."""
        parts = [
            self.prompt.name,
            self.target.name,
            f"k={self.shots}" if self.shots else "",
            f"t={self.temperature:g}" if self.temperature else "",
            *(f"{key}={value}" for key, value in sorted(self.target.parameters.items())),
        ]
        return " · ".join(filter(None, parts))

    def fields(self) -> dict:
        """Return what every request of it holds besides its messages and model.

        Probabilities of the answer's tokens are asked for; endpoints that have none ignore it.
        """
        fields = {"temperature": self.temperature, "max_tokens": 16, "logprobs": True}
        if self.prompt.output.get("type") == "object":
            schema = {"name": "answer", "strict": True, "schema": self.prompt.output}
            fields["max_tokens"] = 64
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif not self.prompt.labels:
            fields["max_tokens"] = 256
        fields |= self.target.provider.fields(self.target.model_name)
        fields |= {**self.prompt.request, **self.target.parameters}
        return {name: value for name, value in fields.items() if value is not None}

    def requests(self, rows: Iterable[Mapping], pool: Sequence[tuple] = ()) -> list[dict]:
        """Return the requests for some rows, as `ask_many` takes them."""
        fields, shots = self.fields(), pool[: self.shots]
        return [{"messages": self.prompt.messages(row, shots), **fields} for row in rows]


def grid(
    prompts: Sequence[Prompt],
    models: Sequence[str | Target] = ("local",),
    shots: Sequence[int] = (0,),
    temperatures: Sequence[float] = (0.0,),
) -> list[Variant]:
    """Return every combination, those of one prompt and model together and the plainest first.

    Parameters
    ----------
    prompts : sequence of Prompt
    models : sequence of str or Target
        A text is read by `Target.parse`.
    shots : sequence of int
    temperatures : sequence of float
    """
    targets = [model if isinstance(model, Target) else Target.parse(model) for model in models]
    combined = itertools.product(prompts, targets, sorted(shots), sorted(temperatures))
    return [Variant(*combination) for combination in combined]


def forecast(
    planned: Sequence[tuple[Sequence[Variant], pd.DataFrame]],
    models: Sequence[str],
    pool: Sequence[tuple] = (),
    max_usd: float | None = None,
    options: CallOptions = CallOptions(),
) -> pd.DataFrame:
    """Return what a grid would cost on each model, before anything is asked.

    Parameters
    ----------
    planned : sequence of (variants, rows)
        Each of these variants is asked about each of these rows; its model does not matter.
    models : sequence of str
        See `Target.parse`.
    max_usd : float, optional
        The limit that evaluation will keep.
    options : CallOptions
        Its ledger and its repeat decide what is cached.

    Returns
    -------
    DataFrame
        ``model``, ``calls``, ``cached`` (answered before, free), ``tokens in`` (4 bytes each),
        ``tokens out`` (at most), ``usd`` (at most; NaN where no price is known) and ``fits``.
    """
    each = [
        variant.requests(rows.to_dict("records"), pool)
        for variants, rows in planned
        for variant in variants
    ]
    lines = []
    for model in models:
        estimates = [estimate(requests, Target.parse(model), options) for requests in each]
        usd = [float("nan") if one.usd is None else one.usd for one in estimates]
        line = {"model": model, "calls": sum(x.calls for x in estimates)}
        line["cached"] = sum(x.cached for x in estimates)
        line["tokens in"] = sum(x.prompt_tokens for x in estimates)
        line["tokens out"] = sum(x.completion_tokens for x in estimates)
        lines.append(line | {"usd": sum(usd)})
    frame = pd.DataFrame(lines)
    if max_usd is not None:
        frame["fits"] = [
            "unknown" if pd.isna(usd) else "yes" if usd <= max_usd else "no" for usd in frame["usd"]
        ]
    return frame
