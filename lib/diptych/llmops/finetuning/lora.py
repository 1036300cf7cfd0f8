"""LoRA: a low-rank update of every matrix, served beside the model as a named adapter.

E. Hu et al., "LoRA: Low-rank adaptation of large language models", 2021 (arXiv 2106.09685).
"""

from collections.abc import Sequence
from pathlib import Path

from diptych.llmops.finetuning import architectures
from diptych.llmops.finetuning.examples import Example
from diptych.llmops.finetuning.fitting import Schedule, fit
from diptych.llmops.finetuning.weights import Base, adapted
from diptych.llmops.pretrain.export import interleave

EPOCHS, BATCH, RANK = 1.5, 8, 16
HIGHEST = 2e-3


def rate(base: Base) -> float:
    """Return the highest learning rate that suits a model, to one digit: wider ones take less.

    LoRA takes 10 to 15 times the rate of full fine-tuning, which falls with a power of the width
    (J. Schulman and Thinking Machines Lab, "LoRA without regret", 2025, and the formula of their
    cookbook; alpha is 32 there as here); see `Architecture`. Too much is fatal: with 2e-3 the loss
    of Qwen2.5 0.5B explodes, and it answers one label to everything.
    """
    shape = base.model.config
    kind = architectures.of(shape)
    best = kind.rate * (architectures.WIDTH / shape.hidden_size) ** kind.falls
    return min(HIGHEST, float(f"{best:.0e}"))


def schedule_of(base: Base, epochs: float | None = None) -> Schedule:
    """Return how a model is trained; `epochs` are by default 1.5."""
    return Schedule(epochs or EPOCHS, BATCH, rate(base))


def tune(
    base: Base,
    examples: Sequence[Example],
    seed: int,
    schedule: Schedule | None = None,
    rank: int = RANK,
    progress: bool = False,
):
    """Fit an adapter to every matrix of the layers.

    Parameters
    ----------
    schedule : Schedule, optional
        By default what `schedule_of` returns.

    Returns
    -------
    PeftModel, list of float
        The model with its adapter, and the loss of each step.
    """
    import torch
    from peft import LoraConfig

    schedule = schedule or schedule_of(base)
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
    architecture = architectures.of(shape)
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
        writer.add_tensor(f"{architecture.tensor_name(f'{matrix}.weight')}.lora_{side}", array)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
