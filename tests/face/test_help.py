import shlex

import click
import pytest
from click.testing import CliRunner

from diptych.cli import EXAMPLES, cli


def test_every_command_has_one_example_and_help_shows_it():
    assert set(EXAMPLES) == set(cli.commands)
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert all(" ".join(example.split()[:3]) in shown for example in EXAMPLES.values())


@pytest.mark.parametrize("example", EXAMPLES.values())
def test_an_example_is_one_that_the_command_takes(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").write_text("a\n")
    command, words = cli, shlex.split(example)[1:]
    context = click.Context(cli)
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0))
    if "ignore_unknown_options" not in command.context_settings:
        command.make_context(example, words, obj={})  # raises for an option that there is not
