"""The time a run was spared: what it would have waited for answers that were there already."""

from collections.abc import Mapping

_seconds: dict[str, dict[str, float]] = {}


def note(run: str, seconds: Mapping[str, float]) -> None:
    """Note what a run's questions took when they were asked first, by question."""
    _seconds.setdefault(run, {}).update(seconds)


def total(run: str) -> float:
    """Return the seconds that a run was spared."""
    return round(sum(_seconds.get(run, {}).values()), 2)
