"""Runs at hand: the runs so far as a table, the best of them, and links to their pages."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from diptych.base import workspace
from diptych.base.errors import ParameterError
from diptych.execution import run_card
from diptych.execution.notebooks import nearest
from diptych.execution.runs import FORMAT, STAMP, Run, find_runs

# what tells runs apart comes first, whatever the notebook
PREFERRED = ("validation", "score", "accuracy")
SHARED = ("task", "upstream")  # parameters that have a column of their own, or name a run
COLUMNS = ("run", "notebook", "task", "started", "status", "figure", "value", "low", "high",
           "before", "change")  # fmt: skip


class RunId(str):
    """A run's id; as HTML a link to its page."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return run_card.link(workspace.runs() / self)


def runs_table(
    notebook: str = "",
    task: str = "",
    *,
    figure: str = "",
    status: str = "",
    newest: int = 0,
    root: Path | None = None,
):
    """Return the runs so far, newest first, one a line.

    Parameters
    ----------
    notebook : str
        Such as ``"mlops/2_build"``; "" takes all.
    task : str
        The task's name, or its path as it was given; "" takes all.
    figure : str
        The recorded value to show. By default one that every run of the notebook has.
    status : str
        Only runs of this status: ``ok``, ``failed``, ``incomplete``, ``draft``.
    newest : int
        At most so many; 0 for all.
    root : Path, optional
        The folder of runs, by default the workspace's.

    Returns
    -------
    DataFrame
        `COLUMNS`: ``started`` is in UTC; ``value`` with its 95 % interval is that of ``figure``;
        ``before`` is the figure's value in the run before it of the same notebook and task, and
        ``change`` the difference to it. Between ``status`` and ``figure`` one column for each
        parameter that differs between runs of one notebook.

    Raises
    ------
    ParameterError
        If there are runs, but none of the notebook or task, or none has recorded the figure.

    Examples
    --------
    >>> list(dt.runs("mlops/1_data", task="tumours")["notebook"].unique())
    ['mlops/1_data']
    """
    import pandas as pd

    every = find_runs(root=root)
    chosen = _chosen(every, notebook, task)
    if status:
        chosen = [run for run in chosen if run.status == status]
    shown = chosen[:newest] if newest else chosen
    names = _figures(chosen, figure)
    varying = _varying(shown)
    lines = [
        _line(run, varying) | _measured(run, names[run.notebook], earlier)
        for run, earlier in zip(shown, _before(shown, chosen), strict=True)
    ]
    columns = [*COLUMNS[:5], *varying, *COLUMNS[5:]]
    frame = pd.DataFrame(lines, columns=columns)
    for name in COLUMNS[6:]:
        frame[name] = pd.to_numeric(frame[name])
    # a column of texts would take the links from the ids
    frame["run"] = pd.Series([RunId(run.id) for run in shown], dtype=object)
    return frame


def best(
    figure: str,
    notebook: str = "",
    task: str = "",
    *,
    metric: str | None = None,
    lowest: bool = False,
    root: Path | None = None,
) -> Run:
    """Return the complete run with the highest recorded value of a figure; of equals the newest.

    Parameters
    ----------
    figure : str
        Name of a recorded value, such as ``"validation"``.
    notebook, task : str
        As `runs_table` takes them; needed where runs of several recorded the figure.
    metric : str, optional
        The parameter `metric` of the runs; needed where they were decided by several.
    lowest : bool
        Take the lowest instead, as for a cost or an error.

    Raises
    ------
    ParameterError
        As `runs_table` does, and if the figure is of several notebooks, tasks or metrics: which is
        higher says nothing then.

    Examples
    --------
    >>> dt.best("train_rows", "mlops/1_data", "tumours").notebook
    'mlops/1_data'
    """
    runs = [run for run in _chosen(find_runs(root=root), notebook, task) if _counts(run)]
    _figures(runs, figure)
    sign = -1 if lowest else 1
    measured = [(sign * value, run) for run in runs if (value := _value(run, figure)) is not None]
    if not measured:
        raise ParameterError(f"{figure}: no complete run recorded a number under this name")
    if metric is not None:
        measured = [(value, run) for value, run in measured if _metric_of(run) == metric]
    if not measured:
        raise ParameterError(f"{figure}: no complete run of metric={metric!r} recorded it")
    for name, read in (
        ("notebook", lambda run: run.notebook),
        ("task", task_of),
        ("metric", _metric_of),
    ):
        several = list(dict.fromkeys(read(run) for _, run in measured))
        if len(several) > 1:
            raise ParameterError(
                f"{figure}: runs of {', '.join(map(repr, several))} recorded it, which do not "
                f"compare; name one, {name}={several[0]!r}"
            )
    return max(measured, key=lambda pair: pair[0])[1]


def parameters_of(run: Run) -> dict:
    """Return the parameters that a run was made with; {} where it recorded none."""
    facts = run.result.get("facts") or {}
    return dict(run.manifest.get("parameters") or facts.get("parameters") or {})


def numbers_of(run: Run) -> dict[str, float]:
    """Return the numbers that a run recorded, by name."""
    numbers = {name: _value(run, name) for name in _values(run)}
    return {name: value for name, value in numbers.items() if value is not None}


def started_of(run: Run) -> datetime | None:
    """Return when a run started, in UTC; None where its name does not tell."""
    try:
        if started := run.manifest.get("started"):
            return datetime.fromisoformat(started).astimezone(UTC)
        return datetime.strptime(run.id[:15], STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def task_of(run: Run) -> str:
    """Return the task of a run as it was given, "" where it has none."""
    recorded = run.result.get("task") or {}
    name = recorded.get("task") if isinstance(recorded, dict) else ""
    name = name or parameters_of(run).get("task", "")
    return name if isinstance(name, str) else ""


def _metric_of(run: Run) -> str:
    return str(parameters_of(run).get("metric", ""))


def _counts(run: Run) -> bool:
    """Whether a run is one to build on: it ended well, and records what today's notebooks do."""
    return run.status == "ok" and run.is_current and run.result.get("format", FORMAT) == FORMAT


def _chosen(every: list[Run], notebook: str, task: str) -> list[Run]:
    """Return the runs of a notebook and a task.

    Raises
    ------
    ParameterError
        If there are runs, but none of these; it names the nearest.
    """
    chosen = every
    for name, value, read in (
        ("notebook", notebook, lambda run: run.notebook),
        ("task", task, task_of),
    ):
        if not value:
            continue
        known = list(dict.fromkeys(filter(None, map(read, chosen))))
        if known and value not in known:
            raise ParameterError(
                f"{name}: there is no run of {value!r}. {nearest(value, known)}"
                f"There are runs of {', '.join(known[:12])}"
            )
        chosen = [run for run in chosen if read(run) == value]
    return chosen


def _figures(runs: Iterable[Run], figure: str) -> dict[str, str]:
    """Return the figure to show for each notebook."""
    recorded: dict[str, list[list[str]]] = {}
    for run in runs:
        names = [name for name in _values(run) if _value(run, name) is not None]
        recorded.setdefault(run.notebook, []).append(names)
    if not figure:
        return {notebook: _common(names) for notebook, names in recorded.items()}
    known = list(
        dict.fromkeys(name for each in recorded.values() for names in each for name in names)
    )
    if known and figure not in known:
        raise ParameterError(
            f"figure: no run recorded {figure!r}. {nearest(figure, known)}"
            f"There are {', '.join(known[:20])}"
        )
    return dict.fromkeys(recorded, figure)


def _common(names: list[list[str]]) -> str:
    """Return the name that most runs recorded: a preferred one, else the first of equals."""
    counts: dict[str, int] = {}
    for each in names:
        for name in each:
            counts[name] = counts.get(name, 0) + 1
    if preferred := next((name for name in PREFERRED if name in counts), ""):
        return preferred
    return max(counts, key=counts.get, default="")


def _varying(runs: list[Run]) -> list[str]:
    """Return the parameters that differ between runs of one notebook, in their order.

    One that only some of them have, as a copy with a parameter of its own, differs too.
    """
    names: dict[str, None] = {}
    of_notebook: dict[str, list[dict]] = {}
    for run in runs:
        if parameters := parameters_of(run):
            of_notebook.setdefault(run.notebook, []).append(parameters)
    for each in of_notebook.values():
        for name in dict.fromkeys(name for parameters in each for name in parameters):
            values = [parameters.get(name) for parameters in each]
            if any(value != values[0] for value in values) and name not in (*SHARED, *COLUMNS):
                names[name] = None
    return list(names)


def _before(shown: list[Run], chosen: list[Run]) -> list[Run | None]:
    """Return for each run the one before it of the same notebook and task that ended well."""
    last: dict[tuple[str, str], Run] = {}
    before = {}
    for run in reversed(chosen):
        key = (run.notebook, task_of(run))
        before[run.id] = last.get(key)
        if run.status == "ok":
            last[key] = run
    return [before[run.id] for run in shown]


def _line(run: Run, varying: list[str]) -> dict:
    parameters = parameters_of(run)
    about = {
        "run": run.id,
        "notebook": run.notebook,
        "task": task_of(run),
        "started": started_of(run),
        "status": run.status,
    }
    return about | {name: _plain(parameters.get(name)) for name in varying}


def _measured(run: Run, figure: str, earlier: Run | None) -> dict:
    entry = _values(run).get(figure)
    entry = entry if isinstance(entry, dict) else {}
    value = _value(run, figure)
    before = None if earlier is None else _value(earlier, figure)
    change = None if value is None or before is None else value - before
    names = {"figure": figure, "value": value, "before": before, "change": change}
    return names | {name: entry.get(name) for name in ("low", "high")}


def _values(run: Run) -> dict:
    """Return the recorded values with their intervals; a notebook of one's own may have others."""
    values = run.result.get("values")
    return values if isinstance(values, dict) else {}


def _value(run: Run, name: str) -> float | None:
    """Return one recorded number, None where there is none."""
    entry = _values(run).get(name)
    value = entry.get("value") if isinstance(entry, dict) else entry
    return float(value) if isinstance(value, int | float) else None


def _plain(value):
    """Return what a cell of a table can hold: a list or a mapping as its text."""
    return str(value) if isinstance(value, list | dict) else value
