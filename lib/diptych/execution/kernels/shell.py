"""The shell that kernels are forked with, and the streams they will publish."""

import sys
from copy import deepcopy

from ipykernel import iostream
from ipykernel.compiler import XCachingCompiler
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.application import BaseIPythonApplication


class EarlyStream(iostream.OutStream):
    """``sys.stdout`` or ``stderr`` before there is a kernel to publish it.

    A library that keeps a reference to it when it is imported holds, after the fork, the very
    stream the kernel publishes: the object stays, its class changes.
    """

    written = 0
    closed = False

    def __init__(self, name):
        self.name = name

    def write(self, text):
        """Write to the process's stderr: a log."""
        EarlyStream.written += len(text)
        return sys.__stderr__.write(text)

    def flush(self):
        """Write what is still held back."""
        sys.__stderr__.flush()

    def fileno(self):
        """Return the descriptor that the name means."""
        return {"stdout": 1, "stderr": 2}[self.name]

    def isatty(self):
        """Say that nobody watches."""
        return False


EARLY = {name: EarlyStream(name) for name in ("stdout", "stderr")}


def make_shell() -> tuple[ZMQInteractiveShell, bool]:
    """Make the shell that kernels are forked with, and the streams they will publish.

    It has no history yet: that has a thread of its own. Say also whether it is plain: a file that
    configures IPython may look at what is a kernel's own.
    """
    app = IPKernelApp()
    BaseIPythonApplication.initialize(app, [])
    config = deepcopy(app.config)
    config.HistoryManager.enabled = False
    shell = ZMQInteractiveShell.instance(
        config=config,
        profile_dir=app.profile_dir,
        user_ns={},
        compiler_class=XCachingCompiler,
    )
    sys.stdout, sys.stderr = EARLY["stdout"], EARLY["stderr"]
    is_plain = not app.loaded_config_files
    for name in app.default_extensions if is_plain else ():
        shell.extension_manager.load_extension(name)
    return shell, is_plain
