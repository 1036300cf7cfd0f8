"""Groups of dependencies: which part of Diptych needs packages that the core does not bring."""

import importlib.util
import re

# a package as it is imported: the group of pyproject.toml that brings it
PACKAGES = {
    "dask": "dask",
    "datasets": "hub",
    "distributed": "dask",
    "gguf": "torch",
    "huggingface_hub": "local",
    "ipympl": "lab",
    "ipywidgets": "lab",
    "itables": "lab",
    "jupyterlab": "lab",
    "onnxruntime": "local",
    "peft": "torch",
    "psycopg": "postgres",
    "tokenizers": "local",
    "torch": "torch",
    "transformers": "torch",
    "xllamacpp": "local",
}
PARTS = {
    "local": "language models and embeddings on this machine",
    "torch": "the CNN, fine-tuning and pretraining",
    "lab": "JupyterLab and its widgets",
    "dask": "sweeps and training on a Dask cluster",
    "postgres": "a ledger in PostgreSQL",
    "hub": "tables of the Hugging Face hub",
}
MISSING = re.compile(r"No module named '([\w.]+)'")


def remedy(error: BaseException | str) -> str:
    """Return which installation brings what an import misses, "" if no group does.

    Parameters
    ----------
    error : exception or str
        A ModuleNotFoundError, or its message.
    """
    named = MISSING.search(str(error))
    package = named[1].partition(".")[0] if named else ""
    return advice(package) if package in PACKAGES else ""


def advice(package: str) -> str:
    """Return a sentence that says what to install for a package of a group."""
    group = PACKAGES[package]
    return f"{package} is not installed; {PARTS[group]}: pip install 'diptych[{group}]'"


def missing(package: str) -> str:
    """Return `advice` if a package of a group is not installed, else ""."""
    return "" if importlib.util.find_spec(package) else advice(package)


def absent() -> dict[str, list[str]]:
    """Return the packages that are not installed, by group."""
    names: dict[str, list[str]] = {}
    for package, group in PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            names.setdefault(group, []).append(package)
    return names
