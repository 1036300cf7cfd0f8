"""Two tiny models for the endpoint's tests, fitted in well under a second."""

import numpy as np
import pytest

from diptych.mlops.models import model as models

GOOD, BAD = ["good", "great", "fine", "lovely"], ["bad", "dull", "poor", "awful"]
COLUMNS = ["width", "height", "depth"]


@pytest.fixture(scope="session")
def text_model(tmp_path_factory):
    """Folder of a logistic regression over words and characters."""
    words = [(word, "yes") for word in GOOD] + [(word, "no") for word in BAD]
    texts = [f"a {word} {thing}" for word, _ in words for thing in ("film", "book", "game")] * 2
    labels = [label for _, label in words for _ in range(3)] * 2
    model = models.fit(
        texts, labels, family="logistic", kind="text", features=["text"], parameters={}
    )
    return model.save(tmp_path_factory.mktemp("models") / "words")


@pytest.fixture(scope="session")
def table_model(tmp_path_factory):
    """Folder of boosted trees over three columns, of three classes."""
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    labels = np.array(["a", "b", "c"])[rows.argmax(axis=1)]
    model = models.fit(
        rows, labels, family="xgboost", kind="table", features=COLUMNS, parameters={"rounds": 5}
    )
    return model.save(tmp_path_factory.mktemp("models") / "boxes")
