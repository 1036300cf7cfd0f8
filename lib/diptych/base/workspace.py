"""Where things lie: the repository, and the one folder that holds all state.

The workspace is ``$DIPTYCH_HOME``, by default ``.diptych`` in the repository: runs, data tables,
``mlflow.db`` and the ledger. Removing the folder removes everything the project ever recorded.
"""

import contextlib
import errno
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock

from diptych.base import process_environment
from diptych.base.errors import WorkspaceError

STEP = timedelta(microseconds=1)
LOCK_S = 10.0
MARKER = ".workspace"  # also in the Makefile
PACKAGE = Path(__file__).resolve().parents[1]


SHIPPED = PACKAGE / "project"  # notebooks and params as an installed package has them


def repo_root() -> Path:
    """Return the folder that holds ``notebooks/`` and ``params/``.

    It is looked for from the working directory upwards, then from this package upwards; else it is
    what an installed package has, `SHIPPED`, where nothing is written (`own_root`).

    Raises
    ------
    WorkspaceError
        If there is none.
    """
    for folder in (here := Path.cwd(), *here.parents, *PACKAGE.parents):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    if SHIPPED.is_dir():
        return SHIPPED
    raise WorkspaceError(
        f"{here}: no folder with notebooks/ and pyproject.toml here or above. "
        "Change into a project, or make one: diptych init DIR."
    )


def own_root() -> Path:
    """Return the folder to write in: the project's, or the working directory outside of one."""
    root = repo_root()
    return Path.cwd() if root == SHIPPED else root


def is_shipped(notebook: Path) -> bool:
    """Return whether a notebook comes with Diptych: in its clone, its package or a project's copy.

    A project that `diptych init` made has copies, which count as long as they bear the same names.
    """
    path = notebook.resolve()
    here = PACKAGE.parents[1] / "notebooks"
    if path.is_relative_to(here) or path.is_relative_to(SHIPPED):
        return True
    try:
        name = path.relative_to(repo_root().resolve() / "notebooks")
    except (ValueError, WorkspaceError):
        return False
    return any((base / name).is_file() for base in (here, SHIPPED / "notebooks"))


def home() -> Path:
    """Return the workspace, made if it is not there.

    Raises
    ------
    WorkspaceError
        If it cannot be made.
    """
    if folder := process_environment.workspace_folder():
        return _marked(_with_folder(folder.expanduser().absolute(), "DIPTYCH_HOME"))
    try:
        return _marked(_with_folder(own_root() / ".diptych", "workspace"))
    except WorkspaceError:
        return _marked(_with_folder(Path.cwd() / ".diptych", "workspace"))


def _marked(folder: Path) -> Path:
    """Mark a folder that holds nothing else as a workspace, which `make clean` may remove."""
    if not (folder / MARKER).exists():
        with contextlib.suppress(OSError):  # it may be read-only
            if not any(folder.iterdir()):
                (folder / MARKER).touch()
    return folder


def runs() -> Path:
    """Return the folder of run folders, made if it is not there."""
    return _with_folder(home() / "runs", "runs")


def tables() -> Path:
    """Return the folder of data tables, made if it is not there."""
    return _with_folder(home() / "tables", "tables")


def ledger_path() -> Path:
    """Return the path of the ledger, an SQLite file that may not exist yet."""
    return home() / "ledger.db"


def mlflow_path() -> Path:
    """Return the path of MLflow's SQLite store, which may not exist yet."""
    return home() / "mlflow.db"


def models() -> Path:
    """Return the folder of language models, one for all workspaces; it may not be there yet."""
    if chosen := os.environ.get("DIPTYCH_MODELS"):
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).expanduser().absolute() / "diptych" / "models"


def now() -> datetime:
    """Return the time (UTC), later than any that this was in the workspace before.

    Runs are ordered by it. Where the system's clock has gone back, it is a microsecond more than
    the last.
    """
    place = home() / "clock"
    with FileLock(f"{place}.lock", timeout=LOCK_S):
        moment = datetime.now(UTC)
        with contextlib.suppress(OSError, ValueError):
            moment = max(moment, datetime.fromisoformat(place.read_text()) + STEP)
        place.write_text(moment.isoformat())
    return moment


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    A power cut after the call does not take the new one away.

    Parameters
    ----------
    path : Path
        In an existing folder; replaced if it exists.
    content : str or bytes
        Text is written as UTF-8.
    """
    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _to_disk(path.parent)


def publish(staged: Path, place: Path) -> None:
    """Give a folder its name once all that it holds is on the disk; the name is, on return.

    Raises
    ------
    OSError
        If the place is taken by a folder that is not empty, or the disk fails.
    """
    sync(staged)
    os.rename(staged, place)
    _to_disk(place.parent)


def sync(folder: Path) -> None:
    """Return when a folder of the workspace, and all in it, would survive a power cut."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not os.path.islink(path := os.path.join(parent, name)):
                _to_disk(path)
        _to_disk(parent)
    for parent in folder.parents if folder.is_relative_to(root := home()) else ():
        if parent.is_relative_to(root):
            _to_disk(parent)


def _to_disk(path: str | Path) -> None:
    """Wait for a file or folder to be on the disk, where the system can."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:  # Windows opens no folder, and a file may be nobody's to read
        return
    try:
        os.fsync(handle)
    except OSError as error:  # a pipe, or a network's folder
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES):
            raise
    finally:
        os.close(handle)


def shown(path: Path) -> str:
    """Return a path as a reader wants it: relative to here or to the repository, if inside."""
    path = Path(path).absolute()
    for base in (Path.cwd, repo_root):
        try:
            return path.relative_to(base()).as_posix()
        except (ValueError, WorkspaceError):
            continue
    return str(path)


def _with_folder(folder: Path, name: str) -> Path:
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _to_disk(folder.parent)
    except OSError as error:
        raise WorkspaceError(
            f"{name}: {folder} cannot be made ({error.strerror}). "
            "Set DIPTYCH_HOME to a folder you can write to."
        ) from error
    return folder
