"""JupyterLab for the project: warm kernels, the repository in view, `diptych` on the PATH.

Its defaults are in `assets/lab/overrides.json`: a theme that follows the system, as the figures do,
and no news from the network. What a user has set, or gives as an option, wins.
"""

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from diptych.base import groups, workspace
from diptych.base.errors import ParameterError

ENTRANCE = "notebooks/start_here.ipynb"
SETTINGS = Path(__file__).parents[1] / "assets" / "lab"
CONTAINER = ("/.dockerenv", "/run/.containerenv")  # Docker's mark, and Podman's


def start(options: Sequence[str]) -> None:
    """Become JupyterLab.

    Parameters
    ----------
    options : sequence of str
        Of JupyterLab; they win over those of the project.

    Raises
    ------
    ParameterError
        If the user is root, on a machine of its own, and has not allowed it.
    """
    if lacking := groups.missing("jupyterlab"):
        raise ParameterError(lacking)
    if as_root(options):
        print("This is root in a container, so JupyterLab is started with --allow-root.")
        options = ["--allow-root", *options]
    command = [sys.executable, "-m", "jupyterlab", *defaults(), *options]
    os.execve(sys.executable, command, {**os.environ, **environment(os.environ)})


def as_root(options: Sequence[str]) -> bool:
    """Return whether JupyterLab has to be allowed what it refuses to root.

    Raises
    ------
    ParameterError
        If it should not be.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or "--allow-root" in options:
        return False
    if any(map(os.path.exists, CONTAINER)) or "container" in os.environ:
        return True
    raise ParameterError(
        "You are root: every notebook could change everything on this machine. Start JupyterLab as "
        "another user, or allow it with: make lab ARGS=--allow-root"
    )


def environment(present: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to change, so that this environment's commands are the ones called."""
    commands = str(Path(sys.executable).parent)
    paths = [path for path in present.get("PATH", os.defpath).split(os.pathsep) if path != commands]
    return {"PATH": os.pathsep.join([commands, *paths])}


def defaults() -> list[str]:
    """Return the project's options of JupyterLab.

    A terminal's shell is named because JupyterLab would start a login shell where it has no
    terminal itself, and that sets the PATH anew.
    """
    values = {
        "ServerApp.root_dir": str(workspace.own_root()),
        "ServerApp.kernel_spec_manager_class": "diptych.execution.kernels.specs.WarmSpecs",
        "ServerApp.terminado_settings": f"shell_command={[os.environ.get('SHELL', 'sh')]}",
        "FileContentsManager.pre_save_hook": "diptych.execution.lab.keep_language",
        "LabApp.app_settings_dir": str(SETTINGS),
    }
    if (workspace.own_root() / ENTRANCE).exists():
        values["LabApp.default_url"] = f"/lab/tree/{ENTRANCE}"
    return [f"--{name}={value}" for name, value in values.items()] + _browser(os.environ)


def _browser(present: Mapping[str, str]) -> list[str]:
    """Open no browser where none can show: the address is printed."""
    shows = {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & set(present)
    return [] if shows or sys.platform != "linux" else ["--no-browser"]


def keep_language(model: dict, path: str, contents_manager, **_) -> None:
    """Before a notebook is saved, let its file's version of Python stand.

    JupyterLab writes the version that a kernel has, so a notebook opened with another Python would
    differ from the one in git by that line. A hook of ``FileContentsManager``.
    """
    file = Path(contents_manager.root_dir, path.strip("/"))
    if model.get("type") != "notebook" or not file.is_file():
        return
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # it was no notebook
        version = json.loads(file.read_bytes())["metadata"]["language_info"]["version"]
        model["content"]["metadata"]["language_info"]["version"] = version
