"""Where ``--output`` puts run folders: a folder, or an address that fsspec can write to."""

import re
from dataclasses import dataclass
from pathlib import Path

from diptych.base import hashing
from diptych.base.errors import ParameterError

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//)?")  # of two letters or more: C: is a disk
READ_ONLY = ("http", "https", "data")
LAST = "manifest.json"  # uploaded last, so that a run with one is whole


@dataclass(frozen=True)
class Destination:
    """A checked place for run folders.

    Attributes
    ----------
    folder : Path or None
        On this machine; None where it is the workspace's, or a remote one.
    url : str
        Remote: run folders are made in the workspace and copied there. "" for a folder.
    """

    folder: Path | None = None
    url: str = ""

    def upload(self, folder: Path, name: str) -> str:
        """Copy a run folder to ``url/name`` and return that address.

        Raises
        ------
        OSError
            If it cannot be written; the folder on this machine stays.
        """
        target = f"{self.url.rstrip('/')}/{name}"
        files, path = _file_system(target)
        names = [path_.relative_to(folder).as_posix() for path_ in hashing.files_of(folder)]
        for each in sorted(names, key=lambda each: each == LAST):
            files.makedirs(f"{path}/{each}".rpartition("/")[0], exist_ok=True)
            files.put_file(str(folder / each), f"{path}/{each}")
        return target


def resolve(output: str) -> Destination:
    """Return the destination that ``--output`` names; "" is the workspace.

    Raises
    ------
    ParameterError
        If it is an address that cannot be written to from here.
    """
    if not output:
        return Destination()
    scheme = SCHEME.match(output)
    if not scheme or Path(output).exists():
        return Destination(Path(output).expanduser().absolute())
    kind, slashes = scheme.groups()
    if not slashes:
        raise ParameterError(
            f"--output {output}: neither a folder nor an address. Write {kind}://BUCKET/FOLDER, "
            f"or ./{output} for a folder of that name."
        )
    if kind in READ_ONLY:
        raise ParameterError(
            f"--output {output}: {kind} addresses are read-only. Give a folder, or an address such "
            "as s3://BUCKET/FOLDER."
        )
    if kind in ("file", "local"):
        return Destination(Path(output.partition("://")[2]).absolute())
    try:
        files, path = _file_system(output)
        files.exists(path)
    except Exception as error:  # each file system has errors of its own
        raise ParameterError(f"--output {output}: {_reason(kind, error)}") from error
    return Destination(url=output)


def _file_system(url: str):
    """Return fsspec's file system for an address, and the path on it."""
    from fsspec.core import url_to_fs

    return url_to_fs(url)


def _reason(kind: str, error: Exception) -> str:
    what = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, ImportError):
        return f"{what}. Install it with pip, or give a folder."
    if isinstance(error, ValueError) and "not known" in what.lower():
        return (
            f"there is no file system {kind!r}. Give a folder, or s3://, gs://, abfs://, sftp://."
        )
    return f"it cannot be reached ({what[:200]})."
