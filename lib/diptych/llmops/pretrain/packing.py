"""Pack documents into rows of tokens: ids, loss weights and task numbers."""

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
OTHER_SHARE = 4  # one of so many other tokens has a loss
TASK_NUMBER = {name: number for number, name in enumerate(TASKS, start=1)}  # 0: no task
POOL = 400  # documents from which the next is chosen
PARTS = 8  # at most, for any number of processes, so that the rows are the same
FEW = 1_000  # rows of a part, at least


def pieces(text: str) -> list[tuple[str, bool]]:
    """Split a turn at its marks into (text, whether it is a label with a loss)."""
    parts = re.split(f"{OPEN}(.*?){CLOSE}", text, flags=re.DOTALL)
    return [(part, number % 2 == 1) for number, part in enumerate(parts) if part]


def encode(tokenizer, conversation: Document) -> tuple[list[int], list[int], list[int]]:
    """Return ids, loss weights (hundredths) and task numbers, token by token."""
    ids, weights, tasks = [], [], []
    end, task = tokenizer.token_to_id(bpe.END), TASK_NUMBER[conversation.task]

    def add(tokens: list[int], weight: int, graded: bool) -> None:
        for token in tokens:
            counts = weight != OTHER or (len(ids) + len(tokens)) % OTHER_SHARE == 0
            ids.append(token)
            weights.append(weight if counts else 0)
        tasks.extend([task if graded else 0] * len(tokens))

    for role, text in conversation.turns:
        answers = role == "assistant"
        add([tokenizer.token_to_id(f"<|{role}|>")], OTHER, False)
        for piece, marked in pieces(text):
            graded = answers or marked
            weight = OTHER if not graded else LABEL if conversation.task in LABELLING else ANSWER
            add(tokenizer.encode(piece).ids, weight, graded)
        add([end], ANSWER if answers else OTHER, False)
    return ids, weights, tasks


def rows(tokenizer, stage: str, length: int, count: int, seed: str):
    """Yield `count` rows of (ids, weights, tasks), each an array of `length`.

    A row holds whole documents; the rest is padding of weight 0. Documents longer than a row are
    left out.
    """
    rng = random.Random(seed)
    pool: list = []
    for _ in range(count):
        while len(pool) < POOL:
            encoded = encode(tokenizer, document(rng, stage))
            if len(encoded[0]) <= length:
                pool.append(encoded)
        row = pool.pop()
        while len(row[0]) < length:
            room = length - len(row[0])
            fitting = next((i for i, other in enumerate(pool) if len(other[0]) <= room), None)
            if fitting is None:
                break
            row = tuple(a + b for a, b in zip(row, pool.pop(fitting), strict=True))
        yield np.array([part + [0] * (length - len(part)) for part in row])


def write(path: Path, vocabulary: Path, stage: str, length: int, count: int, seed: int) -> Path:
    """Pack `count` rows of a stage in parallel and save them as (rows, 3, length), uint16.

    An existing file is reused: the same arguments give the same rows.
    """
    if path.exists():
        return path
    parts = min(PARTS, -(-count // FEW))
    jobs = [(vocabulary, stage, length, -(-count // parts), f"{stage} {seed} {part}")
            for part in range(parts)]  # fmt: skip
    if parts == 1:
        packed = _part(jobs[0])
    else:
        workers = min(parts, os.cpu_count() or 1)
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            packed = list(itertools.chain.from_iterable(pool.map(_part, jobs)))
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        np.save(file, np.stack(packed[:count]))
    unfinished.rename(path)
    return path


def _part(job) -> list[np.ndarray]:
    vocabulary, *rest = job
    return [row.astype(np.uint16) for row in rows(bpe.load(vocabulary), *rest)]
