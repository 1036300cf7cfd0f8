"""What an endpoint really does: many take a field, answer well and ignore it.

Each capability is tried with a small request and judged by the answer. The tries go through the
ledger, so they are made and paid once, and replayed with it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from diptych.llmops.client.adaptation import describe
from diptych.llmops.client.ask import Answer
from diptych.llmops.client.ask import ask as ask_one
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.target import Target

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"verdict": {"type": "string", "enum": ["yes", "no"]}},
            "required": ["verdict"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True)
class Capabilities:
    """What an endpoint does; a refused field and an ignored one are both False.

    Attributes
    ----------
    usage : bool
        Answers tell their tokens.
    stream_usage : bool
        Streamed answers do too, when asked.
    logprobs : bool
        Answers hold the log-probabilities of their tokens, when asked.
    json_schema : bool
        Answers keep to a schema, though the prompt does not mention it.
    seed : bool
        The same seed gives the same sampled text, another seed another.
    changes : str
        How requests are changed so that it takes them, in words; "" where they are not.
    """

    usage: bool
    stream_usage: bool
    logprobs: bool
    json_schema: bool
    seed: bool
    changes: str = ""

    def facts(self) -> dict[str, bool | str]:
        """Return them by name, to be recorded."""
        return asdict(self)


def probe(target: Target = Target(), options: CallOptions = CallOptions()) -> Capabilities:
    """Try what an endpoint can do.

    Raises
    ------
    EndpointError
        If it does not answer at all.
    """
    return judged(tried(target, options))


def tried(target: Target, options: CallOptions) -> dict[str, Answer]:
    """Return the answers to a handful of small requests, by what each tries.

    Raises
    ------
    EndpointError
        If the first is not answered; no more are asked then.
    """
    options = replace(options, prompt_version="probe")

    def ask(prompt: str, tokens: int, repeat: int = 0, stream: bool = False, **fields) -> Answer:
        request = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens}
        how = replace(options, repeat=options.repeat + repeat, stream=stream)
        return ask_one(request | fields, target, how)

    plain = ask("Say yes.", 4, temperature=0)
    if plain.error:
        raise EndpointError(f"endpoint: {target.endpoint} does not answer: {plain.error}")
    dice = "Write down ten random words."
    return {
        "plain": plain,
        "stream": ask("Say yes, please.", 4, stream=True, temperature=0),
        "logprobs": ask("Say yes or no.", 4, temperature=0, logprobs=True, top_logprobs=2),
        "schema": ask("Write a line about the sea.", 96, temperature=0, response_format=SCHEMA),
        "dice": ask(dice, 24, temperature=1.0, seed=7),
        "same dice": ask(dice, 24, repeat=1, temperature=1.0, seed=7),
        "other dice": ask(dice, 24, temperature=1.0, seed=8),
    }


def judged(answers: Mapping[str, Answer]) -> Capabilities:
    """Return what answers show; a field that was left out shows nothing of itself."""
    first, again, other = (answers[f"{name}dice"].text for name in ("", "same ", "other "))
    changes: dict = {}
    for answer in answers.values():
        changes |= answer.changes or {}
    return Capabilities(
        usage=answers["plain"].completion_tokens is not None,
        stream_usage=answers["stream"].completion_tokens is not None,
        logprobs=bool(answers["logprobs"].log_probabilities),
        json_schema=_keeps_to_schema(answers["schema"]),
        seed=bool(first) and first == again != other and "seed" not in changes,
        changes=describe(changes),
    )


def _keeps_to_schema(answer: Answer) -> bool:
    try:
        value = json.loads(answer.text or "")
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("verdict") in ("yes", "no")
