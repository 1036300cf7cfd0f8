"""What the outputs of ``llmops/0_pretrain`` show."""

from collections.abc import Mapping, Sequence

import pandas as pd

from diptych.core.evaluation.stats import Estimate
from diptych.llmops.interpretation.words import count, figure

COIN = 0.693  # ln 2: the loss of a guess between two labels, in nats


def of_pieces(pieces: Sequence[str], text: str) -> list[str]:
    """Say into how many pieces a sentence falls."""
    return [
        f"{count(len(text.split()), 'word')} are {count(len(pieces), 'token')}: frequent words "
        "are whole, rare ones are put together.",
        "What to do: a larger vocabulary makes texts shorter, and the model wider.",
    ]


def of_loss(loss: pd.DataFrame) -> list[str]:
    """Say at which step each task left the level of a coin flip, and where its loss ended."""
    lines = []
    for task in ("words", "dense"):
        below = loss.loc[loss[task].rolling(5, min_periods=1).mean() < COIN / 2, "step"]
        when = f"is below half of a coin's from step {below.iloc[0]}" if len(below) else (
            "never falls below half of a coin's"
        )  # fmt: skip
        lines.append(f"The loss of {task} {when}; it ends at {loss[task].iloc[-1]:.3f}.")
    return [*lines, "What to do: a loss that stays at 0.69 has learnt nothing yet; train longer, "
                    "or give more labels a document."]  # fmt: skip


def of_gates(rates: Mapping[str, Estimate]) -> list[str]:
    """Say where the model is shown to be better than a coin flip."""
    lines = [
        f"{name}: {figure({'value': x.value, 'low': x.low, 'high': x.high})} of "
        f"{count(x.n, 'text')}, {'' if x.low > 0.5 else 'not shown to be '}better than a coin."
        for name, x in rates.items()
    ]
    return [*lines, "What to do: believe the hand-written figure; its own grammar flatters."]
