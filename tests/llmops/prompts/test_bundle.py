"""A saved prompt: what the commits before wrote can still be read, and nothing is lost."""

import json

import pytest

from diptych.llmops.client.target import Target
from diptych.llmops.prompts import bundle
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

LABELS = {"type": "string", "enum": ["no", "yes"]}
PROMPT = Prompt("p", "t", ("text",), "", "{text}", output=LABELS)
OLD = """{
 "name": "plain",
 "endpoint": "openai",
 "model": "gpt-4o",
 "temperature": 0.5,
 "parameters": {"logprobs": null, "top_p": 1},
 "server": {}
}"""  # as it was before there was a Target


def test_a_folder_of_an_earlier_version_is_read(tmp_path):
    bundle.save(Variant(PROMPT), tmp_path)
    (tmp_path / bundle.SETTINGS).write_text(OLD)
    target = Target("openai", "gpt-4o", {"logprobs": None, "top_p": 1})
    found = bundle.load(tmp_path)
    assert (found.prompt.name, found.prompt.version) == ("plain", PROMPT.version)
    assert (found.target, found.temperature, found.shots) == (target, 0.5, 0)
    bundle.save(found, tmp_path)
    assert json.loads((tmp_path / bundle.SETTINGS).read_text()) == json.loads(OLD)


def test_what_is_saved_is_loaded(tmp_path):
    target = Target("http://127.0.0.1:9/v1", "m", {"top_p": 0.5}, key_env="TEST_KEY")
    variant = Variant(PROMPT, target, temperature=0.5)
    assert bundle.load(bundle.save(variant, tmp_path)) == variant


@pytest.mark.parametrize("text", ["{}", "[]", OLD.replace("server", "servers")])
def test_settings_that_are_none_are_named(tmp_path, text):
    bundle.save(Variant(PROMPT), tmp_path)
    (tmp_path / bundle.SETTINGS).write_text(text)
    with pytest.raises(bundle.VariantError, match="holds no saved prompt"):
        bundle.load(tmp_path)
