"""What a model takes, returns and costs, and how fast it is: a handful of cheap calls."""

import random
from collections.abc import Mapping
from dataclasses import replace

from diptych.core.store.prices import FREE, Price
from diptych.llmops.client.ask import Answer
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.capabilities import judged, tried
from diptych.llmops.client.formats import tolerant
from diptych.llmops.client.target import Target

MOST_TOKENS = 60_000  # of one check, where no dollar limit is set
WORDS = {"usage": "its tokens", "stream_usage": "its tokens when streamed",
         "logprobs": "log-probabilities", "json_schema": "JSON that keeps to a schema",
         "seed": "the same text for the same seed"}  # fmt: skip


def check(
    target: Target, options: CallOptions = CallOptions(), max_usd: float | None = None
) -> dict[str, str]:
    """Ask a model anew and return what shows, in sentences by their subject.

    The calls are on record as any others.

    Parameters
    ----------
    target : Target
    options : CallOptions
        Its budget and repeat are set here.
    max_usd : float, optional
        No call is made that could exceed it.

    Raises
    ------
    EndpointError
        If the endpoint is unknown, its key is not set, or it does not answer.
    BudgetError
    """
    budget = Budget(max_usd=max_usd, max_tokens=MOST_TOKENS if max_usd is None else None)
    answers = tried(target, replace(options, budget=budget, repeat=random.getrandbits(30)))
    can = judged(answers)
    provider = target.provider
    returned = [words for name, words in WORDS.items() if getattr(can, name)]
    missing = [words for name, words in WORDS.items() if not getattr(can, name)]
    # two requests that differ in what is left out are one
    paid = {name: answer for name, answer in answers.items() if not answer.cached}
    failed = {name: answer.error for name, answer in answers.items() if answer.error}
    lines = {
        "endpoint": f"{provider.name} · {target.model_name or 'its own model'} · "
        f"{provider.base_url or 'this machine'} · {provider.format}",
        "takes": can.changes or "every field as it was asked",
        "returns": ", ".join(returned) or "text only",
        "does not return": ", ".join(missing),
        "refuses": "; ".join(f"{name}: {error}" for name, error in failed.items()),
        "speed": _speed(answers),
        "thinks": _thoughts(answers),
        "costs": _price(Price(provider.prices, target.model_name)),
        "this check": f"{len(paid)} calls, {_sum(paid):,} tokens, {_usd(paid)}",
    }
    return {subject: line for subject, line in lines.items() if line}


def _speed(answers: Mapping[str, Answer]) -> str:
    """Return the latency of a short answer, the time to the first token and tokens a second."""
    plain, stream, longest = answers["plain"], answers["stream"], answers["dice"]
    parts = [f"{plain.latency_ms:.0f} ms for a short answer"]
    if stream.first_token_ms is not None:
        parts.append(f"{stream.first_token_ms:.0f} ms to the first token (TTFT)")
    if longest.completion_tokens and longest.latency_ms:
        rate = longest.completion_tokens / longest.latency_ms * 1000
        parts.append(f"{rate:.0f} tokens/s in a whole call")
    return ", ".join(parts)


def _thoughts(answers: Mapping[str, Answer]) -> str:
    """Return how much it thinks before it answers, "" where it does not tell."""
    counts = [tolerant.read(answer.response).thoughts or 0 for answer in answers.values()]
    return (
        f"up to {max(counts):,} tokens an answer, which are paid as written ones"
        if max(counts)
        else ""
    )


def _price(price: Price) -> str:
    facts = price.facts()
    if facts["provider"] == FREE:
        return "nothing"
    if facts["input_usd"] is None:
        return "no price is known; give `prices` in params/endpoints.yaml"
    return (
        f"{facts['input_usd']:g} USD per million tokens read, {facts['output_usd']:g} written "
        f"({facts['source']})"
    )


def _sum(answers: Mapping[str, Answer]) -> int:
    counts = [(a.prompt_tokens or 0) + (a.completion_tokens or 0) for a in answers.values()]
    return sum(counts)


def _usd(answers: Mapping[str, Answer]) -> str:
    usd = [answer.usd for answer in answers.values() if not answer.error]
    return "at an unknown price" if None in usd else f"{sum(usd):.6f} USD"
