"""Settings fitted before: an equal fit on equal rows is loaded from the workspace, not repeated.

An entry is a folder with what the estimator saves, plain arrays or UBJSON without code, and the
digest of each file. It is named by all that a fit depends on: the encoded rows and their classes,
family, setting, seed, this package's source and the libraries' versions. Folders appear whole, so
that processes share them; the least recently used are removed above `LIMIT_MB`.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from diptych.base import environment, hashing, workspace
from diptych.mlops.models.estimators import Estimator

LIMIT_MB = 300
WORTH_S = 0.2  # what is fitted in less time is not stored
LIBRARIES = ("numpy", "scipy", "scikit-learn", "xgboost-cpu", "xgboost", "torch")
CARD = "fit.json"


def digest(matrix, codes: np.ndarray) -> str:
    """Return a digest of encoded rows and their classes; "" for a matrix of another kind."""
    if isinstance(matrix, np.ndarray):
        parts = [matrix]
    elif hasattr(matrix, "tocsr"):
        rows = matrix.tocsr()
        parts = [rows.data, rows.indices, rows.indptr]
    else:
        return ""
    content = hashlib.blake2b(digest_size=16)
    for part in (*parts, codes):
        if part.dtype == object:
            return ""
        content.update(f"{part.dtype.str}{part.shape}{part.flags.f_contiguous}".encode())
        content.update(np.ascontiguousarray(part).data)
    content.update(f"{matrix.shape}{getattr(matrix, 'types', '')}".encode())
    return content.hexdigest()


def fit(
    estimator: Estimator,
    matrix,
    codes: np.ndarray,
    classes: int,
    *,
    rows: str,
    family: str,
    setting: dict,
    seed: int,
) -> tuple[Estimator, bool]:
    """Fit an estimator, or load the equal one that was fitted before.

    Parameters
    ----------
    estimator : Estimator
        Not fitted yet, with its `setting` and `seed`.
    rows : str
        What `digest` returned for `matrix` and `codes`; "" fits in any case.

    Returns
    -------
    estimator : Estimator
    known : bool
        Whether it was loaded.
    """
    kind = type(estimator)
    if not rows or not kind.__module__.startswith("diptych."):  # other code changes unseen
        estimator.fit(matrix, codes, classes)
        return estimator, False
    folder = _folder() / hashing.of_json([rows, classes, family, setting, seed, _versions()])
    if (stored := _load(kind, folder)) is not None:
        return stored, True
    began = time.perf_counter()
    estimator.fit(matrix, codes, classes)
    if time.perf_counter() - began >= WORTH_S:
        _store(estimator, folder)
    return estimator, False


def _folder() -> Path:
    return workspace.home() / "cache" / "fits"


def _versions() -> list[str]:
    installed = []
    for name in LIBRARIES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return [environment.source_digest(), *installed]


def _load(kind: type[Estimator], folder: Path) -> Estimator | None:
    """Load an entry; one that is damaged is removed and counts as missing."""
    try:
        card = json.loads((folder / CARD).read_bytes())
    except OSError:
        return None
    except ValueError:
        card = {}
    try:
        if not card or card != _digests(folder):
            raise ValueError("damaged")
        estimator = kind.load(folder)
        os.utime(folder)
    except Exception:  # whatever a library makes of damaged weights
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return estimator


def _store(estimator: Estimator, folder: Path) -> None:
    """Write an entry whole, or not at all: a full disk does not stop a search."""
    staged = folder.with_name(f".{folder.name[:16]}.{secrets.token_hex(4)}")
    try:
        staged.mkdir(parents=True)
        estimator.save(staged)
        workspace.write_atomic(staged / CARD, json.dumps(_digests(staged)))
        os.rename(staged, folder)
        _prune(folder.parent)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)


def _digests(folder: Path) -> dict[str, str]:
    names = sorted(path for path in folder.iterdir() if path.name != CARD)
    return {path.name: hashing.of_file_now(path) for path in names}


def _prune(folder: Path) -> None:
    """Remove the entries used longest ago while all are larger than the limit."""
    entries = []
    for entry in folder.iterdir():
        try:
            size = sum(path.stat().st_size for path in entry.iterdir())
            entries.append((entry.stat().st_mtime, size, entry))
        except OSError:  # removed by another process
            continue
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries):
        if total <= LIMIT_MB * 1e6:
            break
        shutil.rmtree(entry, ignore_errors=True)
        total -= size
