"""Features: the same matrix after a trip to disk, and no surprise from odd rows."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mlops.samples import inputs

from diptych.mlops.models.features import TableFeatures, TextFeatures

TEXTS = ["Good, really good!", "not good", "It isn't good?", "really bad", "so bad, really bad!"]
TABLES = arrays.arrays(np.float32, (6, 3), elements=st.floats(-1e6, 1e6, width=32))


@pytest.mark.parametrize("chars", [False, True])
def test_texts_give_the_same_matrix_after_a_trip_to_disk(chars, tmp_path):
    texts, _ = inputs("text", "train")
    new, _ = inputs("text", "test")
    features = TextFeatures(chars)
    features.fit_transform(texts)
    features.save(tmp_path)
    before, after = features.transform(new), TextFeatures.load(tmp_path).transform(new)
    assert before.shape == after.shape
    assert (before != after).nnz == 0


def test_fitting_gives_the_matrix_that_transforming_gives():
    for chars in (False, True):
        features = TextFeatures(chars)
        assert abs(features.fit_transform(TEXTS) - features.transform(TEXTS)).max() < 1e-6


def test_characters_add_columns_that_a_typing_error_leaves():
    texts, _ = inputs("text", "train")
    words, both = TextFeatures(), TextFeatures(chars=True)
    narrow, wide = words.fit_transform(texts), both.fit_transform(texts)
    assert wide.shape[1] > narrow.shape[1]
    assert (wide[:, : narrow.shape[1]] != narrow).nnz == 0
    assert words.transform(["wondrefull"]).nnz == 0
    assert both.transform(["wondrefull"]).nnz > 0


def test_words_are_single_and_met_at_least_twice():
    features = TextFeatures()
    features.fit_transform(TEXTS)
    assert features.words == {"good", "really", "bad", "!"}


@pytest.mark.parametrize("text", ["", "   ", "unheard", "\x00", "🙂" * 5])
def test_a_text_without_known_words_is_a_row_of_zeros(text):
    features = TextFeatures()
    features.fit_transform(TEXTS)
    found = features.transform([text])
    assert found.shape[0] == 1
    assert found.nnz == 0


def test_terms_of_any_script_survive_the_disk(tmp_path):
    texts = ["schön größe", "schön größe", "とても 良い", "とても 良い", 'a"b \\n', 'a"b \\n']
    features = TextFeatures()
    features.fit_transform(texts)
    features.save(tmp_path)
    json.loads((tmp_path / "features.json").read_text("utf-8"))
    loaded = TextFeatures.load(tmp_path)
    assert loaded.words == features.words >= {"schön", "とても"}
    assert (loaded.transform(texts) != features.transform(texts)).nnz == 0


@given(TABLES)
def test_columns_get_mean_0_and_deviation_1(rows):
    found = TableFeatures().fit_transform(rows).astype(float)
    for column, given_ in zip(found.T, rows.T.astype(float), strict=True):
        spread = given_.std()
        if spread > 1e-2 * (1 + abs(given_).max()):  # else float32 has few digits left
            assert abs(column.mean()) < 1e-3
            assert abs(column.std() - 1) < 1e-3
        assert np.isfinite(column).all()


def test_a_constant_column_stays_finite():
    features = TableFeatures()
    np.testing.assert_array_equal(features.fit_transform(np.full((3, 1), 7.0)), np.zeros((3, 1)))
    np.testing.assert_array_equal(features.transform(np.array([[8.0]])), [[1.0]])


def test_a_missing_value_takes_the_mean():
    rows = np.array([[1.0, 5.0], [3.0, np.nan], [np.nan, 7.0]])
    features = TableFeatures()
    found = features.fit_transform(rows)
    np.testing.assert_allclose(found, [[-1, -1], [1, 0], [0, 1]])
    np.testing.assert_allclose(features.transform([[np.nan, np.nan]]), [[0, 0]])


def test_a_column_that_is_missing_throughout_is_zero():
    rows = np.array([[np.nan, 1.0], [np.nan, 3.0]])
    np.testing.assert_allclose(TableFeatures().fit_transform(rows), [[0, -1], [0, 1]])


def test_tables_give_the_same_rows_after_a_trip_to_disk(tmp_path):
    rows, _ = inputs("table", "train")
    features = TableFeatures()
    before = features.fit_transform(rows)
    features.save(tmp_path)
    np.testing.assert_array_equal(TableFeatures.load(tmp_path).transform(rows), before)
