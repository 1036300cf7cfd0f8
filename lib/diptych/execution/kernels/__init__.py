"""Warm kernels: one process imports the libraries once, and forks a kernel for each notebook.

The forking process (the zygote) outlives the command that started it. A kernel forked from it is
as isolated as one started afresh: only libraries of the environment and this package are shared,
never the user's own modules. Two doors lead to it: a pipe for runs
(`diptych.execution.kernels.pipe`) and Jupyter's usual sockets for JupyterLab and nbval
(`diptych.execution.kernels.provisioner`).
"""

import os
import sys


def unavailable() -> str:
    """Return why kernels cannot be forked here, "" if they can.

    Forking a process that has loaded system frameworks is not safe on macOS; Windows has no fork.
    """
    if sys.platform != "linux":
        return f"kernels are forked on Linux only, not {sys.platform}"
    able = hasattr(os, "fork") and hasattr(os, "pidfd_open")
    return "" if able else "this Python cannot fork them"
