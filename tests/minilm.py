"""Whether tests can embed texts: they need onnxruntime, and MiniLM in the store of models."""

import importlib.util
import os

import pytest

from diptych.core.data import embeddings

REASON = (
    "onnxruntime is not installed"
    if importlib.util.find_spec("onnxruntime") is None
    else embeddings.unavailable()
)
needed = pytest.mark.skipif(bool(REASON), reason=REASON or "it is here")
STORE = os.environ.get("DIPTYCH_MODELS", "")
