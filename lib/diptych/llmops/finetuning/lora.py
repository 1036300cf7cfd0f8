"""LoRA: a low-rank update of every matrix, served beside the model as a named adapter.

E. Hu et al., "LoRA: Low-rank adaptation of large language models", 2021 (arXiv 2106.09685).
"""

from collections.abc import Sequence
from pathlib import Path

from diptych.llmops.finetuning.architectures import ARCHITECTURES
from diptych.llmops.finetuning.examples import Example
from diptych.llmops.finetuning.fitting import Schedule, fit
from diptych.llmops.finetuning.weights import Base, adapted
from diptych.llmops.pretrain.export import interleave, tensor_name

SCHEDULE = Schedule(epochs=1.5, batch=8, rate=2e-3)
RANK = 16


def tune(
    base: Base,
    examples: Sequence[Example],
    seed: int,
    schedule: Schedule = SCHEDULE,
    rank: int = RANK,
    progress: bool = False,
):
    """Fit an adapter to every matrix of the layers.

    Returns
    -------
    PeftModel, list of float
        The model with its adapter, and the loss of each step.
    """
    import torch
    from peft import LoraConfig

    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    tuned = adapted(base, config)
    trained = [p for p in tuned.parameters() if p.requires_grad]
    losses = fit(tuned.get_base_model(), trained, examples, schedule, seed, progress=progress)
    return tuned.eval(), losses


def to_gguf(tuned, path: Path) -> Path:
    """Write an adapter in llama.cpp's format (as its convert_lora_to_gguf.py does).

    Parameters
    ----------
    tuned : PeftModel
        From `tune`.
    """
    import gguf
    from peft import get_peft_model_state_dict

    config, shape = tuned.peft_config["default"], tuned.get_base_model().config
    architecture = ARCHITECTURES[shape.model_type]
    heads = {"q_proj": shape.num_attention_heads, "k_proj": shape.num_key_value_heads}
    writer = gguf.GGUFWriter(path, architecture.name)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config.lora_alpha))
    for name, tensor in get_peft_model_state_dict(tuned).items():
        # base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight
        matrix, _, side = name.removeprefix("base_model.model.").rpartition(".lora_")
        side = side[0].lower()
        array = tensor.detach().float().numpy()
        part = matrix.rpartition(".")[2]
        if architecture.pairs and side == "b" and part in heads:
            array = interleave(array, heads[part])
        writer.add_tensor(f"{tensor_name(f'{matrix}.weight')}.lora_{side}", array)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
