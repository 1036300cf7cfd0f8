"""What a random search draws from: ``uniform(0,1)``, ``loguniform(1e-4,1)``, ``int(1,99)``."""

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from diptych.execution.parameters import Parameter, checked, display

KINDS = ("uniform", "loguniform", "int")
TEXT = re.compile(rf"\s*({'|'.join(KINDS)})\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)\s*")


@dataclass(frozen=True)
class Range:
    """Values between two ends, both allowed.

    Attributes
    ----------
    kind : str
        ``uniform``; ``loguniform``, of which each order of magnitude is drawn equally often; or
        ``int``, whole numbers.
    low, high : float
    """

    kind: str
    low: float
    high: float

    def draw(self, rng: random.Random) -> float | int:
        """Return one value."""
        if self.kind == "int":
            return rng.randint(int(self.low), int(self.high))
        if self.kind == "loguniform":
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return min(max(value, self.low), self.high)
        return rng.uniform(self.low, self.high)

    def __str__(self) -> str:
        return f"{self.kind}({self.low:g}, {self.high:g})"


def is_range(text) -> bool:
    """Say whether a text is written as a range."""
    return isinstance(text, str) and bool(TEXT.fullmatch(text))


def take(grid: dict, declared: Mapping[str, Parameter], problems: list[str]) -> dict[str, Range]:
    """Take the ranges out of a grid, their ends checked; what is wrong goes to `problems`."""
    drawn = {}
    for name in [name for name, values in grid.items() if is_range(values)]:
        kind, low, high = TEXT.fullmatch(grid[name]).groups()
        shown = f"grid: {name} = {grid.pop(name)}"
        try:
            drawn[name] = _range(kind, low, high)
            for end in (drawn[name].low, drawn[name].high):
                checked(declared, name, int(end) if kind == "int" else end)
        except ValueError as error:
            problems.append(f"{shown}: {error}.")
    return drawn


def _range(kind: str, low: str, high: str) -> Range:
    ends = []
    for text in (low, high):
        try:
            ends.append(int(text) if kind == "int" else float(text))
        except ValueError:
            what = "a whole number" if kind == "int" else "a number"
            raise ValueError(f"{display('', text)} is not {what}") from None
    if not all(map(math.isfinite, ends)) or ends[0] >= ends[1]:
        raise ValueError(f"the ends do not rise. Write {kind}(LOW, HIGH)")
    if kind == "loguniform" and ends[0] <= 0:
        raise ValueError("starts at 0 or below, which has no logarithm. Use uniform(LOW, HIGH)")
    return Range(kind, *ends)
