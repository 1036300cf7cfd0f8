"""The official client on record: the same calls as `ask`, cached, within the budget, streamed."""

import time

import openai
import pytest
from llmops import fakes

from diptych.llmops.client import ledger_client
from diptych.llmops.client.ask import ask
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target

BODY = {
    "messages": [{"role": "user", "content": "Is this a bad kettle?"}],
    "temperature": 0.0,
    "max_tokens": 16,
    "logprobs": True,
    "top_logprobs": 2,
}


@pytest.fixture
def fake():
    with fakes.serving(fakes.make("vllm")) as fake:
        yield fake


def test_a_call_by_hand_is_the_call_that_ask_makes(fake, calls):
    target, options = Target(fake.url, "small"), CallOptions(calls=calls, run="by hand")
    client = openai.OpenAI(**ledger_client.connection(target, options))
    fields = {name: value for name, value in BODY.items() if name != "messages"}
    reply = client.chat.completions.create(
        model="small", messages=BODY["messages"], extra_body=fields
    )
    assert reply.choices[0].message.content.startswith("negative")
    assert reply.usage.completion_tokens
    assert reply.choices[0].logprobs.content[0].logprob < 0
    again = ask(BODY, target, options)
    assert again.cached
    assert again.text == reply.choices[0].message.content
    assert len(fake.seen) == 1


def test_a_call_over_the_budget_is_not_made(fake, calls):
    options = CallOptions(calls=calls, budget=Budget(max_tokens=10))
    client = openai.OpenAI(**ledger_client.connection(Target(fake.url, "small"), options))
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError, match="max_tokens is 10"):
            client.chat.completions.create(model="small", stream=stream, **BODY)
    assert not fake.seen


def test_a_stream_comes_piece_by_piece_and_the_budget_counts_it(fake, calls):
    fake.pause = 0.2
    budget = Budget(max_tokens=10_000)
    client = openai.OpenAI(
        **ledger_client.connection(
            Target(fake.url, "small"), CallOptions(calls=calls, budget=budget)
        )
    )
    times, text = [], ""
    for chunk in client.chat.completions.create(model="small", stream=True, **BODY):
        times.append(time.perf_counter())
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    assert text.startswith("negative")
    assert times[-1] - times[0] > 0.2
    assert budget.tokens > 16


def test_what_the_endpoint_refuses_says_why(fake, calls):
    client = openai.OpenAI(
        **ledger_client.connection(Target(fake.url, "nobody"), CallOptions(calls=calls))
    )
    with pytest.raises(openai.APIStatusError, match="nobody"):
        client.chat.completions.create(model="nobody", **BODY)
