"""The local server, started for real: found, shared, killed, refused; and the named endpoints."""

import asyncio
import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import openai
import psutil
import pytest

from diptych.base import hashing
from diptych.llmops.client import endpoint, providers

HELLO = [{"role": "user", "content": "Is this review positive or negative? What a lovely film."}]
LONG = {"max_tokens": 400, "stream": True, "extra_body": {"ignore_eos": True}}


def answer(client, **options):
    options = {"model": "any", "max_tokens": 6, "temperature": 0} | options
    return client.chat.completions.create(messages=HELLO, **options).choices[0].message.content


def gone(pid):
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def find_slowed(gguf):
    """Return the server, which gives way to all other processes: its answer is not soon whole."""
    server = endpoint.find(gguf)
    psutil.Process(server.pid).nice(19)
    return server


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not so within {seconds} s"
        time.sleep(0.05)


def test_an_ordinary_client_answers_the_same_twice(shared, gguf):
    client = endpoint.client(model=gguf)
    assert type(client) is openai.OpenAI
    assert answer(client) == answer(client)
    assert client.models.list().data[0].id == gguf.stem


def test_the_server_is_found_with_its_facts(shared, gguf):
    assert endpoint.find(gguf) == endpoint.start(gguf) == shared
    assert shared.digest == hashing.of_file(gguf)


def test_another_model_or_setting_is_another_server(shared, gguf):
    assert endpoint.find(gguf, slots=3) is None
    assert endpoint.find(gguf, context=100) is None


def test_streams_and_logprobs(shared, gguf):
    client = endpoint.client(model=gguf)
    options = {"model": "any", "messages": HELLO, "max_tokens": 5, "temperature": 0}
    chunks = list(client.chat.completions.create(stream=True, **options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == answer(client, max_tokens=5)
    found = client.chat.completions.create(logprobs=True, top_logprobs=3, **options).choices[0]
    assert all(token.logprob <= 0 for token in found.logprobs.content)


def test_the_asynchronous_client_answers_as_the_other(shared, gguf):
    async def ask():
        async with endpoint.async_client(model=gguf) as client:
            made = [
                client.chat.completions.create(
                    model="any", messages=HELLO, max_tokens=6, temperature=0
                )
                for _ in range(4)
            ]
            return {one.choices[0].message.content for one in await asyncio.gather(*made)}

    assert asyncio.run(ask()) == {answer(endpoint.client(model=gguf))}


def test_the_client_is_made_and_used_inside_a_running_loop(shared, gguf):
    async def cell():
        return answer(endpoint.client(model=gguf))

    assert asyncio.run(cell()) == answer(endpoint.client(model=gguf))


def test_no_proxy_stands_between(shared, gguf, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert answer(endpoint.client(model=gguf, max_retries=0)) is not None


STARTER = """
import sys
from diptych.llmops.client import endpoint
print(endpoint.start(sys.argv[1]).pid)
"""


def test_eight_starters_at_once_get_one_server_which_survives_them(gguf, home):
    command = [sys.executable, "-c", STARTER, str(gguf)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    pids = {starter.communicate(timeout=120)[0] for starter in starters}
    assert len(pids) == 1
    assert endpoint.find(gguf).pid == int(pids.pop())


def test_it_ends_when_idle_and_the_same_client_starts_it_anew(gguf, home):
    client = endpoint.client(model=gguf, idle_s=0.4)
    said, first = answer(client), endpoint.find(gguf)
    wait_for(lambda: endpoint.find(gguf) is None)
    assert answer(client) == said
    assert endpoint.find(gguf).pid != first.pid


def test_killed_in_mid_stream_one_clear_error_and_the_next_call_works(gguf, home):
    client = endpoint.client(model=gguf)
    said, server = answer(client), find_slowed(gguf)
    stream = client.chat.completions.create(model="any", messages=HELLO, **LONG)
    next(stream)
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(openai.APIConnectionError, match="in the middle of an answer; ask again"):
        list(stream)
    assert answer(client) == said
    assert endpoint.find(gguf).pid != server.pid


def test_killed_in_mid_stream_of_the_asynchronous_client(gguf, home):
    async def talk():
        async with endpoint.async_client(model=gguf) as client:
            server = find_slowed(gguf)
            stream = await client.chat.completions.create(model="any", messages=HELLO, **LONG)
            await anext(aiter(stream))
            os.kill(server.pid, signal.SIGKILL)
            with pytest.raises(openai.APIConnectionError, match="ask again"):
                async for _ in stream:
                    pass
            again = await client.chat.completions.create(
                model="any", messages=HELLO, max_tokens=3, temperature=0
            )
            return again.usage.completion_tokens

    assert 1 <= asyncio.run(talk()) <= 3


def test_stop_ends_it(gguf, home):
    server = endpoint.start(gguf)
    assert endpoint.stop(gguf)
    wait_for(lambda: gone(server.pid))
    assert endpoint.find(gguf) is None
    assert not endpoint.stop(gguf)


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
    client = endpoint.client(model=gguf, adapters=files)
    said = {name: answer(client, model=name, max_tokens=12) for name in ("plain", "a", "b")}
    assert len(set(said.values())) == 3
    assert answer(client, model="plain", max_tokens=12) == said["plain"]
    # who asks for no adapter gets none
    assert answer(endpoint.client(model=gguf), model="plain", max_tokens=12) == said["plain"]


def test_a_missing_adapter_is_named(gguf, home, tmp_path):
    with pytest.raises(endpoint.EndpointError, match=r"adapters: formal: .*nobody\.gguf is not"):
        endpoint.client(model=gguf, adapters={"formal": tmp_path / "nobody.gguf"})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04 a zip file of some length, no model", "does not begin with GGUF"),
        (b"GGUF\x03\0\0\0", "cut off or damaged"),
        (b"GGUF\x03\0\0\0" + b"\0" * 16, "names no context length"),
    ],
)
def test_a_wrong_model_ends_in_one_sentence(home, tmp_path, content, told):
    path = tmp_path / "wrong.gguf"
    path.write_bytes(content)
    with pytest.raises(endpoint.EndpointError, match=f"is not a GGUF model: .*{told}") as error:
        endpoint.client(model=path)
    assert "\n" not in str(error.value)


def test_a_model_cut_off_in_its_weights(home, gguf, tmp_path):
    path = tmp_path / "half.gguf"
    path.write_bytes(gguf.read_bytes()[: gguf.stat().st_size * 2 // 3])
    with pytest.raises(endpoint.EndpointError, match=r"could not be loaded by llama\.cpp"):
        endpoint.client(model=path)


def test_a_model_that_is_not_there(home, tmp_path):
    with pytest.raises(endpoint.EndpointError, match=r"nobody\.gguf is not there; give a GGUF"):
        endpoint.client(model=tmp_path / "nobody.gguf")


def run_server(*arguments, **environment):
    command = [sys.executable, "-m", "diptych.llmops.server.llama", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment,
    )  # fmt: skip


def test_a_busy_port_is_named(gguf, home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = run_server("--model", gguf, "--port", port)
        _, said = server.communicate(timeout=60)
    assert server.returncode == 2
    assert said.splitlines()[-1].startswith(f"error: 127.0.0.1, port {port}: Address already in")


def test_other_hosts_need_a_token(gguf, home):
    server = run_server("--model", gguf, "--host", "0.0.0.0")
    assert "a token is needed" in server.communicate(timeout=60)[1]
    server = run_server("--model", gguf, "--host", "0.0.0.0", "--token-env", "NOT_SET_ANYWHERE")
    assert "NOT_SET_ANYWHERE is not set; export it" in server.communicate(timeout=60)[1]
    assert server.returncode == 2


def test_a_token_is_asked_for(gguf, home):
    server = run_server("--model", gguf, "--token-env", "TOK", TOK="s3cret")
    with server:
        url = server.stdout.readline().removeprefix("Serving on ").strip() + "/v1"
        with openai.OpenAI(base_url=url, api_key="wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                answer(client)
            assert answer(client.with_options(api_key="s3cret")) is not None
        assert endpoint.find(gguf) is None  # such a server is its starter's alone
        server.terminate()
        assert server.wait(30) == 0


class Hub(http.server.BaseHTTPRequestHandler):
    """The hub's addresses of files: a redirect with the file's facts, then the file."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        content = self.server.content
        if self.path == "/owner/repo/resolve/main/m.gguf":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/store/abc")
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("X-Linked-Etag", '"abc"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/store/abc":
            self.send_response(200)
            self.send_header("ETag", '"abc"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)
        else:
            known = self.path.startswith("/owner/repo/")
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(gguf, monkeypatch, tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.url, server.content = f"http://127.0.0.1:{server.server_port}", gguf.read_bytes()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_model_comes_from_the_hub(hub, cache, gguf, home):
    path = endpoint.model_file("hf:owner/repo/m.gguf")
    assert path.read_bytes() == hub.content
    assert answer(endpoint.client(model=path)) is not None


def test_a_model_that_was_downloaded_needs_no_hub(hub, cache, monkeypatch):
    path = endpoint.model_file("hf:owner/repo/m.gguf")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert endpoint.model_file("hf:owner/repo/m.gguf") == path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf:owner/repo/other.gguf", r"owner/repo has no file other\.gguf"),
        ("hf:nobody/repo/m.gguf", "there is no nobody/repo"),
        ("hf:repo/m.gguf", "not of the form hf:OWNER/REPO/FILE"),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub, cache, name, told):
    with pytest.raises(endpoint.EndpointError, match=told):
        endpoint.model_file(name)


def test_no_network_is_one_sentence(cache, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the library's five tries
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(endpoint.EndpointError, match="the hub cannot be reached"):
        endpoint.model_file("hf:owner/repo/m.gguf")


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


def test_the_server_file_is_read_even_if_its_server_is_dead(gguf, home):
    server = endpoint.start(gguf)
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: gone(server.pid))
    (file,) = (home / "llm").glob("*.json")
    assert json.loads(file.read_text())["pid"] == server.pid  # left behind by the kill
    assert endpoint.find(gguf) is None
    assert endpoint.start(gguf).pid != server.pid
