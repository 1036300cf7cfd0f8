"""The official clients ask a real server: what they ask for is done, or refused in their form."""

import json

import openai
import pytest

from diptych.llmops.client import endpoint
from diptych.llmops.client.target import Target

HELLO = [{"role": "user", "content": "Is it good? A lovely film."}]
SCHEMA = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}, "required": ["label"],
          "additionalProperties": False}  # fmt: skip
FORM = {"format": {"type": "json_schema", "name": "label", "schema": SCHEMA, "strict": True}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "label", "parameters": SCHEMA}}


@pytest.fixture(scope="module", params=["port", "socket"])
def client(shared, gguf, request):
    """A client at the port that others have, and one at the socket file of `dt.client`."""
    if request.param == "port":
        made = openai.OpenAI(base_url=f"{shared.url}/v1", api_key="none", max_retries=0)
    else:
        made = endpoint.client(Target(server={"model": gguf}), max_retries=0)
    with made:
        yield made


def test_a_model_that_is_not_served_is_not_found(client, gguf):
    there = f"is not served here; there is {gguf.stem}"
    for ask in (
        lambda: client.chat.completions.create(model="gpt-5", messages=HELLO),
        lambda: client.responses.create(model="gpt-5", input="hello"),
        lambda: client.models.retrieve("gpt-5"),
    ):
        with pytest.raises(openai.NotFoundError, match=f"'gpt-5' {there}") as refused:
            ask()
        assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert [model.id for model in client.models.list()] == [gguf.stem]
    assert client.models.retrieve(gguf.stem).id == gguf.stem


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tools": [TOOL]}, "tools: this model knows none"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tools: this model knows none"),
        ({"functions": [TOOL["function"]]}, "functions: are not taken"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "reads texts, no image_url"),
    ],
)
def test_what_the_model_cannot_is_refused(client, more, words):
    with pytest.raises(openai.BadRequestError, match=words):
        client.chat.completions.create(**{"model": "diptych", "messages": HELLO, **more})


def test_tools_that_may_not_be_called_change_nothing(client):
    way = {"model": "diptych", "messages": HELLO, "max_tokens": 6, "temperature": 0}
    plain, with_tools = (
        client.chat.completions.create(**way, **more).choices[0].message
        for more in ({}, {"tools": [TOOL], "tool_choice": "none"})
    )
    assert plain == with_tools


def test_a_response_keeps_to_its_schema_and_says_if_it_was_cut(client, gguf):
    whole = client.responses.create(model="diptych", input="hello", text=FORM)
    assert set(json.loads(whole.output_text).values()) <= {"a", "b"}
    assert (whole.status, whole.model, whole.store) == ("completed", gguf.stem, False)
    instructed = client.responses.create(
        model="diptych", instructions="Be brief.", input=HELLO, max_output_tokens=2,
        include=["message.output_text.logprobs"], top_logprobs=3,
    )  # fmt: skip
    assert instructed.status == "incomplete"
    assert instructed.incomplete_details.reason == "max_output_tokens"
    assert instructed.usage.output_tokens == 2
    tokens = instructed.output[0].content[0].logprobs
    assert "".join(token.token for token in tokens) == instructed.output_text
    assert all(len(token.top_logprobs) == 3 for token in tokens)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id: is not taken"),
        ({"reasoning": {"effort": "low"}}, "reasoning: is not taken"),
        ({"truncation": "auto"}, "truncation: is not taken"),
        ({"tools": [{"type": "web_search"}]}, "'web_search' is not here"),
        ({"tools": [{"type": "function", **TOOL["function"]}]}, "tools: this model knows none"),
        ({"text": {"format": {"type": "xml"}}}, "text.format: takes type text"),
        ({"include": ["reasoning.encrypted_content"]}, "include: there is message.output_text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "reads texts"),
        ({"input": []}, "input: send a text"),
        ({"extra_body": {"colour": "red"}}, "colour: is not taken"),
    ],
)
def test_nothing_of_a_response_is_passed_over_in_silence(client, more, words):
    with pytest.raises(openai.BadRequestError, match=words):
        client.responses.create(**{"model": "diptych", "input": "hello", **more})


def test_the_helpers_of_streams_get_their_events_in_order(client):
    way = {"model": "diptych", "max_output_tokens": 60, "temperature": 0}
    with client.responses.stream(input="hello", **way) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type.removeprefix("response.") for event in events]
    assert list(dict.fromkeys(kinds)) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == client.responses.create(input="hello", **way).output_text
    cut = client.responses.create(input="hello", **way | {"max_output_tokens": 1}, stream=True)
    assert [event.type for event in cut][-1] == "response.incomplete"
    with client.chat.completions.stream(
        model="diptych", messages=HELLO, max_tokens=40, stream_options={"include_usage": True}
    ) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_completion().usage.completion_tokens > 0
    assert [kind for kind in kinds if kind != "chunk"][-1] == "content.done"


def test_the_client_of_anthropic(shared, gguf, request):
    anthropic = pytest.importorskip("anthropic", reason="its client is not installed: pip install "
                                    "anthropic")  # fmt: skip
    client = anthropic.Anthropic(base_url=shared.url, api_key="none", max_retries=0)
    request.addfinalizer(client.close)
    way = {"max_tokens": 4, "messages": HELLO}
    answer = client.messages.create(model=gguf.stem, **way)
    assert answer.content[0].text
    with client.messages.stream(model=gguf.stem, **way) as stream:
        assert [event.type for event in stream][-1] == "message_stop"
    with pytest.raises(anthropic.NotFoundError, match="'claude-5' is not served here"):
        client.messages.create(model="claude-5", **way)
    way |= {"tools": [{"name": "label", "input_schema": SCHEMA}], "tool_choice": {"type": "any"}}
    with pytest.raises(anthropic.BadRequestError, match="tools: this model knows none"):
        client.messages.create(model=gguf.stem, **way)
