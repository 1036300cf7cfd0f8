"""Find notebooks, and read them without a kernel."""

import difflib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.base.progress import printable

HERE = ("python3", "diptych")  # kernels of this environment


def find_notebook(name: str | Path) -> Path:
    """Return a notebook's path.

    Parameters
    ----------
    name : str or Path
        A path, or a short name under ``notebooks/`` such as ``"mlops/2_build"``.

    Raises
    ------
    ParameterError
        If there is no such notebook.
    """
    return find(name, "notebooks", (".ipynb",), "notebook", "`diptych list` shows them all")


def find(name: str | Path, folder: str, suffixes: tuple[str, ...], kind: str, hint: str) -> Path:
    """Return the path that a path or a short name under a folder of the repository stands for."""
    base = workspace.repo_root() / folder
    for start in (Path.cwd(), base):
        for suffix in ("", *suffixes):
            path = start / f"{Path(name).expanduser()}{suffix}"
            if path.is_file():
                return _with_a_name(path, kind)
    known = [short_name(path, base) for path in all_files(base, suffixes)]
    parent = Path(name).parent
    beside = [path for suffix in suffixes for path in parent.glob(f"*{suffix}")]
    known += [path.with_suffix("").as_posix() for path in beside]
    short = str(name)
    for suffix in suffixes:
        short = short.removesuffix(suffix)
    raise ParameterError(f"{name}: no such {kind}. {nearest(short, known)}{hint}.")


def _with_a_name(path: Path, kind: str) -> Path:
    """Return a path that pages and records can name, or refuse it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ParameterError(
            f"{printable(str(path))}: the name of this {kind} is not UTF-8. Rename it."
        ) from error
    return path


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"Did you mean x? "``, or nothing if no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}? " if near else ""


def all_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files with these suffixes under a folder, sorted, none of a hidden folder."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in suffixes
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def short_name(path: Path, base: Path | None = None) -> str:
    """Return a file's name under its folder, ``"mlops/2_build"``, or its stem if elsewhere."""
    path = Path(path).absolute()
    base = base or workspace.repo_root() / "notebooks"
    inside = path.is_relative_to(base)
    return path.relative_to(base).with_suffix("").as_posix() if inside else path.stem


def read_notebook(path: Path) -> dict:
    """Read a notebook's JSON.

    Raises
    ------
    ParameterError
        If the file is missing, is no notebook of format 4, or is not for Python.
    """
    name = workspace.shown(path)
    try:
        content = json.loads(Path(path).read_bytes())
        cells = content["cells"]
        sources = [source(cell) for cell in cells if cell["cell_type"]]
    except OSError as error:
        raise ParameterError(f"{name}: the notebook cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ParameterError(
            f"{name}: not a notebook. Give a Jupyter notebook of format 4 (.ipynb)."
        ) from error
    language = content.get("metadata", {}).get("kernelspec", {}).get("language", "python")
    if language != "python" or not sources:
        what = f"a notebook for {language}" if sources else "a notebook without cells"
        raise ParameterError(f"{name}: {what}. Give a Python notebook with cells.")
    return content


def source(cell: dict) -> str:
    """Return a cell's source as one string."""
    return "".join(cell["source"])


def kernel_name(content: dict) -> str:
    """Return the name of the kernel that a notebook was saved with."""
    return content.get("metadata", {}).get("kernelspec", {}).get("name") or HERE[0]


def title(content: dict) -> str:
    """Return the notebook's first heading, the question it answers."""
    for cell in content["cells"]:
        if text := heading(cell):
            return text
    return ""


def heading(cell: dict) -> str:
    """Return the first heading of a Markdown cell, "" if there is none."""
    if cell["cell_type"] != "markdown":
        return ""
    lines = source(cell).splitlines()
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), "")


def code_digest(content: dict) -> str:
    """Return the SHA-256 of a notebook's code cells; prose and outputs do not count."""
    cells = [source(cell) for cell in content["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()
