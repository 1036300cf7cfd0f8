"""The diagram of a lifecycle shows every stage, in words too; an interpretation says something."""

import pytest

from diptych.core.plots import lifecycle
from diptych.core.plots.interpretation import interpret
from diptych.execution.notebooks import short_name
from diptych.execution.refresh import in_order


def test_every_stage_has_its_place():
    stages = {short_name(path) for path in in_order()} - {"start_here", "contrast"}
    assert stages == set(lifecycle.STAGES)


def test_it_is_described_in_words(capsys):
    lifecycle.show_stage("mlops/2_build")
    text = capsys.readouterr().out
    assert "2 build is picked out" in text
    assert lifecycle.STAGES["mlops/2_build"][1] in text


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="no stage"):
        lifecycle.show_stage("mlops/7_retire")


def test_an_interpretation_is_printed_where_no_notebook_is(capsys):
    interpret("Three of four are right.", "", "Look at the fourth.")
    assert capsys.readouterr().out == "Three of four are right. Look at the fourth.\n"
    with pytest.raises(ValueError, match="say what the output shows"):
        interpret("", " ")
