"""Which run a stage builds on: one that is named, the latest, the best, or one made for it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from filelock import FileLock

from diptych.base import process_environment, workspace
from diptych.core.contract import RecordError
from diptych.core.store.record import Record, headline, latest, load
from diptych.execution import runs
from diptych.execution.cache import dependencies

SHARED = (
    "task", "text_column", "label_column", "time_column", "group_column", "read_options", "metric",
    "data_version", "seed",
)  # fmt: skip
NEWEST = -1  # as data_version: the version just ingested, or the newest
DATA = "mlops/1_data"  # the run that checks and pins the rows of both panels
LAST_WORDS = 2000  # characters
OF_THE_COMMAND = "Add --traceback to see all of the traceback."  # a notebook has no such option


def find(notebook: str, task: dict, run_id: str = "", best: str = "") -> Record:
    """Return the run `run_id`, else a complete run of `notebook` on `task`, else make it.

    Of several it is the latest; with `best` the one that recorded the best value of that name, of
    those on the version of the data that is the latest: the highest, or the lowest where the task's
    metric is an error or a cost.

    Raises
    ------
    RecordError
        If `run_id` names no complete run of that notebook, or making the run failed.
    """
    if run_id:
        try:
            runs.load_current(run_id)
        except LookupError as error:
            raise RecordError(f"upstream: {error}") from error
        record = load(run_id)
        if record.draft:
            raise RecordError(
                f"upstream: {run_id} is a draft ({record.draft[0]}); run {notebook} from its setup "
                "cell down, and build on that"
            )
        if record.notebook != notebook or not record.complete:
            raise RecordError(f"upstream: {run_id} is no complete run of {notebook}")
        before, now = record.task.get("source"), task.get("source")
        if before and now and before != now:
            raise RecordError(
                f"upstream: {task['task']} has changed since run {run_id}; run {DATA} again, or "
                "leave upstream empty"
            )
        return record
    if best:
        lowest = _is_loss(task)
        run = runs.best(notebook, task, best, DATA, lowest)
        record = load(run.id) if run else _make_once(notebook, task)
        dependencies.best(notebook, task, best, DATA, lowest)
        return record
    known = latest(notebook, task) or _of_stored_version(notebook, task)
    record = known or _make_once(notebook, task)
    dependencies.latest(notebook, task)
    return record


def _is_loss(task: Mapping) -> bool:
    """Say whether the metric that `DATA` settled for a task is better when it is lower."""
    from diptych.core.evaluation import metrics  # not needed to read what runs recorded

    data = latest(DATA, dict(task))
    spec = (data.facts.get("metric") if data else "") or task.get("metric", "")
    try:
        return bool(spec) and not metrics.parse(spec).higher_is_better
    except metrics.MetricError:  # one of an earlier Diptych
        return False


def built_on(record: Record, task: Mapping, chosen: str, best: str) -> str:
    """Return which run a stage builds on, its figure and age, and how to choose another."""
    name, figure = headline(record)
    shown = f", {name} {_plainly(figure)}" if figure is not None else ""
    line = f"Builds on {record.notebook}, run {record.id}{shown}, {_age(record)}"
    if chosen:
        return f"{line}; you chose it."
    line += '. Another: upstream="run id".'
    others = list(runs.complete(record.notebook, task)) if best else []
    newest = others[0] if others else None
    if newest is not None and newest.id != record.id:
        value = newest.result.get("values", {}).get(best, {}).get("value")
        was = f" had {best} {_plainly(value)}" if value is not None else f" recorded no {best}"
        line += f" It is the best of {len(others)} by {best}; the newer run {newest.id}{was}."
    elif len(others) > 1:
        line += f" It is the best of {len(others)} by {best}, and the newest."
    return line


def _plainly(figure: float) -> str:
    """Return a figure as people write it: 24,440, 0.952."""
    return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.3g}"


def _age(record: Record) -> str:
    """Return how long ago a run began."""
    try:
        began = datetime.strptime(record.id[:15], runs.STAMP).replace(tzinfo=UTC)
    except ValueError:
        return "of unknown age"
    minutes = max(0, int((datetime.now(UTC) - began).total_seconds() // 60))
    for size, unit in ((60 * 24, "day"), (60, "hour"), (1, "minute")):
        if count := minutes // size:
            return f"{count} {unit}{'s' if count > 1 else ''} old"
    return "just now"


def _of_stored_version(notebook: str, task: dict) -> Record | None:
    """Return the run of `DATA` that checked the version that is pinned, though its source changed.

    A version given by its number is built on purpose; that its source has changed is said.
    """
    version = task.get("data_version", NEWEST)
    if notebook != DATA or version == NEWEST or "source" not in task:
        return None
    run = runs.of_version(notebook, task, version)
    if run is None:
        return None
    print(f"{task['task']} has changed since version {version}; the rows stored then are used.")
    return load(run.id)


def _make_once(notebook: str, task: dict) -> Record:
    """Make a run that is missing; of several processes that miss it, one makes it."""
    with FileLock(workspace.home() / f"{notebook.replace('/', '-')}.lock"):
        if record := latest(notebook, task):
            return record
        print(f"{_missing(notebook, task)}: making one first.", file=sys.stderr)
        _make(notebook, task)
    record = latest(notebook, task)
    if record is None:
        raise RecordError(f"upstream: {notebook} ran but recorded no complete result")
    return record


def _missing(notebook: str, task: Mapping) -> str:
    """Return why there is no run to build on: none on the task, or none on its rows as they are."""
    place = task.get("task", "")
    before = {name: value for name, value in task.items() if name != "source"}
    if "source" in task and (earlier := next(runs.complete(notebook, before), None)):
        return f"{place} has changed since {earlier.id}; no run of {notebook} on its rows yet"
    return f"No run of {notebook} on {place} yet"


def _make(notebook: str, task: dict) -> None:
    """Run a notebook in its own process, its progress passing through."""
    command = [sys.executable, "-m", "diptych", "run", notebook]
    for name in [name for name in SHARED if name in task]:
        command += ["-p", f"{name}={json.dumps(task[name])}"]
    # that run notes its own dependencies, not this one's
    environment = process_environment.without_run()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RecordError(f"upstream: {_last_first(done.stderr, notebook)}")


def _last_first(text: str, notebook: str) -> str:
    """Return what a failed command wrote: what went wrong first, and then the rest."""
    lines = [line for line in text.strip().splitlines() if line.strip() and line != OF_THE_COMMAND]
    failed = [line for line in lines if f"{notebook} failed in cell" in line]
    first = (failed or lines or [f"{notebook} failed without a word"])[-1]
    rest = "\n".join(line for line in lines if line != first)[-LAST_WORDS:]
    return f"{first}\n{rest}".strip()
