"""Where a zygote is found, and what it and its callers must agree on.

A zygote's socket is named by everything a library may have looked at while it was imported: the
interpreter, what is installed, environment variables, limits of the process. Whoever differs in
one of them finds no socket under that name and starts a zygote of its own, so none is ever stale.
"""

import contextlib
import functools
import hashlib
import json
import os
import site
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Read by C libraries or the interpreter itself, where no one can watch.
PREFIXES = (
    "PYTHON", "LC_", "LD_", "MALLOC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_",
    "BLIS_", "NUMEXPR_", "ARROW_", "CUDA_", "NVIDIA_", "TORCH_", "PYTORCH_",
)  # fmt: skip
NAMES = ("LANG", "LANGUAGE", "TZ", "MPLBACKEND")
# They differ from caller to caller, and a kernel reads or sets them when it starts, or only other
# programs do.
PRIVATE = {
    "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "FORCE_COLOR", "GIT_PAGER", "GPG_TTY",
    "ITERM_SESSION_ID", "JPY_INTERRUPT_EVENT", "JPY_PARENT_PID", "JPY_SESSION_NAME",
    "JUPYTER_RUNTIME_DIR", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "OLDPWD",
    "PAGER", "PWD", "PYDEVD_USE_FRAME_EVAL", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_TESTRUNUID",
    "PYTEST_XDIST_WORKER", "SHLVL", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "STY", "TERM",
    "TERM_SESSION_ID", "TMUX", "TMUX_PANE", "WINDOWID", "XDG_RUNTIME_DIR", "XDG_SESSION_ID",
    "_", "_MLFLOW_TELEMETRY_SESSION_ID",
}  # fmt: skip
# Ours are read in the kernel, never where a module is imported; but this one by the zygote.
OURS, IDLE = "DIPTYCH_", "DIPTYCH_KERNEL_IDLE"
# ipykernel sets them where they are missing: a run started in a kernel finds the same zygote
DEFAULTS = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
LONGEST = 100  # characters of a socket's path; the system refuses a few more
PROFILE = ("ipython_config.py", "ipython_kernel_config.py", "startup")
HERE = Path(__file__).parent
PACKAGE = str(HERE.parents[1]) + os.sep


@dataclass
class Learnt:
    """What zygotes of one interpreter have learnt from the notebooks they served.

    Attributes
    ----------
    modules : list of str
        Modules of installed packages that notebooks imported, in order of import.
    refused : list of str
        Packages that cannot be imported ahead.
    variables : list of str
        Environment variables that were read while modules were imported.
    """

    modules: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)


def folder() -> Path:
    """Return the folder of the sockets, the user's own, made if it is not there.

    It is ``$DIPTYCH_KERNELS`` if that is set.

    Raises
    ------
    OSError
        If it belongs to somebody else, or sockets there would have too long paths.
    """
    chosen, base = os.environ.get("DIPTYCH_KERNELS"), os.environ.get("XDG_RUNTIME_DIR")
    usual = Path(base, "diptych") if base else Path(tempfile.gettempdir(), f"diptych-{os.getuid()}")
    path = Path(chosen).absolute() if chosen else usual
    if len(os.fsencode(path / f"{_digest('')}.sock")) > LONGEST:
        raise OSError(f"{path}: too long for sockets; set DIPTYCH_KERNELS to a shorter path")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{path} is no folder of this user's; set DIPTYCH_KERNELS to one")
    path.chmod(0o700)
    return path


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Let one process at a time start a zygote or write down what was learnt."""
    import fcntl

    with (folder() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_learnt(interpreter: Sequence[str]) -> Learnt:
    """Return what was learnt for an interpreter (its path and options)."""
    try:
        return Learnt(**json.loads(_path(interpreter).read_bytes()))
    except (OSError, ValueError, TypeError):
        return Learnt()


def learn(interpreter: Sequence[str], **new: Sequence[str]) -> Learnt:
    """Add to what was learnt, and return all of it."""
    with lock():
        return learn_locked(interpreter, **new)


def learn_locked(interpreter: Sequence[str], **new: Sequence[str]) -> Learnt:
    """Do the same where the lock is held."""
    learnt = read_learnt(interpreter)
    for name, values in new.items():
        setattr(learnt, name, list(dict.fromkeys([*getattr(learnt, name), *values])))
    path = _path(interpreter)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(asdict(learnt)))
    os.replace(beside, path)
    return learnt


def socket(interpreter: Sequence[str], environment: Mapping[str, str], learnt: Learnt) -> Path:
    """Return where the zygote listens that fits an interpreter and a caller's environment."""
    names = {*learnt.variables, *NAMES, *(n for n in environment if n.startswith(PREFIXES))}
    names = {n for n in names - PRIVATE if n == IDLE or not n.startswith(OURS)}
    content = [
        list(interpreter),
        [_stamp(path) for path in _installed(environment)],
        sorted((name, environment.get(name) or DEFAULTS.get(name)) for name in names),
        _process(),
    ]
    return folder() / f"{_digest(content)}.sock"


@functools.cache
def libraries() -> tuple[str, ...]:
    """Return the folders whose modules may be imported ahead: the installed packages."""
    paths = sysconfig.get_paths()
    user_site = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    folders = dict.fromkeys([paths["purelib"], paths["platlib"], *user_site])
    return tuple(path.rstrip(os.sep) + os.sep for path in folders)


def _path(interpreter: Sequence[str]) -> Path:
    stamps = [_stamp(Path(path)) for path in libraries()]  # a new version may do better
    return folder() / f"{_digest([interpreter, sys.version, stamps])}.json"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _installed(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield what changes with Python, packages, settings of IPython and matplotlib, this code."""
    yield Path(sys.executable).resolve()
    yield from map(Path, libraries())
    home = environment.get("IPYTHONDIR") or Path(environment.get("HOME", "~"), ".ipython")
    yield from (Path(home, "profile_default", name) for name in PROFILE)
    config = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "~"), ".config")
    matplotlib = Path(environment.get("MPLCONFIGDIR") or Path(config, "matplotlib"))
    yield from (matplotlib / "matplotlibrc", matplotlib / "stylelib")
    yield from sorted(HERE.glob("*.py"))


def _stamp(path: Path) -> list | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [str(path), status.st_mtime_ns, status.st_size]


def _process() -> list:
    """Return what a forked process inherits and cannot give itself."""
    import resource

    status = Path("/proc/self/status").read_text().splitlines()
    umask = [line for line in status if line.startswith("Umask")]
    limits = [getattr(resource, name) for name in sorted(vars(resource)) if name[:7] == "RLIMIT_"]
    return [
        umask,
        os.nice(0),
        sorted(os.sched_getaffinity(0)),
        [resource.getrlimit(limit) for limit in limits],
        Path("/proc/self/cgroup").read_text(),
    ]
