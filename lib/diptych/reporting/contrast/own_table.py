"""A scenario of your own table, or of a task: both sides to verdicts, without writing a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from diptych.base import workspace
from diptych.core.contract import BUILD, DATA, IMPROVE, LLMOPS, MLOPS, MONITOR, RELEASE, SERVE
from diptych.core.data import precheck, readers, tasks
from diptych.core.data.sources import DataError
from diptych.reporting.contrast.questions import QUESTIONS

ALWAYS, WITH_TIME = (DATA, BUILD, RELEASE, SERVE), (MONITOR, IMPROVE)
SERVED = "rows_per_window=20"  # of the language model, which is slower
IN_TIME = "change"  # the question that only rows with a time can answer
MINUTES = 3  # of both sides on two cores, for a table of some thousand rows


def write_scenario(task: str, columns: Mapping[str, str], models: Sequence[str] = ()) -> Path:
    """Write the scenario of a table, or of a task, in the workspace, and return its file.

    Parameters
    ----------
    task : str
        Path or address of the table; or a task's name, also one that a plugin adds.
    columns : mapping
        ``text_column``, ``label_column``, ``time_column``, ``group_column``, ``read_options``;
        empty ones are left to their defaults.
    models : sequence of str
        Endpoints of the language models, such as ``"openai/gpt-5"``; the local one by default.

    Raises
    ------
    DataError
        If the table cannot be a task; names the column, the value and the remedy.
    """
    known = {name: value for name, value in columns.items() if value}
    place, has_times = _place(task, known)
    parameters = [f"{name}={value}" for name, value in {"task": place, **known}.items()]
    if models:
        parameters.append(f"models=[{', '.join(models)}]")
    name = Path(str(place).rstrip("/")).stem or "table"
    scenario = {
        "title": name,
        "question": f"Which way for {name}?",
        "files": [],
        "parameters": parameters,
        **both_sides(has_times),
    }
    file = workspace.home() / "scenarios" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    workspace.write_atomic(file, yaml.safe_dump(scenario, sort_keys=False, allow_unicode=True))
    return file


def both_sides(has_times: bool) -> dict[str, list[str]]:
    """Return the ``questions`` and the ``notebooks`` of a scenario that takes rows through both."""
    stages = [*ALWAYS, *(WITH_TIME if has_times else ())]
    served = {f"{LLMOPS}/{SERVE}": f" {SERVED}"}
    notebooks = [f"{panel}/{stage}" for panel in (MLOPS, LLMOPS) for stage in stages]
    return {
        "questions": [q.key for q in QUESTIONS if has_times or q.key != IN_TIME],
        "notebooks": [notebook + served.get(notebook, "") for notebook in notebooks],
    }


def _place(task: str, columns: Mapping[str, str]) -> tuple[str, bool]:
    """Return what the parameter ``task`` takes, checked, and whether its rows have times."""
    if task not in tasks.BUILT_IN:
        place = readers.resolve(task)
        precheck.check(DATA, {"task": place, "label_column": "label", **columns})
        return place, "time_column" in columns
    for name, value in columns.items() - {("label_column", "label")}:  # which is the default
        raise DataError(
            f"{name}: {value!r} is given, and the task {task} has its columns; leave it out, or "
            "give the path of a table"
        )
    return task, bool(tasks.get(task).load()["time"].notna().any())


def described(file: Path, models: Sequence[str]) -> str:
    """Say what the scenario will run, and what that can take, before it runs."""
    steps = yaml.safe_load(file.read_text("utf-8"))["notebooks"]
    paid = [model for model in models if not model.startswith(("local", "recorded"))]
    money = f"{', '.join(paid)} is asked up to --max-usd in each of them (1 USD by default)"
    return (
        f"{len(steps)} notebooks, both sides on the same rows: about {MINUTES} minutes on two cores"
        f" for some thousand rows, longer for more rows or slower models. "
        f"{money if paid else 'No call costs anything'}. The scenario: {workspace.shown(file)}"
    )
