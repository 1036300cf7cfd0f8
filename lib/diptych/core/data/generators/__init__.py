"""Rows of the built-in text tasks: generated ones, and the hand-written test set.

See ``assets/datasheets/reviews.md`` for what they are and are not.
"""

import calendar
import random
from datetime import UTC, datetime
from importlib import resources

import pandas as pd

from diptych.core.data.generators.grammar import Clause, Review, review
from diptych.core.data.generators.lexicon import NEW, POLARITIES, STABLE, opinions

__all__ = ["NEW", "SHIFT_MONTH", "STABLE", "Clause", "Review", "handwritten", "opinions",
           "review", "reviews"]  # fmt: skip

FIRST_YEAR = 2024
SHIFT_MONTH = 19  # 1-based: the first month of the shift
NEW_SHARE = 0.65  # of rows in the new domain, from then on
POSITIVE_SHARE = (0.5, 0.35)  # before and since the shift


def reviews(rows: int = 24_000, seed: int = 0, months: int = 24) -> pd.DataFrame:
    """Generate the time-stamped corpus; the same arguments give the same rows anywhere.

    From month `SHIFT_MONTH` on the domain `NEW` with its own vocabulary makes up `NEW_SHARE` of
    the rows and the positive share falls (`POSITIVE_SHARE`).

    Returns
    -------
    DataFrame
        ``id``, ``time`` (UTC), ``domain``, ``text``, ``label``; no text occurs twice.
    """
    rng = random.Random(f"reviews {seed}")
    lines, seen = [], set()
    for row in range(rows):
        month = row * months // rows + 1
        shifted = month >= SHIFT_MONTH
        while True:
            domain = NEW if shifted and rng.random() < NEW_SHARE else rng.choice(STABLE)
            label = POLARITIES[rng.random() >= POSITIVE_SHARE[shifted]]
            text = review(rng, domain, label).text
            if text.lower() not in seen:
                break
        seen.add(text.lower())
        lines.append((f"r-{row:05d}", moment(rng, month), domain, text, label))
    frame = pd.DataFrame(lines, columns=["id", "time", "domain", "text", "label"])
    return frame.astype({"time": "datetime64[us, UTC]"})


def moment(rng: random.Random, month: int) -> datetime:
    """Return a time inside the month, counted from January of the first year."""
    year, index = FIRST_YEAR + (month - 1) // 12, (month - 1) % 12 + 1
    days = calendar.monthrange(year, index)[1]
    return datetime(
        year, index, rng.randint(1, days), rng.randrange(24), rng.randrange(60), tzinfo=UTC
    )


def handwritten() -> pd.DataFrame:
    """Return the hand-written test set: ``id``, ``domain``, ``text``, ``label``."""
    path = resources.files("diptych") / "assets" / "reviews_handwritten.csv"
    with path.open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str)
