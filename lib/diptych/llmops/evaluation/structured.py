"""Answers as JSON that keeps to a schema: enforced by the server where it can, checked in any case.

An endpoint may take the schema, answer well and ignore it, so only the check tells.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from diptych.core.evaluation import stats
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

SENT, NOT_SENT = "schema sent", "schema not sent"


class SchemaError(ValueError):
    """There is no schema to check answers against; the message says what to do."""


@dataclass(frozen=True)
class Checked:
    """An answer read as JSON; `value` is None where `problem` says why it cannot be used."""

    value: object = None
    problem: str = ""


def check(text: str | None, schema: Mapping) -> Checked:
    """Parse an answer and check it against a schema (JSON Schema, draft 2020-12)."""
    return _checker(schema)(text)


def validator(schema: Mapping):
    """Return jsonschema's validator of a schema (JSON Schema, draft 2020-12).

    Raises
    ------
    SchemaError
        If the schema is none.
    """
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise SchemaError(f"schema: {error.message}") from error
    return jsonschema.Draft202012Validator(schema)


def _checker(schema: Mapping):
    errors = validator(schema).iter_errors

    def parse(text: str | None) -> Checked:
        if text is None:
            return Checked(problem="there is no answer")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return Checked(problem="the answer is not JSON")
        wrong = next(iter(sorted(errors(value), key=lambda e: e.json_path)), None)
        if wrong is not None:
            return Checked(problem=f"{wrong.json_path}: {wrong.message}")
        return Checked(value)

    return parse


def first_with_schema(prompts: Sequence[Prompt]) -> Prompt:
    """Return the first prompt whose answer is an object.

    Raises
    ------
    SchemaError
        If there is none.
    """
    for prompt in prompts:
        if prompt.output.get("type") == "object":
            return prompt
    raise SchemaError("prompts: none answers with an object; add one with output: type: object")


def compare_formats(
    variant: Variant, rows: pd.DataFrame, options: CallOptions = CallOptions()
) -> pd.DataFrame:
    """Ask about rows with the schema in the request and without, and check every answer.

    Parameters
    ----------
    variant : Variant
        Its prompt's answer is an object.
    options : CallOptions

    Returns
    -------
    DataFrame
        ``name`` (`SENT`, `NOT_SENT`), ``value``, ``low``, ``high`` (share that keeps to the schema,
        Wilson), ``n``, ``most often``: the commonest problem. Where the first is below 1 the
        endpoint does not enforce the schema, or answers were cut off.

    Raises
    ------
    SchemaError
        If the prompt has no schema of an object.
    """
    checked = _checker(first_with_schema([variant.prompt]).output)
    options = replace(options, prompt_version=variant.prompt.version)
    parameters = {**variant.target.parameters, "response_format": None}
    free = replace(variant, target=replace(variant.target, parameters=parameters))
    lines = []
    for name, way in ((SENT, variant), (NOT_SENT, free)):
        answers = ask_many(way.requests(rows.to_dict("records")), way.target, options)
        problems = pd.Series([answer.error or checked(answer.text).problem for answer in answers])
        share = stats.wilson(int((problems == "").sum()), len(problems))
        common = problems[problems != ""].mode().get(0, "")
        lines.append((name, share.value, share.low, share.high, share.n, common))
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n", "most often"])
