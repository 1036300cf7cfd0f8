"""Endpoints by name: where they are, how they are spoken to, what their models take of a request.

What is known of providers is data, dated and with its source: `diptych/assets/providers`. A line in
``params/endpoints.yaml`` adds an endpoint, or replaces fields of a known one.
"""

import importlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from diptych.base import plugins, secrets, workspace
from diptych.core.store.prices import FREE
from diptych.execution.notebooks import nearest
from diptych.llmops.client.formats import Format
from diptych.llmops.server.process import EndpointError

__all__ = ["FORMATS", "LOCAL", "RECORDED", "EndpointError", "Provider", "provider"]

FORMATS = (
    "chat_completions",
    "responses",
    "anthropic_messages",
)  # modules of `diptych.llmops.client.formats`
PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")  # an environment variable in an address


@dataclass(frozen=True)
class Family:
    """Some models of a provider, by their names.

    Attributes
    ----------
    match : tuple of str
        Patterns of names, as in a shell.
    where : mapping
        It holds only for requests with these fields.
    parameters : mapping
        Fields of every request that does not set them.
    changes : mapping
        Rules of `diptych.llmops.client.adaptation`.
    """

    match: tuple[str, ...]
    where: Mapping = field(default_factory=dict)
    parameters: Mapping = field(default_factory=dict)
    changes: Mapping = field(default_factory=dict)

    def holds(self, model: str, body: Mapping) -> bool:
        """Say whether a request to a model is one of these."""
        named = any(fnmatchcase(model, pattern) for pattern in self.match)
        return named and all(body.get(name) == value for name, value in self.where.items())


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
        The wire format that it speaks, one of `FORMATS` or of an installed package's.
    parameters, changes : mapping
        As those of `Family`, for all its models.
    models : tuple of Family
        The first that holds counts.
    """

    name: str
    base_url: str
    model: str = ""
    key_env: str = ""
    prices: str = ""
    format: str = FORMATS[0]
    parameters: Mapping = field(default_factory=dict, hash=False)
    changes: Mapping = field(default_factory=dict, hash=False)
    models: tuple[Family, ...] = field(default=(), hash=False)

    @property
    def wire(self) -> Format:
        """Its wire format; the import takes half a second, so it is made where one is asked."""
        if self.format in FORMATS:
            return importlib.import_module(f"diptych.llmops.client.formats.{self.format}").FORMAT
        return ADDED[self.format]

    def key(self) -> str:
        """Return the key, "" if none is needed.

        Raises
        ------
        EndpointError
            If the environment variable is not set.
        """
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        secrets.keep_secret(self.key_env)  # an endpoint's error may repeat it
        if self.key_env and not key:
            raise EndpointError(
                f"{self.name}: the environment variable {self.key_env} is not set; "
                "export it with your key, or take the endpoint local"
            )
        return key

    def fields(self, model: str) -> dict:
        """Return the fields of every request to a model that does not set them."""
        held = [family.parameters for family in self.models if family.holds(model, {})]
        return {**self.parameters, **next(filter(None, held), {})}

    def rules(self, body: Mapping) -> dict:
        """Return what is known to change of a request."""
        model = str(body.get("model", ""))
        held = [family for family in self.models if family.holds(model, body) and family.changes]
        return {**self.changes, **(held[0].changes if held else {})}


LOCAL = Provider("local", "", model="diptych", prices=FREE)
RECORDED = "recorded"  # replays what a model once answered: `diptych.llmops.client.recordings`


def provider(name: str, key_env: str = "") -> Provider:
    """Return an endpoint by its name, or by its base URL.

    Raises
    ------
    EndpointError
        If there is none of this name, the file is wrong, or its address needs an environment
        variable that is not set.
    """
    if name == "local":
        return LOCAL
    if name == RECORDED:  # which recording is the model's part of the name
        return Provider(RECORDED, f"{RECORDED}://", prices=FREE)
    if name.startswith(("http://", "https://")):
        return Provider(name, name, key_env=key_env, prices=FREE if _is_here(name) else "")
    known = _shipped() | _from_file(workspace.repo_root() / "params" / "endpoints.yaml")
    if name not in known:
        raise EndpointError(
            f"endpoint: {name!r} is not known. {nearest(name, known)}There are local, recorded, "
            f"{', '.join(known)}, or give a URL"
        )
    return replace(known[name], base_url=_address(known[name]))


def _address(provider: Provider) -> str:
    """Return the base URL with its environment variables filled in."""
    missing = [name for name in PLACE.findall(provider.base_url) if not os.environ.get(name)]
    if missing:
        raise EndpointError(
            f"{provider.name}: the environment variable {missing[0]} is not set; its address "
            f"{provider.base_url} needs it"
        )
    return PLACE.sub(lambda match: os.environ[match[1]].strip().rstrip("/"), provider.base_url)


def checked(name: str, module: object) -> Format:
    """Return a wire format that a plugin adds: one, or a module that has it as ``FORMAT``.

    Raises
    ------
    PluginError
        If it lacks a part of `Format`.
    """
    module = getattr(module, "FORMAT", module)
    parts = [part for part in ("FAILURES", *vars(Format)) if not part.startswith("_")]
    if missing := [part for part in parts if not hasattr(module, part)]:
        raise plugins.PluginError(
            f"format: {name!r} has no {missing[0]}; see diptych/llmops/client/formats/__init__.py"
        )
    return module  # type: ignore[return-value]


ADDED: plugins.Registry[Format] = plugins.Registry("format", {}, checked, taken=FORMATS)


@cache
def _shipped() -> dict[str, Provider]:
    import yaml

    folder = files("diptych") / "assets" / "providers"
    entries = {
        Path(file.name).stem: yaml.safe_load(file.read_text("utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
    }
    return _read(entries, {}, "diptych/assets/providers")


def _is_here(url: str) -> bool:
    """Say whether a URL is of this machine, whose models cost nothing a token."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


@cache
def _from_file(path: Path) -> dict[str, Provider]:
    import yaml

    shown = workspace.shown(path)
    try:
        content = yaml.safe_load(path.read_text("utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise EndpointError(f"{shown}: cannot be read ({error})") from error
    return _read(content, _shipped(), shown)


def _read(content: Mapping, shipped: Mapping[str, Provider], shown: str) -> dict[str, Provider]:
    """Return the endpoints of a file; those that others are like come first."""
    known, read = {f.name for f in fields(Provider)} - {"name"} | {"like"}, {}
    for name in sorted(content, key=lambda name: "like" in (content[name] or {})):
        entry = content[name]

        def wrong(fault: str, name=name) -> EndpointError:
            return EndpointError(f"{shown}: {name}: {fault}")

        if not isinstance(entry, dict):
            raise wrong("needs a base_url")
        if unknown := entry.keys() - known:
            fault = f"{', '.join(sorted(unknown))} is not known"
            raise wrong(f"{fault}; it takes {', '.join(sorted(known))}")
        base = replace(_base(name, entry, {**shipped, **read}, wrong), name=name)
        if not entry.get("base_url", base.base_url):
            raise wrong("needs a base_url")
        if (wire := entry.get("format", base.format)) not in FORMATS and wire not in ADDED:
            there = ", ".join((*FORMATS, *ADDED)) + plugins.failures()
            raise wrong(f"format: {wire!r} is not known; there is {there}")
        read[name] = _merged(base, entry, wrong)
    return read


def _base(name: str, entry: Mapping, known: Mapping[str, Provider], wrong) -> Provider:
    """Return what an entry builds on; without any it has the rules of its format's provider."""
    like = entry.get("like", name)
    if like in known:
        return known[like]
    if like != name:
        raise wrong(f"like: {like!r} is not known; there is {', '.join(known)}")
    wire = entry.get("format", FORMATS[0])
    same = [x for x in known.values() if x.format == wire != FORMATS[0]]
    if not same:
        return Provider(name, "")
    return Provider(name, "", changes=same[0].changes, models=same[0].models)


def _merged(base: Provider, entry: Mapping, wrong) -> Provider:
    """Return an endpoint with what its entry says; its families come before those known."""
    entry = {key: value for key, value in entry.items() if key != "like"}
    families = tuple(_family(family, wrong) for family in entry.pop("models", ()))
    for name in ("parameters", "changes"):
        if not isinstance(entry.get(name, {}), dict):
            raise wrong(f"{name}: is no mapping of fields")
    changes = {**base.changes, **entry.pop("changes", {})}
    return replace(base, **entry, changes=changes, models=families + base.models)


def _family(entry, wrong) -> Family:
    known = {f.name for f in fields(Family)}
    if not isinstance(entry, dict) or not isinstance(entry.get("match"), list):
        raise wrong("models: each needs match, a list of names such as [gpt-5*]")
    if unknown := entry.keys() - known:
        fault = f"models: {', '.join(sorted(unknown))} is not known"
        raise wrong(f"{fault}; it takes {', '.join(sorted(known))}")
    return Family(**{**entry, "match": tuple(map(str, entry["match"]))})
