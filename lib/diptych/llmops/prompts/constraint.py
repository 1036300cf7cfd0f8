"""Answers that the server lets be nothing but a label or a number, token by token.

Three decodings: ``free`` reads what a model writes; ``choice`` constrains it to the labels;
``scores`` does that, too, and takes the label whose tokens are likeliest, over all its spellings,
instead of the one that was written. llama.cpp takes a grammar (GBNF), vLLM a list of choices, other
endpoints a JSON schema.
"""

import json
from collections.abc import Mapping, Sequence

from diptych.llmops.client.target import Target
from diptych.llmops.prompts.prompt import Prompt

FREE, CHOICE, SCORES = DECODINGS = ("free", "choice", "scores")
BY_GRAMMAR = ("local", "llamacpp")  # endpoints
BY_CHOICES = ("vllm",)
NUMBER = 'root ::= "-"? [0-9] [0-9]? [0-9]? [0-9]? [0-9]? [0-9]? [0-9]? [0-9]? [0-9]? ("." [0-9]+)?'


def check(decoding: str) -> None:
    """Raise ValueError if there is no such decoding."""
    if decoding not in DECODINGS:
        raise ValueError(f"decoding: {decoding!r} is none; there are {', '.join(DECODINGS)}")


def suitable(prompt: Prompt, decodings: Sequence[str]) -> list[str]:
    """Return those of some decodings that suit a prompt; free text where none does.

    A prompt that asks for JSON has its schema in the request already, and numbers have no scores.
    """
    if prompt.output.get("type") == "object" or not (prompt.labels or prompt.answers_number):
        return [FREE]
    fit = [one for one in decodings if one != SCORES or prompt.labels]
    return list(dict.fromkeys(fit)) or [FREE]


def fields(prompt: Prompt, target: Target) -> dict:
    """Return the fields of a request that constrain the answer."""
    name = target.provider.name
    if name in BY_GRAMMAR:
        return {"grammar": grammar(prompt.labels)}
    if name in BY_CHOICES and prompt.labels:
        return {"structured_outputs": {"choice": list(prompt.labels)}}
    schema = {"name": "answer", "strict": True, "schema": _schema(prompt)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def grammar(labels: Sequence[str]) -> str:
    """Return a grammar (GBNF) of the labels, or of a number where there are none."""
    if not labels:
        return NUMBER
    return "root ::= " + " | ".join(json.dumps(label, ensure_ascii=False) for label in labels)


def _schema(prompt: Prompt) -> Mapping:
    kind = {"type": "string", "enum": list(prompt.labels)} if prompt.labels else {"type": "number"}
    name = "label" if prompt.labels else "number"
    return {"type": "object", "properties": {name: kind}, "required": [name],
            "additionalProperties": False}  # fmt: skip
