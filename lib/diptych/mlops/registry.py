"""MLflow as the model registry: a version is a saved model."""

from diptych.core.store import registry
from diptych.core.store.registry import ROLLBACK, RegistryError, Version

__all__ = ["ROLLBACK", "ModelRegistry", "RegistryError", "Version"]


class ModelRegistry(registry.Registry):
    """Versions of one task's model.

    Parameters
    ----------
    name : str
        The task's name.
    """

    KIND = "model"

    def _create(self, source: str, mlflow_run: str, new: bool) -> int:
        if new:
            self.client.create_registered_model(self.name)
        created = self.client.create_model_version(self.name, source=source, run_id=mlflow_run)
        return int(created.version)

    def _source(self, number: int) -> str:
        return self.client.get_model_version(self.name, str(number)).source

    def _point(self, alias: str, number: int) -> None:
        self.client.set_registered_model_alias(self.name, alias, str(number))
