"""The featurizer's short way gives what scikit-learn's own vectorizers give."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from diptych.mlops.models.features import TextFeatures

TEXTS = [
    "The film was great, really great! I'd see it again.",
    "The film was dull. Not great, not even good?",
    "Good food, good service!",
    "Bad food and bad service; I'd not go again.",
    "Schön, but the food was good! とても 良い",
] * 2


@functools.cache
def theirs(chars: bool, texts: tuple) -> list:
    """Fit scikit-learn's vectorizers, with what the featurizer says of itself."""
    options = {"sublinear_tf": True, "dtype": np.float32}
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, token_pattern=r"[\w']+|[!?]", **options)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, **options)
    return [vectorizer.fit(texts) for vectorizer in ([words, letters] if chars else [words])]


@pytest.fixture(params=[False, True], ids=["words", "words and characters"], scope="module")
def features(request):
    fitted = TextFeatures(chars=request.param)
    fitted.fit_transform(TEXTS)
    return fitted


def assert_same(features, texts, fitted=TEXTS):
    ours = features.transform(texts)
    parts = [v.transform(texts) for v in theirs(features.chars, tuple(fitted))]
    expected = hstack(parts, format="csr")
    assert ours.shape == expected.shape
    assert ours.dtype == expected.dtype
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(ours, part), getattr(expected, part))


@pytest.mark.parametrize(
    "texts", [TEXTS, TEXTS[:1], [""], ["qqq"], ["", TEXTS[0], "qqq"], ["good" * 30] * 2]
)
def test_bit_for_bit_as_the_vectorizers(features, texts):
    assert_same(features, texts)


@given(
    st.lists(st.text(alphabet="film wasgret!?'öİΣ良\n\u3000", max_size=40), min_size=1, max_size=4)
)
def test_bit_for_bit_on_any_text(features, texts):
    assert_same(features, texts)


def test_also_after_a_trip_to_disk(features, tmp_path):
    features.save(tmp_path)
    loaded = TextFeatures.load(tmp_path)
    assert loaded.words == features.words
    assert_same(loaded, TEXTS)


def test_fitting_again_forgets_the_first_texts():
    features = TextFeatures()
    features.fit_transform(TEXTS)
    features.transform(TEXTS)
    features.fit_transform(["apple pie", "apple cake"])
    assert features.transform(["apple"]).shape == (1, 1)
    assert_same(features, ["apple pie"], fitted=["apple pie", "apple cake"])
