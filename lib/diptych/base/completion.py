"""Completion in a notebook: a module of ours lists its own names, not those that it imports."""

import sys
from functools import partial
from types import ModuleType

OURS = __name__.partition(".")[0] + "."


def register(shell) -> None:
    """Let modules that a cell imported list their own names when it has run.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
    """
    shell.events.register("post_run_cell", _after_cell)


def own_names(module: ModuleType) -> list[str]:
    """Return a module's ``__all__``, or what it defines and its submodules."""
    if "__all__" in vars(module):
        return list(module.__all__)
    return [name for name, value in vars(module).items() if _is_own(name, value, module.__name__)]


def _is_own(name: str, value: object, module: str) -> bool:
    if name.startswith("_"):
        return False
    if isinstance(value, ModuleType):
        return value.__name__.startswith(f"{module}.")
    return getattr(value, "__module__", module if name.isupper() else "") == module


def _after_cell(_=None) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(OURS) and "__dir__" not in vars(module):
            module.__dir__ = partial(own_names, module)
