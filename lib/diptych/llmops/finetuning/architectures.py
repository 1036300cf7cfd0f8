"""The architectures whose models can be tuned: what their GGUF files and transformers call alike.

They differ in little: which of two numbers are rotated together, biases, norms, and which layers
see only the last tokens.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diptych.llmops.pretrain.export import LAYER, TOP, tensor_name

WIDTH = 2000
HEADS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
WHOLE = {gguf: name for name, gguf in TOP.items()} | {"output.weight": "lm_head.weight"}


def _as_llama(size: Callable) -> dict:
    """Return what the configurations of most architectures take beside the sizes."""
    return {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": size("rope.freq_base", 10_000.0),
        }
    }


@dataclass(frozen=True)
class Architecture:
    """A kind of model that llama.cpp and transformers compute alike.

    Attributes
    ----------
    name : str
        In GGUF files, and of transformers' module.
    classes : str
        How the names of transformers' classes begin.
    pairs : bool
        Whether llama.cpp rotates neighbouring numbers of a query, where transformers always
        rotates a number of its first half with one of its second.
    config : str
        How the name of transformers' class of the configuration ends.
    layer : mapping
        The parts of a layer: their names in transformers, and in GGUF files.
    from_one : bool
        Whether transformers keeps the weights of norms less one, as what they differ from it.
    scaled : bool
        Whether an embedding is multiplied by the root of its size before the first layer.
    rate, falls : float
        The best learning rate of LoRA for a model `WIDTH` wide, as measured here, and the power of
        the width by which it falls, see `diptych.llmops.finetuning.lora.rate`; that of Qwen where
        none is published.
    settings : callable
        Takes what returns a value of the GGUF header by its name (and a default); returns what the
        configuration takes beside the sizes.
    """

    name: str
    classes: str
    pairs: bool = False
    config: str = "Config"
    layer: Mapping[str, str] = field(default_factory=lambda: LAYER | HEADS)
    from_one: bool = False
    scaled: bool = False
    rate: float = 7.5e-4
    falls: float = 0.0775
    settings: Callable[[Callable], dict] = _as_llama

    def part(self, name: str):
        """Return a class of transformers, such as ``"ForCausalLM"``."""
        if name == "Config":
            return getattr(importlib.import_module("transformers"), self.classes + self.config)
        module = f"transformers.models.{self.name}.modeling_{self.name}"
        return getattr(importlib.import_module(module), f"{self.classes}{name}")

    def parameter_name(self, tensor: str) -> str:
        """Return the name in transformers of a GGUF file's tensor; the reverse of `tensor_name`."""
        if tensor in WHOLE:
            return WHOLE[tensor]
        _, layer, part, kind = tensor.split(".")
        names = {gguf: name for name, gguf in self.layer.items()}
        return f"model.layers.{layer}.{names[part]}.{kind}"

    def tensor_name(self, parameter: str) -> str:
        """Return the name in GGUF files of a parameter in transformers."""
        return tensor_name(parameter, self.layer)


def _as_gemma3(size: Callable) -> dict:
    """Return what Gemma 3 takes: most layers see a window only, with a rotation of their own.

    GGUF files leave out what llama.cpp knows: the base of that rotation, that each sixth layer sees
    all tokens, and that queries are scaled by the size of a head.
    """
    bases = {
        "full_attention": size("rope.freq_base", 1e6),
        "sliding_attention": size("rope.freq_base_swa", 1e4),
    }
    return {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()
        },
        "sliding_window": size("attention.sliding_window"),
        "query_pre_attn_scalar": size("attention.key_length"),
    }


GEMMA3 = Architecture(
    "gemma3", "Gemma3", config="TextConfig", from_one=True, scaled=True, settings=_as_gemma3,
    layer=LAYER | HEADS | {
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    },
)  # fmt: skip
ARCHITECTURES = {
    one.name: one
    for one in (
        Architecture("llama", "Llama", pairs=True, falls=0.781),
        Architecture("qwen2", "Qwen2", rate=5e-4),
        Architecture("qwen3", "Qwen3", rate=5e-4),
        GEMMA3,
    )
}


def of(shape) -> Architecture:
    """Return the architecture of a model, by its configuration in transformers."""
    return next(one for one in ARCHITECTURES.values() if isinstance(shape, one.part("Config")))
