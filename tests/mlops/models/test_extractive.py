"""Extractive summaries: sentences are ranked, saved and answered like any other model's classes."""

import numpy as np
import pytest

from diptych.base.http_load import drive
from diptych.core.data import tasks
from diptych.core.evaluation.text_metrics import sentences
from diptych.mlops import build
from diptych.mlops.models import model as models
from diptych.mlops.models.extractive import SentenceFeatures, sentences_at
from diptych.mlops.serving.process import Endpoint


@pytest.fixture(scope="module")
def task():
    return tasks.get("summaries")


@pytest.fixture(scope="module")
def rows(task):
    frame = task.load()
    return frame[frame["split"] != "live"].groupby("split").head(400)


def served(model, texts):
    """Return what a model's endpoint says of each text."""
    with Endpoint(model, ledger=model / "ledger.db") as server:
        load = drive(f"{server.url}/invocations", [{"inputs": [text]} for text in texts])
    return [answer["answers"][0] for answer in load.answers]


def test_places_start_anew_in_each_text():
    features = SentenceFeatures()
    found = features.fit_transform(["It is good. It is big.", "It is good.", "Bad. Good. It is."])
    assert found.counts.tolist() == [2, 1, 3]
    assert found.places.tolist() == [0, 1, 0, 0, 1, 2]
    assert found.shape[0] == 3
    assert found.matrix.shape[0] == 6


def test_the_sentence_at_a_place_is_said_and_the_last_of_a_shorter_text():
    texts = ["One. Two. Three.", "Only one."]
    assert sentences_at(texts, ["2", "3"]) == ["Two.", "Only one."]


def test_the_ranker_beats_the_first_sentence_and_stays_the_same_on_disk(task, rows, tmp_path):
    assert build.families("auto", task) == ["lead", "ranker"]
    assert build.families("ranker", task) == ["lead", "ranker"]
    tuned = {name: build.tune(rows, task, name, 1, 0)[0] for name in ("lead", "ranker")}
    test = build.part(rows, "test")
    scores = {name: build.evaluate(model, test, task.grader) for name, model in tuned.items()}
    assert scores["ranker"].grade.mean() > scores["lead"].grade.mean() + 0.2
    assert scores["lead"].output == [sentences(text)[0] for text in test["text"]]
    assert all(one in text for one, text in zip(scores["ranker"].output, test["text"], strict=True))
    for name, model in tuned.items():
        again = models.load(model.save(tmp_path / name))
        texts = [*test["text"].head(20), "", "Only one sentence"]
        np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
        assert np.allclose(again.predict_proba(texts).sum(axis=1), 1)
    assert served(tmp_path / "ranker", test["text"].head(5)) == scores["ranker"].output[:5]


def test_a_family_for_summaries_suits_no_other_texts(task):
    with pytest.raises(models.ModelError, match=r"'ranker' does not suit text data; take auto, "):
        build.families("ranker", tasks.get("reviews"))
    with pytest.raises(models.ModelError, match=r"take auto, lead, ranker"):
        build.families("logistic", task)


def test_canned_answers_are_graded_by_what_they_say_and_kept_with_the_model(tmp_path):
    support = tasks.get("support")
    rows = support.load().groupby("split").head(500)
    model, _ = build.tune(rows, support, "logistic", 1, 0)
    found = build.evaluate(model, build.part(rows, "test"), support.grader)
    own = build.part(rows, "test")["slice"].eq("own fact").to_numpy()
    assert not found.correct[own].any()
    assert found.correct[~own].mean() > 0.8
    assert set(found.output) <= set(support.replies.values())
    again = models.load(model.save(tmp_path / "model"))
    assert again.replies == support.replies
    assert build.refit(model, build.part(rows, "train"), support, 0).replies == support.replies
    texts = build.part(rows, "test")["text"].head(5)
    assert served(tmp_path / "model", texts) == found.output[:5]
