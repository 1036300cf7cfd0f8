"""Numbers and lists as sentences show them."""

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from diptych.core.data.schema import label_option
from diptych.llmops.prompts.prompt import Prompt

MOST = 3  # names that a list shows


def figure(line: Mapping | pd.Series) -> str:
    """Return a value with its interval, such as ``0.953 (0.907 to 0.977)``."""
    value = line["value"]
    if pd.isna(value):
        return "not defined"
    ends = line.get("low"), line.get("high")
    known = not any(x is None or pd.isna(x) for x in ends)
    return f"{value:.3f} ({ends[0]:.3f} to {ends[1]:.3f})" if known else f"{value:.3f}"


def listed(names: Iterable, most: int = MOST) -> str:
    """Return the first names of a list, and how many more there are."""
    texts = [str(name) for name in names]
    if len(texts) > most:
        return f"{', '.join(texts[:most])} and {len(texts) - most} more"
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:]))) or "none"


def count(n: float, thing: str, plural: str = "") -> str:
    """Return a number with its noun, such as ``1 row`` or ``1,350 rows``."""
    return f"{n:,.0f} {thing if n == 1 else plural or thing + 's'}"


def on_unexplained(prompts: Sequence[Prompt]) -> list[str]:
    """Say which prompts ask for labels that mean nothing to their reader; none if none does."""
    silent = [prompt for prompt in prompts if prompt.unexplained]
    if not silent:
        return []
    labels, names = silent[0].unexplained, listed((prompt.name for prompt in silent), 6)
    return [
        f"{listed(labels, 6)} are no names: {names} cannot say what they stand for, so without "
        "examples a language model guesses, and its figures say nothing about it. What to do: "
        f"name them in every stage, -p 'read_options={label_option(labels)}', or write a prompt "
        "that says what each label means."
    ]


def is_known(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
