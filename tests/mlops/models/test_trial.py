"""A model's file that crashes XGBoost, with checksums made right, ends no process of the user's."""

import json

import pytest
from mlops.samples import fitted, inputs, reseal

from diptych.base import hashing, workspace
from diptych.mlops.models import model as models
from diptych.mlops.models import trial
from diptych.mlops.models.model import ModelError


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A saved model in a workspace of its own."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    return fitted("table", "xgboost").save(tmp_path / "model")


def known():
    return (workspace.home() / "tried-models").read_text().splitlines()


def test_a_file_that_crashes_its_library_is_refused_in_a_sentence(saved):
    file = saved / "model.ubj"
    content = bytearray(file.read_bytes())
    content[content.index(b"left_children[$l#L") + 23] = 0x40  # a list of 2 ** 22 numbers
    file.write_bytes(content)
    checksums = json.loads((saved / "model.json").read_text())["files"]
    reseal(saved, files=checksums | {file.name: hashing.of_file_now(file)})
    with pytest.raises(ModelError, match=r"its files crash their library \(signal \d+\)"):
        models.load(saved)
    assert len(known()) == 1, "the one that was saved; this one is tried again"


def test_what_this_workspace_saved_is_tried_no_more_and_what_others_did_once(saved):
    rows, _ = inputs("table")
    expected = fitted("table", "xgboost").predict(rows).tolist()
    assert len(known()) == 1
    assert models.load(saved).predict(rows).tolist() == expected
    (workspace.home() / "tried-models").unlink()
    trial._KNOWN.clear()
    assert models.load(saved).predict(rows).tolist() == expected
    assert len(known()) == 1
