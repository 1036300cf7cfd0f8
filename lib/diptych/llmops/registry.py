"""MLflow as the prompt registry: a version is a prompt with the model and parameters it runs with.

It is the store of MLOps too. MLflow's own pages show the messages, the schema and the settings;
what is served is read from the version's files (`diptych.llmops.prompts.bundle.load`).
"""

from pathlib import Path
from urllib.parse import unquote, urlparse

from diptych.core.store import registry
from diptych.core.store.registry import ROLLBACK, RegistryError, Version, decided_on
from diptych.llmops.prompts import bundle
from diptych.llmops.prompts.variant import Variant

__all__ = ["ROLLBACK", "PromptRegistry", "RegistryError", "Version", "decided_on"]

SOURCE = "diptych.source"  # the tag with the place of a version's files; MLflow keeps none


class PromptRegistry(registry.Registry):
    """Versions of one task's prompt.

    Parameters
    ----------
    name : str
        The task's name. In MLflow and in the audit it is ``<name>.prompt``, for a prompt and a
        model cannot share a name.
    """

    KIND = "prompt"
    FILTER = " AND tags.`mlflow.prompt.is_prompt` = 'true'"  # else MLflow finds models only

    def __init__(self, name: str):
        super().__init__(f"{name}.prompt")

    def load(self, number: int) -> Variant:
        """Return the prompt of a version, with the model and parameters it runs with.

        Raises
        ------
        RegistryError, VariantError
            If there is no such version, or its files are gone.
        """
        return bundle.load(self.version(number).folder)

    def _create(self, source: str, mlflow_run: str, new: bool) -> int:
        variant = bundle.load(Path(unquote(urlparse(source).path)))
        prompt = variant.prompt
        if new:
            self.client.create_prompt(self.name)
        # register_prompt and link_prompt_version_to_run use MLflow's default store, not this one
        created = self.client.create_prompt_version(
            self.name,
            prompt.without_pictures.messages({name: f"{{{{{name}}}}}" for name in prompt.inputs}),
            description=prompt.note or None,
            tags={
                SOURCE: source,
                "diptych.prompt": f"{prompt.name} {prompt.version}",
                "diptych.mlflow_run": mlflow_run,
            },
            response_format=prompt.output or None,
            model_config=bundle.settings(variant),
        )
        return created.version

    def _source(self, number: int) -> str:
        stored = self.client.get_prompt_version(self.name, number)
        if stored is None:  # also where MLflow cannot read its store
            raise RuntimeError(f"registry: {self.name}/{number} cannot be read from MLflow's store")
        return stored.tags[SOURCE]

    def _point(self, alias: str, number: int) -> None:
        self.client.set_prompt_alias(self.name, alias, number)
