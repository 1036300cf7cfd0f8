"""The weights of a GGUF file as a transformers model: the reverse of `pretrain.export`.

Only the file ships. So training starts from its weights, rounded as they are served.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.base import environment as machine
from diptych.base.serving import ServeError
from diptych.llmops.finetuning.architectures import ARCHITECTURES, Architecture
from diptych.llmops.pretrain.training import has_bfloat16
from diptych.llmops.server import gguf as file_header

WIDE = 512  # numbers a token; narrower models are no faster in 16 bits
SCALED = "rope_freqs.weight"  # a tensor of models that scale their positions


class TuningError(RuntimeError):
    """A model cannot be tuned; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Base:
    """A model to be tuned.

    Attributes
    ----------
    path : Path
        Its GGUF file.
    model : PreTrainedModel
        The frozen weights, in 32 bits; those of a wide model in bfloat16 where the processor
        computes with it, which takes half the time and half the memory.
    """

    path: Path
    model: object


def load(path: Path, half: bool | None = None) -> Base:
    """Read the weights of a GGUF model of an architecture of `ARCHITECTURES`, in any precision.

    Parameters
    ----------
    path : Path
    half : bool, optional
        Whether they become bfloat16 and not 32 bits; see `Base` for the default.

    Raises
    ------
    TuningError
        See `check`.
    """
    import torch
    from gguf import GGUFReader
    from transformers.initialization import no_init_weights

    architecture = check(path)
    reader = GGUFReader(path)
    shape = config(reader, architecture, {tensor.name for tensor in reader.tensors})
    if half is None:
        half = _is_half(shape.hidden_size)
    kind = torch.bfloat16 if half else torch.float32
    state = {
        architecture.parameter_name(tensor.name): matrix(tensor, shape, kind, architecture)
        for tensor in reader.tensors
    }
    state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    with no_init_weights():  # no random ones, in memory that is not touched
        model = architecture.part("ForCausalLM")(shape)
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    return Base(path, model.requires_grad_(False).eval())


def _is_half(width: int) -> bool:
    return width >= WIDE and has_bfloat16("cpu")


def matrix(tensor, shape, kind, architecture: Architecture):
    """Return a tensor of a GGUF file as transformers computes with it, in the precision `kind`."""
    import torch
    from gguf import dequantize

    heads = {"attn_q": shape.num_attention_heads, "attn_k": shape.num_key_value_heads}
    array = np.array(dequantize(tensor.data, tensor.tensor_type), np.float32)
    part = tensor.name.split(".")[-2]
    if architecture.pairs and part in heads:
        array = pair_to_halves(array, heads[part])
    if architecture.from_one and part.endswith("norm"):
        array -= 1
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


def config(reader, architecture: Architecture, names: set[str]):
    """Return the configuration of a model for transformers.

    Parameters
    ----------
    names : set of str
        Of the file's tensors.
    """

    def size(key: str, default=None):
        return value(reader, f"{architecture.name}.{key}", default)

    width, heads = size("embedding_length"), size("attention.head_count")
    return architecture.part("Config")(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=width,
        intermediate_size=size("feed_forward_length"),
        num_hidden_layers=size("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=size("attention.head_count_kv", heads),
        head_dim=size("attention.key_length", width // heads),
        max_position_embeddings=size("context_length"),
        rms_norm_eps=size("attention.layer_norm_rms_epsilon"),
        attention_bias="blk.0.attn_q.bias" in names,
        tie_word_embeddings="output.weight" not in names,
        eos_token_id=value(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=0,
        **architecture.settings(size),
    )


def value(reader, key: str, default=None):
    """Return a value of a GGUF file's header."""
    field = reader.get_field(key)
    return default if field is None else field.contents()


def pair_to_halves(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of a query or key matrix; the reverse of `export.interleave`."""
    rows = matrix.shape[0]
    return matrix.reshape(heads, rows // heads // 2, 2, -1).swapaxes(1, 2).reshape(matrix.shape)


def check(path: Path) -> Architecture:
    """Return a model's architecture; refuse what cannot be tuned here, from its header alone.

    Raises
    ------
    TuningError
        If the file is no GGUF model, of another architecture, too large for the machine's memory,
        or if transformers and llama.cpp would compute it differently.
    """
    try:
        values = file_header.header(path)
        scaled = file_header.has_tensor(path, SCALED)
    except ServeError as error:
        raise TuningError(str(error)) from error
    name = values.get("general.architecture")
    if name not in ARCHITECTURES:
        raise TuningError(
            f"model: {path.name} is of the architecture {name}; only those of "
            f"{', '.join(ARCHITECTURES)} can be tuned here; take one of those, or the method api"
        )
    if scaled or values.get("rope.scaling.type", "none") != "none":
        raise TuningError(
            f"model: {path.name} scales its positions for long contexts, which is not supported "
            "here; take a model without this, or the method api"
        )
    if values.get("expert_count") or not values.keys() >= file_header.SHAPE:
        raise TuningError(
            f"model: {path.name} has experts, or layers of different shapes, which is not "
            "supported here; take a model without these, or the method api"
        )
    size = 2 if _is_half(int(values["embedding_length"])) else 4
    needed, there = size * file_header.layer_numbers(values) / 2**30, machine.memory_gib()
    if there and needed > there:
        raise TuningError(
            f"model: {path.name} takes more than {needed:.0f} GiB of memory while it is tuned, and "
            f"this machine has {there:.0f}; take a smaller model, or the method api"
        )
    return ARCHITECTURES[name]
