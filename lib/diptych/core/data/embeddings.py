"""Texts as vectors of what they mean: MiniLM (22 MB, ONNX), without torch.

The vector of a text is the mean of its tokens' vectors at length 1, as the model's publisher says
(https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2; N. Reimers and I. Gurevych,
"Sentence-BERT", 2019, arXiv 1908.10084). The product of two vectors is their cosine.

The model's files are in the store of models, see `folder`. `encode` keeps the vectors in the
workspace, by a hash of the text, so that each text is computed once.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import numpy as np

from diptych.base import environment, groups, hashing, workspace
from diptych.base import notebook_progress as bars
from diptych.base.errors import Plain

MODEL = "minilm-l6-v2"
FILES = {
    "model.onnx": "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
WIDTH = 384
LONGEST = 256  # tokens that are read of a text, as the publisher sets it
AT_ONCE = 256  # texts between two looks at the progress bar
ASKED = 500  # hashes in a question to the cache; SQLite takes no more than 999


class EmbeddingsError(Plain, ValueError):
    """Texts cannot be embedded here; the message says what to do."""


def folder() -> Path:
    """Return where the model's files belong: in the store that ``diptych model get`` fills."""
    return workspace.models() / MODEL


def unavailable() -> str:
    """Return why texts cannot be embedded on this machine and the remedy; "" if they can."""
    if any(not (folder() / name).is_file() for name in FILES):
        return f"{MODEL} is not on this machine; get it with `diptych model get {MODEL}` (23 MB)"
    return groups.missing("onnxruntime") or groups.missing("tokenizers")


class Encoder:
    """MiniLM, loaded.

    Attributes
    ----------
    digest : str
        SHA-256 of its files' hashes: equal vectors come from equal files.
    """

    def __init__(self, place: Path):
        import onnxruntime
        from tokenizers import Tokenizer

        self.digest = digest()
        self._tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)
        options = onnxruntime.SessionOptions()
        # one thread a text and several texts at once: no thread waits for another
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(place / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts, float32, shape (n, WIDTH).

        Each text is computed alone. In a batch it would get slightly other numbers, since the
        model rounds to 8 bits by the largest number in the whole batch. So a text has the same
        vector in training and in service.
        """
        vectors = np.empty((len(texts), WIDTH), np.float32)
        with ThreadPoolExecutor(min(environment.cores(), max(1, len(texts)))) as pool:
            for row, vector in enumerate(pool.map(self._vector, texts)):
                vectors[row] = vector
        return vectors

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, at most `LONGEST`."""
        whole = text.encode("utf-8", "replace").decode()  # half a character becomes "?"
        return self._tokenizer.encode(whole).ids

    def _vector(self, text: str) -> np.ndarray:
        ids = np.array([self.tokens(text)], np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        (states,) = self._session.run(["last_hidden_state"], inputs)
        mean = states[0].mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-12)


def digest() -> str:
    """Return the hash by which a saved model names the encoder that it was fitted with."""
    return hashing.of_json(FILES)


def encoder() -> Encoder:
    """Return the encoder, loaded once in a process.

    Raises
    ------
    EmbeddingsError
        If it is not on this machine, or a file of it was changed.
    """
    if reason := unavailable():
        raise EmbeddingsError(f"embeddings: {reason}")
    place = folder()
    for name, expected in FILES.items():
        if (seen := hashing.of_file(place / name)) != expected:
            raise EmbeddingsError(
                f"embeddings: {place / name} was changed or damaged: its SHA-256 is {seen[:12]}…, "
                f"not {expected[:12]}…. Run `diptych model rm {MODEL}` and "
                f"`diptych model get {MODEL}`"
            )
    return _loaded(place)


@lru_cache(1)
def _loaded(place: Path) -> Encoder:
    return Encoder(place)


def encode(texts: Sequence[str], progress: bars.ProgressBar | bool = False) -> np.ndarray:
    """Return the vectors of texts, float32, shape (n, WIDTH); each text is computed once.

    The vectors stay in the workspace, without the texts.

    Parameters
    ----------
    texts : sequence of str, shape (n,)
    progress : ProgressBar or bool
        Moved on by each text.

    Raises
    ------
    EmbeddingsError
        As `encoder` does.
    """
    model = encoder()
    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16] for text in texts]
    place = workspace.home() / "cache" / "embeddings"
    place.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(place / f"{model.digest[:16]}.db", timeout=60)) as database:
        database.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB)")
        known = dict(_known(database, list(dict.fromkeys(keys))))
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        with bars.within(progress, len(keys), "text") as bar:
            bar.update(len(keys) - len(new))
            for part in _parts(list(new), AT_ONCE):
                vectors = model.encode([new[key] for key in part])
                known |= zip(part, vectors, strict=True)
                rows = [(key, known[key].tobytes()) for key in part]
                with database:  # written at once, so what is done stays after an interruption
                    database.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
                bar.update(len(part))
    return np.array([known[key] for key in keys], np.float32).reshape(-1, WIDTH)


def _known(database: sqlite3.Connection, keys: list[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
    for part in _parts(keys, ASKED):
        marks = ", ".join("?" * len(part))
        rows = database.execute(f"SELECT text, vector FROM vectors WHERE text IN ({marks})", part)
        for key, vector in rows:
            yield key, np.frombuffer(vector, np.float32)


def _parts(entries: list, size: int) -> Iterator[list]:
    return (entries[i : i + size] for i in range(0, len(entries), size))
