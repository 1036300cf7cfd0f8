"""Parameter files and ``-p name=value``, checked against what the notebook declares.

Files and values are read as bare papermill reads them; what it would let through silently (an
unknown name, a wrong type) is refused here, all problems at once.
"""

import ast
import copy
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import yaml

from diptych.base import secrets, workspace
from diptych.base.errors import ParameterError
from diptych.base.progress import say
from diptych.execution.declaration import (
    SECRET_REMEDY,
    Parameter,
    parameters_cell,
    read_parameters,
)
from diptych.execution.notebooks import find, nearest

__all__ = [
    "Parameter",
    "ParameterError",
    "checked_values",
    "find_file",
    "load_file",
    "parse_override",
    "read_parameters",
    "resolve",
    "resolve_for",
]

FLAT = "Write one `name: value` a line"
WORDS = {"True": True, "False": False, "None": None}

MOST_VALUES = 10_000  # of YAML that has aliases
Overrides = Iterable[str | tuple[str, object]] | Mapping[str, object]


class Loader(yaml.SafeLoader):
    """YAML 1.1 as papermill reads it: a date stays text; aliases that explode are refused."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def get_single_node(self):
        """Return the document, if it is not far larger than its text.

        Raises
        ------
        yaml.YAMLError
            If aliases make it so, or it holds itself.
        """
        root = super().get_single_node()
        if root is not None and self.anchors_seen and _size(root, {}) > MOST_VALUES:
            problem = f"its aliases make more than {MOST_VALUES:,} values"
            raise yaml.composer.ComposerError(None, None, problem, root.start_mark)
        return root

    def compose_node(self, parent, index):
        """Note that there are aliases; most documents have none."""
        self.anchors_seen |= self.check_event(yaml.AliasEvent)
        return super().compose_node(parent, index)

    anchors_seen = False


def _size(node: yaml.Node, sizes: dict) -> float:
    """Return how many values a document has with its aliases written out."""
    if id(node) not in sizes:
        sizes[id(node)] = float("inf")  # of one that holds itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = (one for part in parts for one in (part if isinstance(part, tuple) else (part,)))
        sizes[id(node)] = 1 + sum(_size(one, sizes) for one in flat)
    return sizes[id(node)]


def find_file(name: str | Path) -> Path:
    """Return a parameter file's path from a path or a short name such as ``"tasks/reviews"``.

    Raises
    ------
    ParameterError
        If there is no such file.
    """
    hint = "Give a path, or a name under params/ such as tasks/reviews"
    return find(name, "params", (".yaml", ".yml"), "parameter file", hint)


def load_section(name: str | Path, section: str) -> dict:
    """Return one section of a parameter file, such as ``sweep``; {} if it has none.

    Raises
    ------
    ParameterError
        As `load_file` does, and if the section is no mapping.
    """
    load_file(name, (section,))
    path = find_file(name)
    content = yaml.load(path.read_bytes().decode("utf-8-sig"), Loader=Loader) or {}
    values = content.get(section) or {}
    if not isinstance(values, dict):
        raise ParameterError(f"{workspace.shown(path)}: {section}: no mapping of names to values.")
    return values


def load_file(name: str | Path, sections: Collection[str] = ()) -> dict:
    """Read one parameter file.

    Parameters
    ----------
    name : str or Path
        A path, or a short name under ``params/``.
    sections : collection of str
        Names that are no parameters and may hold anything; they are left out.

    Returns
    -------
    dict
        Values by name, not yet checked against any notebook.

    Raises
    ------
    ParameterError
        If the file is missing, is not YAML, is not flat, or gives a name twice.
    """
    path = find_file(name)
    shown = workspace.shown(path)
    try:
        loader = Loader(path.read_bytes().decode("utf-8-sig"))
        try:
            root = loader.get_single_node()
            return _flat(shown, root, loader, sections) if root is not None else {}
        finally:
            loader.dispose()
    except ParameterError:
        raise
    except yaml.YAMLError as error:
        raise ParameterError(f"{shown}: broken YAML {_where(error)}. {FLAT}.") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ParameterError(f"{shown}: not YAML in UTF-8 ({type(error).__name__}).") from error
    except OSError as error:
        raise ParameterError(f"{shown}: cannot be read ({error.strerror}).") from error


def resolve(
    parameters: Iterable[Parameter],
    files: Iterable[str | Path] = (),
    overrides: Overrides = (),
    sections: Collection[str] = (),
    free: bool = False,
) -> dict:
    """Return every parameter's value: the default, then each file in turn, then overrides.

    A default that the kernel evaluates has no value here.

    Parameters
    ----------
    parameters : iterable of Parameter
        What the notebook declares.
    files : iterable of str or Path
        Paths or short names; a later file wins.
    overrides : iterable of ``"name=value"`` or (name, value), or mapping of values by name
        Wins over all files; a pair's value is taken as it is.
    sections : collection of str
        As `load_file` takes it.
    free : bool
        Take any name: the notebook has no cell of parameters.

    Raises
    ------
    ParameterError
        With every problem found, each naming the file (or ``-p``), the name, the value and what
        to do.
    """
    declared = {parameter.name: parameter for parameter in parameters}
    values = {name: p.default for name, p in declared.items() if not p.expression}
    problems = []
    for where, name, value in _given(declared, files, overrides, sections, problems):
        if free and name.isidentifier():
            declared.setdefault(name, Parameter(name, "unknown", None, typed=False))
        try:
            values[name] = checked(declared, name, value)
        except ValueError as error:
            problems.append(f"{where}: {name} = {display(name, value)}: {error}.")
    if problems:
        raise ParameterError(problems)
    return values


def resolve_for(
    notebook: Path,
    files: Iterable[str | Path] = (),
    overrides: Overrides = (),
    sections: Collection[str] = (),
) -> tuple[list[Parameter], dict]:
    """Return what a notebook declares and every value, as `resolve` does.

    Values for a notebook without a cell of parameters are set on top of it, as by papermill, and
    a line says so.
    """
    declared = read_parameters(notebook)
    free = parameters_cell(notebook) is None
    values = resolve(declared, files, overrides, sections, free)
    if free and values:
        say(
            f"{workspace.shown(notebook)} has no cell tagged `parameters`: {', '.join(values)} "
            "is set on top of it, and code below may set it again"
        )
    return declared, values


def checked_values(parameters: Iterable[Parameter], namespace: Mapping[str, object]) -> dict:
    """Return the values that a notebook's variables give its parameters now, as they are recorded.

    Raises
    ------
    ParameterError
        With every problem, each naming the parameter, the value and what to do.
    """
    declared = {parameter.name: parameter for parameter in parameters}
    if missing := [name for name in declared if name not in namespace]:
        raise ParameterError(
            f"{', '.join(missing)}: the parameters cell has not run; run it, and then this cell."
        )
    problems = []
    for name, parameter in declared.items():
        value = namespace[name]
        if is_plain(value) or not parameter.expression:
            try:
                checked(declared, name, value)
            except ValueError as error:
                problems.append(f"{name} = {display(name, value)}: {error}.")
    if problems:
        raise ParameterError(problems)
    return {name: _copied(namespace[name]) for name in declared}


def is_plain(value) -> bool:
    """Say whether a value is what JSON knows, or a tuple of it."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(entry) for key, entry in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def _copied(value):
    """Return a plain value as it is now, and of any other its text."""
    return copy.deepcopy(value) if is_plain(value) else repr(value)


def parse_override(text: str, parameter: Parameter | None):
    """Return the value that ``-p name=TEXT`` stands for.

    Text stays text where the parameter is text, so that ``-p task=no`` is not false; quotes
    around it are removed, and ``None`` is nothing. Any other typed value is a JSON or YAML value.
    One without a type is what papermill makes of it.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if parameter is not None and not parameter.typed:
        return _as_papermill(text, parameter.default)
    if parameter is not None and parameter.annotation.is_text and text[:1] not in ('"', "'"):
        return None if text == "None" else text
    if text == "None" and (parameter is None or parameter.annotation.allows_none):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if (literal := _python_literal(text)) is not None:
        return literal
    try:
        value = yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError("not a YAML value. Put text in quotes") from error
    is_word = parameter is not None and value is None and not parameter.annotation.allows_none
    return text if is_word else value


def _python_literal(text: str) -> list | dict | None:
    """Return a list or mapping written as Python, where None is no word; None for another text."""
    try:
        value = ast.literal_eval(text) if text[:1] in ("[", "{") else None
        return json.loads(json.dumps(value)) if isinstance(value, list | dict) else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def load_text(text: str) -> dict:
    """Return the values of a YAML text, as ``papermill -y`` takes it.

    Raises
    ------
    ParameterError
        If it is no mapping of names to values.
    """
    try:
        content = yaml.load(text, Loader=Loader) or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise ParameterError(f"-y: broken YAML {_where(error)}. {FLAT}.") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ParameterError(f"-y: {display('', text)}: not a mapping. Write -y 'name: value'.")
    return content


def _as_papermill(text: str, default):
    """Return what ``papermill -p`` makes of a value.

    Where the default is a list or mapping, such a value is read too; likewise true and false.
    """
    if isinstance(default, bool) and text in ("true", "false"):
        return text == "true"
    if isinstance(default, list | dict) and text[:1] in ("[", "{"):
        if (literal := _python_literal(text)) is not None:
            return literal
        try:
            return yaml.load(text, Loader=Loader)
        except yaml.YAMLError as error:
            raise ValueError("not a YAML value. Close its brackets") from error
    if text in WORDS:
        return WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _given(declared, files, overrides, sections, problems):
    """Yield (where, name, value) in order; what cannot be read goes to `problems`."""
    for file in files:
        try:
            content = load_file(file, sections)
        except ParameterError as error:
            problems.extend(error.problems)
            continue
        shown = workspace.shown(find_file(file))
        yield from ((shown, name, value) for name, value in content.items())
    if isinstance(overrides, Mapping):
        overrides = list(overrides.items())
    for override in overrides:
        if not isinstance(override, str):
            yield "-p", *override
            continue
        name, equals, text = override.partition("=")
        name = name.strip()
        if not equals or not name:
            problems.append(f"-p: {display('', override)}: no value. Write -p name=value.")
            continue
        try:
            yield "-p", name, parse_override(text, declared.get(name))
        except ValueError as error:
            problems.append(f"-p: {name} = {display(name, text)}: {error}.")


def checked(declared: Mapping[str, Parameter], name: str, value):
    """Return a value in its parameter's type.

    Raises
    ------
    ValueError
        If there is no such parameter, or the value is not one of its.
    """
    if name not in declared:
        known = f"It takes {', '.join(declared)}" if declared else "It takes none"
        raise ValueError(f"the notebook has no such parameter. {nearest(name, declared)}{known}")
    if secrets.looks_secret(name, value):
        raise ValueError(f"looks like a secret. {SECRET_REMEDY}")
    return declared[name].check(value)


def display(name: str, value) -> str:
    """Return a value for a message: short, and never a secret."""
    if secrets.looks_secret(name, value):
        return f"(hidden, {len(str(value))} characters)"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flat(
    shown: str, root: yaml.Node, loader: yaml.SafeLoader, sections: Collection[str] = ()
) -> dict:
    """Turn the YAML tree into names and values."""
    if not isinstance(root, yaml.MappingNode):
        raise ParameterError(f"{shown}: {_line(root)}: not a mapping. {FLAT}.")
    _refuse_twice(shown, root)
    loader.flatten_mapping(root)
    values, problems = {}, []
    for key_node, value_node in root.value:
        key = loader.construct_object(key_node) if _is_scalar(key_node) else None
        line = f"{shown}: {_line(key_node)}"
        if key in sections:
            continue
        if not isinstance(key, str):
            problems.append(f"{line}: {key_node.value}: the name is not text. {FLAT}.")
        else:
            values[key] = loader.construct_object(value_node, deep=True)
    if problems:
        raise ParameterError(problems)
    return values


def _refuse_twice(shown: str, root: yaml.MappingNode) -> None:
    """Refuse a name that stands twice, of which YAML would drop the first silently."""
    seen, problems = set(), []
    for node in [key for key, _ in root.value if _is_scalar(key)]:
        if node.value in seen:
            line = f"{shown}: {_line(node)}"
            problems.append(f"{line}: {node.value}: given twice. Keep one of the two lines.")
        seen.add(node.value)
    if problems:
        raise ParameterError(problems)


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:merge"


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _where(error: yaml.YAMLError | RecursionError) -> str:
    """Return the line and column of a YAML error and what the parser says."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"({str(error).splitlines()[0]})"
    return f"at line {mark.line + 1}, column {mark.column + 1} ({error.problem or error.context})"
