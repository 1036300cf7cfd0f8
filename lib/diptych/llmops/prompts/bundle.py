"""A prompt with all that it runs with, as a folder of files: what is released and served."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from diptych.base import hashing
from diptych.base.errors import Plain
from diptych.base.secrets import Redactor
from diptych.base.workspace import write_atomic
from diptych.llmops.client.target import Target
from diptych.llmops.prompts import prompt as prompts
from diptych.llmops.prompts.constraint import FREE
from diptych.llmops.prompts.variant import Variant
from diptych.llmops.server import process, store

PROMPT, SETTINGS = "prompt.md", "settings.json"
SHOWN = 12  # hex digits of a model file's digest
LARGEST = 200e6  # bytes of a model file that is copied; a larger one is named by its path


class VariantError(Plain, ValueError):
    """A saved prompt cannot be read or written; the message says what to do."""


def freeze(variant: Variant, pool: Sequence[tuple[Mapping, str]] = ()) -> Variant:
    """Write its examples from the pool into the prompt, so that it needs nothing else to run."""
    prompt = variant.prompt
    clean = Redactor().text  # of a key in a row: what is released is copied
    shots = tuple(
        ({name: clean(str(inputs[name])) for name in prompt.inputs}, prompt.answer(label))
        for inputs, label in pool[: variant.shots]
    )
    return replace(variant, prompt=replace(prompt, examples=prompt.examples + shots), shots=0)


def settings(variant: Variant) -> dict:
    """Return what a prompt runs with, as plain JSON in MLflow's words for it."""
    target = variant.target
    model = {"provider": target.provider.name, "model_name": target.model_name}
    if target.is_local:
        file = process.model_file(target.server.get("model"))
        if not target.model:
            model["model_name"] = file.name.removesuffix(".gguf")
        model |= {"file": file.name, "digest": store.digest(file)[:SHOWN]}
    return model | variant.fields()


def digest(variant: Variant) -> str:
    """Return the SHA-256 of all that decides an answer: prompt, model, adapters and settings."""
    adapters = variant.target.server.get("adapters") or {}
    files = {name: hashing.of_file(Path(file)) for name, file in adapters.items()}
    shots = {"shots": variant.shots} if variant.shots else {}
    return hashing.of_json(
        settings(variant) | {"prompt": variant.prompt.version, "adapters": files} | shots
    )


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
    target = variant.target
    content = {
        "name": variant.prompt.name,
        "endpoint": target.endpoint,
        "model": target.model,
        "temperature": variant.temperature,
        "parameters": target.parameters,
        "server": _with_files(target.server, lambda file: _copied(file, folder)),
    }
    content |= {"key_env": target.key_env} if target.key_env else {}
    content |= {"decoding": variant.decoding} if variant.decoding != FREE else {}
    write_atomic(folder / SETTINGS, json.dumps(content, indent=1))
    return folder


def load(folder: Path) -> Variant:
    """Return the variant that was saved.

    Raises
    ------
    VariantError
        If the folder holds none.
    """
    try:
        content = json.loads((folder / SETTINGS).read_text("utf-8"))
        prompt = prompts.parse((folder / PROMPT).read_text("utf-8"), folder / PROMPT)
        content["server"] = _with_files(content["server"], lambda file: _inside(file, folder))
        prompt = replace(prompt, name=content.pop("name"))
        how = {"temperature": content.pop("temperature"), "decoding": content.pop("decoding", FREE)}
        return Variant(prompt, Target(**content), **how)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VariantError(f"prompt: {folder} holds no saved prompt ({error})") from error


def _with_files(server: Mapping, change) -> dict:
    """Return a server's settings with `change` made to the model's and the adapters' files."""
    changed = dict(server)
    if changed.get("model"):
        changed["model"] = change(changed["model"])
    if changed.get("adapters"):
        changed["adapters"] = {name: change(file) for name, file in changed["adapters"].items()}
    return changed


def _copied(file: str | Path, folder: Path) -> str:
    """Copy a file into the folder and return its name; a large one, or a known model, stays."""
    path = Path(file).expanduser()
    if str(file).startswith("hf:") or process.is_known(file) or path.stat().st_size > LARGEST:
        return str(file)
    name = f"{hashing.of_file(path)[:SHOWN]}-{path.name}"  # two adapters may have files of one name
    if path.resolve() != (folder / name).resolve():
        shutil.copyfile(path, folder / name)
    return name


def _inside(file: str, folder: Path) -> str:
    """Return the path of a file that lies in the folder, else what is given."""
    return str(folder / file) if (folder / file).is_file() else file
