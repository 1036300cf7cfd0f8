"""What a request may call the served model, and which adapter it so chooses.

llama.cpp answers whatever model is named, so that a misspelt name, or that of an adapter, would be
answered by another model, and nobody would see it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diptych.base import workspace
from diptych.llmops.server.refusals import RefusedError

# the one model that is there, where the client knows none or has to name one
ANY = ("", "diptych", "default", "local")


@dataclass(frozen=True)
class ModelNames:
    """The names of a server's model and of its adapters.

    Attributes
    ----------
    model : Path
        Its GGUF file: it is called as that is, without the ending, and as it is in the catalogue.
    adapters : tuple of str
        In the order in which llama.cpp has them.
    """

    model: Path
    adapters: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """The names to choose from, the model's own first."""
        folder = self.model.parent
        listed = (folder.name,) if folder.parent == workspace.models() else ()
        return (self.model.stem, *listed, *self.adapters)

    def has(self, name) -> bool:
        """Say whether a request may name this as its model."""
        return name is None or name in ANY or name in self.known

    def check(self, name) -> None:
        """Refuse a model that is not here with 404, as the OpenAI API does."""
        if not self.has(name):
            there = ", ".join(dict.fromkeys(self.known))
            reason = f"model: {str(name)[:60]!r} is not served here; there is {there}"
            raise RefusedError(404, reason, "model", "model_not_found")

    def choose(self, body: Mapping) -> dict:
        """Return a request with llama.cpp's choice of the adapter that it names as its model.

        From an adapter to none llama.cpp keeps what it has read of an equal prompt, so a request
        without one is read anew.
        """
        if not self.adapters or "lora" in body:
            return dict(body)
        if body.get("model") in self.adapters:
            chosen = {"id": self.adapters.index(body["model"]), "scale": 1.0}
            return {**body, "lora": [chosen]}
        return {**body, "cache_prompt": False}
