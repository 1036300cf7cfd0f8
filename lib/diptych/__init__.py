"""Diptych: the same task through MLOps and LLMOps, side by side, as parameterized notebooks."""

import sys
from importlib import import_module

__version__ = "0.1.0"

# name: its module and what it is called there; a module is imported when its name is used first
FACE = {
    "best": ("diptych.execution.history", "best"),
    "compare": ("diptych.core.evaluation.leaderboard", "compare"),
    "record": ("diptych.execution.recording", "record"),
    "runs": ("diptych.execution.history", "runs_table"),
    "uses": ("diptych.execution.cache.dependencies", "declare"),
}


def __getattr__(name: str):
    if name not in FACE:
        raise AttributeError(f"diptych has no {name!r}; it has {', '.join(FACE)}")
    module, attribute = FACE[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*(set(globals()) - {"FACE", "import_module", "sys"}), *FACE])


def _in_notebook() -> None:
    """Tidy the completion where there is a shell that completes."""
    ipython = sys.modules.get("IPython")
    if shell := ipython and ipython.get_ipython():
        from diptych.base import completion

        completion.register(shell)


_in_notebook()
