"""The official clients take our fakes of the providers for the providers: so the fakes are true.

openai's is here anyway; without anthropic's (pip install anthropic) those tests are skipped.
"""

import json

import openai
import pytest
from llmops import provider_fakes as providers

ASK = [{"role": "user", "content": "Is it good?"}]
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "label", "parameters": SCHEMA}}
CLAUDE_TOOL = {"name": "label", "input_schema": SCHEMA}


@pytest.fixture(params=[providers.OpenAI, providers.Gemini, providers.Ollama])
def fake(request):
    with providers.serving(request.param(thinks=3)) as fake:
        yield fake


@pytest.fixture
def client(fake):
    with openai.OpenAI(base_url=fake.url, api_key=providers.KEY, max_retries=0) as client:
        yield client


def test_openais_client_reads_a_chat_whole_and_streamed(client):
    whole = client.chat.completions.create(model="m", messages=ASK)
    assert whole.choices[0].message.content == "positive"
    assert whole.usage.completion_tokens == 4
    with client.chat.completions.stream(
        model="m", messages=ASK, stream_options={"include_usage": True}
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert (final.choices[0].message.content, final.usage) == ("positive", whole.usage)
    assert {"chunk", "content.delta", "content.done"} == set(kinds)
    called = client.chat.completions.create(model="m", messages=ASK, tools=[TOOL]).choices[0]
    (call,) = called.message.tool_calls
    assert (called.finish_reason, json.loads(call.function.arguments)) == (
        "tool_calls", {"label": "positive"}
    )  # fmt: skip


def test_openais_client_reads_a_response_whole_and_streamed():
    with (
        providers.serving(providers.OpenAI(thinks=3)) as fake,
        openai.OpenAI(base_url=fake.url, api_key=providers.KEY, max_retries=0) as client,
    ):
        way = {"model": "m", "input": ASK}
        whole = client.responses.create(**way)
        with client.responses.stream(**way) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        assert whole.output_text == final.output_text == "positive"
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        cut = client.responses.create(**way | {"max_output_tokens": 16})
        assert cut.status == "completed"
        call = client.responses.create(**way, tools=[{"type": "function", "name": "label"}])
        assert call.output[1].type == "function_call"


def test_openais_client_raises_the_errors_of_its_kinds(fake, client):
    refused = {"openai": openai.AuthenticationError, "gemini": openai.BadRequestError}
    if fake.name in refused:
        with pytest.raises(refused[fake.name]):
            client.with_options(api_key="wrong").chat.completions.create(model="m", messages=ASK)
    if fake.name == "openai":
        with pytest.raises(openai.BadRequestError) as error:
            client.chat.completions.create(model="m", messages=ASK, temperature=0)
        assert (error.value.param, error.value.code) == ("temperature", "unsupported_value")


@pytest.fixture
def claude(monkeypatch):
    anthropic = pytest.importorskip("anthropic", reason="its client is not installed: pip install "
                                    "anthropic")  # fmt: skip
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)  # it would send it beside its key
    with providers.serving(providers.Anthropic(thinks=3, cached=2)) as fake:
        url = fake.url.removesuffix("/v1")
        with anthropic.Anthropic(base_url=url, api_key=providers.KEY, max_retries=0) as client:
            yield client


def test_anthropics_client_reads_a_message_whole_and_streamed(claude):
    way = {"model": "claude-sonnet-5", "max_tokens": 64, "messages": ASK}
    whole = claude.messages.create(**way)
    with claude.messages.stream(**way) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert [x.type for x in final.content] == [x.type for x in whole.content]
    assert whole.content[1].text == final.content[1].text == "positive"
    assert (whole.usage.cache_read_input_tokens, final.usage.output_tokens) == (2, 4)
    assert (kinds[0], kinds[-1], whole.stop_reason) == ("message_start", "message_stop", "end_turn")
    assert claude.messages.create(**way | {"max_tokens": 2}).stop_reason == "max_tokens"


def test_anthropics_client_reads_a_call_of_a_tool(claude):
    way = {"model": "claude-sonnet-5", "max_tokens": 64, "messages": ASK, "tools": [CLAUDE_TOOL]}
    with claude.messages.stream(**way) as stream:
        final = stream.get_final_message()
    assert final.content[0].input == {"label": "positive"}
    assert final.stop_reason == claude.messages.create(**way).stop_reason == "tool_use"


def test_anthropics_client_raises_the_errors_of_its_kinds(claude):
    import anthropic

    way = {"model": "claude-sonnet-5", "max_tokens": 64, "messages": ASK}
    enabled = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    for more, words in [
        ({"temperature": 0}, "deprecated"), ({"seed": 1}, "seed: Extra inputs"),
        (enabled, "adaptive"),
    ]:  # fmt: skip
        with pytest.raises(anthropic.BadRequestError, match=words):
            claude.messages.create(**way, extra_body=more)
    with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
        claude.with_options(api_key="wrong").messages.create(**way)
