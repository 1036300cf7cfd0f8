"""Vectors of texts: the same wherever a text stands, computed once, near where texts mean alike."""

import sqlite3
from contextlib import closing

import minilm
import numpy as np
import pytest

from diptych.base import workspace
from diptych.core.data import embeddings

TEXTS = ["The soup was lovely.", "A delicious broth!", "The engine will not start.", "", "\ud83d"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@minilm.needed
def test_texts_that_mean_alike_are_near_and_have_length_one(home):
    vectors = embeddings.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), embeddings.WIDTH)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > cosines[0, 2] + 0.3


@minilm.needed
def test_a_text_has_the_same_vector_alone_in_company_and_from_the_workspace(home):
    alone = np.stack([embeddings.encoder().encode([text])[0] for text in TEXTS])
    first = embeddings.encode(TEXTS)
    assert np.array_equal(alone, first)
    assert np.array_equal(embeddings.encode(TEXTS[::-1] * 2), np.tile(first[::-1], (2, 1)))
    stored = b"".join(path.read_bytes() for path in (home / "cache" / "embeddings").iterdir())
    assert b"soup" not in stored  # vectors and hashes alone


@minilm.needed
def test_the_bar_moves_by_every_text_and_each_is_stored_once(home):
    class Bar:
        moved = 0

        def update(self, n=1):
            self.moved += n

    bar = Bar()
    embeddings.encode([*TEXTS, TEXTS[0]], progress=bar)
    embeddings.encode([TEXTS[0], "new"], progress=bar)
    assert bar.moved == len(TEXTS) + 3
    (file,) = (home / "cache" / "embeddings").glob("*.db")
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM vectors").fetchone() == (len(TEXTS) + 1,)
    assert embeddings.encode([]).shape == (0, embeddings.WIDTH)


def test_without_the_model_one_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path))
    with pytest.raises(embeddings.EmbeddingsError, match="`diptych model get minilm-l6-v2`"):
        embeddings.encoder()


@pytest.mark.skipif("onnxruntime" in minilm.REASON, reason=minilm.REASON or "it is here")
def test_another_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path))
    (tmp_path / embeddings.MODEL).mkdir()
    for name in embeddings.FILES:
        (tmp_path / embeddings.MODEL / name).write_text("not a model")
    with pytest.raises(embeddings.EmbeddingsError, match=r"model.onnx was changed or damaged"):
        embeddings.encoder()


def test_the_files_are_those_of_the_catalogue():
    from diptych.llmops.server import catalogue

    entry = catalogue.catalogue(workspace.models())[embeddings.MODEL]
    assert {file.name: file.sha256 for file in entry.files}.items() >= embeddings.FILES.items()


def test_the_model_is_looked_for_where_it_is_downloaded_to(tmp_path, monkeypatch):
    from diptych.llmops.server import store

    entry = store.entry(embeddings.MODEL)
    for name, value in [("DIPTYCH_MODELS", "models"), ("XDG_CACHE_HOME", "cache")]:
        monkeypatch.delenv("DIPTYCH_MODELS", raising=False)
        monkeypatch.setenv(name, str(tmp_path / value))
        places = [store.place_of(entry, file) for file in entry.files]
        assert {embeddings.folder() / name for name in embeddings.FILES} <= set(places)
