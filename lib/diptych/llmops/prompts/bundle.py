"""A prompt with all that it runs with, as a folder of files: what is released and served."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from diptych.base import hashing
from diptych.base.workspace import write_atomic
from diptych.llmops.client import endpoint
from diptych.llmops.client.providers import provider
from diptych.llmops.prompts import prompt as prompts
from diptych.llmops.prompts.variant import Variant

PROMPT, SETTINGS = "prompt.md", "settings.json"
SHOWN = 12  # hex digits of a model file's digest
LARGEST = 200e6  # bytes of a model file that is copied; a larger one is named by its path


class VariantError(ValueError):
    """A saved prompt cannot be read or written; the message says what to do."""


def freeze(variant: Variant, pool: Sequence[tuple[Mapping, str]] = ()) -> Variant:
    """Write its examples from the pool into the prompt, so that it needs nothing else to run."""
    prompt = variant.prompt
    given = tuple(
        ({name: str(inputs[name]) for name in prompt.inputs}, prompt.answer(label))
        for inputs, label in pool[: variant.shots]
    )
    return replace(variant, prompt=replace(prompt, examples=prompt.examples + given), shots=0)


def settings(variant: Variant) -> dict:
    """Return what a prompt runs with, as plain JSON in MLflow's words for it."""
    at = provider(variant.endpoint)
    found = {"provider": at.name, "model_name": variant.model or at.model}
    if at.name == "local":
        file = endpoint.model_file(variant.server.get("model"))
        found |= {"file": file.name, "digest": hashing.of_file(file)[:SHOWN]}
    return found | variant.fields()


def save(variant: Variant, folder: Path) -> Path:
    """Save a frozen variant: the prompt's file, its settings, and what files its server takes.

    Raises
    ------
    VariantError
        If it still takes examples from a pool.
    """
    if variant.shots:
        raise VariantError(f"shots: {variant.name} takes examples from a pool; freeze it first")
    folder.mkdir(parents=True, exist_ok=True)
    prompts.write(variant.prompt, folder / PROMPT)
    kept = {
        "name": variant.prompt.name,
        "endpoint": variant.endpoint,
        "model": variant.model,
        "temperature": variant.temperature,
        "parameters": variant.parameters,
        "server": _with_files(variant.server, lambda given: _copied(given, folder)),
    }
    write_atomic(folder / SETTINGS, json.dumps(kept, indent=1))
    return folder


def load(folder: Path) -> Variant:
    """Return the variant that was saved.

    Raises
    ------
    VariantError
        If the folder holds none.
    """
    try:
        kept = json.loads((folder / SETTINGS).read_text("utf-8"))
        prompt = prompts.parse((folder / PROMPT).read_text("utf-8"), folder / PROMPT)
        kept["server"] = _with_files(kept["server"], lambda given: _found(given, folder))
        return Variant(replace(prompt, name=kept.pop("name")), **kept)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VariantError(f"prompt: {folder} holds no saved prompt ({error})") from error


def _with_files(server: Mapping, change) -> dict:
    """Return a server's settings with `change` made to the model's and the adapters' files."""
    made = dict(server)
    if made.get("model"):
        made["model"] = change(made["model"])
    if made.get("adapters"):
        made["adapters"] = {name: change(file) for name, file in made["adapters"].items()}
    return made


def _copied(given: str | Path, folder: Path) -> str:
    """Copy a file into the folder and return its name; leave a large one, or the hub's, there."""
    path = Path(given).expanduser()
    if str(given).startswith("hf:") or path.stat().st_size > LARGEST:
        return str(given)
    name = f"{hashing.of_file(path)[:SHOWN]}-{path.name}"  # two adapters may have files of one name
    if path.resolve() != (folder / name).resolve():
        shutil.copyfile(path, folder / name)
    return name


def _found(given: str, folder: Path) -> str:
    return str(folder / given) if (folder / given).is_file() else given
