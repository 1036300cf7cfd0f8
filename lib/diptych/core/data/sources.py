"""Where a table lies: addresses, downloads, the bytes of a file.

What the bytes hold is read by `diptych.core.data.readers`, what the columns mean is settled in
`diptych.core.data.schema`.
"""

import difflib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs

from diptych.base import workspace
from diptych.base.errors import Plain

MAX_BYTES = 500 * 2**20  # of a download, and of what a gz file unpacks to
TIMEOUT = 30  # seconds without a byte
CLOUD = ("s3://", "gs://")
WEB = ("http://", "https://")
REMOTE = WEB + CLOUD
ODD = "#%?[]^|\t"  # deltalake 1.6 takes a path for a URL: with these it loses rows or aborts


class DataError(Plain, ValueError):
    """Data cannot be used as given; the message names the place, what is wrong and the remedy."""


def resolve(location: str) -> str:
    """Return a URL as it is and a path (or ``file://`` URL) as an absolute path.

    A relative path is looked for in the working directory, then in the repository, because a
    notebook runs in its own folder.

    Raises
    ------
    DataError
        If it is a URL of another kind than http(s), file, s3 or gs, or a pipe or device.
    """
    if location.startswith(REMOTE):
        return location
    if location.startswith("file://"):
        location = urllib.request.url2pathname(urllib.parse.urlsplit(location).path)
    if "://" in location:
        scheme = location.partition("://")[0]
        raise DataError(
            f"task: {scheme}:// is no address this reads; use http(s), file, s3 or gs, or a path."
        )
    path = Path(location).expanduser()
    if not os.path.exists(path) and os.path.exists(beside := workspace.repo_root() / path):
        path = beside
    path = Path(os.path.realpath(path))  # also of a link that leads to itself
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        raise DataError(f"task: {path} is no file; write what it gives into one.")
    return str(path)


def shown(location: str) -> str:
    """Return a location fit for a report: a URL without user, password and query."""
    if not location.startswith(REMOTE):
        return location
    parts = urllib.parse.urlsplit(location)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def file_name(location: str) -> str:
    """Return the last part of a path or URL, without a query."""
    if location.startswith(REMOTE):
        location = urllib.parse.unquote(urllib.parse.urlsplit(location).path)
    return Path(location).name


def looks_like_location(task: str) -> bool:
    """Whether a task parameter names a place rather than a task."""
    return any(mark in task for mark in "/\\.") or os.path.exists(task)


def refuse_odd_path(path: str, parameter: str) -> None:
    """Refuse a path that Delta cannot hold a table below.

    Raises
    ------
    DataError
        Naming `parameter` and the characters.
    """
    if odd := [mark for mark in ODD if mark in path]:
        raise DataError(
            f"{parameter}: Delta tables cannot lie below {path}; use a folder without {odd[0]!r} "
            "in its path."
        )


def read_bytes(location: str) -> bytes:
    """Return the bytes of a file or a download.

    Raises
    ------
    DataError
        If it is not there, cannot be reached, or a download is larger than `MAX_BYTES`.
    """
    if location.startswith(WEB):
        return _download(location)
    if location.startswith(CLOUD):
        try:
            files, path = pa.fs.FileSystem.from_uri(location)
            with files.open_input_stream(path) as stream:
                return bounded(stream, location)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"task: {shown(location)} cannot be read ({first_line(error)}). "
                "Check the address and your cloud credentials."
            ) from error
    path = Path(location)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(not_found(path)) from error
    except OSError as error:
        raise DataError(f"task: {path} cannot be read ({error.strerror}).") from error


def not_found(path: Path) -> str:
    """Return the message for a path where there is nothing, with a name that is near."""
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "Check the path."
    return f"task: there is no file {path}. {hint}"


def missing(location: str) -> str:
    """Return the message for a path where there is nothing, "" for one that is there."""
    if "://" in location or location.startswith("hf:"):
        return ""
    path = Path(resolve(location))
    return "" if path.exists() else not_found(path)


def quoted(url: str) -> str:
    """Return a URL as a request takes it, characters of other alphabets encoded."""
    return urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def _download(url: str) -> bytes:
    try:
        request = urllib.request.Request(quoted(url), headers={"User-Agent": "diptych"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return bounded(answer, url, int(answer.headers.get("Content-Length") or 0))
    except urllib.error.HTTPError as error:
        with error:
            reason = f"the server answered {error.code} {error.reason}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = first_line(getattr(error, "reason", None) or error)
    raise DataError(
        f"task: {shown(url)} cannot be downloaded ({reason}). Check the address and the network, "
        "or save the file and give its path."
    )


def bounded(stream: Any, location: str, announced: int = 0) -> bytes:
    """Return what a stream holds.

    Raises
    ------
    DataError
        If it is more than `MAX_BYTES`, or less than was `announced`.
    """
    data = b"" if announced > MAX_BYTES else stream.read(MAX_BYTES + 1)
    if max(announced, len(data)) > MAX_BYTES:
        raise DataError(
            f"task: {shown(location)} is larger than {MAX_BYTES / 2**20:.0f} MB; "
            "take a sample of its rows, or save it and give the path of a Parquet or Delta table."
        )
    if len(data) < announced:
        raise DataError(
            f"task: {shown(location)} ended after {len(data)} of {announced} bytes; try again."
        )
    return data


def first_line(error: Any) -> str:
    """Return the first line of an error's message, its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
