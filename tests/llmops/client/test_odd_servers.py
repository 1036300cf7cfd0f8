"""Servers as users meet them, wrongly addressed or in front of others: one sentence helps.

Bodies are those that LiteLLM's proxy, vLLM, Ollama, FastAPI and gateways answer with (2026-11).
"""

import json

import pytest
from llmops import fake_faults as faults
from llmops import fakes

from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.providers import EndpointError


def refused(status: int, body, kind="application/json") -> bytes:
    text = body if isinstance(body, str) else json.dumps(body)
    return faults.http(text, kind, status=f"{status} X")


def litellm(status: int, message: str, kind: str = "None") -> bytes:
    error = {"message": message, "type": kind, "param": "None", "code": str(status)}
    return refused(status, {"error": error})


PAGE = "<!doctype html><html><head><title>Sign in</title></head></html>"
NATIVE = {"model": "m", "message": {"role": "assistant", "content": "positive"}, "done": True}
NO_MODEL = "/chat/completions: Invalid model name passed in model=m. Call `/v1/models` to view them"
VLLM = {"object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError"}
DEAD = VLLM | {"message": "EngineCore encountered an issue."}
SPENT = litellm(400, "Budget has been exceeded!", "budget_exceeded")
TIMEOUT = "<title>524: A timeout occurred</title>"
V1 = "its base URL mostly ends in /v1: {url}/v1"
NO_API = "its base URL is hardly that of an API, which mostly ends in /v1"
HERE = "give a model that it has$"
SERVERS = {  # where it is asked, what it answers, what is said
    "no /v1, Ollama": ("", refused(404, "404 page not found", "text/plain"), f"not found; {V1}"),
    "no /v1, FastAPI": ("/", refused(404, {"detail": "Not Found"}), V1),
    "the whole path": ("/v1/chat/completions", refused(404, ""), "leave /chat/completions off"),
    "another path": ("/v1/v1", refused(404, {"detail": "Not Found"}), "its whole base URL"),
    "vLLM: no such model": ("/v1", refused(404, VLLM), rf"does not exist\.; {HERE}"),
    "LiteLLM: no such model": ("/v1", litellm(400, NO_MODEL), f"view them; {HERE}"),
    "LiteLLM: its budget": ("/v1", SPENT, "5 calls in a row .* exceeded.*; change what"),
    "a page to sign in": ("", faults.http(PAGE, "text/html"), f"5 calls in a row .*; {NO_API}"),
    "Ollama's own API": ("/api", faults.http(json.dumps(NATIVE)), f"has no choices.*; {NO_API}"),
    "vLLM, dead": ("/v1", refused(500, DEAD), "5 calls in a row .* EngineCore .* out of order"),
    "a gateway": ("/v1", refused(524, TIMEOUT, "text/html"), "524: A timeout .* out of order"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", SERVERS)
def test_one_sentence_says_what_to_do(calls, name, stream):
    path, answer, words = SERVERS[name]
    asked = []
    with faults.serving(lambda request: asked.append(request) or answer) as url:
        base = url.removesuffix("/v1")
        way = fakes.ways(endpoint=base + path, model="m", calls=calls, stream=stream,
                         give_up=True, max_retries=0, concurrency=1)  # fmt: skip
        with pytest.raises(EndpointError, match=words.replace("{url}", base)) as raised:
            ask_many([f"Is it good? {i}" for i in range(9)], *way)
    assert "\n" not in str(raised.value)
    assert len(asked) <= 5, "and no more is asked"


def test_a_field_that_a_proxy_names_in_a_list_is_left_out(calls):
    words = "litellm.UnsupportedParamsError: bedrock does not support parameters: ['logprobs', "
    answers = [litellm(400, words + "'top_logprobs'], for model=m.")]
    with faults.serving(
        lambda _: answers.pop() if answers else faults.http(json.dumps(faults.body()))
    ) as url:
        way = fakes.ways(endpoint=url, model="m", calls=calls, concurrency=1,
                         parameters={"logprobs": True, "top_logprobs": 5})  # fmt: skip
        texts = [answer.text for answer in ask_many(["a", "b"], *way)]
    assert texts == ["positive", "positive"]
