"""The training loop of LoRA and soft prompts: the loss is that of the answers only.

The examples of a task begin with the same instructions. This shared prefix is computed once a
batch, which saves most of the work. Causal attention lets no token see later ones, so the states of
the prefix are the same in every example.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.base import environment as machine
from diptych.base import notebook_progress as bars
from diptych.llmops.finetuning import attention
from diptych.llmops.finetuning.examples import Example


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
        Highest learning rate. It rises over the first tenth of the steps, then falls to 0 along a
        half cosine.
    """

    epochs: float
    batch: int
    rate: float

    def steps(self, examples: int) -> int:
        """Return the number of steps."""
        return max(1, round(self.epochs * examples / self.batch))

    def factor(self, examples: int) -> Callable[[int], float]:
        """Return the share of the highest rate by step, as torch's `LambdaLR` takes it."""
        steps = self.steps(examples)
        return lambda step: self.at(step, steps) / self.rate

    def at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step."""
        rise = min(1.0, (step + 1) / max(1, steps // 10))
        return self.rate * rise * (1 + math.cos(math.pi * step / steps)) / 2


def batches(examples: Sequence[Example], schedule: Schedule, seed: int):
    """Yield batches of examples of about equal length, in random order, for all epochs."""
    rng = np.random.default_rng(seed)
    steps = schedule.steps(len(examples))
    while steps:
        # the noise lets examples of one length meet others in the next epoch
        lengths = [len(e.ids) + rng.uniform(0, 4) for e in examples]
        order = np.argsort(lengths)
        parts = [order[i : i + schedule.batch] for i in range(0, len(order), schedule.batch)]
        for number in rng.permutation(len(parts))[:steps]:
            yield [examples[i] for i in parts[number]]
        steps -= min(steps, len(parts))


@contextlib.contextmanager
def threads():
    """Compute on all cores but one in the block.

    A step has thousands of points at which the threads wait for each other by spinning. If one of
    them finds no core, the others burn theirs: on two busy cores, two threads took 10 to 16 times
    the CPU seconds of one.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, machine.cores() - 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    model,
    parameters: list,
    examples: Sequence[Example],
    schedule: Schedule,
    seed: int,
    soft: Callable | None = None,
    progress: bool = False,
) -> list[float]:
    """Train and return the loss of each step.

    Parameters
    ----------
    model : LlamaForCausalLM
    parameters : list of tensors
        Trained by AdamW without weight decay.
    soft : callable, optional
        Returns vectors of shape (length, width) that stand before every example.
    """
    import torch

    chosen = torch.optim.AdamW(parameters, lr=schedule.rate, weight_decay=0.0, fused=True)
    losses, planned = [], schedule.steps(len(examples))
    for step, batch in enumerate(each_batch(examples, schedule, seed, progress)):
        loss = answer_loss(model, batch, soft() if soft else None)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in chosen.param_groups:
            group["lr"] = schedule.at(step, planned)
        chosen.step()
        chosen.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    return losses


def each_batch(
    examples: Sequence[Example], schedule: Schedule, seed: int, progress: bool = False
) -> Iterator[list[Example]]:
    """Yield the batches of all epochs, with a bar; a core is left to others meanwhile."""
    planned = list(batches(examples, schedule, seed))
    with threads(), bars.bar(len(planned), "step", progress) as bar:
        for batch in planned:
            yield batch
            bar.update()


def answer_loss(model, batch: Sequence[Example], soft=None):
    """Return the mean loss of the tokens of the answers; takes what `answer_logits` takes."""
    from torch.nn.functional import cross_entropy

    logits, tokens = answer_logits(model, batch, soft)
    return cross_entropy(logits, tokens)


def answer_logits(model, batch: Sequence[Example], soft=None) -> tuple:
    """Return what a model says at the places of the answers' tokens, and these tokens.

    Parameters
    ----------
    soft : tensor of shape (length, width), optional
        Vectors before every example.

    Returns
    -------
    logits : tensor of shape (tokens, vocabulary)
    tokens : tensor of shape (tokens,)
    """
    import torch

    start, embed = shared(batch), model.get_input_embeddings()
    width = max(len(example.ids) for example in batch) - start
    # padding stands at the end, where no earlier token can see it, so no mask is needed
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    rows, places = [], []
    for row, example in enumerate(batch):
        rest = example.ids[start:]
        ids[row, : len(rest)] = torch.tensor(rest)
        # a token is predicted from the one before it
        places += range(len(rest) - example.answer_tokens - 1, len(rest) - 1)
        rows += [row] * example.answer_tokens
    rows, places = torch.tensor(rows), torch.tensor(places)
    first = embed(torch.tensor(batch[0].ids[:start], dtype=torch.long))
    first = first if soft is None else torch.cat([soft.to(first.dtype), first])
    start = len(first)
    order = [torch.arange(start), torch.arange(start, start + width).repeat(len(batch))]
    attention.share_start(model)
    states = model.model(
        inputs_embeds=torch.cat([first, embed(ids.flatten())])[None],
        position_ids=torch.cat(order)[None],
        use_cache=False,
        start=start,
        rows=len(batch),
    ).last_hidden_state[0]
    logits = model.lm_head(states[start + rows * width + places])
    return logits.float(), ids[rows, places + 1]


def shared(batch: Sequence[Example]) -> int:
    """Return the length of the shared prefix, which ends before the last token of each prompt."""
    most = min(len(example.ids) - example.answer_tokens - 1 for example in batch)
    columns = itertools.islice(zip(*(example.ids for example in batch), strict=False), most)
    return sum(1 for _ in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, columns))
