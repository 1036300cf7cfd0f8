"""DVC pointers: a `.dvc` file stands for the file that DVC keeps."""

import hashlib
from pathlib import Path

import yaml

from diptych.core.data.sources import DataError, first_line


def note(pointer: Path) -> list[str]:
    """Return a sentence if the file's content is not the one that its pointer names, in a list.

    DVC 2 took the sum of a text file with its line ends made plain. Folders are not looked at.
    """
    data, wanted = target(pointer), str(_outs(pointer)[0].get("md5", ""))
    if not data.is_file() or not wanted or wanted.endswith(".dir"):
        return []
    content = data.read_bytes()
    sums = {hashlib.md5(x, usedforsecurity=False).hexdigest()
            for x in (content, content.replace(b"\r\n", b"\n"))}  # fmt: skip
    if wanted in sums:
        return []
    return [
        f"{data.name} is not what {pointer.name} names: it was changed and not added (dvc add "
        f"{data.name}), or is of another version (dvc checkout {pointer.name}); the file as it "
        "lies there is read"
    ]


def _outs(pointer: Path) -> list[dict]:
    return yaml.safe_load(pointer.read_text("utf-8"))["outs"]


def target(pointer: Path) -> Path:
    """Return the file or folder that a `.dvc` file stands for.

    Raises
    ------
    DataError
        If it is no such file, names several, or what it names has not been fetched.
    """
    try:
        paths = [out["path"] for out in _outs(pointer)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise DataError(
            f"task: {pointer} is no DVC pointer ({first_line(error)}); give the data file's path."
        ) from error
    if len(paths) != 1:
        raise DataError(f"task: {pointer} names {len(paths)} files; give the path of one of them.")
    path = pointer.parent / paths[0]
    if not path.exists():
        raise DataError(
            f"task: {path} is not there, only its pointer {pointer.name}; fetch it with: "
            f"dvc pull {pointer.name}"
        )
    return path
