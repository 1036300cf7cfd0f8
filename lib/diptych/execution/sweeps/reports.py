"""A stable path for each point of a sweep: one report a region, all in one folder."""

from pathlib import Path

from diptych.base.errors import ParameterError
from diptych.execution import index_page, stable_paths
from diptych.execution.runs import load_run
from diptych.execution.sweeps.search_space import SweepPlan
from diptych.execution.sweeps.sweep import Result


def check(plan: SweepPlan, template: str) -> None:
    """Refuse a name that does not tell the points of a sweep apart.

    Raises
    ------
    ParameterError
        Also as `stable_paths.path_of` does.
    """
    seen: dict[str, dict] = {}
    for point in plan.points():
        path = stable_paths.path_of(template, plan.run_at(point))
        if path in seen:
            raise ParameterError(
                f"--name {template}: {seen[path]} and {point} are both {path}. Name what differs."
            )
        seen[path] = point


def publish(result: Result, template: str, root: Path | None = None) -> Path:
    """Let the stable path of each good point lead to its run, and return the index of all."""
    root = root or stable_paths.reports()
    for trial in result.trials:
        if trial.status not in ("ok", "linked"):
            continue
        run = load_run(trial.run, result.folder / "runs")
        path = stable_paths.path_of(template, result.plan.run_at(trial.point))
        stable_paths.publish(run, root, path)
        index_page.enter(run, root, path)
    return index_page.write_all(root)
