"""Stage 1, data: prompts are data too; examples and evaluation rows come from one data version."""

import hashlib
from collections.abc import Mapping, Sequence

import pandas as pd

from diptych.core import splits
from diptych.core.columns import FRAME
from diptych.llmops.prompts import (
    Prompt,
    PromptError,
    difference,
    every,
    parse,
    read,
    write,
)

__all__ = [
    "Prompt", "PromptError", "difference", "every", "leaks", "parse", "pool", "read", "sample",
    "write",
]  # fmt: skip


def pool(data: pd.DataFrame, k: int, seed: int, labels: Sequence[str]) -> list[tuple[dict, str]]:
    """Return `k` examples from the train rows, the labels in turn, the same for the same seed.

    The first examples of a larger pool are those of a smaller one.

    Raises
    ------
    PromptError
        If the train rows do not hold so many.
    """
    train = data[data["split"] == "train"]
    groups = [_shuffled(train[train["label"] == label], seed) for label in labels]
    each = -(-k // len(labels)) if labels else 0
    short = [f"{x} {len(g)}" for x, g in zip(labels, groups, strict=True) if len(g) < each]
    if short or (k and not labels):
        told = ", ".join(short) or "no labels"
        raise PromptError(f"shots: {k} need {each} train rows of each label; there are {told}")
    inputs = [name for name in data if name not in FRAME]
    chosen = [group.iloc[i] for i in range(each) for group in groups][:k]
    return [(row[inputs].to_dict(), row["label"]) for row in chosen]


def sample(data: pd.DataFrame, split: str, n: int, seed: int) -> pd.DataFrame:
    """Return `n` rows of a split, its labels in the split's own shares; all if it has fewer.

    Which rows are taken depends on their ids and the seed alone.
    """
    rows = data[data["split"] == split]
    if n < len(rows):
        order = _shuffled(rows, seed)
        # the i-th row of a label with m rows stands at (i + 1/2) / m, so shares are kept
        place = order.groupby("label").cumcount().add(0.5)
        place /= order.groupby("label")["id"].transform("size")
        rows = rows.loc[place.sort_values(kind="stable").index[:n]]
    return rows.sort_values("id", ignore_index=True)


def _shuffled(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return rows in an order that their ids and the seed give."""
    keys = [hashlib.sha256(f"{seed} {name}".encode()).digest() for name in rows["id"]]
    return rows.loc[pd.Series(keys, index=rows.index, dtype=object).sort_values().index]


def leaks(examples: Sequence[tuple[Mapping, str]], rows: pd.DataFrame) -> int:
    """Count the evaluation rows that repeat an example, or nearly (see `splits.near_copies`)."""
    shown = pd.DataFrame([dict(inputs) for inputs, _ in examples])
    inputs = [name for name in shown if name in rows]
    if not inputs or rows.empty:
        return 0
    both = pd.concat([shown[inputs], rows[inputs]], ignore_index=True)
    given = both.index < len(shown)
    found = pd.Series(splits.content_hash(both, inputs))
    same = found.isin(found[given]).to_numpy()
    if inputs == ["text"]:
        same = same | splits.near_copies(both["text"], given)
    return int(same[~given].sum())
