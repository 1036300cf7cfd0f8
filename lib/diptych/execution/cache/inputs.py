"""What a run was seen to read: from the notes that its kernel took to what is looked at again.

`diptych.execution.kernels.recorder` takes the notes, in the kernel. Here each becomes a place with
what it holds (a digest, never a value), in the form of `diptych.execution.cache.dependencies`. What
cannot be looked at again is a reason why the run is not linked.
"""

import functools
import glob
import html
import importlib.machinery
import importlib.metadata
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from diptych.base import environment, hashing, process_environment, workspace
from diptych.execution.kernels import location, recorder, unavailable

NOTES = "inputs.jsonl"
# They differ from one terminal to the next, and decide how this program runs, not what comes out.
SETTINGS = {*location.PRIVATE, *process_environment.THREAD_COUNTS, "COLUMNS", "LINES", "PATH",
            "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED",
            # set where MLflow is imported
            "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL", "DO_NOT_TRACK",
            # set where scikit-learn is imported, and by a kernel: a run may start within another
            "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "PYDEVD_USE_FRAME_EVAL",
            "TERM_PROGRAM"}  # fmt: skip
# Read by the interpreter itself, before anyone can watch.
ALWAYS_READ = ("LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MONETARY", "LC_NUMERIC",
               "LC_TIME", "TZ", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONSTARTUP")  # fmt: skip
# the usual values that a kernel sets: for a run that starts within another they are as unset
SET_BY_KERNELS = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
ZONE = Path("/etc/localtime")  # the time zone of this machine, where TZ names none
LEFT_BEHIND = {"__pycache__", ".diptych", ".ipynb_checkpoints", ".git", ".DS_Store", ".cache",
               ".pytest_cache", ".ruff_cache", ".mypy_cache"}  # fmt: skip
JUPYTER = "JUPYTER_"  # where its files lie, which no notebook's result depends on
OWN_PREFIXES = ("DIPTYCH_", "JPY_", "IPYKERNEL_", "PYTEST_")
IMAGE = re.compile(
    r"""!\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*(?:<([^>]+)>|((?:[^()\s]|\([^()]*\))+))"""  # ![text](file)
    r"""|\bsrc\s*=\s*(?:"([^"]*)"|'([^']*)'|([^"'\s>]+))"""  # <img src="file">
    r"""|^ {0,3}\[[^\]]+\]:\s*(?:<([^>]+)>|(\S+))""",  # [name]: file
    re.MULTILINE,
)
TAG = re.compile(r"<img\b[^<>]*>", re.IGNORECASE)
RUN = """
import sys, types
module = sys.modules.get({name!r})
if module is None:
    module = types.ModuleType({name!r})
    module.__file__ = "<frozen recorder>"
    with open({path!r}, encoding="utf-8") as file:
        exec(compile(file.read(), module.__file__, "exec"), vars(module))
    sys.modules[{name!r}] = module
module.{call}
"""


@dataclass
class Inputs:
    """What a run was made of, as its kernel saw it.

    Attributes
    ----------
    uses : list of dict
        Places and what they hold, see `dependencies.look`.
    unknown : list of str
        What it read that cannot be looked at again, in words; an author may vouch for it.
    drawn : list of str
        That libraries drew random numbers nobody seeded, likewise.
    never : str
        Why nobody can vouch for it; "" usually.
    """

    uses: list[dict] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)
    never: str = ""


def begin(folder: Path, notebook: Path) -> str:
    """Return the code with which a kernel begins to note what a notebook reads.

    Parameters
    ----------
    folder : Path
        Of the run.
    notebook : Path
        That it may read itself is no news.
    """
    ignored = [str(workspace.home()), str(folder), os.path.abspath(notebook)]
    ignored += [os.path.realpath(path) for path in ignored]
    call = f"install({str(folder / NOTES)!r}, {ignored!r}, {str(workspace.PACKAGE)!r})"
    return _code(call)


def end() -> str:
    """Return the code with which a kernel completes its notes."""
    return _code("finish()")


def _code(call: str) -> str:
    text = RUN.format(name=recorder.NAME, path=recorder.__file__, call=call)
    return f"exec({text!r}, {{}})"  # so that it leaves no name behind


def take(folder: Path, place: str) -> Inputs:
    """Return what was noted in a staged run folder, and remove the notes.

    Parameters
    ----------
    folder : Path
    place : str
        Where the kernel ran, if its key says so; "" if it ran in the caller's directory.
    """
    try:
        lines = (folder / NOTES).read_text("utf-8").splitlines()
    except OSError:
        return Inputs(never="what it read was not noted")
    (folder / NOTES).unlink()
    notes = [json.loads(line) for line in lines]
    unknown, drawn = (
        [note[1] for note in notes if note[0] == kind] for kind in ("unknown", "drawn")
    )
    inputs = Inputs(unknown=unknown, drawn=drawn)
    if ["end"] not in notes:
        inputs.never = "its kernel ended before all that it read was noted"
    written = {note[1] for note in notes if note[0] == "wrote"}
    for note in notes if not place else [note for note in notes if note[0] != "folder"]:
        if convert := _CONVERSIONS.get(note[0]):
            convert(inputs, written, *note[1:])
    inputs.uses += _outputs(written)
    inputs.uses += [*_variables(notes), _with_content({"kind": "zone"})]
    modules = {note[1] for note in notes if note[0] == "module"}
    inputs.uses += [_with_content({"kind": "packages", "names": _distributions(modules)})]
    here = place or os.getcwd()
    inputs.uses += [
        _with_content(
            {"kind": "shadows", "path": place if path == here else path, "names": sorted(modules)}
        )
        for path in dict.fromkeys(note[1] for note in notes if note[0] == "path")
    ]
    return inputs


def declared(patterns: Iterable[str], folder: Path) -> list[dict]:
    """Return the places that an author declared: files, folders and patterns such as ``*.csv``."""
    uses = []
    for pattern in patterns:
        path = str(folder / Path(pattern).expanduser())
        kind = "pattern" if glob.has_magic(pattern) else "files"
        uses.append(_with_content({"kind": kind, "path": path}))
    return uses


def pictures_in(text: str) -> list[str]:
    """Return the files that Markdown shows as pictures, by the names that it gives them."""
    urls = [html.unescape(next(filter(None, groups), "")) for groups in IMAGE.findall(text)]
    names = [unquote(re.split("[?#]", url)[0]) for url in urls if not re.match(r"\w+:|//", url)]
    return list(dict.fromkeys(name for name in names if 0 < len(name) < 256 and "\0" not in name))


def displayed(notebook: Path, folders: Iterable[Path]) -> list[dict]:
    """Return the pictures in Markdown and HTML that a notebook displayed: the page holds them."""
    if not notebook.is_file():
        return []
    shown = [
        output.get("data", {})
        for cell in json.loads(notebook.read_bytes())["cells"]
        for output in cell.get("outputs", ())
    ]
    texts = ["".join(data.get("text/markdown", "")) for data in shown]
    texts += [tag for data in shown for tag in TAG.findall("".join(data.get("text/html", "")))]
    return [
        _with_content({"kind": "files", "path": os.path.abspath(folder / name)})
        for text in texts
        for name in pictures_in(text)
        for folder in folders
    ]


def import_folders(folder: Path) -> list[Path]:
    """Return where a kernel finds the user's own modules if it runs in a folder."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [folder, *(Path(folder) for folder in folders if folder)]


def _read(inputs: Inputs, written: set[str], path: str, size, time) -> None:
    if path in written:
        inputs.never = inputs.never or f"it changes {path}, which it reads"
        return
    if _stamp(path) != (size, time):
        inputs.never = inputs.never or f"{path} changed while it ran"
        return
    inputs.uses.append(_with_content({"kind": "files", "path": path}))


def _listed(inputs: Inputs, written: set[str], path: str, names: list[str]) -> None:
    if not os.path.isdir(path) and path.startswith(tempfile.gettempdir() + os.sep):
        return  # scratch of another process that this one removed
    outputs = sorted(os.path.basename(file) for file in written if os.path.dirname(file) == path)
    use = _with_content({"kind": "listing", "path": path, "without": outputs})
    if use["found"] != _names(names, outputs):
        inputs.never = inputs.never or f"the files in {path} changed while it ran"
    inputs.uses.append(use)


def _existed(inputs: Inputs, written: set[str], path: str, kind: str) -> None:
    if path not in written:  # else it is an output
        inputs.uses.append({"kind": "exists", "path": path, "found": kind})


def _tree(inputs: Inputs, written: set[str], path: str) -> None:
    if path not in written:
        inputs.uses.append(_with_content({"kind": "files", "path": path}))


def _folder(inputs: Inputs, *_) -> None:
    """Note that the run depends on the working folder."""
    inputs.uses.append(_with_content({"kind": "folder"}))


def _outputs(written: set[str]) -> list[dict]:
    """Return the files that the run made and left, none of a hidden folder."""
    return [
        _with_content({"kind": "output", "path": path})
        for path in sorted(written)
        if os.path.isfile(path) and not any(part.startswith(".") for part in Path(path).parts)
    ]


def _variables(notes: list[list]) -> list[dict]:
    """Return the environment variables that were read: digests, as values may be secret."""
    by_user = {note[1] for note in notes if note[0] == "variable" and note[2]}
    by_library = {note[1] for note in notes if note[0] == "variable"} | {*ALWAYS_READ}
    if not unavailable():  # while libraries were imported ahead
        by_library |= {*location.read_learnt([sys.executable]).variables}
    names = by_user | {
        name for name in by_library if name not in SETTINGS and not name.startswith(JUPYTER)
    }
    return [
        _with_content({"kind": "variable", "name": name})
        for name in sorted(names)
        if not name.startswith(OWN_PREFIXES)
    ]


def _with_content(use: dict) -> dict:
    return use | {"found": LOOKS[use["kind"]](use)}


def _stamp(path: str) -> tuple:
    try:
        status = os.stat(path)
    except OSError:
        return None, None
    return status.st_size, status.st_mtime_ns


def _names(names: Iterable[str], without: Iterable[str] = ()) -> str:
    """Return a digest of names, but for those that programs leave beside one's files."""
    return hashing.of_json(sorted(set(names) - set(without) - LEFT_BEHIND))


def _distributions(modules: Iterable[str]) -> list[str]:
    """Return the installed packages that modules come from."""
    known = _packages_of_modules()
    return sorted({name for module in modules for name in known.get(module, ())})


@functools.cache
def _packages_of_modules() -> dict[str, list[str]]:
    """Return installed packages by their modules; looking into each takes long, so once."""
    stamp = hashing.of_json(sorted(environment.installed_folders().values()))
    path = workspace.home() / "cache" / "modules" / f"{stamp}.json"
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        known = {k: sorted(set(v)) for k, v in importlib.metadata.packages_distributions().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace.write_atomic(path, json.dumps(known))
    return known


def _look_files(use: dict):
    path = workspace.home() / use["path"]
    return hashing.of_path(path) if path.exists() else None


def _look_pattern(use: dict):
    paths = sorted(glob.glob(use["path"], recursive=True))
    return hashing.of_json({path: hashing.of_path(Path(path)) for path in paths})


def _look_listing(use: dict):
    if not os.path.isdir(use["path"]):
        return None
    return _names(os.listdir(use["path"]), use["without"])


def _look_exists(use: dict) -> str:
    if os.path.isdir(use["path"]):
        return "folder"
    return "file" if os.path.lexists(use["path"]) else ""


def _look_zone(_):
    return None if os.environ.get("TZ") or not ZONE.is_file() else hashing.of_file(ZONE)


def _look_folder(_) -> str:
    return os.getcwd()


def _look_variable(use: dict):
    name = use["name"]
    if name == "*":
        others = {k: v for k, v in os.environ.items() if k not in SETTINGS}
        return hashing.of_json({k: v for k, v in others.items() if not k.startswith(OWN_PREFIXES)})
    value = os.environ.get(name)
    return None if value in (None, SET_BY_KERNELS.get(name)) else hashing.of_json(value)


def _look_packages(use: dict) -> dict:
    """Return the version of each package and, for one installed anew, the list of its files."""
    folders = environment.installed_folders()
    return {
        name: [environment.version_in(folder), _record(folder)]
        for name in use["names"]
        if (folder := folders.get(environment.normal(name)))
    }


def _record(folder: str) -> str:
    record = os.path.join(folder, "RECORD")
    return hashing.of_file(record) if os.path.isfile(record) else ""


def _look_shadows(use: dict) -> list[str]:
    """Return which of the imported modules lie in a folder of the user's.

    A folder without ``__init__.py`` hides none: Python takes it only where no module is found.
    """
    folder = use["path"] or "."
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    modules = {name[: -len(end)] for name in names for end in MODULES if name.endswith(end)}
    wanted = set(use["names"])
    packages = [os.path.join(name, "__init__.py") for name in set(names) & wanted]
    modules |= {
        os.path.dirname(name) for name in packages if os.path.isfile(os.path.join(folder, name))
    }
    return sorted(modules & wanted)


MODULES = importlib.machinery.all_suffixes()


LOOKS = {
    "files": _look_files,
    "output": _look_files,
    "pattern": _look_pattern,
    "listing": _look_listing,
    "exists": _look_exists,
    "folder": _look_folder,
    "zone": _look_zone,
    "variable": _look_variable,
    "packages": _look_packages,
    "shadows": _look_shadows,
}
_CONVERSIONS = {"read": _read, "list": _listed, "exists": _existed, "tree": _tree,
                "folder": _folder}  # fmt: skip


def difference(use: dict, now) -> str:
    """Return in words how a place differs from what a run found there."""
    path, kind = workspace.shown(Path(use.get("path", "."))), use["kind"]
    if kind == "variable":
        name = "the environment" if use["name"] == "*" else f"environment variable {use['name']}"
        return f"{name}{_since(use['found'], now)}"
    if kind == "packages":
        return _packages_differ(use["found"], now or {})
    words = {
        "output": f"{path}, which it wrote, is not what it wrote",
        "pattern": f"the files {path} are not what they were",
        "listing": f"other files lie in {path}",
        "exists": f"{path} {'is there now' if now else 'is gone'}",
        "shadows": f"a module in {path} hides another",
        "zone": "the time zone of this machine is another one",
        "folder": f"the working folder {use['found']} -> {now}",
    }
    return words.get(kind) or f"file {path}{_since(use['found'], now)}"


def _since(before, now) -> str:
    if before is None:
        return " (new)"
    return " (gone)" if now is None else " has changed"


def _packages_differ(before: dict, now: dict) -> str:
    name = min(name for name in {*before, *now} if before.get(name) != now.get(name))
    old, new = (versions.get(name, ["none"])[0] for versions in (before, now))
    return f"package {name} {old} -> {new}" if old != new else f"package {name}, installed anew"
