"""The LLaMA model and its training: Muon for the matrices, AdamW for the rest.

The learning rate is constant after a warm-up and falls linearly over the last steps. So a training
can be shortened or extended from any checkpoint before the fall.
"""

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from diptych.llmops.pretrain import packing
from diptych.llmops.pretrain.muon import Muon
from diptych.llmops.pretrain.presets import Preset, Stage

CONTEXT = 512
LOSS_SHARE = 0.4  # share of the tokens whose loss is computed


def build(preset: Preset):
    """Return a new model of a preset's shape, with seeded weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(preset.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=preset.vocabulary, hidden_size=preset.hidden,
            intermediate_size=preset.feed_forward, num_hidden_layers=preset.layers,
            num_attention_heads=preset.heads, num_key_value_heads=preset.heads,
            max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            bos_token_id=0, eos_token_id=4, pad_token_id=0, attention_bias=False,
        )
    )  # fmt: skip


def optimizers(model, preset: Preset) -> list:
    """Return Muon for the matrices of the layers and AdamW for embeddings and norms."""
    import torch

    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in named if p.dim() < 2 or "embed" in name]
    return [
        Muon(matrices, lr=preset.rate, weight_decay=0.05),
        torch.optim.AdamW(others, lr=preset.rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def rate(preset: Preset, step: int) -> float:
    """Return the learning rate of a step."""
    left = (preset.total - step) / (preset.decay * preset.total)
    return preset.rate * min(1.0, (step + 1) / preset.warmup, max(left, 0.01))


def has_bfloat16(device: str) -> bool:
    """Return whether the device has instructions for bfloat16; without, it is 13 times as slow."""
    import torch

    if device != "cpu":
        return True
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def losses(model, ids, places, weights, half: bool = False):
    """Return the weighted mean loss of the next token at `places` of the flat batch, and each loss.

    With `half` the model computes in bfloat16.
    """
    import torch
    from torch.nn.functional import cross_entropy

    with torch.autocast(ids.device.type, torch.bfloat16, enabled=half):
        states = model.model(ids).last_hidden_state.flatten(0, 1)
        logits = model.lm_head(states[places])
    each = cross_entropy(logits.float(), ids.flatten()[places + 1], reduction="none")
    return (each * weights).sum() / weights.sum(), each.detach()


@dataclass(frozen=True)
class Batch:
    """Token ids (B, T); places whose next token has a loss, its weight and its task, each (K,)."""

    ids: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    tasks: np.ndarray


@functools.lru_cache(2)
def shuffled(seed: int, rows: int) -> np.ndarray:
    """Return the order of a stage's rows, shape (rows,)."""
    return np.random.default_rng(seed).permutation(rows)


def batch(data: np.ndarray, preset: Preset, stage: Stage, step: int) -> Batch:
    """Return the rows of a stage's step; rows are shuffled once, by the seed.

    To save a third of the work, the loss is computed at the share `LOSS_SHARE` of the places: those
    of the highest weight. Too many are cut; too few are filled up with places of weight 0.
    """
    size = preset.batch_tokens // stage.length
    order = shuffled(preset.seed, len(data))
    rows = data[np.sort(order[(step * size + np.arange(size)) % len(data)])].astype(np.int64)
    following = np.roll(rows[:, 1:], -1, axis=2)  # weight and task of the next token
    following[:, :, -1] = 0
    weights, tasks = following[:, 0].ravel(), following[:, 1].ravel()
    places = np.argsort(-weights, kind="stable")[: int(LOSS_SHARE * preset.batch_tokens)]
    return Batch(rows[:, 0], places, weights[places].astype(np.float32) / 100, tasks[places])


class TaskLoss:
    """Mean loss by task since the last `take`."""

    def __init__(self):
        self.sums = np.zeros((2, len(packing.TASK_NUMBER) + 1))

    def add(self, each, tasks: np.ndarray) -> None:
        """Add the losses and task numbers of a batch, both (K,)."""
        many = self.sums.shape[1]
        self.sums[0] += np.bincount(tasks, each.cpu().numpy(), many)
        self.sums[1] += np.bincount(tasks, minlength=many)

    def take(self) -> dict[str, float]:
        """Return the means by task and reset them."""
        sums, counts = self.sums
        means = {name: round(float(sums[number] / counts[number]), 4)
                 for name, number in packing.TASK_NUMBER.items() if counts[number]}  # fmt: skip
        self.sums[:] = 0
        return means


def save(path: Path, model, chosen: list, step: int) -> None:
    """Write a checkpoint atomically."""
    import torch

    state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in chosen],
             "step": step}  # fmt: skip
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def restore(folder: Path, preset: Preset) -> tuple:
    """Return model, optimizers and steps done, from the folder's checkpoint or new."""
    import torch

    model = build(preset).to(preset.device).train()
    chosen, checkpoint = optimizers(model, preset), folder / "checkpoint.pt"
    if not checkpoint.exists():
        return model, chosen, 0
    state = torch.load(checkpoint, map_location=preset.device, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(chosen, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return model, chosen, state["step"]


def forget(record: Path, step: int) -> None:
    """Drop the losses logged after a step, because those steps will run again."""
    rows = record.read_text().splitlines() if record.exists() else []
    record.write_text("".join(f"{row}\n" for row in rows if json.loads(row)["step"] <= step))


def train(folder: Path, preset: Preset, every: int = 250, stop: int | None = None):
    """Train, resuming from the folder's checkpoint if there is one, and return the model.

    Writes ``checkpoint.pt`` every `every` steps, and the loss by task to ``loss.jsonl`` every 50.
    On one machine the same preset gives the same weights, interrupted or not. On a GPU, which sums
    in any order, the weights differ but are as good.

    Parameters
    ----------
    folder : Path
        Holds ``tokenizer.json``; the packed rows are written there too.
    stop : int, optional
        Stop after this step (to test, or to train in parts).
    """
    import torch

    packed = [load_rows(folder, preset, stage) for stage in preset.stages]
    model, chosen, start = restore(folder, preset)
    forget(folder / "loss.jsonl", start)
    checkpoint = folder / "checkpoint.pt"
    step_loss = torch.compile(losses, dynamic=False) if preset.compiled else losses
    last = preset.total if stop is None else min(stop, preset.total)
    # without compilation, conversions cost more time than bfloat16 saves
    half, first, seen = preset.compiled and has_bfloat16(preset.device), 0, TaskLoss()
    with tqdm(total=last, initial=start, unit="step", mininterval=10) as bar:
        for stage, data in zip(preset.stages, packed, strict=True):
            end = first + preset.steps(stage)
            for step in range(max(start, first), min(end, last)):
                chunk = batch(data, preset, stage, step - first)
                tensors = (torch.from_numpy(a).to(preset.device)
                           for a in (chunk.ids, chunk.places, chunk.weights))  # fmt: skip
                loss, each = step_loss(model, *tensors, half)
                update(model, chosen, loss, rate(preset, step))
                seen.add(each, chunk.tasks)
                bar.update()
                if (step + 1) % 50 == 0:
                    log(folder, step + 1, stage, seen.take(), bar)
                if (step + 1) % every == 0 or step + 1 == last:
                    save(checkpoint, model, chosen, step + 1)
            first = end
    return model


def update(model, chosen: list, loss, learning_rate: float) -> None:
    """Take one step of the optimizers."""
    import torch

    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in chosen:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def load_rows(folder: Path, preset: Preset, stage: Stage) -> np.ndarray:
    """Return a stage's packed rows, shape (rows, 3, length); pack them if they are missing."""
    count = preset.steps(stage) * (preset.batch_tokens // stage.length)
    path = folder / f"{stage.name}-{count}x{stage.length}.npy"
    packing.write(path, folder / "tokenizer.json", stage.name, stage.length, count, preset.seed)
    return np.load(path, mmap_mode="r")


def log(folder: Path, step: int, stage: Stage, means: dict[str, float], bar) -> None:
    """Append the losses by task to ``loss.jsonl`` and show them."""
    row = {"step": step, "stage": stage.name, "seconds": round(bar.format_dict["elapsed"]), **means}
    with (folder / "loss.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    bar.set_postfix({name: means[name] for name in ("dense", "episode", "card") if name in means})
