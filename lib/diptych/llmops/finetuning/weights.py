"""The weights of a GGUF file as a transformers model: the reverse of `pretrain.export`.

Only the file ships. So training starts from its weights, rounded as they are served.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.base.serving import ServeError
from diptych.llmops.pretrain.export import LAYER, TOP
from diptych.llmops.pretrain.training import has_bfloat16
from diptych.llmops.server.gguf import context_length, header

ARCHITECTURE = "llama"
PARTS = {gguf: name for name, gguf in LAYER.items()}
WIDE = 512  # numbers a token; narrower models are no faster in 16 bits
WHOLE = {gguf: name for name, gguf in TOP.items()} | {"output.weight": "lm_head.weight"}


class TuningError(RuntimeError):
    """A model cannot be tuned; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Base:
    """A model to be tuned.

    Attributes
    ----------
    path : Path
        Its GGUF file.
    model : LlamaForCausalLM
        The frozen weights, in 32 bits; those of a wide model in bfloat16 where the processor
        computes with it, which takes half the time and half the memory.
    """

    path: Path
    model: object


def load(path: Path, half: bool | None = None) -> Base:
    """Read the weights of a GGUF model of the LLaMA architecture, in any precision.

    Parameters
    ----------
    path : Path
    half : bool, optional
        Whether they become bfloat16 and not 32 bits; see `Base` for the default.

    Raises
    ------
    TuningError
        If the file is no GGUF model, or of another architecture.
    """
    import torch
    from gguf import GGUFReader
    from transformers import LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    try:
        context_length(path)  # a clear error if it is no model
    except ServeError as error:
        raise TuningError(str(error)) from error
    reader = GGUFReader(path)
    shape = config(reader, {tensor.name for tensor in reader.tensors})
    if half is None:
        half = shape.hidden_size >= WIDE and has_bfloat16("cpu")
    kind = torch.bfloat16 if half else torch.float32
    state = {parameter_name(tensor.name): matrix(tensor, shape, kind) for tensor in reader.tensors}
    state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    with torch.device("meta"):  # without weights: no random ones, and no second copy
        model = LlamaForCausalLM(shape)
    model.load_state_dict(state, assign=True)
    model.model.rotary_emb = LlamaRotaryEmbedding(shape)  # its table is in no state
    model.tie_weights()
    return Base(path, model.requires_grad_(False).eval())


def matrix(tensor, shape, kind):
    """Return a tensor of a GGUF file as transformers computes with it, in the precision `kind`."""
    import torch
    from gguf import dequantize

    heads = {"attn_q": shape.num_attention_heads, "attn_k": shape.num_key_value_heads}
    array = np.array(dequantize(tensor.data, tensor.tensor_type), np.float32)
    part = tensor.name.split(".")[-2]
    if part in heads:
        array = pair_to_halves(array, heads[part])
    return torch.from_numpy(array).to(kind)


def adapted(base: Base, how):
    """Return the model with the adapter that a configuration of peft adds to it.

    `base` is changed in place: it holds the adapter, too.
    """
    from peft import get_peft_model

    with warnings.catch_warnings():
        ignore_old_name()
        return get_peft_model(base.model, how)


def ignore_old_name() -> None:
    """Do not warn that peft asks transformers by an old name: no reader can change that."""
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)


def config(reader, names: set[str]):
    """Return the configuration of a model for transformers.

    Raises
    ------
    TuningError
        If transformers and llama.cpp would compute it differently.
    """
    from transformers import LlamaConfig

    architecture = value(reader, "general.architecture")
    if architecture != ARCHITECTURE:
        raise TuningError(
            f"model: {Path(reader.data.filename).name} is of the architecture {architecture}; only "
            f"{ARCHITECTURE} models can be tuned here; take one of those, or the method api"
        )
    scaling = value(reader, "llama.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in names:
        raise TuningError(
            "model: it scales its positions for long contexts, which is not supported here; "
            "take a model without this, or the method api"
        )
    heads = value(reader, "llama.attention.head_count")
    return LlamaConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=value(reader, "llama.embedding_length"),
        intermediate_size=value(reader, "llama.feed_forward_length"),
        num_hidden_layers=value(reader, "llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=value(reader, "llama.attention.head_count_kv", heads),
        max_position_embeddings=value(reader, "llama.context_length"),
        rms_norm_eps=value(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": value(reader, "llama.rope.freq_base", 10_000.0),
        },
        tie_word_embeddings="output.weight" not in names,
        eos_token_id=value(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=0,
    )


def value(reader, key: str, default=None):
    """Return a value of a GGUF file's header."""
    field = reader.get_field(key)
    return default if field is None else field.contents()


def parameter_name(tensor: str) -> str:
    """Return the name in `LlamaForCausalLM` of a tensor; the reverse of `export.tensor_name`."""
    if tensor in WHOLE:
        return WHOLE[tensor]
    _, layer, part, _ = tensor.split(".")
    return f"model.layers.{layer}.{PARTS[part]}.weight"


def pair_to_halves(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of a query or key matrix; the reverse of `export.interleave`."""
    rows = matrix.shape[0]
    return matrix.reshape(heads, rows // heads // 2, 2, -1).swapaxes(1, 2).reshape(matrix.shape)


def check(path: Path) -> None:
    """Refuse, from its header alone, a model whose weights `load` would refuse.

    Raises
    ------
    TuningError
        If the file is no GGUF model, or of another architecture.
    """
    try:
        architecture = header(path).get("general.architecture")
    except ServeError as error:
        raise TuningError(str(error)) from error
    if architecture != ARCHITECTURE:
        raise TuningError(
            f"model: {path.name} is of the architecture {architecture}; only {ARCHITECTURE} models "
            "can be tuned here; take one of those, or the method api"
        )
