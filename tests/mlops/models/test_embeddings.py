"""The family of texts by meaning: fitted, saved without the encoder, loaded where that is."""

import minilm
import numpy as np
import pandas as pd
import pytest

from diptych.core.data.tasks import get
from diptych.mlops import build
from diptych.mlops.models import embeddings as family
from diptych.mlops.models import model as models

GOOD = ["wonderful", "lovely", "great", "superb", "delightful", "excellent"]
BAD = ["awful", "terrible", "broken", "dreadful", "useless", "disappointing"]
ROWS = [f"The {thing} was {word}." for thing in ("soup", "room") for word in GOOD + BAD]
LABELS = (["positive"] * 6 + ["negative"] * 6) * 2
NEW = ["I adored every minute of it", "What a horrid waste of money"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))


def fitted():
    options = {"family": family.FAMILY, "kind": "text", "features": ["text"], "parameters": {}}
    return models.fit(ROWS, LABELS, **options)


@minilm.needed
def test_words_it_never_met_are_understood_and_a_saved_model_answers_the_same(tmp_path):
    model = fitted()
    assert model.predict(NEW).tolist() == ["positive", "negative"]
    model.calibrate(ROWS, LABELS)
    loaded = models.load(model.save(tmp_path / "model"))
    assert np.array_equal(loaded.predict_proba(NEW), model.predict_proba(NEW))
    assert models.size_mb(tmp_path / "model") < 0.1  # the encoder is not in it
    assert "soup" in loaded.encoder.words


@minilm.needed
def test_where_the_encoder_is_not_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    place = fitted().save(tmp_path / "model")
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path / "empty"))
    with pytest.raises(models.ModelError, match="get it with `diptych model get minilm") as raised:
        models.load(place)
    assert "build it again" not in str(raised.value)


@pytest.fixture
def reviews():
    task = get("reviews")
    frame = task.load()
    return task, pd.concat([part.head(30) for _, part in frame.groupby("split")])


def test_without_the_model_the_others_are_compared_and_a_line_says_why(
    reviews, tmp_path, monkeypatch, capsys
):
    task, data = reviews
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path))
    tuned, _ = build.tune_all(data, task, "auto", 1, 0)
    assert tuned
    assert family.FAMILY not in tuned
    line = "embeddings: not compared; minilm-l6-v2 is not on this machine; get it with `diptych"
    assert capsys.readouterr().out.startswith(line)
    with pytest.raises(models.ModelError, match="family: 'embeddings' cannot be fitted"):
        build.tune_all(data, task, family.FAMILY, 1, 0)


@minilm.needed
def test_few_rows_are_embedded_unasked_and_many_only_if_asked(reviews, monkeypatch, capsys):
    task, data = reviews
    tuned, tried = build.tune_all(data, task, "auto", 1, 0)
    assert family.FAMILY in tuned
    assert family.FAMILY in set(tried["family"])
    monkeypatch.setattr(build, "EMBEDDED", 10)
    assert family.FAMILY not in build.tune_all(data, task, "auto", 1, 0)[0]
    assert "of more than 10 train rows only if asked for" in capsys.readouterr().out
    assert family.FAMILY in build.tune_all(data, task, family.FAMILY, 1, 0)[0]
