"""Folders of runs that were killed: no secret stays in them, and `diptych doctor --fix` ends them.

While a run is made, its folder holds a note of the process that makes it. A folder whose process is
gone was left by a kill, before what the notebook wrote was redacted.
"""

import contextlib
import os
import shutil
from pathlib import Path

from diptych.base import workspace
from diptych.base.environment import process_start
from diptych.base.secrets import Redactor

OWNER = ".owner"
DONE = "redacted"


def own(staged: Path) -> None:
    """Note in a staged folder that this process makes it."""
    (staged / OWNER).write_text(f"{os.getpid()} {process_start(os.getpid())}")


def disown(staged: Path) -> None:
    """Remove the note: the run is complete."""
    (staged / OWNER).unlink(missing_ok=True)


def folders(root: Path) -> list[Path]:
    """Return the staged folders whose process is gone."""
    return [staged for staged in sorted(root.glob(".*.partial")) if _owner(staged) == ""]


def redact(root: Path) -> None:
    """Remove secrets from the folders that killed runs left."""
    for staged in folders(root):
        with contextlib.suppress(OSError):  # somebody else is at it
            if (staged / OWNER).read_text() != DONE:
                Redactor().folder(staged)
                workspace.write_atomic(staged / OWNER, DONE)


def remove(root: Path) -> int:
    """Remove the folders that killed runs left, and return how many there were."""
    left = folders(root)
    for staged in left:
        shutil.rmtree(staged)
    return len(left)


def _owner(staged: Path) -> str | None:
    """Return when a folder's process started, "" if it is gone, None if nobody can say."""
    try:
        pid, _, started = (staged / OWNER).read_text().partition(" ")
    except OSError:
        return None
    if pid == DONE:
        return ""
    return started if pid.isdigit() and process_start(int(pid)) == started else ""
