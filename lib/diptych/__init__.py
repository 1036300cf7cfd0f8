"""Diptych: the same task through MLOps and LLMOps, side by side, as parameterized notebooks.

>>> import diptych as dt
>>> task = dt.task("tumours")  # a task, or rows of your own: dt.task("my.csv", label_column=...)
>>> run = dt.run("mlops/2_build", task=task)  # a notebook with checked parameters

docs/face.md has an example of each name.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diptych.core.data.tasks import Task as Task
    from diptych.execution.cache.dependencies import declare as uses
    from diptych.execution.history import best as best
    from diptych.execution.history import runs_table as runs
    from diptych.execution.recording import record as record
    from diptych.face import register as register
    from diptych.face.answering import ask as ask
    from diptych.face.comparing import compare as compare
    from diptych.face.comparing import drift as drift
    from diptych.face.fitting import fit as fit
    from diptych.face.fitting import task as task
    from diptych.face.running import report as report
    from diptych.face.running import run as run
    from diptych.face.running import sweep as sweep
    from diptych.llmops.client.endpoint import client as client

__version__ = "0.1.0"

# name: its module and what it is called there ("" for the module itself); a module is imported
# when its name is used first
FACE = {
    "Task": ("diptych.core.data.tasks", "Task"),
    "ask": ("diptych.face.answering", "ask"),
    "best": ("diptych.execution.history", "best"),
    "client": ("diptych.llmops.client.endpoint", "client"),
    "compare": ("diptych.face.comparing", "compare"),
    "drift": ("diptych.face.comparing", "drift"),
    "fit": ("diptych.face.fitting", "fit"),
    "record": ("diptych.execution.recording", "record"),
    "register": ("diptych.face.register", ""),
    "report": ("diptych.face.running", "report"),
    "run": ("diptych.face.running", "run"),
    "runs": ("diptych.execution.history", "runs_table"),
    "sweep": ("diptych.face.running", "sweep"),
    "task": ("diptych.face.fitting", "task"),
    "uses": ("diptych.execution.cache.dependencies", "declare"),
}
__all__ = [
    "Task", "__version__", "ask", "best", "client", "compare", "drift", "fit", "record", "register",
    "report", "run", "runs", "sweep", "task", "uses",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in FACE:
        raise AttributeError(f"diptych has no {name!r}; it has {', '.join(FACE)}")
    module, attribute = FACE[name]
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def __dir__() -> list[str]:
    return sorted({*__all__, "__doc__", "__file__", "__name__", "__path__"})


def _in_notebook() -> None:
    """Tidy the completion where there is a shell that completes."""
    ipython = sys.modules.get("IPython")
    if shell := ipython and ipython.get_ipython():
        from diptych.base import completion

        completion.register(shell)


_in_notebook()
