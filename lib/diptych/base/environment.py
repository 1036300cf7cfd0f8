"""What a run was made with: packages, source, machine."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from diptych.base import groups, hashing, workspace

# The same project under another name: conda-forge has only `xgboost`.
ALIASES = {"xgboost-cpu": "xgboost"}
MOST_CHANGED = 100
FIELDS = {"1": 7, "2": 8, "u": 9, "?": 0}  # of git's lines about a file, before its path


def requirements(extra: str = "") -> list[str]:
    """Return the requirements the package declares for this platform, or those of one extra."""
    try:
        declared = importlib.metadata.requires("diptych") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    chosen = []
    for line in declared:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        named = re.search(r"extra\s*==\s*[\"']([\w-]+)", marker)
        if (named[1] if named else "") == extra and _holds(marker, extra):
            chosen.append(requirement)
    return chosen


def _holds(marker: str, extra: str) -> bool:
    """Say whether a requirement's marker is true here, such as one of the platform."""
    try:
        from packaging.markers import Marker
    except ImportError:  # the doctor names it as missing
        return True
    return not marker or Marker(marker).evaluate({"extra": extra})


def name_of(requirement: str) -> str:
    """Return the package's name in a requirement."""
    return re.match(r"[\w.-]+", requirement)[0]


def version_of(name: str) -> str | None:
    """Return the installed version of a package, under its other name too; None if missing."""
    for known in (name, ALIASES.get(name)):
        try:
            if known:
                return importlib.metadata.version(known)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def own_version() -> str:
    """Return this package's version, also where it runs from a clone."""
    return sys.modules[__name__.partition(".")[0]].__version__


def packages() -> dict[str, str]:
    """Return the installed version of every direct dependency by name, those of groups too."""
    installed = installed_folders()
    versions = {
        name: version_in(installed.get(normal(name))) or version_of(name)
        for name in _dependencies()
    }
    return {name: version for name, version in sorted(versions.items()) if version}


@functools.cache
def _dependencies() -> tuple[str, ...]:
    return tuple(name_of(line) for group in ("", *groups.PARTS) for line in requirements(group))


def installed_folders() -> dict[str, str]:
    """Return the packages on the path by name, each with the folder that describes it.

    The names of the folders tell: opening each takes far longer.
    """
    folders = {}
    for place in sys.path:
        names = os.listdir(place) if os.path.isdir(place) else []
        for name in names:
            if name.endswith(".dist-info"):
                project = name.removesuffix(".dist-info").rpartition("-")[0]
                folders.setdefault(normal(project), os.path.join(place, name))
    return folders


def version_in(folder: str | None) -> str:
    """Return the version in the name of a folder that describes a package, "" without one."""
    return (folder or "").removesuffix(".dist-info").rpartition("-")[2]


def normal(name: str) -> str:
    """Return the one form of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def machine() -> dict:
    """Return the facts of the machine that a timing depends on."""
    return {
        "os": platform.platform(terse=True),
        "machine": platform.machine(),
        "cores": cores(),
        "memory_gib": memory_gib(),
    }


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def physical_cores() -> int:
    """Return how many cores this process may use, two threads of one core counted once."""
    import psutil

    return max(1, min(cores(), psutil.cpu_count(logical=False) or cores()))


def memory_gib() -> float | None:
    """Return the machine's memory in GiB, None where the system does not say."""
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    return round(size / 2**30, 1)


def repository(folder: Path) -> dict:
    """Return the git repository that a folder lies in; {} without git.

    Returns
    -------
    dict
        ``root``; ``commit`` (None before the first), ``branch``; ``changed``, the files that
        differ from the commit or are not in it, at most `MOST_CHANGED`.
    """
    command = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "-z"]
    root = ["git", "-C", str(folder), "rev-parse", "--show-toplevel"]
    try:
        status, top = (
            subprocess.run(each, capture_output=True, text=True, timeout=10, errors="replace")
            for each in (command, root)
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if status.returncode or top.returncode:
        return {}
    return {"root": top.stdout.strip(), **_status(status.stdout)}


def _status(text: str) -> dict:
    """Read what ``git status --porcelain=v2 --branch -z`` says."""
    facts = {"commit": None, "branch": "", "changed": []}
    entries = iter(text.split("\0"))
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if entry.startswith("# branch.oid ") and "initial" not in entry:
            facts["commit"] = entry.split(" ")[2]
        elif entry.startswith("# branch.head "):
            facts["branch"] = entry.split(" ", 2)[2]
        elif kind in FIELDS:
            facts["changed"].append(rest.split(" ", FIELDS[kind])[-1])
            if kind == "2":
                next(entries)  # the former name of a renamed file
    facts["changed"] = sorted(facts["changed"])[:MOST_CHANGED]
    return facts


def source_digest() -> str:
    """Return one SHA-256 over this package's Python files, names included."""
    paths = sorted(workspace.PACKAGE.rglob("*.py"))
    return hashing.of_listing(
        (path.relative_to(workspace.PACKAGE).as_posix(), hashing.of_file(path)) for path in paths
    )


def process_start(pid: int) -> str:
    """Return when a process started, as this system counts it; "" if there is none.

    A process id comes back after a while, with another start.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except OSError:
        pass
    import psutil

    with contextlib.suppress(psutil.Error):
        return str(psutil.Process(pid).create_time())
    return ""
