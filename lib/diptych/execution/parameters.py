"""Parameter files and ``-p name=value``, checked against what the notebook declares.

The files are flat YAML that bare ``papermill -f`` reads the same way; what papermill would let
through silently (an unknown name, a wrong type) is refused here, all problems at once.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import yaml

from diptych.base import secrets, workspace
from diptych.base.errors import ParameterError
from diptych.execution.declaration import SECRET_REMEDY, Parameter, read_parameters
from diptych.execution.notebooks import find, nearest

__all__ = [
    "Parameter",
    "ParameterError",
    "find_file",
    "load_file",
    "parse_override",
    "read_parameters",
    "resolve",
]

FLAT = "Keep the file flat: one `name: value` a line"


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as papermill reads it: a date stays text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


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
    content = yaml.load(path.read_bytes().decode("utf-8-sig"), Loader=_Loader) or {}
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
        loader = _Loader(path.read_bytes().decode("utf-8-sig"))
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
    overrides: Iterable[str] | Mapping[str, object] = (),
    sections: Collection[str] = (),
) -> dict:
    """Return every parameter's value: the default, then each file in turn, then overrides.

    Parameters
    ----------
    parameters : iterable of Parameter
        What the notebook declares.
    files : iterable of str or Path
        Paths or short names; a later file wins.
    overrides : iterable of ``"name=value"``, or mapping of values by name
        Wins over all files.
    sections : collection of str
        As `load_file` takes it.

    Raises
    ------
    ParameterError
        With every problem found, each naming the file (or ``-p``), the name, the value and what
        to do.
    """
    declared = {parameter.name: parameter for parameter in parameters}
    values = {name: parameter.default for name, parameter in declared.items()}
    problems = []
    for where, name, value in _given(declared, files, overrides, sections, problems):
        try:
            values[name] = checked(declared, name, value)
        except ValueError as error:
            problems.append(f"{where}: {name} = {display(name, value)}: {error}.")
    if problems:
        raise ParameterError(problems)
    return values


def parse_override(text: str, parameter: Parameter | None):
    """Return the value that ``-p name=TEXT`` stands for.

    Text stays text where the parameter is text, so that ``-p task=no`` is not false; quotes
    around it are removed. Anything else is a JSON or YAML value.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if parameter is not None and parameter.type == "str" and text[:1] not in ('"', "'"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError("not a YAML value. Put text in quotes") from error
    return text if parameter is not None and value is None else value


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
        yield from (("-p", name, value) for name, value in overrides.items())
        return
    for override in overrides:
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
    """Turn the YAML tree into names and values, refusing what bare papermill would not take."""
    if not isinstance(root, yaml.MappingNode):
        raise ParameterError(f"{shown}: {_line(root)}: not a mapping. {FLAT}.")
    values, problems = {}, []
    for key_node, value_node in root.value:
        key = loader.construct_object(key_node) if _is_scalar(key_node) else None
        line = f"{shown}: {_line(key_node)}"
        if key in sections:
            continue
        if not isinstance(key, str):
            problems.append(f"{line}: {key_node.value}: the name is not text. {FLAT}.")
        elif key in values:
            problems.append(f"{line}: {key}: given twice. Keep one of the two lines.")
        elif not _is_flat(value_node):
            problems.append(f"{line}: {key}: nested values. {FLAT}.")
        else:
            values[key] = loader.construct_object(value_node, deep=True)
    if problems:
        raise ParameterError(problems)
    return values


def _is_flat(node: yaml.Node) -> bool:
    return _is_scalar(node) or (
        isinstance(node, yaml.SequenceNode) and all(map(_is_scalar, node.value))
    )


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:merge"


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _where(error: yaml.YAMLError) -> str:
    """Return the line and column of a YAML error and what the parser says."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"({str(error).splitlines()[0]})"
    return f"at line {mark.line + 1}, column {mark.column + 1} ({error.problem or error.context})"
