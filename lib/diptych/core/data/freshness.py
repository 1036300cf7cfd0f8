"""Whether the rows of a task have changed where they lie: one digest for each kind of place.

A file's digest is of its content, and so is that of a small download and of what a query gives.
Of a large download the server's own marks count (ETag, Last-Modified, length). What cannot be
known is said, and never passes for unchanged unseen.
"""

import hashlib
import importlib.util
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs

from diptych.base import hashing
from diptych.core.data import readers, sources
from diptych.core.data.readers import dvc, hub, sql
from diptych.core.data.sources import CLOUD, WEB, DataError, first_line

SMALL = 20 * 2**20  # bytes of a download that are read to see whether they changed
MARKS = ("ETag", "Last-Modified", "Content-Length")
TIMEOUT = 10  # seconds


@dataclass(frozen=True)
class State:
    """What a place holds now.

    Attributes
    ----------
    digest : str
        "" if it cannot be known.
    unknown : str
        Why not; "" if it is known, or the task is no place.
    """

    digest: str = ""
    unknown: str = ""


def state(task: str, read_options: str = "") -> State:
    """Return what the place that a task names holds now; nothing of what ships.

    Parameters
    ----------
    task : str
        A task's name, or a place as `readers.read_table` takes it.
    read_options : str
        As in the notebook: a query may stand there.
    """
    if not ("://" in task or hub.is_hub(task)):
        return _of_path(task)
    try:
        if sql.is_database(task):
            return State(sql.digest_of(task, readers.parse_options(read_options)))
        if hub.is_hub(task):
            return _of_hub(task)
        if task.startswith(WEB):
            return _of_web(task)
        if task.startswith(CLOUD):
            return _of_cloud(task)
        return _of_path(sources.resolve(task))  # file://
    except (DataError, OSError, ValueError, pa.ArrowException) as error:
        return State(unknown=first_line(error))


def _of_path(task: str) -> State:
    """Return a file's or folder's digest; a name without slash or dot is a file's, or a task's."""
    place = Path(sources.resolve(task))
    if not (place.is_file() or (place.is_dir() and any(mark in task for mark in "/\\."))):
        return State()
    try:
        if place.name.endswith(".dvc") and place.is_file():
            place = dvc.target(place)  # what is read
        return State(hashing.of_path(place))
    except (OSError, hashing.TooMany, DataError) as error:
        return State(unknown=first_line(error))


def _of_web(url: str) -> State:
    request = urllib.request.Request(
        sources.quoted(url), headers={"User-Agent": "diptych"}, method="HEAD"
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            marks = {name: answer.headers.get(name, "") for name in MARKS}
    except urllib.error.HTTPError as error:
        with error:
            if error.code not in (403, 405, 501):  # some servers know GET only
                return State(unknown=f"the server answered {error.code} {error.reason}")
        marks = {}
    if int(marks.get("Content-Length") or 0) <= SMALL:
        return State(hashlib.sha256(sources.read_bytes(url)).hexdigest())
    if not (marks["ETag"] or marks["Last-Modified"]):
        return State(unknown="the server names neither ETag nor Last-Modified")
    return State(hashing.of_json(marks))


def _of_cloud(location: str) -> State:
    files, path = pa.fs.FileSystem.from_uri(location)
    info = files.get_file_info(path)
    if info.type == pa.fs.FileType.File:
        entries = [info]
    elif info.type == pa.fs.FileType.Directory:
        entries = files.get_file_info(pa.fs.FileSelector(path, recursive=True))
    else:
        return State(unknown="it is not there")
    listed = {entry.path: [entry.size, str(entry.mtime)] for entry in entries}
    return State(hashing.of_json(listed))


def _of_hub(location: str) -> State:
    if importlib.util.find_spec("huggingface_hub") is None:
        return State(unknown="the package huggingface_hub is not installed")
    import huggingface_hub

    name = re.sub(r"^hf:(//)?", "", location).partition(":")[0]
    owner_and_name = "/".join(name.split("/")[:2])
    try:
        return State(huggingface_hub.dataset_info(owner_and_name, timeout=TIMEOUT).sha or "")
    except Exception as error:  # whatever its transport raises
        return State(unknown=first_line(error))


def sentence(task: str, found: State) -> str:
    """Return what to say where it cannot be known whether rows changed, "" where it can."""
    if not found.unknown:
        return ""
    return (
        f"Whether {readers.shown(task)} has changed cannot be known ({found.unknown}): the rows "
        "stored last are used."
    )


def as_task(found: State) -> Mapping[str, str]:
    """Return what a run records of it; {} of what cannot be known."""
    return {"source": found.digest} if found.digest else {}
