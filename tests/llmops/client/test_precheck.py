"""Models are looked at before a kernel starts: what is missing is named with its remedy."""

import sys

import pytest

from diptych.base.errors import ParameterError
from diptych.core.store.calls import Calls
from diptych.llmops.client import precheck


@pytest.mark.parametrize(
    "models",
    [
        ["local"],
        ["openai/gpt-5"],
        ["http://127.0.0.1:1/v1#tiny"],
        ["recorded/qwen2.5-coder-0.5b"],
        ["local/diptych"],
        ["local/hf:owner/name/file.gguf"],
    ],
)
def test_models_that_can_be_asked_pass(models, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "made-up")
    precheck.check({"models": models})
    precheck.check({"task": "reviews"})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("http://127.0.0.1:1/v1", r"append its name: http://127.0.0.1:1/v1#NAME"),
        ("opnai/gpt-5", "opnai"),
        ("openai/gpt-5?=3", "models: "),
        ("openai/gpt-5", "models: openai: the environment variable OPENAI_API_KEY is not set"),
        ("local/qwen2.5-coder-0.5b", r"models: qwen2.5-coder-0.5b .*`diptych model get qwen2.5-c"),
        ("local/qwen-of-nobody", "models: 'qwen-of-nobody' is not known"),
        ("local//nowhere/model.gguf", "/nowhere/model.gguf is not there"),
        ("recorded/nobody", "recorded/nobody: there is no such recording"),
    ],
)
def test_a_model_that_cannot_be_asked_is_named(model, message, monkeypatch, tmp_path):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ParameterError, match=message):
        precheck.check({"models": [model]})
    as_judge = message.replace("models: ", "judge: ")
    with pytest.raises(ParameterError, match=as_judge):
        precheck.check({"models": ["local"], "judge": model})


def test_a_local_model_without_its_group_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    sys.path_importer_cache.clear()
    with pytest.raises(ParameterError, match=r"'local': xllamacpp is not installed.*\[local\]"):
        precheck.check({"models": ["local"]})


def test_answers_in_the_ledger_need_no_key(monkeypatch, tmp_path):
    monkeypatch.setenv("DIPTYCH_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    row = {"model": "gpt-5", "request": "r", "input": {}}
    with Calls(tmp_path / "ledger.db") as calls:
        calls.log([{**row, "endpoint": "anthropic"}])
        with pytest.raises(ParameterError, match="OPENAI_API_KEY"):
            precheck.check({"models": ["openai/gpt-5"]})
        calls.log([{**row, "endpoint": "openai"}])
    precheck.check({"models": ["openai/gpt-5"]})
