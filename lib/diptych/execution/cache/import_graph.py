"""Which files a notebook uses: the modules its code imports, what those import, what they read.

Nothing is run: imports and the paths ``... / "assets" / "lexicon"`` and ``... / "params" / …`` are
read from the code, inside functions too. A module named in a string (``python -m``) counts as
imported. Of the public face (``import diptych as dt``), which opens every module, only the names
that the code uses count. Code that cannot be read counts as using everything.
"""

import ast
import functools
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych.base import hashing, workspace

PACKAGE = workspace.PACKAGE.name
FACE = workspace.PACKAGE / "__init__.py"
READABLE = ("assets", "params")
SCRIPT = re.compile(r"^\s*%run\s+(?:-\w+\s+)*(\S+)", re.MULTILINE)
MODULE = re.compile(rf"{PACKAGE}(\.\w+)+")


@dataclass(frozen=True)
class Facts:
    """What one piece of code names.

    Attributes
    ----------
    imports : tuple of str
        Modules by full name; ``from a import b`` gives ``a.b``, which may be no module.
    reads : tuple of str
        Such as ``"assets/lexicon"``.
    """

    imports: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


def used_by(cells: Iterable[str], folders: Sequence[Path] = ()) -> tuple[list[Path], list[Path]]:
    """Return the files that code cells use.

    Parameters
    ----------
    cells : iterable of str
        Sources of the code cells.
    folders : sequence of Path
        Where modules besides this package's are looked for: the kernel's directory, usually.

    Returns
    -------
    modules, read : list of Path
        Python files, and the files and folders that those name under ``assets`` and ``params``.
    """
    modules: dict[str, None] = {}
    read, seen, todo = {}, set(), []
    looked_up: dict[str, str] = {}
    for cell in cells:
        facts = _of_cell(cell)
        if facts is None:
            everything = sorted(workspace.PACKAGE.rglob("*.py"))
            modules |= dict.fromkeys(map(str, everything))
            facts = Facts(reads=READABLE)
        todo.append(facts)
        for script in SCRIPT.findall(cell):
            path = next((f / script for f in folders if (f / script).is_file()), None)
            if path:
                modules[str(path)] = None
                todo.append(of_file(path))
    while todo:
        facts = todo.pop()
        read |= dict.fromkeys(path for name in facts.reads if (path := _readable(name)))
        for name in set(facts.imports) - seen:
            seen.add(name)
            for path in _located(name, folders, looked_up):
                if path not in modules:
                    modules[path] = None
                    todo.append(of_file(Path(path)))
    return sorted(map(Path, modules)), sorted(read)


def of_file(path: Path) -> Facts:
    """Return what a Python file names; known files are not parsed again."""
    if path == FACE:
        return Facts()
    parent = _module_name(path)
    name = f"{parent} {hashing.of_file(path)}"
    known = _known()
    if name not in known:
        try:
            tree = ast.parse(path.read_bytes())
            known[name] = _facts(tree, parent, path.name == "__init__.py")
        except (SyntaxError, ValueError):
            known[name] = Facts()  # it cannot be imported, so the run will say so
        _NEW.add(name)
    return known[name]


def remember() -> None:
    """Save what was parsed for the next process; a failure to save is harmless."""
    if not _NEW:
        return
    _NEW.clear()
    content = {name: [facts.imports, facts.reads] for name, facts in _known().items()}
    try:
        _store().parent.mkdir(parents=True, exist_ok=True)
        workspace.write_atomic(_store(), json.dumps(content))
    except OSError:
        pass


_NEW: set[str] = set()


def _store() -> Path:
    return workspace.home() / "cache" / "imports-2.json"


@functools.cache
def _known() -> dict[str, Facts]:
    try:
        content = json.loads(_store().read_bytes())
        return {name: Facts(*map(tuple, lists)) for name, lists in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _of_cell(source: str) -> Facts | None:
    """Return what a cell names, None if it cannot be read."""
    lines = source.splitlines()
    if lines and lines[0].lstrip().startswith("%%"):
        lines[0] = ""  # %%time and %%capture hold Python; what %%bash holds imports nothing
    # a magic stands alone on its line, or after `name =`
    plain = [
        re.sub(r"^(\s*)(?:\w+\s*=\s*)?[%!?].*$|^(\s*)\S+\?+\s*$", r"\1\2pass", line)
        for line in lines
    ]
    for text in (source, "\n".join(plain)):
        try:
            flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            return _facts(compile(text, "cell", "exec", flags), "", False)
        except (SyntaxError, ValueError):
            continue
    shell = source.lstrip().startswith(("%%bash", "%%sh", "%%html", "%%javascript", "%%writefile"))
    return Facts() if shell else None


def _facts(tree: ast.AST, module: str, is_package: bool) -> Facts:
    imports, reads, inner = _of_face(tree, in_cell=not module), {}, set()
    for node in ast.walk(tree):  # outer nodes come first
        if isinstance(node, ast.Import):
            imports |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            imports |= dict.fromkeys(f"{base}.{alias.name}" for alias in node.names)
            if base == PACKAGE:
                imports |= dict.fromkeys(_behind(alias.name for alias in node.names))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if MODULE.fullmatch(node.value):
                imports[node.value] = None
        elif isinstance(node, ast.BinOp) and node not in inner:
            reads |= dict.fromkeys(filter(None, [_literal_path(node, inner)]))
    return Facts(tuple(imports), tuple(reads))


def _of_face(tree: ast.AST, in_cell: bool) -> dict[str, None]:
    """Return the modules behind the names of the face that code uses, as in ``dt.run``.

    In a cell of a notebook any name may stand for the face: another cell imports it.
    """
    aliases = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == PACKAGE
    }
    names = (
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if in_cell or node.value.id in aliases
    )
    return dict.fromkeys(_behind(names))


def _behind(names: Iterable[str]) -> list[str]:
    face = sys.modules[PACKAGE].FACE
    return [face[name][0] for name in names if name in face]


def _literal_path(node: ast.BinOp, inner: set) -> str:
    """Return the literal part of ``x / "assets" / "a" / name`` from "assets" on, or ""."""
    parts, at = [], node
    while isinstance(at, ast.BinOp) and isinstance(at.op, ast.Div):
        parts.append(at.right)
        inner.add(at)
        at = at.left
    words = [
        part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else None
        for part in reversed(parts)
    ]
    start = next((i for i, word in enumerate(words) if word and word.split("/")[0] in READABLE), -1)
    if start < 0:
        return ""
    end = words.index(None, start) if None in words[start:] else len(words)
    return "/".join(words[start:end])


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, *filter(None, [node.module])])


def _located(name: str, folders: Sequence[Path], looked_up: dict[str, str]) -> list[str]:
    """Return the files that importing a name runs: the module, and the packages it lies in.

    Parameters
    ----------
    looked_up : dict
        Of each place without its ending, the file that lies there, "" if none; is added to.
    """
    parts = name.split(".")
    if parts[0] == PACKAGE:
        folders = (workspace.PACKAGE.parent,)
    elif parts[0] in sys.stdlib_module_names:
        return []
    for folder in folders:
        files, place = [], str(folder)
        for part in parts:
            place = os.path.join(place, part)
            if place not in looked_up:
                candidates = (os.path.join(place, "__init__.py"), f"{place}.py")
                looked_up[place] = next(filter(os.path.isfile, candidates), "")
            files += filter(None, [looked_up[place]])
        if files:
            return files
    return []


def _module_name(path: Path) -> str:
    """Return the full name of one of this package's modules, a bare name of any other."""
    if not path.is_relative_to(workspace.PACKAGE):
        return path.stem
    inside = path.relative_to(workspace.PACKAGE.parent).with_suffix("")
    return ".".join(inside.parts).removesuffix(".__init__")


def _readable(name: str) -> Path | None:
    base = workspace.PACKAGE if name.startswith("assets") else workspace.repo_root()
    path = base / name
    return path if path.exists() else None
