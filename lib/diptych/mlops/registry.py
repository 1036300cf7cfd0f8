"""MLflow as the model registry: a version is a saved model."""

from collections.abc import Mapping

from diptych.core.store import registry
from diptych.core.store.registry import ROLLBACK, RegistryError, Version, decided_on
from diptych.execution import runs

__all__ = ["ROLLBACK", "ModelRegistry", "RegistryError", "Version", "champion_of", "decided_on"]
RELEASE = "mlops/3_release"


class ModelRegistry(registry.Registry):
    """Versions of one task's model.

    Parameters
    ----------
    name : str
        The task's name.
    """

    KIND = "model"

    def names(self) -> list[str]:
        """Return the names under which models are registered here, sorted."""
        # MLflow gives at most so many a page, and 1,000 is the most it takes
        return sorted(one.name for one in self.client.search_registered_models(max_results=1000))

    def _create(self, source: str, mlflow_run: str, new: bool) -> int:
        if new:
            self.client.create_registered_model(self.name)
        created = self.client.create_model_version(self.name, source=source, run_id=mlflow_run)
        return int(created.version)

    def _source(self, number: int) -> str:
        return self.client.get_model_version(self.name, str(number)).source

    def _point(self, alias: str, number: int) -> None:
        self.client.set_registered_model_alias(self.name, alias, str(number))


def champion_of(task: str, columns: Mapping[str, str]) -> Version:
    """Return the champion of a task, given as training takes it: a name, or where the rows lie.

    Parameters
    ----------
    task : str
        A task's or a registered model's name, or the path or address of your own rows.
    columns : mapping of str to str
        Parameters of training, such as ``label_column``, that tell models of the same rows apart.

    Raises
    ------
    RegistryError
        If there is none, or several; the message lists what there is.
    """
    from diptych.core.data import sources

    names = ModelRegistry(task).names()
    fits = {task: {}} if task in names and not columns else _released(task, columns)
    champions = {name: ModelRegistry(name).champion() for name in fits if name in names}
    champions = {name: version for name, version in champions.items() if version}
    if len(champions) == 1:
        return next(iter(champions.values()))
    if champions:
        listed = "; ".join(f"{name}: {_shown(fits[name])}" for name in champions)
        raise RegistryError(
            f"task: {task!r} has {len(champions)} models, so name the columns as in training, or "
            f"take a model's name ({listed})"
        )
    in_service = [name for name in names if ModelRegistry(name).champion()]
    if sources.looks_like_location(task) and (missing := sources.missing(task)):
        raise RegistryError(missing)
    if refused := [name for name in fits if name in names]:
        why = (
            f"its model {refused[0]!r} was never promoted: the gate's table in {RELEASE} says why. "
            f"Improve the model, or set limits that suit these rows, such as floor: "
            f"`diptych list {RELEASE}` shows them"
        )
    else:
        why = f"run {RELEASE} with this task and the same columns"
    listed = ", ".join(in_service) or "none"
    raise RegistryError(f"task: {task!r} has no champion; {why}. Models in service: {listed}")


def _released(task: str, columns: Mapping[str, str]) -> dict[str, dict]:
    """Return the parameters of the models that were released for a task's rows, by name."""
    from diptych.core.data import sources, tasks

    models = {}
    for run in runs.find_runs(RELEASE):
        parameters = run.result.get("task", {})
        name = run.result.get("facts", {}).get("name")
        if not all(parameters.get(key) == value for key, value in columns.items()):
            continue
        try:
            same = name == tasks.name_of(task, parameters)
        except sources.DataError:  # no task and no place
            break
        if same:
            models.setdefault(name, parameters)
    return models


def _shown(parameters: Mapping) -> str:
    names = [key for key in parameters if key.endswith("_column") or key == "seed"]
    return ", ".join(f"{key}={parameters[key]!r}" for key in names)
