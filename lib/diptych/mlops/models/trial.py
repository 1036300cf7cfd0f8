"""A model that others saved is loaded in a process of its own first.

XGBoost and what estimators of one's own are made of read their files in native code, which a
damaged file can crash, checksums or not. What this workspace saved, or has tried before, is known
by the digest of its card.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from diptych.base import hashing, workspace
from diptych.base.errors import WorkspaceError
from diptych.mlops.models.estimators import ModelError

NATIVE = "model.ubj"  # XGBoost's
LONGEST_S = 180.0  # on a busy machine the libraries alone take a while
TRY = """
import sys
from pathlib import Path
from diptych.mlops.models import model
model.load_untried(Path(sys.argv[1]))
"""


_KNOWN: set[str] = set()  # in this process, whatever its workspace


def note(card: Mapping) -> None:
    """Note that a model with this card was saved here, or loaded without a crash."""
    _KNOWN.add(digest := hashing.of_json(dict(card)))
    with contextlib.suppress(OSError, WorkspaceError), _list().open("a") as file:
        file.write(f"{digest}\n")


def check(folder: Path, card: Mapping) -> None:
    """Try a model that is not known here and that native code reads.

    Raises
    ------
    ModelError
        If it crashes the process that loads it, or keeps it busy. What is wrong otherwise is left
        to the loading itself, which says it better.
    """
    if not (NATIVE in card["files"] or "own" in card) or _is_known(card):
        return
    # as this process imports; nothing is searched beside the model
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", TRY, str(folder.absolute())]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, check=False, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"its files keep their library busy for over {LONGEST_S:g} s") from error
    if done.returncode < 0:
        raise ModelError(f"its files crash their library (signal {-done.returncode})")
    if done.returncode == 0:
        note(card)


def _is_known(card: Mapping) -> bool:
    digest = hashing.of_json(dict(card))
    with contextlib.suppress(OSError, WorkspaceError):
        return digest in _KNOWN or digest in _list().read_text().splitlines()
    return False


def _list() -> Path:
    return workspace.home() / "tried-models"
