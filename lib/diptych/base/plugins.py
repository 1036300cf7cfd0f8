"""Names that users add: one registry a kind, filled by decorators, a file or entry points.

A plugin is a module that registers names (``@dt.register.metric("near")``). It is known by a line
of ``params/plugins.yaml`` (``plugins: [plugins.py, my_package.diptych]``), or by an entry point of
an installed package: of the group ``diptych.plugins`` for such a module, of ``diptych.metrics`` and
the like (`GROUPS`) for one name alone. A registry loads them when a name is looked up that does not
come with Diptych, or all names are listed; never when a module is imported.
"""

import difflib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar

from diptych.base import workspace
from diptych.base.errors import Plain, WorkspaceError
from diptych.base.progress import say

T = TypeVar("T")
PACKAGE = __name__.partition(".")[0]
FILE = "params/plugins.yaml"
MODULES = "diptych.plugins"  # the group of entry points that name modules
# kind: the module that has its registry, and the group of entry points. Modules are named without
# the package, because a full name in a string counts as an import (`import_graph`).
GROUPS = {
    "task": ("core.data.tasks", "diptych.tasks"),
    "estimator": ("mlops.models.families", "diptych.estimators"),
    "metric": ("core.evaluation.metrics", "diptych.metrics"),
    "scorer": ("core.evaluation.graders", "diptych.scorers"),
    "prompt": ("llmops.prompts.prompt", "diptych.prompts"),
    "format": ("llmops.client.providers", "diptych.formats"),
    "drift": ("core.monitoring.statistics", "diptych.drift"),
}


class PluginError(Plain, ValueError):
    """A name cannot be registered; the message lists what there is."""


@dataclass(frozen=True)
class Failure:
    """A plugin that could not be loaded."""

    plugin: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.plugin}: {self.reason}"


class Registry(Mapping[str, T], Generic[T]):
    """The names of one kind: those that come with Diptych, then those that plugins add.

    Parameters
    ----------
    kind : str
        One of `GROUPS`.
    built_in : mapping
        What comes with Diptych.
    read : callable or str
        Takes a name and what an entry point of this kind gives, returns the entry; raises
        PluginError. Or the module that has it as ``read_added``, and is imported when needed.
    taken : iterable of str
        Names that none may have, besides those that come with Diptych.
    """

    def __init__(
        self,
        kind: str,
        built_in: Mapping[str, T],
        read: Callable[[str, object], T] | str,
        taken: Iterable[str] = (),
    ):
        self.kind, self.built_in, self._read = kind, dict(built_in), read
        self._taken = frozenset((*self.built_in, *taken))
        self._added: dict[str, T] = {}
        self._source: dict[str, str] = {}
        REGISTRIES[kind] = self

    def add(self, name: str, entry: T, source: str) -> None:
        """Enter a name; the same source may enter it again, as a cell that runs twice does.

        Raises
        ------
        PluginError
            If the name is no text, or is there already.
        """
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            raise PluginError(f"{self.kind}: {name!r} is no name; give a text such as 'mine'")
        if name in self._taken or self._source.get(name, source) != source:
            where = self._source.get(name, "Diptych")
            raise PluginError(
                f"{self.kind}: {name!r} is there already, by {where}; take another name. There are "
                f"{', '.join([*sorted(self._taken), *self._added])}"
            )
        self._added[name], self._source[name] = entry, source

    def clear(self) -> None:
        """Take out what was added."""
        self._added.clear()
        self._source.clear()

    def added(self) -> list[str]:
        """Return the names that plugins add."""
        self._load()
        return list(self._added)

    def source(self, name: str) -> str:
        """Return where a name comes from: a module, an entry point, or Diptych."""
        return self._source.get(name, "Diptych")

    def named(self, name: str, error: type[Exception], word: str = "") -> T:
        """Return what has a name; `word` is what messages call the kind.

        Raises
        ------
        error
            If there is none of this name; the message names the nearest one and lists all.
        """
        if name in self:
            return self[name]
        word = word or self.kind
        near = difflib.get_close_matches(str(name), self, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise error(f"{word}: {name!r} is no {word}. {hint}There are {', '.join(self)}{failures()}")

    def __getitem__(self, name: str) -> T:
        if name in self.built_in:
            return self.built_in[name]
        if name not in self._added:
            self._load()
        return self._added[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter([*self.built_in, *self._added])

    def __len__(self) -> int:
        self._load()
        return len(self.built_in) + len(self._added)

    def _load(self) -> None:
        load()
        group = GROUPS[self.kind][1]
        with _STATE.lock:
            if self.kind in _STATE.kinds:
                return
            _STATE.kinds.add(self.kind)
            for point in entry_points(group=group):
                _try(f"{point.value} ({group})", lambda point=point: self._enter(point))

    def _enter(self, point: EntryPoint) -> None:
        read = self._read
        if isinstance(read, str):
            read = importlib.import_module(f"{PACKAGE}.{read}").read_added
        self.add(point.name, read(point.name, point.load()), point.value)


@dataclass
class _State:
    """What was loaded in this process."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    loaded: bool = False
    kinds: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)


REGISTRIES: dict[str, Registry] = {}
_STATE = _State()


def registry(kind: str) -> Registry:
    """Return the registry of a kind, its module imported."""
    importlib.import_module(f"{PACKAGE}.{GROUPS[kind][0]}")
    return REGISTRIES[kind]


def load() -> list[Failure]:
    """Import the modules of plugins, once a process, and return what failed.

    What fails is said in one line, and the rest is loaded.
    """
    with _STATE.lock:
        if not _STATE.loaded:
            _STATE.loaded = True
            for name in _named(_STATE.failures):
                _try(name, lambda name=name: _import(name))
            for point in entry_points(group=MODULES):
                _try(f"{point.value} ({MODULES})", point.load)
        return list(_STATE.failures)


def forget() -> None:
    """Take out what plugins added, so that they are loaded anew; the interpreter may have new ones.

    Modules that were imported stay so: a plugin whose decorators have run is not run again.
    """
    with _STATE.lock:
        _STATE.loaded = False
        _STATE.kinds.clear()
        _STATE.failures.clear()
        for registry in REGISTRIES.values():
            registry.clear()


def failures() -> str:
    """Return in a sentence which plugins failed, "" if none: an unknown name may be theirs."""
    failed = "; ".join(map(str, _STATE.failures))
    return f". Not loaded: {failed}" if failed else ""


def _try(name: str, action: Callable[[], object]) -> None:
    try:
        action()
    except Exception as error:  # whatever it raises when it is imported
        reason = " ".join(str(error).split())
        kind = "" if isinstance(error, PluginError) else f"{type(error).__name__}: "
        _STATE.failures.append(Failure(name, f"{kind}{reason}"))
        say(f"{_STATE.failures[-1]} (the rest is loaded)")


def _named(failed: list[Failure]) -> list[str]:
    """Return what `FILE` of the project lists."""
    import yaml

    try:
        path = workspace.repo_root() / FILE
        content = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
    except WorkspaceError:
        return []
    except (OSError, yaml.YAMLError) as error:
        failed.append(Failure(FILE, f"it cannot be read: {' '.join(str(error).split())}"))
        say(str(failed[-1]))
        return []
    names = (content or {}).get("plugins") if isinstance(content or {}, dict) else None
    names = [] if content is None or content == {} else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        failed.append(
            Failure(FILE, f"holds {content!r}; write plugins: [plugins.py, my_package.my_module]")
        )
        say(str(failed[-1]))
        return []
    return names


def _import(name: str) -> None:
    """Import a module by its name, or by the path of its file in the project."""
    if not name.endswith(".py"):
        importlib.import_module(name)
        return
    path = (workspace.repo_root() / Path(name).expanduser()).resolve()
    if not path.is_file():
        raise PluginError(f"there is no file {path}; correct {FILE}")
    module = path.stem
    if module in sys.modules:
        known = getattr(sys.modules[module], "__file__", None)
        if known and Path(known).resolve() == path:
            return
        raise PluginError(f"a module {module!r} is there already ({known}); rename the file")
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec is not None and spec.loader is not None  # noqa: PT018 (a .py file)
    sys.modules[module] = loaded = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[module]
        raise
