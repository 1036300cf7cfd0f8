"""The training loop that LoRA and soft prompts share: the loss counts on the answers only."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.core import progress as bars
from diptych.llmops.tuning.examples import Example


@dataclass(frozen=True)
class Schedule:
    """How long to train, and how fast.

    Attributes
    ----------
    epochs : float
        Passes over the examples.
    batch : int
        Examples a step.
    rate : float
        Highest learning rate; it rises over the first tenth of the steps and falls to nothing
        along a half cosine.
    """

    epochs: float
    batch: int
    rate: float

    def at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step."""
        rise = min(1.0, (step + 1) / max(1, steps // 10))
        return self.rate * rise * (1 + math.cos(math.pi * step / steps)) / 2


def batches(examples: Sequence[Example], schedule: Schedule, seed: int):
    """Yield batches of examples of about equal length, in random order, for all epochs."""
    rng = np.random.default_rng(seed)
    steps = max(1, round(schedule.epochs * len(examples) / schedule.batch))
    while steps:
        # the noise lets examples of one length meet others in the next epoch
        lengths = [len(e.ids) + rng.uniform(0, 4) for e in examples]
        order = np.argsort(lengths)
        parts = [order[i : i + schedule.batch] for i in range(0, len(order), schedule.batch)]
        for number in rng.permutation(len(parts))[:steps]:
            yield [examples[i] for i in parts[number]]
        steps -= min(steps, len(parts))


def fit(
    states: Callable,
    head: Callable,
    parameters: list,
    examples: Sequence[Example],
    schedule: Schedule,
    seed: int,
    progress: bool = False,
) -> list[float]:
    """Train and return the loss of each step.

    Parameters
    ----------
    states : callable
        From token ids, shape (B, T), to the model's last states, shape (B, T, width).
    head : callable
        From states, shape (K, width), to logits, shape (K, vocabulary).
    parameters : list of tensors
        What is trained, by AdamW without decay.
    """
    import torch

    chosen = torch.optim.AdamW(parameters, lr=schedule.rate, weight_decay=0.0)
    planned, losses = list(batches(examples, schedule, seed)), []
    with bars.bar(len(planned), "step", progress) as bar:
        for step, batch in enumerate(planned):
            loss = answer_loss(states, head, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for group in chosen.param_groups:
                group["lr"] = schedule.at(step, len(planned))
            chosen.step()
            chosen.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            bar.update()
    return losses


def answer_loss(states: Callable, head: Callable, batch: Sequence[Example]):
    """Return the mean loss of the tokens of the answers.

    Padding stands at the end, where no earlier token can see it, so no mask is needed.
    """
    import torch
    from torch.nn.functional import cross_entropy

    width = max(len(example.ids) for example in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    rows, places = [], []
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        # a token is predicted from the one before it
        places += range(len(example.ids) - example.asked - 1, len(example.ids) - 1)
        rows += [row] * example.asked
    rows, places = torch.tensor(rows), torch.tensor(places)
    logits = head(states(ids)[rows, places])
    return cross_entropy(logits.float(), ids[rows, places + 1])
