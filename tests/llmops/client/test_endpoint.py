"""Clients of the local server, started for real, and of the named endpoints."""

import asyncio
import os
import signal

import openai
import psutil
import pytest
import yaml
from llmops.local_server import HELLO, answer, at, wait_for

from diptych.base import workspace
from diptych.core.store.prices import Price
from diptych.llmops.client import endpoint, providers
from diptych.llmops.server import process

SHIPPED = yaml.safe_load((workspace.repo_root() / "params/endpoints.yaml").read_text("utf-8"))
LONG = {"max_tokens": 400, "stream": True, "extra_body": {"ignore_eos": True}}


def find_slowed(gguf):
    """Return the server, which gives way to all other processes: its answer is not soon whole."""
    server = process.find(gguf)
    psutil.Process(server.pid).nice(19)
    return server


def test_an_ordinary_client_answers_the_same_twice(shared, gguf):
    client = endpoint.client(at(gguf))
    assert type(client) is openai.OpenAI
    assert answer(client) == answer(client)
    assert client.models.list().data[0].id == gguf.stem


def test_streams_and_logprobs(shared, gguf):
    client = endpoint.client(at(gguf))
    options = {"model": "diptych", "messages": HELLO, "max_tokens": 5, "temperature": 0}
    chunks = list(client.chat.completions.create(stream=True, **options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == answer(client, max_tokens=5)
    found = client.chat.completions.create(logprobs=True, top_logprobs=3, **options).choices[0]
    assert all(token.logprob <= 0 for token in found.logprobs.content)


def test_the_asynchronous_client_answers_as_the_other(shared, gguf):
    async def ask():
        async with endpoint.async_client(at(gguf)) as client:
            made = [
                client.chat.completions.create(
                    model="diptych", messages=HELLO, max_tokens=6, temperature=0
                )
                for _ in range(4)
            ]
            return {one.choices[0].message.content for one in await asyncio.gather(*made)}

    assert asyncio.run(ask()) == {answer(endpoint.client(at(gguf)))}


def test_the_client_is_made_and_used_inside_a_running_loop(shared, gguf):
    async def cell():
        return answer(endpoint.client(at(gguf)))

    assert asyncio.run(cell()) == answer(endpoint.client(at(gguf)))


def test_no_proxy_stands_between(shared, gguf, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert answer(endpoint.client(at(gguf), max_retries=0)) is not None


def test_it_ends_when_idle_and_the_same_client_starts_it_anew(gguf, home):
    client = endpoint.client(at(gguf, idle_s=0.4))
    said, first = answer(client), process.find(gguf)
    wait_for(lambda: process.find(gguf) is None)
    assert answer(client) == said
    assert process.find(gguf).pid != first.pid


TRIES = 5  # on a busy machine an answer may be whole before its server is killed


def test_killed_in_mid_stream_one_clear_error_and_the_next_call_works(gguf, home):
    client = endpoint.client(at(gguf))
    whole, message = answer(client), ""
    for _ in range(TRIES):
        server = find_slowed(gguf)
        stream = client.chat.completions.create(model="diptych", messages=HELLO, **LONG)
        next(stream)
        os.kill(server.pid, signal.SIGKILL)
        try:
            list(stream)
        except openai.APIConnectionError as error:
            message = str(error)
        assert answer(client) == whole
        assert process.find(gguf).pid != server.pid
        if message:
            break
    assert "in the middle of an answer; ask again" in message


def test_killed_in_mid_stream_of_the_asynchronous_client(gguf, home):
    async def broken(client) -> str:
        server = find_slowed(gguf)
        stream = await client.chat.completions.create(model="diptych", messages=HELLO, **LONG)
        pieces = aiter(stream)
        await anext(pieces)
        os.kill(server.pid, signal.SIGKILL)
        try:
            async for _ in pieces:
                pass
        except openai.APIConnectionError as error:
            return str(error)
        return ""

    async def talk():
        async with endpoint.async_client(at(gguf)) as client:
            for _ in range(TRIES):
                message = await broken(client)
                again = await client.chat.completions.create(
                    model="diptych", messages=HELLO, max_tokens=3, temperature=0
                )
                assert 1 <= again.usage.completion_tokens <= 3
                if message:
                    break
            return message

    assert "in the middle of an answer; ask again" in asyncio.run(talk())


def adapter(path, gguf, seed):
    """Write a LoRA adapter of random weights that fits the model."""
    import numpy as np

    gguf_library = pytest.importorskip("gguf")
    reader = gguf_library.GGUFReader(gguf)
    shapes = {t.name: t.shape.tolist() for t in reader.tensors}
    writer = gguf_library.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 64.0)
    rng, name = np.random.default_rng(seed), "blk.0.ffn_down.weight"
    inward, outward = shapes[name]
    writer.add_tensor(f"{name}.lora_a", rng.normal(size=(4, inward)).astype("f"))
    writer.add_tensor(f"{name}.lora_b", rng.normal(size=(outward, 4)).astype("f"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_adapters_are_chosen_by_name(gguf, home, tmp_path):
    files = {name: adapter(tmp_path / f"{name}.gguf", gguf, i) for i, name in enumerate("ab")}
    client = endpoint.client(at(gguf, adapters=files))
    said = {name: answer(client, model=name, max_tokens=12) for name in ("diptych", "a", "b")}
    assert len(set(said.values())) == 3
    assert answer(client, model="diptych", max_tokens=12) == said["diptych"]
    # who asks for no adapter gets none
    assert answer(endpoint.client(at(gguf)), model="diptych", max_tokens=12) == said["diptych"]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_missing_key_is_one_sentence(name, monkeypatch):
    variable = providers.provider(name).key_env
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(endpoint.EndpointError, match=f"{variable} is not set; export it") as error:
        endpoint.client(name)
    assert "\n" not in str(error.value)


def test_a_key_comes_from_the_variable(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    client = endpoint.client("openai")
    assert client.api_key == "from-the-environment"
    assert str(client.base_url) == "https://api.openai.com/v1/"


@pytest.mark.parametrize("name", ["ollama", "vllm", "http://127.0.0.1:9/v1"])
def test_some_endpoints_need_no_key(name):
    assert endpoint.client(name).base_url.host == "127.0.0.1"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_model_of_an_endpoint_of_this_repository_has_a_price(name):
    entry = providers.provider(name)
    assert Price(entry.prices, entry.model).usd(1_000, 1_000) is not None


def test_an_unknown_endpoint_is_refused_with_those_there_are():
    with pytest.raises(endpoint.EndpointError, match=r"Did you mean openai\?.*ollama"):
        endpoint.client("opanai")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("mine:\n  base_url: http://x\n  api_key: s", "mine: api_key is not known; it takes"),
        ("mine:\n  model: m", "mine: needs a base_url"),
        ("mine: [", "cannot be read"),
    ],
)
def test_a_wrong_file_of_endpoints_is_named(tmp_path, monkeypatch, content, told):
    for folder in ("notebooks", "params"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "params" / "endpoints.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(endpoint.EndpointError, match=told):
        endpoint.client("mine")
