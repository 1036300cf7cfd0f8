"""The architectures whose models can be tuned: what their GGUF files and transformers call alike.

They differ in little: which of two numbers are rotated together, biases, norms of queries and keys.
"""

import importlib
from dataclasses import dataclass

from diptych.llmops.pretrain.export import LAYER, TOP

LAYERS = LAYER | {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
PARTS = {gguf: name for name, gguf in LAYERS.items()}
WHOLE = {gguf: name for name, gguf in TOP.items()} | {"output.weight": "lm_head.weight"}


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
    """

    name: str
    classes: str
    pairs: bool = False

    def part(self, name: str):
        """Return a class of transformers, such as ``"ForCausalLM"``."""
        if name == "Config":
            return getattr(importlib.import_module("transformers"), f"{self.classes}Config")
        module = f"transformers.models.{self.name}.modeling_{self.name}"
        return getattr(importlib.import_module(module), f"{self.classes}{name}")


LLAMA = Architecture("llama", "Llama", pairs=True)
ARCHITECTURES = {
    one.name: one for one in (LLAMA, Architecture("qwen2", "Qwen2"), Architecture("qwen3", "Qwen3"))
}


def parameter_name(tensor: str) -> str:
    """Return the name in transformers of a GGUF file's tensor; the reverse of `tensor_name`."""
    if tensor in WHOLE:
        return WHOLE[tensor]
    _, layer, part, kind = tensor.split(".")
    return f"model.layers.{layer}.{PARTS[part]}.{kind}"
