"""Models are looked at before a kernel starts: what is missing is named with its remedy."""

import sys

import pytest

from diptych.base.errors import ParameterError
from diptych.llmops.client import precheck


@pytest.mark.parametrize(
    "models",
    [["local"], ["openai/gpt-5"], ["http://127.0.0.1:1/v1#tiny"], ["recorded/qwen2.5-coder-0.5b"]],
)
def test_models_that_can_be_asked_pass(models):
    precheck.check({"models": models})
    precheck.check({"task": "reviews"})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("http://127.0.0.1:1/v1", r"append its name: http://127.0.0.1:1/v1#NAME"),
        ("opnai/gpt-5", "opnai"),
        ("openai/gpt-5?=3", "models: "),
    ],
)
def test_a_model_that_cannot_be_asked_is_named(model, message):
    with pytest.raises(ParameterError, match=message):
        precheck.check({"models": [model]})


def test_a_local_model_without_its_group_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    sys.path_importer_cache.clear()
    with pytest.raises(ParameterError, match=r"'local': xllamacpp is not installed.*\[local\]"):
        precheck.check({"models": ["local"]})
