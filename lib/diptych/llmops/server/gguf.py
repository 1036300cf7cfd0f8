"""The header of a GGUF file, as far as a server needs it before it loads the model.

The format is described in ggml's docs/gguf.md. The reader of the package gguf takes seconds for a
large vocabulary; this one stops at what it looks for.
"""

import struct
from pathlib import Path

from diptych.base.serving import ServeError

FORMATS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q",
           12: "<d"}  # fmt: skip
TEXT, ARRAY = 8, 9


def context_length(path: Path) -> int:
    """Return how many tokens a GGUF model was trained for.

    Only the header is read, by the format's description (ggml, docs/gguf.md).

    Raises
    ------
    ServeError
        If there is no such file, or it is no GGUF of a model.
    """
    try:
        with path.open("rb") as file:
            magic, _, _, pairs = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF":
                raise ValueError("it does not begin with GGUF")
            for _ in range(pairs):
                name = file.read(_number(file, "<Q")).decode()
                value = _value(file, _number(file, "<I"))
                if name.endswith(".context_length"):
                    return int(value)
        raise ValueError("it names no context length, so it holds no language model")
    except OSError as error:
        raise ServeError(f"model: {path} cannot be read ({error.strerror}); check it") from error
    except (ValueError, struct.error, MemoryError, OverflowError) as error:
        reason = error if type(error) is ValueError else "its header is cut off or damaged"
        raise ServeError(f"model: {path} is not a GGUF model: {reason}; give another") from error


def _number(file, form: str):
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _value(file, kind: int):
    """Read one value of a GGUF header; arrays are passed over."""
    if kind == TEXT:
        return file.read(_number(file, "<Q"))
    if kind == ARRAY:
        inner = _number(file, "<I")
        for _ in range(_number(file, "<Q")):
            _value(file, inner)
        return None
    if kind not in FORMATS:
        raise ValueError(f"its header has a value of unknown kind {kind}")
    return _number(file, FORMATS[kind])
