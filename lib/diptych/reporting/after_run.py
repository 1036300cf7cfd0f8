"""What to say on the command line after a run: its figures, its warnings, what to type next."""

import itertools
import shlex
from collections.abc import Mapping

from diptych.core import contract
from diptych.core.contract import WAS_PROMOTED
from diptych.execution.runs import Run
from diptych.reporting import format as written

MOST = 5  # figures
DEFAULTS = {"text_column": "text", "label_column": "label", "data_version": -1, "seed": 0}
SHARED = (
    "text_column", "label_column", "time_column", "group_column", "read_options", "metric",
    "data_version", "seed",
)  # fmt: skip


def lines(run: Run) -> list[str]:
    """Return a run's key figures, its warnings and the next command, a line each.

    Nothing is said of a run that recorded nothing.
    """
    values = run.result.get("values")
    if not isinstance(values, dict) or not values:
        return []
    shown = [_figure(name, entry) for name, entry in _key(values)]
    result = ["  " + " · ".join(shown)]
    if warnings := (values.get("warnings") or {}).get("value"):
        plural = "s" * (warnings != 1)
        result.append(f"  {warnings} warning{plural}: the table Validation on the page says which")
    return result + [f"  {line}" for line in _next(run)]


def _key(values: Mapping[str, Mapping]) -> list[tuple[str, Mapping]]:
    """Return the figures that come with an interval first, then the others."""
    figures = [(name, entry) for name, entry in values.items() if isinstance(entry, Mapping)]
    return sorted(figures, key=lambda item: item[1].get("low") is None)[:MOST]


def _figure(name: str, entry: Mapping) -> str:
    between = written.interval(entry)
    return f"{name} {written.with_unit(entry)}" + (f" ({between})" if between else "")


def _next(run: Run) -> list[str]:
    """Return what to type next; [] after a notebook that is no stage."""
    panel, _, stage = run.notebook.rpartition("/")
    if panel not in contract.PANELS or stage not in contract.STAGES:
        return []
    task = _task(run)
    if stage == contract.RELEASE:
        if not run.result.get("facts", {}).get(WAS_PROMOTED.name):
            return ["the gate refused it: its table on the page says why"]
        if panel == contract.MLOPS:
            serve = shlex.join(["diptych", "serve", "model", "--task", task["task"]])
            return [f"passed the gate; serve it: {serve}", f"or try it: {_command(run)}"]
    return [f"next: {_command(run)}"] if stage != contract.STAGES[-1] else []


def _command(run: Run) -> str:
    panel, _, stage = run.notebook.rpartition("/")
    following = dict(itertools.pairwise(contract.STAGES))[stage]
    words = ["diptych", "run", f"{panel}/{following}"]
    for name, value in _task(run).items():
        words += ["-p", f"{name}={value}"]
    return shlex.join(words)


def _task(run: Run) -> dict:
    """Return the parameters that all stages of a task share, as far as they are not the usual."""
    task = run.result.get("task", {})
    chosen = {name: task[name] for name in SHARED if task.get(name) not in (None, "")}
    chosen = {name: value for name, value in chosen.items() if value != DEFAULTS.get(name)}
    return {"task": task.get("task", ""), **chosen}
