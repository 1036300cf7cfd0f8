"""DVC pointers: a `.dvc` file stands for the file that DVC keeps."""

from pathlib import Path

import yaml

from diptych.core.data.sources import DataError, first_line


def target(pointer: Path) -> Path:
    """Return the file or folder that a `.dvc` file stands for.

    Raises
    ------
    DataError
        If it is no such file, names several, or what it names has not been fetched.
    """
    try:
        outs = yaml.safe_load(pointer.read_text("utf-8"))["outs"]
        paths = [out["path"] for out in outs]
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
