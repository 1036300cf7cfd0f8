"""A small model, for servers and registries that are attacked."""

from pathlib import Path

from diptych.mlops.models import model as models


def fitted(home: Path) -> Path:
    """Return the folder of a small model."""
    texts = [f"a {word} film" for word in ("good", "bad", "fine", "poor")] * 10
    model = models.fit(
        texts, ["yes", "no"] * 20, family="logistic", kind="text", features=["text"], parameters={}
    )
    return model.save(home / "model")
