"""Compressed files: gzip, bzip2, xz, and a zip with one member."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from diptych.core.data.readers.table import Source
from diptych.core.data.sources import DataError, bounded, first_line

Opener = Callable[[io.BytesIO], AbstractContextManager[io.BufferedIOBase]]
OPENERS: dict[bytes, tuple[str, Opener]] = {
    b"\x1f\x8b": ("gzip", lambda packed: gzip.GzipFile(fileobj=packed)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
}
SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
OFFICE = ("[Content_Types].xml", "mimetype", "META-INF/manifest.xml")  # in xlsx and ods
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)


def unpacked(source: Source) -> Source:
    """Return what a compressed file holds, and any other file as it is.

    Raises
    ------
    DataError
        If it is damaged, locked, larger than `sources.MAX_BYTES`, or holds several files.
    """
    if not source.data:
        return source
    for magic, (kind, opener) in OPENERS.items():
        if source.data.startswith(magic):
            try:
                with opener(io.BytesIO(source.data)) as stream:
                    data = bounded(stream, source.place)
            except DAMAGE as error:
                raise _damaged(source, kind, error) from error
            return replace(source, data=data, name=_inner(source.name))
    if source.data.startswith(b"PK\x03\x04"):
        return _from_zip(source)
    if source.name.endswith(SUFFIXES):
        kind = "zip" if source.name.endswith(".zip") else "gzip"
        raise _damaged(source, kind, "it does not begin like one")
    return source


def _from_zip(source: Source) -> Source:
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            names = archive.namelist()
            if any(name in names for name in OFFICE):
                return source
            members = [
                m
                for m in archive.infolist()
                if not m.is_dir() and not m.filename.startswith("__MACOSX/")
            ]
            if len(members) != 1:
                listed = ", ".join(repr(m.filename) for m in members[:10]) or "none"
                raise DataError(
                    f"task: {source.place} holds {len(members)} files ({listed}); unpack it and "
                    "give the path of one of them."
                )
            with archive.open(members[0]) as stream:
                data = bounded(stream, source.place)
            return replace(source, data=data, name=members[0].filename.lower())
    except DAMAGE as error:
        raise _damaged(source, "zip", error) from error


def _inner(name: str) -> str:
    return next((name[: -len(s)] for s in SUFFIXES if name.endswith(s)), name)


def _damaged(source: Source, kind: str, error: Any) -> DataError:
    return DataError(
        f"task: {source.place} is not a whole {kind} file ({first_line(error)}). "
        "Fetch it again, or give the unpacked file."
    )
