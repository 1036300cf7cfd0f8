"""Rows that say what a train row says are found, and what was not measured is said."""

import minilm
import numpy as np
import pandas as pd
import pytest

from diptych.core.data import near_copies

TRAIN = ["The soup was cold and the waiter rude.", "I bought this charger for my phone.",
         "The film drags in the middle."]  # fmt: skip
OTHERS = ["The soup was cold, and the waiter was rude!", "Rain is expected tomorrow."]


def frame():
    texts = TRAIN + OTHERS
    splits = ["train"] * 3 + ["test", "valid"]
    return pd.DataFrame({"id": [f"r{i}" for i in range(5)], "text": texts, "split": splits})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))


@minilm.needed
def test_the_same_in_other_words_is_found_with_its_train_row():
    found = near_copies.by_meaning(frame())
    assert found.count == 1
    assert found.pairs[["id", "train_id"]].to_numpy().tolist() == [["r3", "r0"]]
    assert len(found.nearest) == 2
    shares = found.shares.set_index("name")["value"]
    assert shares.to_dict() == {"test": 1.0, "valid": 0.0}
    assert found.note.startswith("Near copies by meaning: 1 of 2 rows")


@minilm.needed
def test_of_many_rows_a_sample_is_compared_which_is_said(monkeypatch):
    monkeypatch.setattr(near_copies, "TRAIN", 2)
    assert (
        "2 of 3 train rows were compared, so there may be more"
        in near_copies.by_meaning(frame()).note
    )


def test_the_nearest_is_the_nearest_across_blocks(monkeypatch):
    monkeypatch.setattr(near_copies, "BLOCK", 3)
    rng = np.random.default_rng(0)
    known, vectors = rng.normal(size=(20, 8)), rng.normal(size=(10, 8))
    places, cosines = near_copies._nearest(vectors, known)
    for vector, place, cosine in zip(vectors, places, cosines, strict=True):
        assert place == max(range(20), key=lambda i: vector @ known[i])
        assert cosine == pytest.approx(vector @ known[place])


def test_what_is_not_measured_is_no_zero(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path / "none"))
    found = near_copies.by_meaning(frame())
    assert found.count is None
    assert "`diptych model get minilm-l6-v2`" in found.note
    assert near_copies.by_meaning(frame()[["id", "split"]]).count is None
