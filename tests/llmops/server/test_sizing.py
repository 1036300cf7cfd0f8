"""What a server takes of the machine: by the model's size, its conversations and the memory."""

import struct

import pytest

from diptych.base import environment as machine
from diptych.base.serving import ServeError
from diptych.llmops.server import gguf, sizing


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def pair(name, value):
    if isinstance(value, str):
        return text(name) + struct.pack("<I", 8) + text(value)
    return text(name) + struct.pack("<II", 4, value)


@pytest.fixture
def large(tmp_path):
    """The header of Qwen2.5 0.5B, in a sparse file of its size."""
    values = {
        "general.architecture": "qwen2", "qwen2.block_count": 24, "qwen2.context_length": 32768,
        "qwen2.embedding_length": 896, "qwen2.attention.head_count": 14,
        "qwen2.attention.head_count_kv": 2, "tokenizer.ggml.model": "gpt2",
    }  # fmt: skip
    path = tmp_path / "large.gguf"
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(values)))
        file.write(b"".join(pair(name, value) for name, value in values.items()))
        file.truncate(491_400_064)
    return path


def test_keys_and_values_of_a_token(large):
    # 24 layers, 2 heads of 64 numbers, for keys and for values, in 2 bytes each
    assert gguf.cache_bytes(gguf.header(large)) == 24 * 2 * 64 * 2 * 2


def test_a_small_model_leaves_its_callers_a_core(shared, gguf):
    assert sizing.fit(gguf).threads == max(1, machine.cores() - 1)
    assert sizing.fit(gguf).slots == sizing.SLOTS
    assert sizing.fit(gguf).environment() == {}


def test_a_real_model_takes_all_physical_cores(large):
    chosen = sizing.fit(large)
    assert chosen.threads == machine.physical_cores()
    assert chosen.context == 4096
    assert chosen.slots == min(8, 2 * machine.physical_cores())
    assert chosen.environment() == {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}


def test_conversations_fit_into_the_memory(large, monkeypatch):
    monkeypatch.setattr(machine, "memory_gib", lambda: 1.0)  # an eighth of it: 128 MiB
    chosen = sizing.fit(large, context=4096)  # 48 MiB each
    assert chosen.slots == 2


def test_what_is_given_stands(large):
    assert sizing.fit(large, slots=7, context=512) == sizing.Sizing(
        machine.physical_cores(), 7, 512
    )
    assert sizing.fit(large, context=10**6).context == 32768


def test_what_is_no_model_is_named(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ServeError, match="its header is cut off or damaged"):
        sizing.fit(tmp_path / "x.gguf")
