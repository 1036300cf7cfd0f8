"""Documents to rows of tokens: ids, the weight of each token's loss, and the task it tests."""

import itertools
import multiprocessing
import os
import random
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from diptych.llmops.pretrain import tokenizer as bpe
from diptych.llmops.pretrain.corpus import CLOSE, LABELLING, OPEN, TASKS, Document, document

ANSWER, LABEL, OTHER = 100, 250, 40  # hundredths: answers, labels, all other text
OTHER_SHARE = 4  # one in so many of the other tokens counts
TASK_NUMBER = {name: number for number, name in enumerate(TASKS, start=1)}  # 0: not asked
POOL = 400  # documents to choose the next one from
PARTS = 8  # at most, however many processes there are: the rows are the same
FEW = 1_000  # rows not worth a part of their own


def pieces(text: str) -> list[tuple[str, bool]]:
    """Split a turn at its marks: (text, is a label the loss counts on)."""
    parts = re.split(f"{OPEN}(.*?){CLOSE}", text, flags=re.DOTALL)
    return [(part, number % 2 == 1) for number, part in enumerate(parts) if part]


def encode(tokenizer, made: Document) -> tuple[list[int], list[int], list[int]]:
    """Return ids, loss weights (hundredths) and task numbers, token by token."""
    ids, weights, tasks = [], [], []
    end, task = tokenizer.token_to_id(bpe.END), TASK_NUMBER[made.task]

    def add(tokens: list[int], weight: int, asked: bool) -> None:
        for token in tokens:
            counts = weight != OTHER or (len(ids) + len(tokens)) % OTHER_SHARE == 0
            ids.append(token)
            weights.append(weight if counts else 0)
        tasks.extend([task if asked else 0] * len(tokens))

    for role, text in made.turns:
        answers = role == "assistant"
        add([tokenizer.token_to_id(f"<|{role}|>")], OTHER, False)
        for piece, marked in pieces(text):
            asked = answers or marked
            weight = OTHER if not asked else LABEL if made.task in LABELLING else ANSWER
            add(tokenizer.encode(piece).ids, weight, asked)
        add([end], ANSWER if answers else OTHER, False)
    return ids, weights, tasks


def rows(tokenizer, stage: str, length: int, count: int, seed: str):
    """Yield `count` rows of (ids, weights, tasks), each an array of `length`.

    A row starts with a document and holds whole documents only; what is left over is padding of
    weight 0. Documents longer than a row are left out.
    """
    rng = random.Random(seed)
    pool: list = []
    for _ in range(count):
        while len(pool) < POOL:
            made = encode(tokenizer, document(rng, stage))
            if len(made[0]) <= length:
                pool.append(made)
        row = pool.pop()
        while len(row[0]) < length:
            room = length - len(row[0])
            fitting = next((i for i, other in enumerate(pool) if len(other[0]) <= room), None)
            if fitting is None:
                break
            row = tuple(a + b for a, b in zip(row, pool.pop(fitting), strict=True))
        yield np.array([part + [0] * (length - len(part)) for part in row])


def write(path: Path, vocabulary: Path, stage: str, length: int, count: int, seed: int) -> Path:
    """Pack `count` rows of a stage, beside each other, and save them as (rows, 3, length), uint16.

    An existing file is kept: the same arguments give the same rows.
    """
    if path.exists():
        return path
    parts = min(PARTS, -(-count // FEW))
    jobs = [(vocabulary, stage, length, -(-count // parts), f"{stage} {seed} {part}")
            for part in range(parts)]  # fmt: skip
    if parts == 1:
        made = _part(jobs[0])
    else:
        workers = min(parts, os.cpu_count() or 1)
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            made = list(itertools.chain.from_iterable(pool.map(_part, jobs)))
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        np.save(file, np.stack(made[:count]))
    unfinished.rename(path)
    return path


def _part(job) -> list[np.ndarray]:
    vocabulary, *rest = job
    return [row.astype(np.uint16) for row in rows(bpe.load(vocabulary), *rest)]
