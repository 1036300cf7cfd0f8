"""The header of a GGUF file, as far as a server needs it before it loads the model.

The format is described in ggml's docs/gguf.md. The reader of the package gguf takes seconds for a
large vocabulary; this one stops at what it looks for.
"""

import mmap
import struct
from pathlib import Path

from diptych.base.serving import ServeError

FORMATS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q",
           12: "<d"}  # fmt: skip
TEXT, ARRAY = 8, 9
SHAPE = {"block_count", "embedding_length", "feed_forward_length", "attention.head_count"}
LISTED = 64 * 2**20  # bytes, within which vocabulary and list of tensors end


def header(path: Path) -> dict:
    """Return the values of a GGUF header by name, up to the vocabulary; lists are left out.

    Names of the architecture's values are without it: ``context_length``, ``block_count``.

    Raises
    ------
    ServeError
        If there is no such file, or it is no GGUF of a model.
    """
    values = {}
    try:
        with path.open("rb") as file:
            magic, _, _, pairs = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF":
                raise ValueError("it does not begin with GGUF")
            for _ in range(pairs):
                name = file.read(_number(file, "<Q")).decode()
                if name.startswith("tokenizer.") and "context_length" in values:
                    break  # a vocabulary takes long to pass over
                value = _value(file, _number(file, "<I"))
                if value is not None:
                    architecture = f"{values.get('general.architecture', '')}."
                    values[name.removeprefix(architecture)] = value
        if "context_length" not in values:
            raise ValueError("it names no context length, so it holds no language model")
    except OSError as error:
        raise ServeError(f"model: {path} cannot be read ({error.strerror}); check it") from error
    except (ValueError, struct.error, MemoryError, OverflowError) as error:
        reason = error if type(error) is ValueError else "its header is cut off or damaged"
        raise ServeError(f"model: {path} is not a GGUF model: {reason}; give another") from error
    return values


def context_length(path: Path) -> int:
    """Return how many tokens a GGUF model was trained for; see `header`."""
    return int(header(path)["context_length"])


def cache_bytes(values: dict) -> int:
    """Return the memory that a token of a conversation takes: its keys and values in half floats.

    Parameters
    ----------
    values : dict
        As `header` returns them. Where heads differ by layer, each layer counts as a full one.
    """
    heads = int(values.get("attention.head_count") or 1)
    width = int(values.get("embedding_length") or 0)
    size = int(values.get("attention.key_length") or width // heads)
    cached = int(values.get("attention.head_count_kv") or heads)
    return 2 * 2 * int(values.get("block_count") or 0) * cached * size


def layer_numbers(values: dict) -> int:
    """Return how many numbers the matrices of all layers hold, of a model without experts.

    Parameters
    ----------
    values : dict
        As `header` returns them, with those of `SHAPE`.
    """
    width, inner = int(values["embedding_length"]), int(values["feed_forward_length"])
    heads = int(values["attention.head_count"])
    size = int(values.get("attention.key_length") or width // heads)
    cached = int(values.get("attention.head_count_kv") or heads)
    attention = 2 * width * size * (heads + cached)
    return int(values["block_count"]) * (attention + 3 * width * inner)


def has_tensor(path: Path, name: str) -> bool:
    """Say whether a GGUF file names a tensor in its list, which stands within its first 64 MiB."""
    text = name.encode()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(struct.pack("<Q", len(text)) + text, 0, LISTED) >= 0


def _number(file, form: str):
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _value(file, kind: int):
    """Read one value of a GGUF header; arrays are passed over."""
    if kind == TEXT:
        return file.read(_number(file, "<Q")).decode(errors="replace")
    if kind == ARRAY:
        inner = _number(file, "<I")
        for _ in range(_number(file, "<Q")):
            _value(file, inner)
        return None
    if kind not in FORMATS:
        raise ValueError(f"its header has a value of unknown kind {kind}")
    return _number(file, FORMATS[kind])
