"""Recorded values as text, the same on every page."""

from collections.abc import Mapping
from decimal import Decimal


def number(value) -> str:
    """Return a value as text: thousands separated, with the decimals that matter."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        decimals = 3 if abs(value) <= 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
        return f"{value:,.{decimals}f}"
    return "none" if value is None else str(value)


def plain(value: float) -> str:
    """Return two figures of a number, never as a power of ten: 0.0000061."""
    return f"{Decimal(f'{value:.2g}'):f}"


def with_unit(entry: Mapping) -> str:
    """Return a recorded value and its unit."""
    return number(entry["value"]) + (f" {entry['unit']}" if entry.get("unit") else "")


def interval(entry: Mapping) -> str:
    """Return a recorded value's interval, "" if it has none."""
    low, high = entry.get("low"), entry.get("high")
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def label(stage: str) -> str:
    """Turn ``"2_build"`` into ``"2 Build"``."""
    place, _, words = stage.partition("_")
    return f"{place} {words.replace('_', ' ').capitalize()}" if place.isdigit() else stage
