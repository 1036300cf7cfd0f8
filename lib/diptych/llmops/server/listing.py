"""The catalogue as a table: what is known, and what is on this machine."""

from collections.abc import Sequence

from diptych.base import workspace
from diptych.execution.pages import speaker
from diptych.llmops.server import catalogue, store
from diptych.llmops.server.catalogue import CatalogueError

COLUMNS = ("name", "kind", "parameters", "MB", "memory GiB", "licence", "here", "title")


def facts() -> list[dict]:
    """Return what is known of each model, by column."""
    return [_facts(model) for model in catalogue.catalogue(workspace.models()).values()]


def _facts(model: catalogue.Entry) -> dict:
    values = (
        model.name, model.kind, model.parameters, round(model.bytes / 1e6), model.memory_gib,
        model.licence, store.is_here(model), model.title,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def as_text(lines: list[dict]) -> str:
    """Return the table as text, and what to type next."""
    rows = [[_shown(value) for value in line.values()] for line in lines]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    table = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (COLUMNS, *rows)
    ]
    return "\n".join([*table, "", f"Store: {workspace.models()}. Get one: diptych model get NAME"])


def _shown(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int) and value >= 1_000_000:
        return f"{value / 1e9:.1f} B" if value >= 10**9 else f"{value / 1e6:.0f} M"
    return f"{value or ''}"


def speakers(models: Sequence[str]) -> str:
    """Return who the models of ``models=[...]`` are, for the head of a page on which they answer.

    Of the model in the box it is the first sentence of its card; of one of the catalogue who made
    it, its size and its licence, recorded or asked now; of any other its name.
    """
    return " ".join(dict.fromkeys(map(_speaker, models)))


def box_size() -> str:
    """Return how many parameters the model in the box has, as its card says it."""
    return speaker.card().partition(" parameters")[0].rpartition(" ")[2]


def _speaker(model: str) -> str:
    endpoint, _, name = model.partition("?")[0].partition("/")
    if endpoint not in ("local", "recorded"):
        return f"Answers come from {model}."
    where = "on this machine" if endpoint == "local" else "recorded: nobody was asked now"
    if not name or name == "diptych":
        return speaker.card()
    try:
        known = store.entry(name)
    except CatalogueError:
        return f"Answers come from {name.rpartition('/')[2]}, {where}."
    size = _shown(known.parameters) or "unknown"
    return (
        f"Answers come from {known.title or known.name} of {known.publisher or 'unknown origin'}, "
        f"{size} parameters, licence {known.licence or 'unknown'}, {where}."
    )
