"""Soft prompts: only a few vectors before the prompt are trained.

B. Lester et al., "The power of scale for parameter-efficient prompt tuning", 2021 (arXiv
2104.08691). For serving, a copy of the model's file holds them as new tokens, and its chat template
puts these before every conversation. So the server computes what was trained.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.llmops.finetuning import architectures
from diptych.llmops.finetuning.examples import Example
from diptych.llmops.finetuning.fitting import Schedule, fit
from diptych.llmops.finetuning.weights import Base, TuningError, adapted, value

SCHEDULE = Schedule(epochs=3, batch=32, rate=3e-2)
LENGTH = 16
TOKEN = "<|soft_{:02d}|>"
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


def tune(
    base: Base,
    examples: Sequence[Example],
    seed: int,
    schedule: Schedule = SCHEDULE,
    length: int = LENGTH,
    progress: bool = False,
):
    """Fit the vectors; they start as the embeddings of words of the vocabulary.

    Returns
    -------
    array of shape (length, width), list of float
        The vectors, and the loss of each step.

    Raises
    ------
    TuningError
        If the model puts a token of its own before every prompt, or has no chat template, which
        would put the soft prompt there.
    """
    import torch
    from gguf import GGUFReader
    from peft import PromptTuningConfig

    reader = GGUFReader(base.path)
    if value(reader, "tokenizer.chat_template") is None:
        raise TuningError(
            f"model: {base.path.name} has no chat template, in which a soft prompt could stand; "
            "take the method lora"
        )
    if value(reader, "tokenizer.ggml.add_bos_token", False):
        raise TuningError(
            f"model: {base.path.name} puts a token of its own before every prompt, and so before "
            "the soft prompt; take the method lora"
        )
    torch.manual_seed(seed)
    config = PromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=length, prompt_tuning_init="SAMPLE_VOCAB"
    )
    tuned = adapted(base, config)
    trained = [p for p in tuned.parameters() if p.requires_grad]

    def soft():
        return tuned.get_prompt(batch_size=1)[0]

    losses = fit(tuned.get_base_model(), trained, examples, schedule, seed, soft, progress)
    return soft().detach().numpy(), losses


def to_gguf(base: Base, vectors: np.ndarray, path: Path) -> Path:
    """Write a copy of a model in which the soft prompt stands before every conversation.

    Parameters
    ----------
    vectors : array of shape (length, width)
        From `tune`; rounded to the precision of the file's embeddings.
    """
    import gguf

    reader, shape = gguf.GGUFReader(base.path), base.model.config
    if architectures.of(shape).scaled:
        vectors = vectors / shape.hidden_size**0.5
    tokens = [TOKEN.format(number) for number in range(len(vectors))]
    writer = gguf.GGUFWriter(path, value(reader, "general.architecture"))
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":  # the writer's own
            continue
        kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(name, _with(tokens, name, field.contents()), kind, inner)
    for tensor in reader.tensors:
        if tensor.name not in (EMBEDDING, OUTPUT):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    embedding = tensors[EMBEDDING]
    _add(writer, EMBEDDING, embedding, vectors)
    # The new tokens must never be an answer: their output rows are those of token 0, the padding,
    # which no answer holds.
    output = tensors.get(OUTPUT, embedding)
    never = gguf.dequantize(output.data[:1], output.tensor_type)
    _add(writer, OUTPUT, output, np.repeat(never, len(vectors), axis=0))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _with(tokens: list[str], name: str, content):
    """Return a value of the header, extended by the new tokens."""
    from gguf import TokenType

    match name:
        case "tokenizer.ggml.tokens":
            return [*content, *tokens]
        case "tokenizer.ggml.token_type":
            return [*content, *[int(TokenType.CONTROL)] * len(tokens)]
        case "tokenizer.ggml.scores":
            return [*content, *[0.0] * len(tokens)]
        case "tokenizer.chat_template":
            return "".join(tokens) + content
    return content + len(tokens) if name.endswith(".vocab_size") else content


def _add(writer, name: str, tensor, rows: np.ndarray) -> None:
    """Add a tensor with more rows, in its own precision, or in 16 bits if gguf lacks that."""
    import gguf

    rows = np.ascontiguousarray(rows, np.float32)
    try:
        more, kind, data = gguf.quantize(rows, tensor.tensor_type), tensor.tensor_type, tensor.data
    except NotImplementedError:
        kind = gguf.GGMLQuantizationType.F16
        data = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float16)
        more = rows.astype(np.float16)
    writer.add_tensor(name, np.concatenate([data, more]), raw_dtype=kind)
