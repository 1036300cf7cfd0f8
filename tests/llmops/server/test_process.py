"""The local server's process, for real: found, shared, stopped, refused; and its model's file."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import nbformat
import openai
import pytest
from llmops.local_server import answer, at, gone, wait_for

from diptych.base import hashing, workspace
from diptych.execution.cache import entries
from diptych.execution.runner import prepare, run_notebook
from diptych.llmops.client import endpoint
from diptych.llmops.server import process


def test_the_server_is_found_with_its_facts(shared, gguf):
    assert process.find(gguf) == process.start(gguf) == shared
    assert shared.digest == hashing.of_file(gguf)


def test_another_model_or_setting_is_another_server(shared, gguf):
    assert process.find(gguf, slots=3) is None
    assert process.find(gguf, context=100) is None


STARTER = """
import sys
from diptych.llmops.server import process
print(process.start(sys.argv[1]).pid)
"""


def test_eight_starters_at_once_get_one_server_which_survives_them(gguf, home):
    command = [sys.executable, "-c", STARTER, str(gguf)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    pids = {starter.communicate(timeout=120)[0] for starter in starters}
    assert len(pids) == 1
    assert process.find(gguf).pid == int(pids.pop())


def test_stop_ends_it(gguf, home):
    server = process.start(gguf)
    assert process.stop(gguf)
    wait_for(lambda: gone(server.pid))
    assert process.find(gguf) is None
    assert not process.stop(gguf)


def test_a_missing_adapter_is_named(gguf, home, tmp_path):
    with pytest.raises(process.EndpointError, match=r"adapters: formal: .*nobody\.gguf is not"):
        process.start(gguf, adapters={"formal": tmp_path / "nobody.gguf"})


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
    with pytest.raises(process.EndpointError, match=f"is not a GGUF model: .*{told}") as error:
        process.start(path)
    assert "\n" not in str(error.value)


def test_a_model_cut_off_in_its_weights(home, gguf, tmp_path):
    path = tmp_path / "half.gguf"
    path.write_bytes(gguf.read_bytes()[: gguf.stat().st_size * 2 // 3])
    with pytest.raises(process.EndpointError, match=r"could not be loaded by llama\.cpp"):
        process.start(path)


def test_a_model_that_is_not_there(home, tmp_path):
    with pytest.raises(process.EndpointError, match=r"nobody\.gguf is not there; give a GGUF"):
        process.start(tmp_path / "nobody.gguf")


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
        assert process.find(gguf) is None  # such a server is its starter's alone
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
    path = process.model_file("hf:owner/repo/m.gguf")
    assert path.read_bytes() == hub.content
    assert answer(endpoint.client(at(path))) is not None


def test_a_model_that_was_downloaded_needs_no_hub(hub, cache, monkeypatch):
    path = process.model_file("hf:owner/repo/m.gguf")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert process.model_file("hf:owner/repo/m.gguf") == path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf:owner/repo/other.gguf", r"owner/repo has no file other\.gguf"),
        ("hf:nobody/repo/m.gguf", "there is no nobody/repo"),
        ("hf:repo/m.gguf", "not of the form hf:OWNER/REPO/FILE"),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub, cache, name, told):
    with pytest.raises(process.EndpointError, match=told):
        process.model_file(name)


def test_no_network_is_one_sentence(cache, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the library's five tries
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(process.EndpointError, match="the hub cannot be reached"):
        process.model_file("hf:owner/repo/m.gguf")


def test_the_server_file_is_read_even_if_its_server_is_dead(gguf, home):
    server = process.start(gguf)
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: gone(server.pid))
    (file,) = (home / "llm").glob("*.json")
    assert json.loads(file.read_text())["pid"] == server.pid  # left behind by the kill
    assert process.find(gguf) is None
    assert process.start(gguf).pid != server.pid


ASKS_BY_ADDRESS = """
from pathlib import Path
import httpx2
from diptych.llmops.server import process
server = process.start("own.gguf")
httpx2.post(f"{server.url}/tokenize", json={"content": "a good day"}).raise_for_status().json()
"""


def test_a_run_that_asks_a_server_found_running_is_linked_until_the_model_changes(
    gguf, home, tmp_path
):
    """A library asks by the address: no code of this package is on its stack."""
    path, model = tmp_path / "asks.ipynb", tmp_path / "own.gguf"
    shutil.copyfile(gguf, model)
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ASKS_BY_ADDRESS)]), path
    )
    server = process.start(model)
    assert not run_notebook(path, progress=False).manifest["cache"]["unknown"]
    found = entries.find(prepare(path), workspace.runs())
    assert found.run, found.why
    assert process.find(model) == server, "the run has started another"
    assert process.stop(model)
    with model.open("ab") as file:
        file.write(b"another")
    assert "own.gguf" in entries.find(prepare(path), workspace.runs()).why
