"""What README.md and docs/ name is there: commands, parameters, targets, links; the picture."""

import importlib.util
import re
import shlex
from itertools import pairwise
from pathlib import Path

import click
import pytest

import diptych
from diptych.cli import cli
from diptych.execution.declaration import read_parameters
from diptych.execution.notebooks import find_notebook

ROOT = Path(diptych.__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "teach").glob("*.md"))]
BLOCK = re.compile(r"^```(?:sh|bash)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)\)")


def commands() -> list[str]:
    """Return the lines of all pages that call diptych."""
    lines = [
        line
        for page in PAGES
        for block in BLOCK.findall(page.read_text("utf-8"))
        for line in block.splitlines()
        if line.startswith("diptych ")
    ]
    return sorted(set(lines))


@pytest.mark.parametrize("line", commands())
def test_a_command_takes_these_words_and_a_notebook_these_parameters(line, tmp_path, monkeypatch):
    (tmp_path / "my.csv").write_text("a\n")
    (tmp_path / "my_sweep.yaml").write_text("sweep: {}\n")
    monkeypatch.chdir(tmp_path)
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "$OWN"]
    notebook = next((word for word in words if re.fullmatch(r"(ml|llm)ops/\w+", word)), None)
    options = ("-p", "--grid")
    named = [word.partition("=")[0] for flag, word in pairwise(words) if flag in options]
    if notebook:
        declared = {parameter.name for parameter in read_parameters(find_notebook(notebook))}
        assert set(named) <= declared
    command, context = cli, click.Context(cli)
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0))
    if "ignore_unknown_options" not in command.context_settings:
        command.make_context(line, words, obj={})  # raises for an option that there is not


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_targets_are_there(page):
    text = page.read_text("utf-8")
    links = [link for link in LINK.findall(text) if not link.startswith("http")]
    assert not [link for link in links if not (page.parent / link).exists()]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


def test_the_readme_is_short():
    lines = README.read_text("utf-8").splitlines()
    assert len(lines) < 120
    assert max(map(len, lines)) < 500


def test_the_picture_is_that_of_the_stored_run():
    path = ROOT / "benchmarks" / "picture.py"
    spec = importlib.util.spec_from_file_location("picture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PICTURE.read_text("utf-8") == module.drawn(), "run make picture"
