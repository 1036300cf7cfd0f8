"""Answers held to a schema: by the server where it can, and checked in any case."""

from dataclasses import dataclass, replace

import pandas as pd
import pytest
from llmops import fakes

from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import structured
from diptych.llmops.evaluation.structured import Checked, SchemaError
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string", "enum": ["no", "yes"]}},
    "required": ["verdict"],
    "additionalProperties": False,
}
ASK = Prompt("ask", "films", ("text",), "", "{text}", output=SCHEMA)
PLAIN = Prompt("plain", "films", ("text",), "", "{text}")
ROWS = pd.DataFrame({"id": range(5), "text": [f"film {i}" for i in range(5)], "label": "yes"})


@pytest.fixture(params=fakes.NAMES)
def fake(request, monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(fakes.make(request.param)) as fake:
        yield fake


@pytest.mark.parametrize(
    ("text", "value", "problem"),
    [
        ('{"verdict": "yes"}', {"verdict": "yes"}, ""),
        (' {"verdict":"no"}\n', {"verdict": "no"}, ""),
        ("yes", None, "the answer is not JSON"),
        ('{"verdict": "yes"', None, "the answer is not JSON"),  # cut off
        ("[" * 100_000, None, "the answer is not JSON"),
        ('{"verdict": "maybe"}', None, "$.verdict: 'maybe' is not one of ['no', 'yes']"),
        ("{}", None, "$: 'verdict' is a required property"),
        ('["yes"]', None, "$: ['yes'] is not of type 'object'"),
        (None, None, "there is no answer"),
    ],
)
def test_an_answer_is_read_or_the_problem_told(text, value, problem):
    assert structured.check(text, SCHEMA) == Checked(value, problem)


def test_a_schema_that_is_none_is_refused():
    with pytest.raises(SchemaError, match="schema: 'text' is not valid"):
        structured.check("{}", {"type": "text"})
    with pytest.raises(SchemaError, match="none answers with an object; add one"):
        structured.first_with_schema([PLAIN])
    with pytest.raises(SchemaError, match="none answers with an object"):
        structured.compare_formats(Variant(PLAIN), ROWS)
    assert structured.first_with_schema([PLAIN, ASK]) == ASK


def test_who_enforces_it_is_seen_by_the_answers(fake, calls):
    variant = Variant(ASK, Target(fake.url, "m", key_env="TEST_KEY"))
    found = structured.compare_formats(variant, ROWS, CallOptions(calls=calls)).set_index("name")
    enforces = "response_format" in fake.honours  # Anthropic takes the field and ignores it
    assert found["value"].to_dict() == {structured.SENT: float(enforces), structured.NOT_SENT: 0}
    assert found["n"].tolist() == [5, 5]
    assert found.loc[structured.NOT_SENT, "most often"] == "the answer is not JSON"
    sent = ["response_format" in body for body in fake.seen]
    assert sorted(sent) == [False] * 5 + [True] * 5


@dataclass
class Loose(fakes.Fake):
    """An endpoint that answers with JSON of another shape."""

    def words(self, body) -> list[str]:
        return ['{"verdict": ', '"perhaps"}']


def test_json_of_another_shape_and_failed_calls_are_told_apart(calls):
    with fakes.serving(Loose("vllm", needs_key=False)) as fake:
        variant = Variant(ASK, Target(fake.url, "m"))
        fake.troubles = ["html"] * 3
        found = structured.compare_formats(variant, ROWS, CallOptions(calls=calls, concurrency=1))
    assert found["value"].tolist() == [0, 0]
    assert found["most often"].tolist() == [
        "the endpoint's answer is not JSON",
        "$.verdict: 'perhaps' is not one of ['no', 'yes']",
    ]


def test_the_local_server_enforces_it(shared, gguf, calls):
    target = Target(server={"model": str(gguf)})
    variant = Variant(replace(ASK, user="Tell a story of {text}"), target)
    found = structured.compare_formats(variant, ROWS.head(3), CallOptions(calls=calls)).set_index(
        "name"
    )
    assert found.loc[structured.SENT, "value"] == 1
    assert found.loc[structured.NOT_SENT, "value"] == 0
