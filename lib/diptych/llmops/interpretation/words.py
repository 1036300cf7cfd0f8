"""Numbers and lists as sentences show them."""

import math
from collections.abc import Iterable, Mapping

import pandas as pd

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


def is_known(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
