"""The trained model as GGUF, the file format of llama.cpp."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diptych.llmops.pretrain import tokenizer as bpe

LAYER = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def interleave(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of a query or key matrix from halves to pairs, which llama.cpp rotates."""
    rows = matrix.shape[0]
    return matrix.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(matrix.shape)


def tensor_name(name: str, parts: Mapping[str, str] = LAYER) -> str:
    """Return the GGUF name of a parameter in transformers.

    Parameters
    ----------
    parts : mapping
        The parts of a layer: their names in transformers, and in GGUF files.
    """
    if name in TOP:
        return TOP[name]
    _, _, layer, part = name.split(".", 3)
    part, _, kind = part.rpartition(".")
    return f"blk.{layer}.{parts[part]}.{kind}"


def to_gguf(model, vocabulary: Path, path: Path, kind: str = "q8_0") -> Path:
    """Write a model and its vocabulary to one file.

    Parameters
    ----------
    model : LlamaForCausalLM
        With tied embeddings and a width divisible by 32.
    vocabulary : Path
        The tokenizer's JSON file.
    kind : str
        ``"q8_0"``, ``"f16"`` or ``"f32"``; vectors are always kept in 32 bits.
    """
    import gguf

    types = {"q8_0": ("Q8_0", "MOSTLY_Q8_0"), "f16": ("F16", "MOSTLY_F16"),
             "f32": ("F32", "ALL_F32")}  # fmt: skip
    if kind not in types:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(types)}")
    quantized = gguf.GGMLQuantizationType[types[kind][0]]
    writer = gguf.GGUFWriter(path, "llama")
    describe(writer, model.config)
    writer.add_file_type(gguf.LlamaFileType[types[kind][1]])
    add_vocabulary(writer, bpe.load(vocabulary), vocabulary)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":  # tied to the embeddings
            continue
        array = tensor.detach().float().cpu().numpy()
        if "q_proj" in name or "k_proj" in name:
            array = interleave(array, model.config.num_attention_heads)
        if array.ndim == 1:
            writer.add_tensor(tensor_name(name), array)
        else:
            data = gguf.quants.quantize(array, quantized)
            writer.add_tensor(tensor_name(name), data, raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def describe(writer, config) -> None:
    """Write the shape of the model."""
    heads = config.num_attention_heads
    writer.add_name("diptych")
    writer.add_license("apache-2.0")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // heads)
    writer.add_vocab_size(config.vocab_size)


def add_vocabulary(writer, tokenizer, path: Path) -> None:
    """Write tokens, merges and the chat template."""
    import json

    from gguf import TokenType

    merges = json.loads(path.read_text("utf-8"))["model"]["merges"]
    size = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(number) for number in range(size)]
    kinds = [TokenType.CONTROL if token in bpe.SPECIAL else TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")  # single digits, then the splits of GPT-2
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(tokenizer.token_to_id(bpe.END_OF_TEXT))
    writer.add_eos_token_id(tokenizer.token_to_id(bpe.END))
    writer.add_pad_token_id(tokenizer.token_to_id(bpe.END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_chat_template(bpe.TEMPLATE)
