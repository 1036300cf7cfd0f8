"""The shipped model, or where there is none yet a tiny one of random weights; a workspace each."""

import os

import pytest
from processes import end_servers

from diptych.core.store.calls import Calls
from diptych.llmops.server import llama, process


@pytest.fixture(scope="session")
def gguf(tmp_path_factory):
    """A GGUF file of a model that chats."""
    if llama.SHIPPED.is_file():
        return llama.SHIPPED
    pretrain = pytest.importorskip(
        "diptych.llmops.pretrain", reason="neither a shipped model nor the package that makes one"
    )
    return tiny(pretrain, tmp_path_factory.mktemp("model"))


def tiny(pretrain, folder):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from diptych.llmops.pretrain import export, tokenizer

    torch.manual_seed(0)
    tokenizer.train(folder / "tokenizer.json", 512, 200, 0)
    config = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512,
        tie_word_embeddings=True,
    )  # fmt: skip
    return export.to_gguf(LlamaForCausalLM(config), folder / "tokenizer.json", folder / "tiny.gguf")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A workspace of the test's own; servers started in it are ended."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    end_servers(tmp_path / "home")


@pytest.fixture
def calls(tmp_path):
    """A ledger of the test's own."""
    with Calls(tmp_path / "ledger.db") as calls:
        yield calls


@pytest.fixture(scope="module")
def shared(gguf, tmp_path_factory):
    """One server for the tests of a module that do not end it: its facts."""
    before = os.environ.get("DIPTYCH_HOME")
    os.environ["DIPTYCH_HOME"] = str(tmp_path_factory.mktemp("home"))
    try:
        yield process.start(gguf, idle_s=600)
        process.stop(gguf)
    finally:
        if before is None:
            del os.environ["DIPTYCH_HOME"]
        else:
            os.environ["DIPTYCH_HOME"] = before
