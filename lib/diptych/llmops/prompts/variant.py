"""What is to be asked: one way to ask, a grid of them, and what it would cost."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from diptych.llmops.client.providers import provider
from diptych.llmops.client.request import estimate
from diptych.llmops.prompts.prompt import Prompt


@dataclass(frozen=True)
class Variant:
    """One way to ask: a prompt, a model, a number of examples, a temperature.

    Attributes
    ----------
    prompt : Prompt
    endpoint, model : str
        See `diptych.llmops.client.ask.ask_many`; "" is the endpoint's own model.
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


def grid(
    prompts: Sequence[Prompt],
    models: Sequence[str] = ("local",),
    shots: Sequence[int] = (0,),
    temperatures: Sequence[float] = (0.0,),
    **common,
) -> list[Variant]:
    """Return every combination, those of one prompt and model together and the plainest first.

    Parameters
    ----------
    prompts : sequence of Prompt
    models : sequence of str
        See `asked_at`.
    shots : sequence of int
    temperatures : sequence of float
    **common
        Further fields of each `Variant`, such as ``parameters``.
    """
    combined = itertools.product(prompts, models, sorted(shots), sorted(temperatures))
    return [Variant(p, **asked_at(m), shots=k, temperature=t, **common) for p, m, k, t in combined]


def asked_at(model: str) -> dict:
    """Return a variant's fields for a model: an endpoint, or one with its model after a slash.

    Such as ``"local"``, ``"openai/gpt-4o"``, ``"vllm/Qwen/Qwen2.5-0.5B-Instruct"``,
    ``"local/hf:OWNER/REPO/FILE.gguf"``, ``"local//home/me/model.gguf"`` or
    ``"http://127.0.0.1:8080/v1#model"``.

    Raises
    ------
    EndpointError
        If the endpoint is not known.
    """
    url = model.startswith(("http://", "https://"))
    name, _, rest = model.partition("#" if url else "/")
    provider(name)
    if name == "local":
        return {"server": {"model": rest}} if rest else {}
    return {"endpoint": name, "model": rest}


def forecast(
    planned: Sequence[tuple[Sequence[Variant], pd.DataFrame]],
    models: Sequence[str],
    pool: Sequence[tuple] = (),
    max_usd: float | None = None,
    **options,
) -> pd.DataFrame:
    """Return what a grid would cost on each model, before anything is asked.

    Parameters
    ----------
    planned : sequence of (variants, rows)
        Each of these variants is asked about each of these rows; its model does not matter.
    models : sequence of str
        See `asked_at`.
    max_usd : float, optional
        The limit that evaluation will keep.
    **options
        ``calls`` and ``repeat``, see `diptych.llmops.client.request.estimate`.

    Returns
    -------
    DataFrame
        ``model``, ``calls``, ``cached`` (answered before, free), ``tokens in`` (4 bytes each),
        ``tokens out`` (at most), ``usd`` (at most; NaN where no price is known) and ``fits``.
    """
    each = [(v, rows.to_dict("records")) for variants, rows in planned for v in variants]
    lines = []
    for model in models:
        at = {"endpoint": "local", "model": "", "server": {}} | asked_at(model)
        found = [
            estimate(replace(variant, **at).requests(records, pool), **at, **options)
            for variant, records in each
        ]
        usd = [float("nan") if one.usd is None else one.usd for one in found]
        line = {"model": model, "calls": sum(x.calls for x in found)}
        line["cached"] = sum(x.cached for x in found)
        line["tokens in"] = sum(x.prompt_tokens for x in found)
        line["tokens out"] = sum(x.completion_tokens for x in found)
        lines.append(line | {"usd": sum(usd)})
    frame = pd.DataFrame(lines)
    if max_usd is not None:
        frame["fits"] = [
            "unknown" if pd.isna(usd) else "yes" if usd <= max_usd else "no" for usd in frame["usd"]
        ]
    return frame
