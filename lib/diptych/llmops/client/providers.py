"""Endpoints by name: where they are, which model they answer with, what holds their key."""

import os
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from diptych.base import workspace
from diptych.execution.notebooks import nearest
from diptych.llmops.client.formats import Format
from diptych.llmops.server.process import EndpointError

__all__ = ["FORMATS", "LOCAL", "EndpointError", "Provider", "provider"]

FORMATS = ("chat_completions",)  # modules of `diptych.llmops.client.formats`


@dataclass(frozen=True)
class Provider:
    """One endpoint.

    Attributes
    ----------
    name, base_url : str
    model : str
        Used where a request names none.
    key_env : str
        Environment variable with the key; "" where none is needed.
    prices : str
        Provider in genai-prices; "free" costs nothing, "" is unknown.
    format : str
        The wire format that it speaks, one of `FORMATS`.
    """

    name: str
    base_url: str
    model: str = ""
    key_env: str = ""
    prices: str = ""
    format: str = FORMATS[0]

    @property
    def wire(self) -> Format:
        """Its wire format; the import takes half a second, so it is made where one is asked."""
        from diptych.llmops.client.formats import chat_completions

        return {"chat_completions": chat_completions}[self.format]

    def key(self) -> str:
        """Return the key, "" if none is needed.

        Raises
        ------
        EndpointError
            If the environment variable is not set.
        """
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        if self.key_env and not key:
            raise EndpointError(
                f"{self.name}: the environment variable {self.key_env} is not set; "
                "export it with your key, or take the endpoint local"
            )
        return key


LOCAL = Provider("local", "", model="diptych", prices="free")


def provider(name: str, key_env: str = "") -> Provider:
    """Return an endpoint by its name in ``params/endpoints.yaml``, or by its base URL.

    Raises
    ------
    EndpointError
        If there is none of this name, or the file is wrong.
    """
    if name == "local":
        return LOCAL
    if name.startswith(("http://", "https://")):
        return Provider(name, name, key_env=key_env)
    known = _from_file(workspace.repo_root() / "params" / "endpoints.yaml")
    if name not in known:
        raise EndpointError(
            f"endpoint: {name!r} is not known. {nearest(name, known)}There are local, "
            f"{', '.join(known)}, or give a URL"
        )
    return known[name]


@cache
def _from_file(path: Path) -> dict[str, Provider]:
    import yaml

    shown = workspace.shown(path)
    try:
        content = yaml.safe_load(path.read_text("utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise EndpointError(f"{shown}: cannot be read ({error})") from error
    known = {field.name for field in fields(Provider)} - {"name"}
    for name, entry in content.items():
        if not isinstance(entry, dict) or "base_url" not in entry:
            raise EndpointError(f"{shown}: {name}: needs a base_url")
        if unknown := entry.keys() - known:
            fault = f"{', '.join(sorted(unknown))} is not known"
            raise EndpointError(f"{shown}: {name}: {fault}; it takes {', '.join(sorted(known))}")
        if (wire := entry.get("format", FORMATS[0])) not in FORMATS:
            fault = f"format: {wire!r} is not known; there is {', '.join(FORMATS)}"
            raise EndpointError(f"{shown}: {name}: {fault}")
    return {name: Provider(name, **entry) for name, entry in content.items()}
