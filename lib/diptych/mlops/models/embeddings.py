"""Features of texts by their meaning: what an encoder made of many other texts knows of them.

With few labels they are the strongest features of texts here. The encoder is no part of a saved
model, which names it by its hash.
"""

import json
from pathlib import Path

import numpy as np

from diptych.base.workspace import write_atomic
from diptych.core.data import embeddings
from diptych.mlops.models.estimators import ModelError

FAMILY = "embeddings"


class EmbeddingFeatures:
    """The vectors of `diptych.core.data.embeddings`; nothing of them is fitted."""

    def __init__(self):
        self._words: set[str] = set()

    @property
    def words(self) -> set[str]:
        """Words of the training texts, by which monitoring knows new ones."""
        return self._words

    def fit_transform(self, texts: list[str]) -> np.ndarray:
        """Return the vectors, shape (n, WIDTH), and note the words; shows a progress bar."""
        from diptych.core.monitoring.text_drift import vocabulary  # with pandas: not in a server

        self._words = vocabulary(texts)
        return embeddings.encode(texts, progress=True)

    def transform(self, texts: list[str]) -> np.ndarray:
        """Return the vectors, shape (n, WIDTH).

        A few texts, as an endpoint gets them, are computed without a look at the workspace.
        """
        if len(texts) <= embeddings.AT_ONCE:
            return embeddings.encoder().encode(texts)
        return embeddings.encode(texts)

    def save(self, folder: Path) -> None:
        """Write the encoder's name and hash, and the words."""
        content = {
            "encoder": embeddings.MODEL,
            "digest": embeddings.digest(),
            "words": sorted(self.words),
        }
        write_atomic(folder / "features.json", json.dumps(content, ensure_ascii=False))

    @classmethod
    def load(cls, folder: Path) -> "EmbeddingFeatures":
        """Rebuild what `save` wrote.

        Raises
        ------
        EmbeddingsError
            If the encoder of the saved model is not on this machine.
        """
        embeddings.encoder()
        content = json.loads((folder / "features.json").read_text("utf-8"))
        if content["digest"] != embeddings.digest():
            raise ModelError(
                f"it reads texts through another encoder ({content['encoder']}, "
                f"{content['digest'][:12]}…) than the one known here ({embeddings.MODEL}, "
                f"{embeddings.digest()[:12]}…)"
            )
        features = cls()
        features._words = set(content["words"])
        return features
