"""What one process tells another by its environment: read and written here only.

========================  =========================================================================
``DIPTYCH_RUN``           the folder of the run in progress; the runner sets it for the kernel
``DIPTYCH_HOME``          the workspace; the user sets it, and the runner for the kernel
``DIPTYCH_ENGINE``        the engine to use where none is named; set as the workspace is
``DIPTYCH_LEDGER``        where calls are recorded, if not in the workspace; the user sets it
``JPY_SESSION_NAME``      the notebook that a person works in; a Jupyter server sets it
========================  =========================================================================
"""

import os
from collections.abc import Mapping
from pathlib import Path

# read by numerical libraries when they are loaded
THREAD_COUNTS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS", "POLARS_MAX_THREADS",
)  # fmt: skip


def run_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the folder of the run in progress, None where no runner started this process.

    Parameters
    ----------
    environment : mapping, optional
        A kernel's; this process's own if not given.
    """
    folder = (os.environ if environment is None else environment).get("DIPTYCH_RUN")
    return Path(folder) if folder else None


def in_live_notebook() -> bool:
    """Return whether a person works in a notebook, rather than a runner or a test."""
    return "JPY_SESSION_NAME" in os.environ and run_folder() is None


def workspace_folder() -> Path | None:
    """Return the workspace that the user or the runner chose, None if nobody did."""
    folder = os.environ.get("DIPTYCH_HOME")
    return Path(folder) if folder else None


def engine_name() -> str:
    """Return the name of the engine to use where none is named, "" for the usual one."""
    return os.environ.get("DIPTYCH_ENGINE", "")


def ledger() -> str:
    """Return the path or address where calls are recorded, "" for the workspace's ledger."""
    return os.environ.get("DIPTYCH_LEDGER", "")


def for_kernel(home: Path, engine: str, run: Path | None = None) -> dict[str, str]:
    """Return the variables that a notebook's kernel needs.

    Parameters
    ----------
    home : Path
        The workspace.
    engine : str
        Name of the engine with which the notebook starts others; "" for the usual one.
    run : Path, optional
        The folder of the run.
    """
    variables = {"DIPTYCH_HOME": str(home), "DIPTYCH_ENGINE": engine, "DIPTYCH_RUN": str(run or "")}
    return {name: value for name, value in variables.items() if value}


def without_run() -> dict[str, str]:
    """Return this environment for a process that is no part of the run in progress."""
    return {name: value for name, value in os.environ.items() if name != "DIPTYCH_RUN"}


def set_defaults(variables: Mapping[str, str]) -> None:
    """Set what a library reads when it is loaded, unless the user set another value."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def limit_threads(count: int) -> None:
    """Let libraries use `count` threads in this worker's kernels, unless the user set another."""
    for name in THREAD_COUNTS:
        os.environ.setdefault(name, str(count))


def set_default_workspace(folder: Path) -> None:
    """Let this worker use `folder` as its workspace, unless the user set another."""
    os.environ.setdefault("DIPTYCH_HOME", str(folder))
