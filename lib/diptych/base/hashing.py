"""Digests of files and folders, by content: SHA-256 in hexadecimal, whoever asks."""

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

MOST_FILES = 10_000


class TooMany(ValueError):  # noqa: N818 (reads as what happened)
    """A folder holds more files than can be looked at for every run."""


def of_file(path: Path) -> str:
    """Return a file's SHA-256; a file that kept its size and times is not read again."""
    status = os.stat(path)
    times = status.st_mtime_ns, status.st_ctime_ns  # a copy may keep the first, never the second
    return _of_file(str(path), status.st_size, *times, status.st_ino)


@functools.lru_cache(maxsize=4096)
def _of_file(path: str, *_: int) -> str:
    return of_file_now(Path(path))


def of_file_now(path: Path) -> str:
    """Return a file's SHA-256, read now."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted; those of hidden and bytecode folders left out.

    Raises
    ------
    TooMany
    """
    paths = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(x for x in folders if x != "__pycache__" and not x.startswith("."))
        paths += [Path(place, name) for name in sorted(names)]
        if len(paths) > MOST_FILES:
            raise TooMany(f"{folder} holds more than {MOST_FILES:,} files")
    return paths


def of_path(path: Path) -> str:
    """Return one digest of a file, or of all files below a folder with their names."""
    if path.is_file():
        return of_file(path)
    return of_json({p.relative_to(path).as_posix(): of_file(p) for p in files_of(path)})


def of_listing(entries: Iterable[tuple[str, str]]) -> str:
    """Return one digest of files, given the name and the digest of each, in that order."""
    total = hashlib.sha256()
    for name, digest in entries:
        total.update(f"{name} {digest}\n".encode())
    return total.hexdigest()


def of_json(content) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its names."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
