"""Who speaks on the page of a run: the model in the box says what it is wherever it answers."""

from collections.abc import Mapping
from importlib.resources import files

from diptych.execution import runs

BOX = "local"  # how ``models=[...]`` calls it


def card() -> str:
    """Return the first sentence of the card of the model in the box."""
    text = (files("diptych") / "assets" / "model" / "MODEL_CARD.md").read_text("utf-8")
    return text.split("\n\n")[1].strip()


def is_box(model: str) -> bool:
    """Say whether an entry of ``models=[...]`` is the model in the box."""
    endpoint, _, name = model.partition("?")[0].partition("/")
    return endpoint == BOX and name in ("", "diptych")


def note(manifest: Mapping) -> str:
    """Return the sentence for the head of a run's page, "" where another model answered, or none.

    A stage that names no models asks those of the run that it builds on.
    """
    seen = set()
    while True:
        parameters = manifest.get("parameters") or {}
        models, upstream = parameters.get("models"), parameters.get("upstream")
        if models or not upstream or upstream in seen:
            break
        seen.add(upstream)
        try:
            manifest = runs.load_run(upstream).manifest
        except LookupError:
            break
    names = models if isinstance(models, list) else []
    return card() if any(is_box(str(name)) for name in names) else ""
