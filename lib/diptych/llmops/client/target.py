"""Who is asked: an endpoint, its model, and what goes with every request to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diptych.llmops.client import recordings
from diptych.llmops.client.providers import RECORDED, Provider, provider
from diptych.llmops.server import process, sizing
from diptych.llmops.server.process import SETTINGS


@dataclass(frozen=True)
class Target:
    """Who is asked.

    Attributes
    ----------
    endpoint : str
        ``"local"``, ``"recorded"``, a name in ``params/endpoints.yaml``, or a base URL.
    model : str
        Where a request names none; "" is the endpoint's own model.
    parameters : mapping
        Fields of every request that does not set them itself, such as ``max_tokens``; a field
        that is None is left out, such as ``{"logprobs": None}``.
    server : mapping
        For ``"local"``: what `diptych.llmops.server.process.start` takes, such as ``model``.
    key_env : str
        For a base URL: the environment variable with its key.

    Raises
    ------
    ValueError
        If `server` holds what its start does not take.
    """

    endpoint: str = "local"
    model: str = ""
    parameters: Mapping = field(default_factory=dict, hash=False)
    server: Mapping = field(default_factory=dict, hash=False)
    key_env: str = ""

    def __post_init__(self):
        if unknown := self.server.keys() - set(SETTINGS):
            fault = f"{', '.join(sorted(unknown))} is not known"
            raise ValueError(f"server: {fault}; it takes {', '.join(SETTINGS)}")

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Return the target of a text: an endpoint, or one with its model after a slash.

        Fields of its requests may follow after a question mark, as YAML:
        ``"openai/gpt-5?reasoning_effort=low&max_tokens=64"``; ``null`` leaves one out.

        Such as ``"local"``, ``"openai/gpt-4o"``, ``"vllm/Qwen/Qwen2.5-0.5B-Instruct"``,
        ``"local/qwen2.5-coder-0.5b"`` (a name of `diptych model list`),
        ``"recorded/qwen2.5-coder-0.5b"`` (what it answered once),
        ``"local/hf:OWNER/REPO/FILE.gguf"``, ``"local//home/me/model.gguf"`` or
        ``"http://127.0.0.1:8080/v1#model"``.

        Raises
        ------
        EndpointError
            If the endpoint is not known.
        ValueError
            If the fields after the question mark are none.
        """
        url = text.startswith(("http://", "https://"))
        name, mark, model = text.partition("#" if url else "/")
        if url and not mark:  # a question mark in an address is the address's own
            provider(name)
            return cls(name)
        text, question, fields = (model if mark else name).partition("?")
        name, model = (name, text) if mark else (text, "")
        parameters = _fields(fields) if question else {}
        provider(name)
        if name == "local":
            return cls(parameters=parameters, server={"model": model} if model else {})
        return cls(name, model, parameters)

    @property
    def provider(self) -> Provider:
        """Where the endpoint is; EndpointError if it is not known."""
        if self.is_recorded:
            return recordings.provider_of(self.model)
        return provider(self.endpoint, self.key_env)

    @property
    def is_local(self) -> bool:
        """Whether this machine serves the model."""
        return self.endpoint == "local"

    @property
    def is_quick(self) -> bool:
        """Whether further questions cost nothing and take milliseconds, as of the model in the box.

        Raises
        ------
        EndpointError
            If a local model is not on this machine.
        """
        if not self.is_local:
            return False
        return sizing.is_small(process.model_file(self.server.get("model")))

    @property
    def is_recorded(self) -> bool:
        """Whether a recording answers, see `diptych.llmops.client.recordings`."""
        return self.endpoint == RECORDED

    @property
    def model_name(self) -> str:
        """The model that answers: its own, else the endpoint's."""
        return self.model or self.provider.model

    @property
    def name(self) -> str:
        """Readable: what differs from the local endpoint and its model."""
        file = self.server.get("model")
        model = self.model or (Path(str(file)).name.removesuffix(".gguf") if file else "")
        return " · ".join(filter(None, ("" if self.is_local else self.endpoint, model)))


def _fields(text: str) -> dict:
    """Return the fields of a text such as ``reasoning_effort=low&max_tokens=64``."""
    import yaml

    pairs = [part.partition("=") for part in text.split("&")]
    if wrong := [name or text for name, mark, _ in pairs if not (name and mark)]:
        raise ValueError(f"models: {wrong[0]!r} is no field; write ?name=value&name=value")
    return {name: yaml.safe_load(value) for name, _, value in pairs}
